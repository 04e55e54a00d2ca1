"""Do two checkouts give the same bits?

    python -m tests.same_bits ../before .                         # all, some minutes
    python -m tests.same_bits ../before . --only strategy         # a part of it
    python -m tests.same_bits ../before . --only strategy/krum    # one run

A checkout is a folder with the repository as it is at some commit (`git worktree add ../before
COMMIT` makes one). Every objective, strategy, view policy, term, encoder, partition and measure
that BEFORE has is run with the code of each, on small images; so are data sets of files and of own
code, some other settings, and its configs/smoke.yaml and configs/quickstart.yaml. The configs are
in the form that BEFORE reads. Both must leave the same
tensors in model.safetensors, and rows of metrics.jsonl with the same values under every key that
BEFORE's rows have, except seconds. What AFTER's rows have besides is not looked at.

It ends with 1 if anything differs, or cannot be run; then the runs are kept, and their folder is
printed.
"""

import argparse
import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor

from simulations.progress.columns import progress_columns
from tests.tools.checkouts import CheckoutError, Resident

Config = dict[str, Any]

SMALL: Config = {
    "seed": 0,
    "rounds": 2,
    "data": {"name": "glyphs", "limit": {"train": 200, "test": 100}},
    # Of different sizes, so that weights by examples count; none below what a step needs.
    "partition": {"name": "dirichlet", "clients": 4, "alpha": 2.0, "minimum": 32},
    "model": {"encoder": "convnet", "projector": [32, 16]},
    "objective": {"name": "simclr"},
    "client": {"batch_size": 32, "lr": 0.05, "threads": 1},
    "strategy": {"name": "fedavg"},
    # A strong penalty: the probe's fit would take most of the time.
    "evaluation": {"every": 2, "l2": 1.0},
    "engine": {"name": "local", "device": "cpu", "workers": 1},
}
"""What each run is, where its name does not change it."""

ONE_STEP: Config = {
    "rounds": 1,
    "client": {"local_steps": 1, "batch_size": 8},
}

OF_OBJECTIVE: dict[str, Config] = {
    "mae": {
        "model": {"encoder": "vit-tiny", "projector": []},
        "client": {"local_steps": 2, "batch_size": 16, "optimizer": "adamw", "lr": 1e-3},
    },
    "pal": {"rounds": 3},
}

OF_STRATEGY: dict[str, Config] = {
    # As many clients as one attacker among them asks for.
    **{
        name: {"partition": {"name": "iid", "clients": clients}}
        for name, clients in (("krum", 5), ("multikrum", 5), ("bulyan", 7), ("trimmed-mean", 5))
    },
    "layer-schedule": {"strategy": {"every": {"encoder.layers.0": 2, "predictor": 0}}},
    "fedu": {"strategy": {"threshold": 0.001}},
    # Their own rule comes after a warm-up of three rounds, if nothing is said.
    **{
        name: {"strategy": {"warmup_rounds": 1}}
        for name in (
            "uniform",
            "ldawa",
            "ldawa-released",
            "ldawa-normalized",
            "dawa",
            "const-shrink",
            "ldawa-renorm",
        )
    },
}

OF_VIEWS: dict[str, Config] = {
    "byol": {"objective": {"name": "byol", "predictor_width": 32}},
    "multi-crop": {"objective": {"name": "dino", "views": 4}},
}

MORE_ENCODERS = ("torchvision/mobilenet_v3_small",)

OF_PARTITION: dict[str, Config] = {
    "iid": {"clients": 4},
    "dirichlet": {"clients": 4, "alpha": 0.5},
    "shards": {"clients": 4, "shards_per_client": 5},
    "classes": {"clients": 5, "classes_per_client": 2},
    "quantity": {"clients": 4, "alpha": 1.0},
    "natural": {"clients": None, "field": "font"},
}

