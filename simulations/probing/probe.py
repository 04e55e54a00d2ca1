"""Probe a run, finished or not, with any measure and on any examples.

With a run in ``runs/quickstart``::

    from simulations.probing.probe import probe

    done, refused = probe(Path("runs/quickstart"), ["lidar"])
    done[0].measured.figures
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from fedssl.base.config_file import ConfigError
from fedssl.data import Splits
from fedssl.evaluation import MEASURES, MeasureConfig, MeasureResult, Subject, gather, measure
from fedssl.modalities import noun_of
from fedssl.models.blueprint import ModelBlueprint
from fedssl.models.model_file import load_encoder
from fedssl.partitions import Partition, partition
from simulations.probing.plots import picture_of
from simulations.record.files import replace_text
from simulations.record.run_folder import RunFolder
from simulations.record.subfolders import make_inside
from simulations.record.tables import has_partition
from simulations.reports import plots
from simulations.running.trained_model import (
    blueprint_of,
    load_checkpoint_model,
    load_last_checkpoint,
)
from simulations.server.subjects import after_update, subject_of
from simulations.settings.engines import LocalConfig
from simulations.settings.experiment import Experiment
from simulations.settings.own_code import load_run_config
from simulations.setup.prepare import load_examples

SECTIONS = ("data", "evaluation", "views", "seed", "engine")
"""The config's sections that a probe may change: all except those of the model and its training."""


@dataclass(frozen=True)
class Probed:
    """The result of one protocol, and its files."""

    protocol: str
    measured: MeasureResult
    seconds: float
    file: Path
    """The JSON file."""
    picture: Path | None
    """The PNG picture; None if the numbers say it all."""


def probe(
    folder: Path,
    protocols: Sequence[str],
    overrides: Sequence[str] = (),
    against: Iterable[Path] = (),
    *,
    on_start: Callable[[str], None] = lambda _: None,
    on_message: Callable[[str], None] = lambda _: None,
) -> tuple[list[Probed], dict[str, str]]:
    """Measure a run's encoder, and write ``probes/`` into its folder; nothing else there changes.

    Parameters
    ----------
    folder : Path
        The run's folder.
    protocols : Sequence[str]
        Names of `MEASURES`, or dotted paths of your own measures.
    overrides : Sequence[str]
        Overrides, such as ``data.name=cifar100`` (a transfer) or ``evaluation.limit.test=500``.
    against : Iterable[Path]
        The folders of other runs, for the protocols that compare.
    on_start : Callable[[str], None]
        Called with the name of each protocol before it starts.
    on_message : Callable[[str], None]
        Called with the progress of a long protocol.

    Returns
    -------
    tuple[list[Probed], dict[str, str]]
        The results in the order of ``protocols``; and the reason for each protocol that cannot be
        taken of this run or these examples.

    Raises
    ------
    ConfigError
        A name, a folder or an override is wrong; nothing was measured.
    """
    sections = [_section(name) for name in protocols]
    subject, suffix, noun = _open(folder, overrides, against, on_message)
    probes = folder / "probes"
    done, refused = [], {}
    for section in sections:
        name = section.name
        on_start(name)
        begin = time.perf_counter()
        try:
            measured = measure(section, subject)
        except ValueError as error:
            refused[name] = str(error)
            continue
        seconds = time.perf_counter() - begin
        file = make_inside(probes) / f"{name}{suffix}.json"
        replace_text(file, _as_json(name, folder, subject, overrides, seconds, measured))
        figure, picture = picture_of(name, measured, noun), file.with_suffix(".png")
        if figure:
            plots.save(figure, picture)
        done.append(Probed(name, measured, seconds, file, picture if figure else None))
    return done, refused


