"""The folder of a comparison: its plan, its runs, its results, and errors of failed runs."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from fedssl.base.config_file import ConfigError
from fedssl.base.plain_files import read_text
from fedssl.base.printable import printable_message
from simulations.comparing.grid import experiment_of
from simulations.comparing.plan import LARGEST, Plan, PlanFile, PlannedRun
from simulations.record.files import replace_text
from simulations.record.run_folder import RunFolder, check_same_experiment
from simulations.settings.experiment import resolve


class ComparisonFolder:
    """A comparison's files.

    ``plan.yaml``; ``runs/STRATEGY/FIELD=VALUE/seed-N/`` and where fields are tuned also
    ``tuning/…/``, each an ordinary run folder; ``failed/…txt``, why a run failed;
    ``tuning.json``; the results: ``results.csv``, ``summary.json``, ``table.md``, ``table.tex``,
    ``plots/``, ``report.html``.
    """

    def __init__(self, path: Path):
        self.path = path
        self.plan = PlanFile(path)
        self.tuning = path / "tuning.json"

    def run(self, planned: PlannedRun) -> RunFolder:
        """Return the folder of a run."""
        return RunFolder(self.path / planned.folder)

    def is_done(self, planned: PlannedRun) -> bool:
        """Return whether a run is finished."""
        return self.run(planned).summary.exists()

    def error(self, planned: PlannedRun) -> str | None:
        """Return the error of a run's last attempt, or None."""
        file = self._error_file(planned.folder)
        return printable_message(read_text(file)) if file.exists() else None

    def read_tuning(self) -> str | None:
        """Return the text of ``tuning.json``, or None if nothing was tuned."""
        return read_text(self.tuning, LARGEST) if self.tuning.exists() else None

    def note(self, name: str, error: str | None) -> None:
        """Write the error of the run in the folder ``name``, or remove it if there is none."""
        file = self._error_file(name)
        if error is None:
            file.unlink(missing_ok=True)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(file, error)

    def check(self, plan: Plan, runs: Iterable[tuple[PlannedRun, Mapping[str, str]]]) -> None:
        """Refuse to resume runs whose config differs from the one that they started with.

        Parameters
        ----------
        plan : Plan
            The comparison's plan.
        runs : Iterable[tuple[PlannedRun, Mapping[str, str]]]
            Each run with its tuned values.

        Raises
        ------
        ConfigError
            A run's config differs; the message names the run and the fields.
        """
        for planned, setting in runs:
            run_folder = self.run(planned)
            if run_folder.config.exists():
                experiment = resolve(experiment_of(plan, planned, setting))
                check_same_experiment(run_folder.read_config(), experiment, run_folder.path)
            elif not run_folder.is_empty():
                raise ConfigError(
                    f"{run_folder.path}: is not empty, but holds no run (no config.yaml); remove "
                    "it, or give another folder by --out"
                )

    def _error_file(self, name: str) -> Path:
        return self.path / "failed" / f"{name}.txt"