SETTINGS: dict[str, Config] = {
    "half of the clients": {"participation": 0.5},
    "one client": {"only_client": 1},
    "group norm": {"model": {"norm": "group"}},
    "channels first": {"model": {"channels_last": False}},
    "large stem": {"model": {"encoder": "resnet18", "stem": "imagenet"}},
    "no projector": {"objective": {"name": "simsiam"}, "model": {"projector": []}},
    "adamw, cosine": {
        "client": {"optimizer": "adamw", "schedule": "cosine", "warmup_rounds": 1, "lr": 1e-3}
    },
    "lars, clipped": {"client": {"optimizer": "lars", "clip_norm": 0.5}},
    "kept optimiser": {"client": {"optimizer_state": "kept", "nesterov": True}},
    "bfloat16": {"client": {"precision": "bf16"}},
    "two at once": {"engine": {"workers": 2}},
    "validation": {"evaluation": {"split": "validation", "limit": {"train": 80, "test": 30}}},
    "steps of a policy": {
        "views": [
            {"name": "crop", "scale": [0.3, 0.9], "side": 0.75},
            {"name": "flip", "probability": 0.3},
            {"name": "blur", "first_view": 2},
            {"name": "solarize", "probability": 0.5, "last_view": 1},
        ]
    },
    "own encoder": {"model": {"encoder": "own_code.Tiny"}},
    "Flower's strategy": {"strategy": {"name": "flwr.serverapp.strategy.FedMedian"}},
}
"""What differs from `SMALL` in other ways."""

EXTRAS = {"map-tsne": "sklearn", "map-umap": "umap"}
"""Measures that need a library which may not be installed."""


def over(config: Config, changes: Mapping[str, Any]) -> Config:
    """Return a config with sections changed: field by field, but anew where the name changes."""
    result = dict(config)
    for section, fields in changes.items():
        old = result.get(section)
        if isinstance(old, dict) and isinstance(fields, dict) and "name" not in fields:
            result[section] = {**old, **fields}
        else:
            result[section] = fields
    return result


def experiments(offered: Mapping[str, Sequence[str]]) -> dict[str, Config]:
    """Return the config of each run by its name, PART/NAME.

    Parameters
    ----------
    offered : Mapping[str, Sequence[str]]
        By part, the names that BEFORE has; see ``in_checkout/bits.py``.
    """
    # BYOL, since some strategies act on its predictor; and clients of different numbers of steps.
    of_byol = over(
        SMALL,
        {
            "rounds": 3,
            "objective": {"name": "byol", "predictor_width": 32},
            "client": {"batch_size": 16},
            "evaluation": {"every": 3},
        },
    )
    runs: dict[str, Config] = {}
    for name in offered["objective"]:
        own = over(SMALL, {"objective": {"name": name}})
        runs[f"objective/{name}"] = over(own, OF_OBJECTIVE.get(name, {}))
    for name in offered["strategy"]:
        own = over(of_byol, {"strategy": {"name": name}})
        runs[f"strategy/{name}"] = over(own, OF_STRATEGY.get(name, {}))
    for name in offered["views"]:
        runs[f"views/{name}"] = over(SMALL, {"views": name, **OF_VIEWS.get(name, {})})
    for name in offered["term"]:
        runs[f"term/{name}"] = over(SMALL, {"objective": {"terms": [{"name": name}]}})
    for name in (*offered["encoder"], *MORE_ENCODERS):
        runs[f"encoder/{name}"] = over(SMALL, {"model": {"encoder": name}, **ONE_STEP})
    for name in offered["partition"]:
        own = over(SMALL, ONE_STEP)
        runs[f"partition/{name}"] = over(
            own, {"partition": {"name": name, **OF_PARTITION.get(name, {"clients": 4})}}
        )
    for name in offered["measure"]:
        if name not in EXTRAS or importlib.util.find_spec(EXTRAS[name]):
            measured = {"evaluation": {"measures": [name], "recalibrate_bn": True}}
            runs[f"measure/{name}"] = over(over(SMALL, ONE_STEP), measured)
    for name, changes in SETTINGS.items():
        runs[f"setting/{name}"] = over(SMALL, changes)
    return runs


