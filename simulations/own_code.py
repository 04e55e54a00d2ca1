"""The code that a run's config names by dotted paths: where it lies, before any of it is run.

A run folder may be somebody else's. Its config chooses among the modules that this machine finds
anyway, as any config does; but what lies in the folder itself is data, and is never run.
"""

from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from fedssl.config_file import ConfigError, read_yaml
from fedssl.modalities import modality_of
from simulations.experiment import Experiment, load_experiment


def check_own_code(experiment: Experiment, folder: Path) -> list[str]:
    """Say which modules an experiment imports and from where; nothing is imported.

    Parameters
    ----------
    experiment : Experiment
        That of a run.
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
    for field, path in dotted_paths(experiment):
        places = _places_outside(folder, field, path)
        if places:
            lines.append(f"{field} = {path}: code of your own, from {places[-1]}")
    return lines


def load_run_config(folder: Path, overrides: Iterable[str] = ()) -> Experiment:
    """Read the config in a run's folder, none of whose code is run; see `check_own_code`.

    Raises
    ------
    ConfigError
        It cannot be read, or names code that lies in the folder.
    """
    file = folder / "config.yaml"
    # A modality's code says what the other sections may hold: it is run before they are read.
    values = read_yaml(file)
    data = values.get("data") if isinstance(values, dict) else None
    if isinstance(modality := data.get("modality") if isinstance(data, dict) else None, str):
        _places_outside(folder, "data.modality", modality)
    experiment = load_experiment(file, overrides)
    check_own_code(experiment, folder)
    return experiment


def own_code_of(folder: Path) -> list[str]:
    """Say which modules the config in a run's folder imports; see `check_own_code`."""
    return check_own_code(load_run_config(folder), folder)


def _places_outside(folder: Path, field: str, path: str) -> list[Path]:
    """Return where a dotted path's code lies; a ConfigError says that it is in the run's folder."""
    places = [place for spec in _specs(path) for place in _places(spec)]
    for place in places:
        if place.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"{folder / 'config.yaml'}: {field} = {path}: its code lies in the run's own "
                f"folder ({place}), from which none is run; if you trust it, move it elsewhere"
            )
    return places


def dotted_paths(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yield each field of an experiment that names code of a person's own, and the dotted path."""
    named = {
        "data.name": experiment.data.name,
        "data.modality": experiment.data.modality,
        "model.encoder": experiment.model.encoder,
        "objective.name": experiment.objective.name,
        "strategy.name": experiment.strategy.name,
    }
    for field, name in named.items():
        is_encoder = field == "model.encoder" and modality_of(experiment.data).is_known(name)
        if "." in name and not is_encoder:
            yield field, name


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
