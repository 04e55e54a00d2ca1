"""The dotted paths in a config: which there are, what each leads to, and what went wrong in it."""

import importlib
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

from fedssl.base.printable import printable

OURS = ("fedssl", "strategies", "clients", "simulations")
"""The packages that fedssl installs."""
NAMES_CODE = frozenset(
    {
        "name",
        "encoder",
        "modality",
        # Where a name alone may stand for a section, or for one in a list.
        "data",
        "partition",
        "objective",
        "terms",
        "views",
        "strategy",
        "engine",
        "measures",
    }
)
"""The fields of a config, at any depth, that may name code by a dotted path."""
ENCODER_FIELDS = ("model.encoder", "model.encoder.name")
"""Those of them where a dot may also be in the name of a library's model."""
_HOME = Path(__file__).resolve().parents[1]
_NOT_OWN = tuple(
    [str(_HOME / name) for name in OURS]
    + [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
)


def dotted_names(values: object) -> Iterator[tuple[str, str]]:
    """Yield what of a config may be a dotted path to code, before any of it is imported.

    Parameters
    ----------
    values : object
        Plain values, as they were read and before they are validated: of any kind and depth.

    Yields
    ------
    tuple[str, str]
        The field, such as "objective.terms.0.name", and its text, which has a dot in it.
    """
    # No recursion: what comes from outside may be nested deeper than Python's stack.
    ahead: list[tuple[str, object, bool]] = [("", values, False)]
    while ahead:
        place, value, names_code = ahead.pop()
        if isinstance(value, str):
            if names_code and "." in value:
                yield place.removeprefix("."), value
        elif isinstance(value, Mapping):
            inner = [(f"{place}.{key}", part, key in NAMES_CODE) for key, part in value.items()]
            ahead.extend(reversed(inner))
        elif isinstance(value, (list, tuple)):
            ahead.extend(reversed([(f"{place}.{n}", p, names_code) for n, p in enumerate(value)]))


class NotFoundError(ValueError):
    """A dotted path leads to nothing, for a reason."""

    def __init__(self, path: str, reason: str):
        super().__init__(f"{printable(path, 100)}: {reason}")
        self.reason = reason


def load_dotted(path: str) -> object:
    """Import ``my_module.MyClass``: the object that the last part names in the module before it.

    Parameters
    ----------
    path : str
        Dotted; the module must be importable, so installed or on ``PYTHONPATH``.

    Raises
    ------
    NotFoundError
        The path is malformed, or there is no such module or name in it. An error raised by the
        module itself while it is imported passes through, since only its author can mend it.
    """
    module_name, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in path.split(".")) or not module_name:
        raise NotFoundError(path, "is not a dotted path such as my_module.MyClass")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        fix, top = "install it, or put its folder on PYTHONPATH", module_name.partition(".")[0]
        if top in OURS:
            fix = f"{top} is fedssl's own package; name yours otherwise"
        raise NotFoundError(path, f"no module '{printable(error.name, 100)}'; {fix}") from None
    try:
        return getattr(module, name)
    except AttributeError:
        reason = f"the module {printable(module_name, 100)} has no '{printable(name, 100)}'"
        raise NotFoundError(path, reason) from None


def place_in_own_code(error: BaseException | None) -> str | None:
    """Return where in a person's own code an error arose, as "FILE, line N, in FUNCTION".

    Own is what is neither part of fedssl nor installed; of several places the innermost is
    returned, and None where there is none. An error counts with those that it was raised from.
    """
    while error is not None:
        if isinstance(error, SyntaxError) and error.filename and _is_own(error.filename):
            return f"{error.filename}, line {error.lineno}"
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if _is_own(frame.filename):
                return f"{frame.filename}, line {frame.lineno}, in {frame.name}"
        error = error.__cause__
    return None


def _is_own(file: str) -> bool:
    return not file.startswith("<") and not str(Path(file).resolve()).startswith(_NOT_OWN)
