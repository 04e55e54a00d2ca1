"""Make the table of docs/objectives.md: every objective after equally many encoder passes.

    python docs/objectives_table.py runs/objectives docs/objectives.md

makes the runs of configs/objectives.yaml, SET/OBJECTIVE/seed-N in the first folder, and writes the
table between its two marks in the second file. The same command goes on after a stop; runs that
are done are not made again. For data/cifar10-train.npz and data/cifar10-test.npz see
configs/cifar10-small.yaml.
"""

import argparse
import json
import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from fedssl.modalities import load
from fedssl.model_state import clone, federated_state
from fedssl.models.blueprint import ModelBlueprint
from fedssl.objectives import OBJECTIVES, Objective
from fedssl.training.local_update import LocalTrainer
from simulations import Experiment, Run, load_experiment, run
from simulations.comparing.statistics import estimate
from simulations.record.run_folder import RunFolder, check_same_experiment

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs" / "objectives.yaml"
SETS = {
    "glyphs": [],
    "cifar10": [
        f"data={{name: npz, train: {ROOT}/data/cifar10-train.npz, "
        f"test: {ROOT}/data/cifar10-test.npz, limit: {{train: 2560, test: 2000}}, "
        "mean: [0.4914, 0.4822, 0.4465], std: [0.2470, 0.2435, 0.2616]}"
    ],
}
NEEDS = {
    "w-mse": ["model.projector=[256, 16]"],
    "mae": ["model.encoder=vit-tiny", "client.lr=0.0001"],
}
"""What an objective cannot do without: batches of 32 can be whitened in 16 dimensions; at the
learning rate of the others a transformer ends far below untrained."""
SEEDS = (0, 1, 2)
PASSES = 40
"""How often a client passes a batch through an encoder in a round."""
STEPS, TURNS = 3, 5
"""Steps that are timed at once, and how often; all objectives take turns."""
MARKS = "<!-- docs/objectives_table.py: begin -->\n", "<!-- docs/objectives_table.py: end -->\n"


@dataclass(frozen=True)
class Cost:
    """What a step of an objective costs."""

    passes: float
    """How often an image of the batch goes through an encoder, its own or the target's."""
    milliseconds: float
    """CPU time of a step with one thread, the median of all turns."""

    @property
    def steps(self) -> int:
        """Steps of a client in a round."""
        return max(1, round(PASSES / self.passes))


def configured(objective: str, overrides: Sequence[str]) -> Experiment:
    """Return an objective's experiment on the built-in set, or where the overrides say."""
    needs = NEEDS.get(objective, [])
    return load_experiment(CONFIG, [f"objective={{name: {objective}}}", *needs, *overrides])


@contextmanager
def passes_of(objective: Objective) -> Iterator[list[int]]:
    """Collect how many images each call of an encoder takes, by its first layer.

    The target's encoder is of the same class. The layer tells more than the encoder itself, since
    MAE calls a part of it.
    """
    images: list[int] = []
    kind = type(objective.encoder)
    layers = [
        next(m for m in encoder.modules() if isinstance(m, nn.Conv2d | nn.Linear))
        for encoder in objective.modules()
        if type(encoder) is kind
    ]
    handles = [
        layer.register_forward_hook(lambda _, inputs, __: images.append(len(inputs[0])))
        for layer in layers
    ]
    try:
        yield images
    finally:
        for handle in handles:
            handle.remove()


def measure(objectives: Sequence[str], overrides: Sequence[str] = ()) -> dict[str, Cost]:
    """Count the passes of each objective's step and time it, on the images of one client."""
    settings = {
        name: configured(name, [*overrides, f"client.local_steps={STEPS}"]) for name in objectives
    }
    train = load(next(iter(settings.values())).data).train
    workers = {
        name: LocalTrainer(
            ModelBlueprint.of(setting, train), torch.device("cpu"), threading.Event()
        )
        for name, setting in settings.items()
    }
    received = {name: clone(federated_state(w.objective)) for name, w in workers.items()}
    batch = next(iter(settings.values())).client.batch_size
    images, labels = train.examples[:batch], train.labels[:batch]
    passes: dict[str, float] = {}
    seconds: dict[str, list[float]] = {name: [] for name in objectives}
    for turn in range(TURNS + 1):
        for name, worker in workers.items():
            with passes_of(worker.objective) as seen:
                begin = time.process_time()
                worker.run(images, labels, received[name], {}, client=0, server_round=1)
                taken = time.process_time() - begin
            passes[name] = sum(seen) / (STEPS * batch)
            # The first is not counted: much is then done for the first time.
            if turn:
                seconds[name].append(taken / STEPS)
    return {n: Cost(passes[n], 1000 * statistics.median(seconds[n])) for n in objectives}