def data_sets(folder: Path) -> dict[str, Config]:
    """Write images into a folder, and return the ``data`` sections that read them."""
    draws = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for name, shape in (("color", (20, 20, 3)), ("grey", (20, 20))):
        for part, count in (("train", 160), ("test", 50)):
            pixels = draws.integers(0, 256, (count, *shape)).astype(np.uint8)
            labels = np.arange(count) % 5
            np.savez(folder / f"{name}-{part}.npz", images=pixels, labels=labels)
    for number in range(200):
        of_class = folder / "files" / "abcde"[number % 5]
        of_class.mkdir(parents=True, exist_ok=True)
        # Of several sizes and kinds, and some grey.
        shape = (18 + number % 5, 24, 3) if number % 4 else (20, 20)
        pixels = draws.integers(0, 256, shape).astype(np.uint8)
        suffix = "jpg" if number % 3 else "png"
        Image.fromarray(pixels).save(of_class / f"{number:03d}.{suffix}")

    def npz(name: str) -> Config:
        return {"name": "npz", **{p: str(folder / f"{name}-{p}.npz") for p in ("train", "test")}}

    files = {"name": "folder", "train": str(folder / "files"), "size": 16}
    own = {"name": "own_code.load", "count": 160}
    return {
        "npz": npz("color"),
        "npz, grey, resized": npz("grey") | {"size": 16, "mean": [0.4], "std": [0.3, 0.2, 0.25]},
        "folder": files,
        "folder, on demand": files | {"in_memory": False},
        "own": own,
        "own, on demand": own | {"on_demand": True, "limit": {"train": 140}},
    }


@dataclass(frozen=True)
class Compared:
    """What a run's two folders have in common."""

    name: str
    tensors: str = ""
    """The first difference between the models; empty if there is none."""
    metrics: str = ""
    """The first difference between the rows."""
    failed: str = ""
    """Why there is nothing to compare."""

    @property
    def same(self) -> bool:
        """Whether there is no difference at all."""
        return not (self.tensors or self.metrics or self.failed)


def compare(name: str, before: Path, after: Path) -> Compared:
    """Compare the folders of two runs of the same config."""
    return Compared(name, tensors_differ(before, after), metrics_differ(before, after))


def tensors_differ(before: Path, after: Path) -> str:
    """Return the first difference between the tensors of two models, bit by bit; empty: none."""
    file = "model.safetensors"
    for folder in (before, after):
        if not (folder / file).is_file():
            return f"{folder / file} is missing"
    old, new = load_file(before / file), load_file(after / file)
    for name, tensor in old.items():
        if name not in new:
            return f"tensor {name} is missing after"
        found = new[name]
        if (found.dtype, found.shape) != (tensor.dtype, tensor.shape):
            return f"tensor {name}: {_shape(tensor)} before, {_shape(found)} after"
        apart = _bits(tensor) != _bits(found)
        if bool(apart.any()):
            place = int(apart.nonzero()[0])
            was, became = (t.flatten()[place].item() for t in (tensor, found))
            index = [int(i) for i in torch.unravel_index(torch.tensor(place), tensor.shape)]
            count = f"{int(apart.sum())} of {tensor.numel()}"
            return f"tensor {name}{index}: {was!r} before, {became!r} after ({count} differ)"
    if more := sorted(new.keys() - old.keys()):
        return f"tensor {more[0]} is new after"
    return ""


def _shape(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _bits(tensor: Tensor) -> Tensor:
    """Return whole numbers of the same bits [N]: NaN equals NaN, and 0 is not −0."""
    sizes = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.flatten().view(sizes[tensor.element_size()])


def metrics_differ(before: Path, after: Path) -> str:
    """Return the first difference between the rows, by the keys of the old ones; empty: none."""
    tables = []
    for folder in (before, after):
        path = folder / "metrics.jsonl"
        if not path.is_file():
            return f"{path} is missing"
        tables.append([json.loads(line) for line in path.read_text("utf-8").splitlines()])
    old, new = tables
    for was, became in zip(old, new, strict=False):
        for key, value in was.items():
            if "seconds" in key:
                continue
            place = f"round {was.get('round')}, {key}"
            if key not in became:
                return f"{place}: {value!r} before, missing after"
            if not _equal(value, became[key]):
                return f"{place}: {value!r} before, {became[key]!r} after"
    return "" if len(old) == len(new) else f"{len(old)} rows before, {len(new)} after"


def _equal(value: object, other: object) -> bool:
    # As text, NaN is equal to NaN, also within lists.
    return value == other or json.dumps(value) == json.dumps(other)


def run_both(
    runs: Mapping[str, Path], before: Resident, after: Resident, home: Path, progress: Progress
) -> list[Compared]:
    """Run each config file with both checkouts, which work side by side, and compare."""

    def run_all(label: str, resident: Resident) -> dict[str, str]:
        task = progress.add_task(label, total=len(runs), run="")
        failures = {}
        for name, config in runs.items():
            progress.update(task, run=name)
            try:
                out = home / label / name
                resident.ask({"what": "run", "config": str(config), "out": str(out)})
            except CheckoutError as error:
                failures[name] = str(error)
            progress.advance(task)
        progress.update(task, run="")
        return failures

    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(run_all, "before", before), pool.submit(run_all, "after", after)]
        failures = [wait.result() for wait in waits]
    compared = []
    for name in runs:
        reasons = [
            f"{label} failed: {failed[name]}"
            for label, failed in zip(("before", "after"), failures, strict=True)
            if name in failed
        ]
        if reasons:
            compared.append(Compared(name, failed="; ".join(reasons)))
        else:
            compared.append(compare(name, home / "before" / name, home / "after" / name))
    return compared


