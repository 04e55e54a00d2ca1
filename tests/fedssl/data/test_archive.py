"""Archives that may be hostile."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedssl.modalities import load
from tests.tools.archives import IMAGES, written


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 half an archive"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    config = written(tmp_path, {"images": IMAGES})
    config.train.write_bytes(content)
    with pytest.raises(ValueError, match=r"data\.train = .*: not an \.npz file"):
        load(config)


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    config = written(tmp_path, {"images": IMAGES})
    with config.train.open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(ValueError, match=r"data\.train = .*: not an \.npz file"):
        load(config)


def member(shape: str, content: bytes = b"", descr: str = "'|u1'") -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            member("(1000000000000, 1, 1, 3)"),
            r"claims the shape \[1000000000000, 1, 1, 3\] of uint8",
        ),
        (member("(2, 1, 1, 3)", b"12345"), "but the file has 5 bytes of it"),
        (member("(-1, -6)", b"123456"), r"claims the shape \[-1, -6\]"),
        (member("(9, 9)", descr="'|V0'"), "claims the shape"),
        (member("(1,)", b"12345678", descr="'|O'"), "Object arrays cannot be loaded"),
        (member("(" * 4000), "not an .npz file of plain arrays"),
        (b"\x93NUMPY\x09\x00", "not an .npz file of plain arrays"),
        (b"", "not an .npz file of plain arrays"),
    ],
)
def test_what_an_array_claims_is_checked_before_it_is_read(
    tmp_path: Path, content: bytes, message: str
) -> None:
    config = written(tmp_path, {"images": IMAGES})
    for name in ("images.npy", "labels.npy"):
        with zipfile.ZipFile(config.train, "w") as archive:
            if name != "images.npy":
                archive.writestr("images.npy", member("(1, 1, 1, 3)", b"123"))
            archive.writestr(name, content)
        with pytest.raises(ValueError, match=message):
            load(config)


def test_archives_that_unpack_to_more_than_memory_are_refused(
    tmp_path: Path, machine_memory: Callable[[int], None]
) -> None:
    config = written(tmp_path, {"images": IMAGES})
    np.savez_compressed(config.train, images=np.zeros((1000, 100, 100, 3), np.uint8))
    machine_memory(50_000_000)
    with pytest.raises(ValueError, match=r"its arrays take 0\.0 GB"):
        load(config)
    machine_memory(70_000_000)
    assert load(config.model_copy(update={"test": config.train})).train.labels.shape == (1000,)
    with zipfile.ZipFile(config.train, "w") as archive:
        for number in range(1001):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(ValueError, match="holds 1,001 arrays"):
        load(config)
