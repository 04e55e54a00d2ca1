"""From what a person asks to compare to the list of runs: the grid."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedssl.base.config_file import ConfigError
from fedssl.base.fields import suggest_name
from simulations.comparing.arms import (
    CENTRAL,
    LOCAL_ONLY,
    REFERENCES,
    Arm,
    arms,
    choices,
    file_name,
    split,
)
from simulations.comparing.metric import LINEAR, METRICS
from simulations.comparing.plan import Plan, PlannedRun, Values, combinations
from simulations.settings.experiment import Experiment, load_experiment
from simulations.setup.cohort import cohort_size

_SET_OTHERWISE = {
    "seed": "the seeds are the config's and those after it, by --seeds",
    "strategy.name": "name them by --strategies",
    "evaluation.split": "tuned runs are scored on the validation split, all others on the test set",
    "only_client": "add the reference by --references local-only",
}
_OF_CLIENTS = ("partition.", "participation", "strategy.")
"""What means nothing where one client holds all examples."""


@dataclass(frozen=True)
class Request:
    """What a person asks for, as it is typed; see `fedssl compare --help`.

    Examples
    --------
    >>> config = Path("configs/quickstart.yaml")
    >>> request = Request(config, "fedavg,ldawa", seeds=3, vary=["partition.alpha=0.1,1.0"])
    >>> request.metric
    'linear_accuracy'
    """

    config: Path
    strategies: str
    seeds: int
    overrides: Sequence[str] = ()
    baseline: str | None = None
    vary: Sequence[str] = ()
    references: str = ""
    family: str | None = None
    tune: Sequence[str] = ()
    tune_seeds: int = 1
    reach: float | None = None
    metric: str = LINEAR.key


@dataclass(frozen=True)
class _Grid:
    request: Request
    vary: Mapping[str, tuple[str, ...]]
    tune: Mapping[str, tuple[str, ...]]
    found: dict[str, PlannedRun] = field(default_factory=dict)

    def load(self, overrides: Iterable[str]) -> Experiment:
        return load_experiment(self.request.config, [*self.request.overrides, *overrides])

    def add(self, top: str, arm: Arm, cell: Values, setting: Values, seed: int) -> None:
        """Add the runs of an arm; those that another cell has, too, are there once."""
        without = _meaningless(arm.label)
        cell, setting = (_leave_out(values, without) for values in (cell, setting))
        if top == "tuning" and not setting:
            return
        own = (*arm.overrides, *_overrides(cell), *_overrides(setting), f"seed={seed}")
        place = [top, arm.label, *_overrides(cell), *_overrides(setting), f"seed-{seed}"]
        if arm.label == CENTRAL:
            own = (*own, *self._centrally(cell, setting, seed))
        elif arm.label == LOCAL_ONLY:
            for client, alone in enumerate(self._alone(own)):
                self._put([*place, f"client-{client}"], arm, cell, setting, seed, client, alone)
            return
        self._put(place, arm, cell, setting, seed, None, own)

    def _put(
        self,
        place: Sequence[str],
        arm: Arm,
        cell: Values,
        setting: Values,
        seed: int,
        client: int | None,
        overrides: tuple[str, ...],
    ) -> None:
        if setting:
            overrides = (*overrides, "evaluation.split=validation")
        folder = "/".join(map(file_name, place))
        run = PlannedRun(
            folder=folder,
            strategy=arm.label,
            values=cell,
            seed=seed,
            client=client,
            setting=setting,
            overrides=overrides,
        )
        if self.found.setdefault(folder, run) != run:
            raise ConfigError(f"two runs would lie in {folder}; write their values differently")

    def _centrally(self, cell: Values, setting: Values, seed: int) -> list[str]:
        """Give one client all examples, and as many local steps as a round's cohort had in all."""
        alone = ["partition.name=iid", "partition.clients=1", "participation=1.0"]
        fields = [*_overrides(cell), *_overrides(setting), f"seed={seed}"]
        experiment = self.load(fields)
        steps, clients = experiment.client.local_steps, experiment.partition.clients
        if steps is not None and clients is not None:
            steps *= cohort_size(clients, experiment.participation)
            alone.append(f"client.local_steps={steps}")
        return alone

    def _alone(self, overrides: tuple[str, ...]) -> list[tuple[str, ...]]:
        experiment = self.load(overrides)
        clients = experiment.partition.clients
        if clients is None:
            raise ConfigError(
                "--references local-only: needs partition.clients, to have a run for each"
            )
        every = f"evaluation.every={experiment.rounds}"
        return [(*overrides, f"only_client={client}", every) for client in range(clients)]