def show(compared: Sequence[Compared], console: Console) -> None:
    """Print a line for each run, and the first difference of those that have one."""
    table = Table("run", "tensors", "metrics", box=None, pad_edge=False)
    for one in compared:
        words = ["not run" if one.failed else ("DIFFER" if d else "equal") for d in _pair(one)]
        table.add_row(one.name, *words)
    console.print(table)
    for one in compared:
        for difference in filter(None, (one.failed, one.tensors, one.metrics)):
            console.print(
                f"{one.name}: {difference}", markup=False, highlight=False, soft_wrap=True
            )
    same = sum(one.same for one in compared)
    console.print(f"{same} of {len(compared)} runs are the same, bit by bit")


def _pair(one: Compared) -> tuple[str, str]:
    return one.tensors, one.metrics


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, and return the exit code."""
    told, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m tests.same_bits",
        description=told,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", type=Path, help="a checkout: what is run is what this one has")
    parser.add_argument("after", type=Path, help="a checkout that must give the same")
    parser.add_argument(
        "--only",
        metavar="PART",
        help="a part, such as config, objective, strategy, views, measure, data; or PART/NAME",
    )
    asked = parser.parse_args(arguments)
    home = Path(tempfile.mkdtemp(prefix="same-bits-"))
    try:
        compared = _compared(asked.before, asked.after, asked.only, home)
    except CheckoutError as error:
        shutil.rmtree(home)
        print(f"error: {error}", file=sys.stderr)
        return 1
    show(compared, Console())
    if all(one.same for one in compared):
        shutil.rmtree(home)
        return 0
    print(f"the runs are in {home}")
    return 1


def _compared(before: Path, after: Path, only: str | None, home: Path) -> list[Compared]:
    with ExitStack() as open_processes:
        old, new = (
            open_processes.enter_context(Resident(checkout, "bits.py", home / f"{label}.log"))
            for label, checkout in (("before", before), ("after", after))
        )
        runs: dict[str, Path] = {}
        configs = experiments(old.ask({"what": "offered"}))
        for name, data in data_sets(home / "images").items():
            configs[f"data/{name}"] = over(SMALL, {"data": data})
        for name, config in configs.items():
            runs[name] = home / "configs" / f"{name}.yaml"
            runs[name].parent.mkdir(parents=True, exist_ok=True)
            runs[name].write_text(yaml.safe_dump(config), encoding="utf-8")
        for name in ("smoke", "quickstart"):
            runs[f"config/{name}"] = before.resolve() / "configs" / f"{name}.yaml"
        chosen = {n: path for n, path in runs.items() if _is_asked(n, only)}
        if not chosen:
            raise CheckoutError(f"--only {only}: there is no such run; there are {', '.join(runs)}")
        with Progress(
            *progress_columns("{task.description}", "{task.fields[run]}", time_left=False),
            console=Console(stderr=True),
        ) as progress:
            return run_both(chosen, old, new, home, progress)


def _is_asked(name: str, only: str | None) -> bool:
    return only is None or name == only or name.startswith(f"{only}/")


if __name__ == "__main__":
    sys.exit(main())
