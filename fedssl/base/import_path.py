"""Find the dotted paths in a config, import them, and locate errors in user-defined code."""

import importlib
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

from fedssl.base.printable import printable

OWN_PACKAGES = ("fedssl", "strategies", "clients", "simulations")
"""The packages of fedssl's distribution."""
NAMES_CODE = frozenset(
    {
        "name",
        "encoder",
        "modality",
        # Sections, and lists of sections, for which a name alone is valid.
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
"""The fields of a config, at any depth, whose value may be a dotted path."""
ENCODER_FIELDS = ("model.encoder", "model.encoder.name")
"""Those of them in which the name of a library's model may have a dot, too."""
_HOME = Path(__file__).resolve().parents[2]
_NOT_USER_CODE = tuple(
    [str(_HOME / name) for name in OWN_PACKAGES]
    + [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
)


def dotted_names(values: object) -> Iterator[tuple[str, str]]:
    """Yield all fields of a config that may hold a dotted path, without importing anything.

    Parameters
    ----------
    values : object
        The values of the file before validation, of any kind and depth.

    Yields
    ------
    tuple[str, str]
        The field, such as "objective.terms.0.name", and its text, which has a dot.

    Examples
    --------
    >>> list(dotted_names({"objective": {"name": "my_module.MyObjective"}}))
    [('objective.name', 'my_module.MyObjective')]
    """
    # No recursion: a file may be nested deeper than Python's stack.
    pending: list[tuple[str, object, bool]] = [("", values, False)]
    while pending:
        place, value, names_code = pending.pop()
        if isinstance(value, str):
            if names_code and "." in value:
                yield place.removeprefix("."), value
        elif isinstance(value, Mapping):
            inner = [(f"{place}.{key}", part, key in NAMES_CODE) for key, part in value.items()]
            pending.extend(reversed(inner))
        elif isinstance(value, (list, tuple)):
            pending.extend(reversed([(f"{place}.{n}", p, names_code) for n, p in enumerate(value)]))


class NotFoundError(ValueError):
    """A dotted path cannot be imported; ``reason`` says why."""

    def __init__(self, path: str, reason: str):
        super().__init__(f"{printable(path, 100)}: {reason}")
        self.reason = reason


def load_dotted(path: str) -> object:
    """Import an object such as ``my_module.MyClass`` from the module before its last dot.

    Parameters
    ----------
    path : str
        The dotted path; the module must be installed or on ``PYTHONPATH``.

    Raises
    ------
    NotFoundError
        The path is malformed, or the module or the name does not exist. Errors of the module
        itself during the import pass through.

    Examples
    --------
    >>> load_dotted("fractions.Fraction")
    <class 'fractions.Fraction'>
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
        if top in OWN_PACKAGES:
            fix = f"{top} is fedssl's own package; name yours otherwise"
        raise NotFoundError(path, f"no module '{printable(error.name, 100)}'; {fix}") from None
    try:
        return getattr(module, name)
    except AttributeError:
        reason = f"the module {printable(module_name, 100)} has no '{printable(name, 100)}'"
        raise NotFoundError(path, reason) from None


def user_code_location(error: BaseException | None) -> str | None:
    """Return where an error arose in user-defined code, as "FILE, line N, in FUNCTION".

    User-defined code is neither a part of fedssl nor installed. The innermost place is returned, or
    None if there is none. The error's causes are searched, too.
    """
    while error is not None:
        if isinstance(error, SyntaxError) and error.filename and _is_user_code(error.filename):
            return f"{error.filename}, line {error.lineno}"
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if _is_user_code(frame.filename):
                return f"{frame.filename}, line {frame.lineno}, in {frame.name}"
        error = error.__cause__
    return None


def _is_user_code(file: str) -> bool:
    return not file.startswith("<") and not str(Path(file).resolve()).startswith(_NOT_USER_CODE)