def make_plan(request: Request) -> Plan:
    """Return the plan of a comparison, every run's config checked.

    Raises
    ------
    ConfigError
        Something that was asked for cannot be.

    Examples
    --------
    With a config file::

        request = Request(Path("configs/quickstart.yaml"), "fedavg,ldawa", seeds=3)
        [run.folder for run in make_plan(request).runs]  # "runs/fedavg/seed-0", …
    """
    base = load_experiment(request.config, request.overrides)
    grid = _Grid(
        request,
        choices(list(request.vary), "--vary"),
        choices(list(request.tune), "--tune"),
    )
    compared = arms(request.strategies)
    labels = [arm.label for arm in compared]
    baseline = request.baseline or labels[0]
    _check_names("--baseline", [baseline], labels)
    family = _words(request.family) or [label for label in labels if label != baseline]
    _check_names("--family", family, [label for label in labels if label != baseline])
    references = _words(request.references)
    _check_names("--references", references, list(REFERENCES))
    _check_fields(grid)
    if CENTRAL in references and "client.local_steps" in grid.tune:
        raise ConfigError(
            "--tune client.local_steps: central makes as many as all clients together, so it "
            "cannot be tuned beside it; leave one of the two out"
        )
    _check_names("--metric", [request.metric], list(METRICS))
    if grid.tune and not METRICS[request.metric].labels:
        raise ConfigError(
            f"--metric {request.metric}: --tune chooses by the labels of held-out examples; leave "
            "one of the two out"
        )
    if request.seeds < 1 or request.tune_seeds < 1:
        raise ConfigError("--seeds and --tune-seeds: at least 1 is needed")
    seeds = range(base.seed, base.seed + request.seeds)
    tune_seeds = range(seeds.stop, seeds.stop + request.tune_seeds) if grid.tune else range(0)
    everything = [*compared, *(Arm(name, ("strategy.name=fedavg",)) for name in references)]
    # Seed by seed, so that whoever stops early has whole pairs.
    for seed in tune_seeds:
        for cell in combinations(grid.vary):
            for setting in combinations(grid.tune):
                for arm in everything:
                    grid.add("tuning", arm, cell, setting, seed)
    for seed in seeds:
        for cell in combinations(grid.vary):
            for arm in everything:
                grid.add("runs", arm, cell, {}, seed)
    plan = Plan(
        config=str(request.config.absolute()),
        overrides=tuple(request.overrides),
        strategies=tuple(labels),
        baseline=baseline,
        references=tuple(references),
        vary=dict(grid.vary),
        seeds=tuple(seeds),
        family=tuple(family),
        tune=dict(grid.tune),
        tune_seeds=tuple(tune_seeds),
        reach=request.reach,
        measure=METRICS[request.metric].key,  # type: ignore[arg-type]  # one of the literals
        runs=tuple(r for r in grid.found.values() if r.folder.startswith("runs/")),
        tuning=tuple(r for r in grid.found.values() if r.folder.startswith("tuning/")),
    )
    for run in (*plan.tuning, *plan.runs):
        if experiment_of(plan, run).objective.name == "supervised" and run.setting:
            raise ConfigError(
                "--tune: objective.name = supervised trains on the labels of the examples that the "
                "validation split holds out; give its fields directly"
            )
    return plan


def experiment_of(
    plan: Plan, run: PlannedRun, setting: Mapping[str, str] | None = None
) -> Experiment:
    """Return a run's experiment, with the setting that was chosen for it where there is one.

    Raises
    ------
    ConfigError
        It cannot be; the message names the run.
    """
    overrides = [*plan.overrides, *run.overrides, *_overrides(setting or {})]
    try:
        return load_experiment(plan.config, overrides)
    except ConfigError as error:
        raise ConfigError(f"{run.folder}: {error}") from None


def _meaningless(label: str) -> tuple[str, ...]:
    if label == CENTRAL:
        return _OF_CLIENTS
    return ("strategy.", "participation") if label == LOCAL_ONLY else ()


def _leave_out(values: Values, prefixes: tuple[str, ...]) -> Values:
    return {name: value for name, value in values.items() if not name.startswith(prefixes)}


def _overrides(values: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in values.items()]


def _words(text: str | None) -> list[str]:
    return [word for word in split(text or "") if word]


def _check_names(option: str, names: Sequence[str], valid: Sequence[str]) -> None:
    for name in names:
        if name not in valid:
            raise ConfigError(
                f"{option} {name}: there is no such; {suggest_name(name, list(valid))}"
            )


def _check_fields(grid: _Grid) -> None:
    given = [override.partition("=")[0].strip() for override in grid.request.overrides]
    for option, names in (("--vary", [*grid.vary]), ("--tune", [*grid.tune]), ("", given)):
        for name in names:
            if name in _SET_OTHERWISE and not (name == "seed" and not option):
                raise ConfigError(f"{option} {name}: {_SET_OTHERWISE[name]}".strip())
            if name.startswith("engine.") and option:
                raise ConfigError(f"{option} {name}: where a run is made does not change it")
    if both := grid.vary.keys() & grid.tune.keys():
        raise ConfigError(f"--tune {min(both)}: is varied already; a field is one or the other")
