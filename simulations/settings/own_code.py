"""Find the code that a run's config names by dotted paths, before any of it is imported.

A run folder may come from somebody else. Its config may name modules that are installed on this
machine, as any config may; but files in the folder itself are data, and are never run.
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
    """Return which modules a config imports and from where; nothing is imported.

    Parameters
    ----------
    values : object
        The config of a run as it was read, before it is validated, which imports modules.
    folder : Path
        The run's folder.

    Returns
    -------
    list[str]
        A line for each dotted path whose module is found.

    Raises
    ------
    ConfigError
        A dotted path leads into the run's folder.
    """
    lines = []
    for point in (point for package in distributions() for point in package.entry_points):
        # Modalities are imported even where the config does not name them.
        if point.group.startswith("fedssl."):
            _check_outside(folder, f"the entry point {point.value}", f"{point.module}.x")
    for field, path in dotted_names(values):
        setting = f"{printable(field, 100)} = {printable(path, 100)}"
        places = _check_outside(folder, setting, path)
        if places:
            lines.append(f"{setting}: code of your own, from {places[-1]}")
    return lines


def _check_outside(folder: Path, setting: str, path: str) -> list[Path]:
    """Return the files of a dotted path's code; raise a ConfigError for one in the run's folder."""
    places = [place for spec in _specs(path) for place in _places(spec)]
    for place in places:
        if place.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"{folder / 'config.yaml'}: {setting}: its code lies in the run's own folder "
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
    """Return which modules the config in a run's folder imports; see `check_own_code`."""
    return check_own_code(read_yaml(folder / "config.yaml"), folder)


def dotted_paths(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yield each field of an experiment that names code by a dotted path, and the path."""
    for field, path in dotted_names(experiment.model_dump(mode="json")):
        is_encoder = field in ENCODER_FIELDS and modality_of(experiment.data).encoders.builtin(path)
        if not is_encoder:
            yield field, path


def _specs(path: str) -> Iterator[ModuleSpec]:
    """Yield the specs of the modules that importing a dotted path would run, its package first.

    Not by importlib.util.find_spec, which imports the packages that a module is in.
    """
    *parts, _ = path.split(".")
    search_path = None
    for count in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:count]), search_path)
        if spec is None:
            return
        yield spec
        search_path = spec.submodule_search_locations
        if search_path is None:
            return


def _places(spec: ModuleSpec) -> list[Path]:
    """Return a module's file, or the folders of a namespace package."""
    if spec.has_location and spec.origin:
        return [Path(spec.origin)]
    return [Path(place) for place in spec.submodule_search_locations or ()]
