"""The code that a run's config names by dotted paths: where it lies, before any of it is run.

A run folder may be somebody else's. Its config chooses among the modules that this machine finds
anyway, as any config does; but what lies in the folder itself is data, and is never run.
"""

from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import distributions
from pathlib import Path

from fedssl.base.config_file import ConfigError, override, parse_yaml, read_yaml
from fedssl.base.import_path import ENCODER_FIELDS, dotted_names
from fedssl.base.printable import printable
from fedssl.modalities import modality_of
from simulations.settings.experiment import Experiment


def check_own_code(values: object, folder: Path) -> list[str]:
    """Say which modules a config imports and from where; nothing is imported.

    Parameters
    ----------
    values : object
        The config of a run, as it was read and before it is validated, which imports some.
    folder : Path
        The run's.

    Returns
    -------
    list[str]
        A line for each dotted path that is found.

    Raises
    ------
    ConfigError
        One leads into the run's folder.
    """
    lines = []
    for point in (point for package in distributions() for point in package.entry_points):
        # Modalities are imported without being asked for.
        if point.group.startswith("fedssl."):
            _check_outside(folder, f"the entry point {point.value}", f"{point.module}.x")
    for field, path in dotted_names(values):
        named = f"{printable(field, 100)} = {printable(path, 100)}"
        places = _check_outside(folder, named, path)
        if places:
            lines.append(f"{named}: code of your own, from {places[-1]}")
    return lines


def _check_outside(folder: Path, named: str, path: str) -> list[Path]:
    """Return where a dotted path's code lies; a ConfigError says that it is in the run's folder."""
    places = [place for spec in _specs(path) for place in _places(spec)]
    for place in places:
        if place.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"{folder / 'config.yaml'}: {named}: its code lies in the run's own folder "
                f"({place}), from which none is run; if you trust it, move it elsewhere"
            )
    return places


def load_run_config(folder: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read the config in a run's folder, none of whose code is run; see `check_own_code`.

    Raises
    ------
    ConfigError
        It cannot be read, or names code that lies in the folder.
    """
    file = folder / "config.yaml"
    values = read_yaml(file)
    check_own_code(values, folder)
    for each in overrides:
        key, _, text = each.partition("=")
        check_own_code({key.rpartition(".")[2]: parse_yaml(text, each)}, folder)
    return override(Experiment, values, overrides, base=folder, source=str(file))


def own_code_of(folder: Path) -> list[str]:
    """Say which modules the config in a run's folder imports; see `check_own_code`."""
    return check_own_code(read_yaml(folder / "config.yaml"), folder)


def dotted_paths(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yield each field of an experiment that names code of a person's own, and the dotted path."""
    for field, path in dotted_names(experiment.model_dump(mode="json")):
        is_encoder = field in ENCODER_FIELDS and modality_of(experiment.data).encoders.builtin(path)
        if not is_encoder:
            yield field, path


def _specs(path: str) -> Iterator[ModuleSpec]:
    """Yield what importing a dotted path's module would run, from its package on.

    Not by importlib.util.find_spec, which imports the packages that a module is in.
    """
    *parts, _ = path.split(".")
    within = None
    for place in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: place + 1]), within)
        if spec is None:
            return
        yield spec
        within = spec.submodule_search_locations
        if within is None:
            return


def _places(spec: ModuleSpec) -> list[Path]:
    """Return where a module's code lies; a folder without any has none of its own."""
    if spec.has_location and spec.origin:
        return [Path(spec.origin)]
    return [Path(place) for place in spec.submodule_search_locations or ()]
