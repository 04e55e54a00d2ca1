"""Probe a finished run, or one that still goes on: any measure, on any examples.

For example::

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
"""What of the config a probe may change: all but what the model is, and how it was trained."""


@dataclass(frozen=True)
class Probed:
    """What a protocol gave, and where it was written."""

    protocol: str
    measured: MeasureResult
    seconds: float
    file: Path
    """A JSON file."""
    picture: Path | None
    """A PNG, where it says more than the numbers."""


def probe(
    folder: Path,
    protocols: Sequence[str],
    overrides: Sequence[str] = (),
    against: Iterable[Path] = (),
    *,
    began: Callable[[str], None] = lambda _: None,
    said: Callable[[str], None] = lambda _: None,
) -> tuple[list[Probed], dict[str, str]]:
    """Measure a run's encoder, and write ``probes/`` into its folder; nothing else there changes.

    Parameters
    ----------
    folder : Path
        The run's.
    protocols : Sequence[str]
        Names of `MEASURES`, or dotted paths of measures of one's own.
    overrides : Sequence[str]
        Such as ``data.name=cifar100`` (a transfer), ``evaluation.limit.test=500``.
    against : Iterable[Path]
        The folders of other runs, for the protocols that compare.
    began : Callable[[str], None]
        Told of each protocol as it begins.
    said : Callable[[str], None]
        Told how far a long one is.

    Returns
    -------
    tuple[list[Probed], dict[str, str]]
        What was measured, in the order of ``protocols``; and why each of the others could not be,
        of this run or of these examples.

    Raises
    ------
    ConfigError
        A name, a folder or an override is wrong; nothing was measured.
    """
    sections = [_section(name) for name in protocols]
    subject, suffix, noun = _open(folder, overrides, against, said)
    probes = folder / "probes"
    done, refused = [], {}
    for section in sections:
        name = section.name
        began(name)
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
    """Return the measure of a name, with its fields as they are by default."""
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
    said: Callable[[str], None],
) -> tuple[Subject, str, str]:
    """Return a run as measures see it, how its files' names end, and what examples are called."""
    for override in overrides:
        section = override.partition("=")[0].partition(".")[0].strip()
        if section not in SECTIONS:
            raise ConfigError(
                f"{override}: a probe measures the run's own model; what can be changed is "
                f"{', '.join(SECTIONS[:-1])} and {SECTIONS[-1]}"
            )
    others = {}
    for path in against:
        if path.resolve() == folder.resolve():
            raise ConfigError(f"--against {path}: is the run itself; give another")
        others[str(path)] = _subject(path, _config(path, ["engine.device=auto"]), {}, said)
    own, wanted = _config(folder, []), _config(folder, ["engine.device=auto", *overrides])
    suffix = "" if own.data == wanted.data else f"-on-{_label(wanted)}"
    subject = _subject(folder, wanted, others, said, own)
    return subject, suffix, noun_of(wanted.data.modality)[1]


def _config(folder: Path, overrides: Sequence[str]) -> Experiment:
    """Read a run's config, to work in this process, whatever the engine that it ran on."""
    files = RunFolder(folder)
    if not files.config.is_file() or not files.read_metrics():
        raise ConfigError(
            f"{folder}: holds no run with a finished round; give the folder that `fedssl run` wrote"
        )
    experiment = load_run_config(folder, overrides)
    return experiment.model_copy(update={"engine": LocalConfig(device=experiment.engine.device)})


def _label(experiment: Experiment) -> str:
    """Return a short name of the examples: that of their set, or of the file they come from."""
    train = getattr(experiment.data, "train", None)
    return train.stem if isinstance(train, Path) else experiment.data.name


def _subject(
    folder: Path,
    experiment: Experiment,
    others: Mapping[str, Subject],
    said: Callable[[str], None],
    own: Experiment | None = None,
) -> Subject:
    """Load a run's model and examples; ``own`` is its config before it was changed."""
    own = own or experiment
    experiment = experiment.model_copy(
        update={"engine": experiment.engine.resolve(experiment.client.threads)}
    )
    files = RunFolder(folder)
    rows = files.read_metrics()
    splits = load_examples(experiment)
    try:
        parts = _partition(own, experiment, splits, files)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    device = torch.device(experiment.engine.device)
    known: dict[str, Any] = {}
    if parts is not None:
        here = own.model_copy(update={"engine": experiment.engine})
        last = max(1, rows[-1]["round"])
        known["after_update"] = after_update(
            here, splits, parts, lambda: load_last_checkpoint(files, said).model, last
        )
    return subject_of(
        ModelBlueprint.of(experiment, splits.train),
        _encoder(files, own, splits, said).to(device).eval(),
        splits,
        gather(splits, experiment.evaluation),
        parts,
        rounds=rows,
        others=dict(others),
        on_progress=said,
        **known,
    )


def _partition(
    own: Experiment, experiment: Experiment, splits: Splits, files: RunFolder
) -> Partition | None:
    """Share out the examples as the run did; None where they are others', or on devices."""
    if own.data != experiment.data:
        return None
    if not has_partition(files.partition):
        return None
    return partition(own.partition, splits.train, own.seed)


def _encoder(
    files: RunFolder, own: Experiment, splits: Splits, said: Callable[[str], None]
) -> nn.Module:
    """Load the encoder of the run's model, or of its checkpoint while it is not finished."""
    if not os.path.lexists(files.model):
        return load_checkpoint_model(files, blueprint_of(own), said)[0].encoder
    try:
        blueprint = ModelBlueprint.of(own, splits.train)
        made = None if blueprint.has_known_encoder else blueprint.build_encoder()
        return load_encoder(files.model, made)
    except ValueError as error:
        raise ConfigError(str(error)) from error