def costs(folder: Path, objectives: Sequence[str]) -> dict[str, Cost]:
    """Return what `measure` found when the runs were begun: steps must not change meanwhile."""
    file = folder / "costs.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        found = {name: asdict(cost) for name, cost in measure(objectives).items()}
        file.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return {name: Cost(**cost) for name, cost in json.loads(file.read_text("utf-8")).items()}


def finish(experiment: Experiment, folder: Path) -> str:
    """Carry out a run, or what is left of it."""
    found = RunFolder(folder)
    if found.summary.exists():
        check_same_experiment(found.read_config(), experiment, folder)
    else:
        run(experiment, folder, resume=True)
    return f"{folder}: {100 * Run(folder).metrics[-1]['linear_accuracy']:.1f} %"


def carry_out(
    folder: Path, steps: Mapping[str, int], sets: Mapping[str, Sequence[str]], jobs: int
) -> None:
    """Carry out every run, so many at once."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        started = [
            pool.submit(
                finish,
                configured(name, [*more, f"client.local_steps={count}", f"seed={seed}"]),
                folder / images / name / f"seed-{seed}",
            )
            for seed in SEEDS
            for images, more in sets.items()
            for name, count in steps.items()
        ]
        for future in started:
            print(future.result(), flush=True)


def accuracies(folder: Path) -> tuple[list[float], list[float]]:
    """Return the probe's per cent before and after training, of all seeds below a folder."""
    runs = [Run(folder / f"seed-{seed}").metrics for seed in SEEDS]
    before, after = ([100 * rows[end]["linear_accuracy"] for rows in runs] for end in (0, -1))
    return before, after


def shown(values: Sequence[float], sign: str = "") -> str:
    """Return the mean of seeds ± half of its 95 % t interval."""
    found = estimate(values)
    mean = f"{found.mean:{sign}.1f}".replace("-", "−")
    return mean + (f" ± {found.half:.1f}" if found.half else "")


def table(folder: Path, measured: Mapping[str, Cost], sets: Sequence[str]) -> str:
    """Return the table in Markdown, the untrained encoders first."""
    heads = [head for name in sets for head in (f"{name}, %", "gain")]
    lines = ["| objective | passes | steps | " + " | ".join(heads) + " | ms a step |"]
    lines.append("|---" * (len(heads) + 4) + "|")
    untrained: dict[str, list[str]] = {}
    rows: list[str] = []
    for name, cost in measured.items():
        cells: list[str] = []
        for images in sets:
            before, after = accuracies(folder / images / name)
            gains = [b - a for a, b in zip(before, after, strict=True)]
            cells += [shown(after), shown(gains, "+")]
        experiment = Run(folder / sets[0] / name / f"seed-{SEEDS[0]}").experiment
        encoder, model = experiment.model.encoder.name, ""
        if name in NEEDS:
            model = f" ({', '.join(n.partition('.')[2] for n in NEEDS[name])})"
        untrained.setdefault(
            encoder,
            [c for images in sets for c in (shown(accuracies(folder / images / name)[0]), "")],
        )
        clients = experiment.partition.clients or 1
        total = experiment.rounds * clients * cost.steps
        line = [f"`{name}`{model}", f"{cost.passes:g}", str(total), *cells]
        rows.append("| " + " | ".join([*line, f"{cost.milliseconds:.0f}"]) + " |")
    for encoder, cells in untrained.items():
        lines.append(f"| untrained `{encoder}` | | | " + " | ".join(cells) + " | |")
    return "\n".join([*lines, *rows]) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the runs, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, help="folder of the runs")
    parser.add_argument("page", type=Path, help="Markdown file with the two marks")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, a core each")
    given = parser.parse_args(arguments)
    measured = costs(given.runs, list(OBJECTIVES))
    carry_out(given.runs, {n: cost.steps for n, cost in measured.items()}, SETS, given.jobs)
    begin, end = MARKS
    before, _, rest = given.page.read_text(encoding="utf-8").partition(begin)
    made = table(given.runs, measured, list(SETS))
    given.page.write_text(before + begin + made + end + rest.partition(end)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
