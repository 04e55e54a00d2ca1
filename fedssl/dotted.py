"""Find the Python object that a dotted path in a config names, and what went wrong in it."""

import importlib
import sysconfig
import traceback
from pathlib import Path

OURS = ("fedssl", "strategies", "clients", "simulations")
"""The packages that fedssl installs."""
_HOME = Path(__file__).resolve().parents[1]
_NOT_OWN = tuple(
    [str(_HOME / name) for name in OURS]
    + [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
)


def load_dotted(path: str) -> object:
    """Import ``my_module.MyClass``: the object that the last part names in the module before it.

    Parameters
    ----------
    path : str
        Dotted; the module must be importable, so installed or on ``PYTHONPATH``.

    Raises
    ------
    ValueError
        The path is malformed, or there is no such module or name in it. An error raised by the
        module itself while it is imported passes through, since only its author can mend it.
    """
    module_name, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in path.split(".")) or not module_name:
        raise ValueError(f"{path!r} is not a dotted path such as my_module.MyClass")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        fix = "install it, or put its folder on PYTHONPATH"
        if module_name.partition(".")[0] in OURS:
            fix = f"{module_name.partition('.')[0]} is fedssl's own package; name yours otherwise"
        raise ValueError(f"{path}: no module {error.name!r}; {fix}") from None
    try:
        return getattr(module, name)
    except AttributeError:
        raise ValueError(f"{path}: the module {module_name} has no {name!r}") from None


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
