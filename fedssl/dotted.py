"""Find the Python object that a dotted path in a config names."""

import importlib


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
        raise ValueError(
            f"{path}: no module {error.name!r}; install it, or put its folder on PYTHONPATH"
        ) from None
    try:
        return getattr(module, name)
    except AttributeError:
        raise ValueError(f"{path}: the module {module_name} has no {name!r}") from None
