"""Live logs of a run for TensorBoard and Weights & Biases, under the names of ``metrics.jsonl``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from fedssl.base.config_file import ConfigError
from fedssl.base.fields import suggest_name
from simulations.progress.display import Display
from simulations.progress.profiling import Rows
from simulations.record.answer import Answer
from simulations.settings.experiment import Experiment


class Log(Protocol):
    """Where the rows go."""

    def write(self, server_round: int, values: Mapping[str, float]) -> None:
        """Log a round's figures."""

    def close(self) -> None:
        """Log no more."""


Opener = Callable[[Path, Experiment, int], Log]
"""Opens a log for a run's folder, its experiment, and its first round, which may be logged."""


class TensorBoard:
    """Event files in the run's folder ``tensorboard/``: ``tensorboard --logdir runs``."""

    def __init__(self, folder: Path, experiment: Experiment, first: int):
        from torch.utils.tensorboard import SummaryWriter

        # Of a run that goes on, what was logged of rounds that are run again is hidden.
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=first)

    def write(self, server_round: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, server_round)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class Wandb:
    """A run of the project ``fedssl``; what wandb does with it, its own settings say."""

    def __init__(self, folder: Path, experiment: Experiment, first: int):
        import wandb

        self._run: Any = wandb.init(
            project="fedssl",
            name=folder.resolve().name,
            dir=str(folder),
            config=experiment.model_dump(mode="json"),
        )

    def write(self, server_round: int, values: Mapping[str, float]) -> None:
        """Log a step."""
        self._run.log(dict(values), step=server_round)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


LOGS: dict[str, tuple[str, Opener]] = {
    "tensorboard": ("torch.utils.tensorboard", TensorBoard),
    "wandb": ("wandb", Wandb),
}
"""By name: the module that is needed, and what opens the log."""


class Logged:
    """A display that logs each round's row, too.

    Parameters
    ----------
    display : Display
        What else shows the run.
    name : str
        A name of `LOGS`.
    folder : Path
        The run's.

    Raises
    ------
    ConfigError
        There is no such log, or it is not installed.
    """

    def __init__(self, display: Display, name: str, folder: Path):
        if name not in LOGS:
            raise ConfigError(
                f"--log {name}: there is no such log; {suggest_name(name, list(LOGS))}"
            )
        module, self._open = LOGS[name]
        try:
            __import__(module)
        except ImportError as error:
            raise ConfigError(
                f"--log {name}: is not installed ({error}); pip install 'fedssl[{name}]'"
            ) from None
        self._display = display
        self._folder = folder
        self._log: Log | None = None

    @contextmanager
    def running(self, experiment: Experiment, first: int) -> Iterator[None]:
        """Open the log while the run is run."""
        shown: AbstractContextManager[None] = self._display.running(experiment, first)
        self._log = self._open(self._folder, experiment, first)
        try:
            with shown:
                yield
        finally:
            self._log.close()

    def began(self, server_round: int, cohort: Sequence[int]) -> None:
        """Pass on."""
        self._display.began(server_round, cohort)

    def answered(self, answer: Answer) -> None:
        """Pass on."""
        self._display.answered(answer)

    def ended(self, row: Mapping[str, object]) -> None:
        """Log the row: its numbers, and how many clients took part and failed."""
        self._display.ended(row)
        assert self._log is not None
        values = {name: float(v) for name, v in row.items() if isinstance(v, (int, float))}
        values |= {name: float(len(v)) for name, v in row.items() if isinstance(v, list)}
        self._log.write(int(values.pop("round")), values)

    def profiled(self, rows: Rows) -> None:
        """Pass on."""
        self._display.profiled(rows)

    def said(self, text: str) -> None:
        """Pass on."""
        self._display.said(text)