def _section(name: str) -> MeasureConfig:
    """Return the config of a measure by its name, with default fields."""
    try:
        MEASURES.find(name, "--protocol")
        return cast(MeasureConfig, MEASURES.read(name))
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _as_json(
    name: str,
    folder: Path,
    subject: Subject,
    overrides: Sequence[str],
    seconds: float,
    measured: MeasureResult,
) -> str:
    content = {
        "protocol": name,
        "run": folder.resolve().name,
        "round": subject.rounds[-1]["round"],
        "overrides": list(overrides),
        "seed": subject.seed,
        "train_examples": len(subject.examples.train),
        "test_examples": len(subject.examples.test),
        "seconds": round(seconds, 3),
        "figures": dict(measured.figures),
        "details": dict(measured.details),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _open(
    folder: Path,
    overrides: Sequence[str],
    against: Iterable[Path],
    on_message: Callable[[str], None],
) -> tuple[Subject, str, str]:
    """Return the subject of a run, the suffix of its files, and the plural noun of its examples."""
    for override in overrides:
        section = override.partition("=")[0].partition(".")[0].strip()
        if section not in SECTIONS:
            raise ConfigError(
                f"{override}: a probe measures the run's own model; it can change only "
                f"{', '.join(SECTIONS[:-1])} and {SECTIONS[-1]}"
            )
    others = {}
    for path in against:
        if path.resolve() == folder.resolve():
            raise ConfigError(f"--against {path}: is the run itself; give another")
        others[str(path)] = _subject(path, _config(path, ["engine.device=auto"]), {}, on_message)
    run_config = _config(folder, [])
    wanted = _config(folder, ["engine.device=auto", *overrides])
    suffix = "" if run_config.data == wanted.data else f"-on-{_label(wanted)}"
    subject = _subject(folder, wanted, others, on_message, run_config)
    return subject, suffix, noun_of(wanted.data.modality)[1]


def _config(folder: Path, overrides: Sequence[str]) -> Experiment:
    """Read a run's config, with the engine replaced by one in this process."""
    files = RunFolder(folder)
    if not files.config.is_file() or not files.read_metrics():
        raise ConfigError(
            f"{folder}: holds no run with a finished round; give the folder that `fedssl run` wrote"
        )
    experiment = load_run_config(folder, overrides)
    return experiment.model_copy(update={"engine": LocalConfig(device=experiment.engine.device)})


def _label(experiment: Experiment) -> str:
    """Return a short name of the examples: their data set's name or their file's stem."""
    train = getattr(experiment.data, "train", None)
    return train.stem if isinstance(train, Path) else experiment.data.name


def _subject(
    folder: Path,
    experiment: Experiment,
    others: Mapping[str, Subject],
    on_message: Callable[[str], None],
    run_config: Experiment | None = None,
) -> Subject:
    """Load a run's model and examples; ``run_config`` is its config without overrides."""
    run_config = run_config or experiment
    experiment = experiment.model_copy(
        update={"engine": experiment.engine.resolve(experiment.client.threads)}
    )
    files = RunFolder(folder)
    rows = files.read_metrics()
    splits = load_examples(experiment)
    try:
        parts = _partition(run_config, experiment, splits, files)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    device = torch.device(experiment.engine.device)
    optional: dict[str, Any] = {}
    if parts is not None:
        local = run_config.model_copy(update={"engine": experiment.engine})
        last = max(1, rows[-1]["round"])
        optional["after_update"] = after_update(
            local, splits, parts, lambda: load_last_checkpoint(files, on_message).model, last
        )
    return subject_of(
        ModelBlueprint.of(experiment, splits.train),
        _encoder(files, run_config, splits, on_message).to(device).eval(),
        splits,
        gather(splits, experiment.evaluation),
        parts,
        rounds=rows,
        others=dict(others),
        on_progress=on_message,
        **optional,
    )


def _partition(
    run_config: Experiment, experiment: Experiment, splits: Splits, files: RunFolder
) -> Partition | None:
    """Partition the examples as the run did; None if the examples are others or on devices."""
    if run_config.data != experiment.data:
        return None
    if not has_partition(files.partition):
        return None
    return partition(run_config.partition, splits.train, run_config.seed)


def _encoder(
    files: RunFolder, run_config: Experiment, splits: Splits, on_message: Callable[[str], None]
) -> nn.Module:
    """Load the encoder of the run's model, or of its checkpoint if the run is not finished."""
    if not os.path.lexists(files.model):
        return load_checkpoint_model(files, blueprint_of(run_config), on_message)[0].encoder
    try:
        blueprint = ModelBlueprint.of(run_config, splits.train)
        encoder = None if blueprint.has_known_encoder else blueprint.build_encoder()
        return load_encoder(files.model, encoder)
    except ValueError as error:
        raise ConfigError(str(error)) from error
