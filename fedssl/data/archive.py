"""Read .npz files that may be hostile: what an array claims is checked before memory is taken."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np

from fedssl.data.memory_limit import memory

T = TypeVar("T")

_MOST = 1000
_DEFLATED = 1100
"""Deflate shrinks nothing to less than one part in so many."""


class Archive:
    """An open .npz file.

    Parameters
    ----------
    path : Path
        The file.
    wrong : Callable[[str], ValueError]
        Makes an error of what is wrong with it.
    """

    members: dict[str, tuple[tuple[int, ...], np.dtype]]
    """The shape and dtype of each array, of which nothing is read yet."""

    def __init__(self, path: Path, wrong: Callable[[str], ValueError]):
        self._wrong = wrong
        if not path.is_file():
            raise wrong(
                "there is no such file; write one with numpy.savez(path, images=..., labels=...), "
                "or correct the path"
            )
        self._zip = self._guard(lambda: zipfile.ZipFile(path))
        try:
            self.members = self._guard(self._headers)
        except ValueError:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._zip.close()

    def read(self, name: str) -> np.ndarray:
        """Return an array.

        Raises
        ------
        ValueError
            It is not whole.
        """

        def read() -> np.ndarray:
            with self._zip.open(f"{name}.npy") as file:
                # Never pickles: an array of Python objects could run anyone's code.
                array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
            return array

        return self._guard(read)

    def _guard(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except _WrongError as error:
            raise self._wrong(str(error)) from None
        # A damaged archive makes zipfile, zlib and numpy raise nearly anything.
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise self._wrong(f"not an .npz file of plain arrays ({reason})") from None

    def _headers(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        headers, total = {}, 0
        infos = [info for info in self._zip.infolist() if info.filename.endswith(".npy")]
        if len(infos) > _MOST:
            raise _WrongError(f"holds {len(infos):,} arrays: at most {_MOST:,} are read")
        for info in infos:
            with self._zip.open(info) as file:
                version = np.lib.format.read_magic(file)
                read_header = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }.get(version)
                if read_header is None:
                    raise ValueError(f"version {version} of numpy's format")
                shape, _, dtype = read_header(file)
                start = file.tell()
            if dtype.hasobject:
                raise ValueError("Object arrays cannot be loaded")
            claimed = dtype.itemsize
            for side in shape:
                claimed *= side
            name = info.filename.removesuffix(".npy")
            if (
                claimed + start != info.file_size
                or dtype.itemsize == 0
                or min(shape, default=0) < 0
            ):
                raise _WrongError(
                    f"`{name[:80]}` claims the shape {list(shape)[:8]} of {dtype}, but the file "
                    f"has {max(0, info.file_size - start):,} bytes of it"
                )
            if info.file_size > _DEFLATED * info.compress_size + 1000:
                raise _WrongError(f"`{name[:80]}` is packed more tightly than is possible")
            total += info.file_size
            headers[name] = tuple(shape), dtype
        machine_memory = memory()
        if machine_memory is not None and 2 * total > machine_memory:
            raise _WrongError(
                f"its arrays take {total / 1e9:,.1f} GB, twice that while they are read, and this "
                f"machine has {machine_memory / 1e9:,.1f}"
            )
        return headers


class _WrongError(Exception):
    """What is wrong with an archive, in words of our own."""
