"""The folder of a comparison: its plan, its runs, and what went wrong with some."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from fedssl.base.config_file import ConfigError
from fedssl.base.plain_files import read_text
from fedssl.base.printable import printable_message
from simulations.comparing.grid import experiment_of
from simulations.comparing.plan import LARGEST, Plan, PlanFile, Planned
from simulations.record.files import replace_text
from simulations.record.run_folder import RunFolder, check_same_experiment
from simulations.settings.experiment import resolve


class ComparisonFolder:
    """A comparison's files.

    ``plan.yaml``; ``runs/STRATEGY/FIELD=VALUE/seed-N/`` and where fields are tuned also
    ``tuning/…/``, each an ordinary run folder; ``failed/…txt``, why a run failed;
    ``tuning.json``; what was found: ``results.csv``, ``summary.json``, ``table.md``, ``table.tex``,
    ``plots/``, ``report.html``.
    """

    def __init__(self, path: Path):
        self.path = path
        self.plan = PlanFile(path)
        self.tuning = path / "tuning.json"

    def run(self, planned: Planned) -> RunFolder:
        """Return the folder of a run."""
        return RunFolder(self.path / planned.folder)

    def is_done(self, planned: Planned) -> bool:
        """Say whether a run was finished."""
        return self.run(planned).summary.exists()

    def error(self, planned: Planned) -> str | None:
        """Return why a run failed when it was last tried, or None."""
        file = self._error_file(planned.folder)
        return printable_message(read_text(file)) if file.exists() else None

    def read_tuning(self) -> str | None:
        """Return the text of ``tuning.json``, or None where nothing was tuned."""
        return read_text(self.tuning, LARGEST) if self.tuning.exists() else None

    def note(self, name: str, error: str | None) -> None:
        """Keep why the run in the folder ``name`` failed, or that it did not."""
        file = self._error_file(name)
        if error is None:
            file.unlink(missing_ok=True)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(file, error)

    def check(self, plan: Plan, runs: Iterable[tuple[Planned, Mapping[str, str]]]) -> None:
        """Refuse to go on with runs whose config is not the one that they began with.

        Parameters
        ----------
        plan : Plan
            Theirs.
        runs : Iterable[tuple[Planned, Mapping[str, str]]]
            Each with the setting that was chosen for it.

        Raises
        ------
        ConfigError
            Names the run and the fields that differ.
        """
        for planned, setting in runs:
            there = self.run(planned)
            if there.config.exists():
                now = resolve(experiment_of(plan, planned, setting))
                check_same_experiment(there.read_config(), now, there.path)
            elif not there.is_empty():
                raise ConfigError(
                    f"{there.path}: is not empty, but holds no run (no config.yaml); remove it, or "
                    "give another folder by --out"
                )

    def _error_file(self, name: str) -> Path:
        return self.path / "failed" / f"{name}.txt"
