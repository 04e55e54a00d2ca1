"""Live logs of a run for TensorBoard and Weights & Biases, with the names of ``metrics.jsonl``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from fedssl.base.config_file import ConfigError
from fedssl.base.fields import suggest_name
from simulations.progress.display import Display
from simulations.progress.profiling import Rows
from simulations.record.client_result import ClientResult
from simulations.settings.experiment import Experiment


class Log(Protocol):
    """A log to which the rows of metrics are written."""

    def write(self, server_round: int, values: Mapping[str, float]) -> None:
        """Log a round's metrics."""

    def close(self) -> None:
        """Close the log."""


Opener = Callable[[Path, Experiment, int], Log]
"""Opens a log, given a run's folder, its experiment, and the first round that is run now."""


class TensorBoard:
    """Event files in the run's folder ``tensorboard/``: ``tensorboard --logdir runs``."""

    def __init__(self, folder: Path, experiment: Experiment, first_round: int):
        from torch.utils.tensorboard import SummaryWriter

        # Of a resumed run, this hides earlier entries of rounds that are run again.
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=first_round)

    def write(self, server_round: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, server_round)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class Wandb:
    """A run of the Weights & Biases project ``fedssl``, by wandb's own settings."""

    def __init__(self, folder: Path, experiment: Experiment, first_round: int):
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
"""Maps a log's name to the module that it needs and the class that opens it."""


class LoggingDisplay:
    """A display that also logs each round's metrics.

    Parameters
    ----------
    display : Display
        The display that shows the run.
    name : str
        A name in `LOGS`.
    folder : Path
        The run's folder.

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
    def show_run(self, experiment: Experiment, first_round: int) -> Iterator[None]:
        """Open the log for the time of the run."""
        shown: AbstractContextManager[None] = self._display.show_run(experiment, first_round)
        self._log = self._open(self._folder, experiment, first_round)
        try:
            with shown:
                yield
        finally:
            self._log.close()

    def on_round_start(self, server_round: int, cohort: Sequence[int]) -> None:
        """Pass the call on."""
        self._display.on_round_start(server_round, cohort)

    def on_client_result(self, result: ClientResult) -> None:
        """Pass the call on."""
        self._display.on_client_result(result)

    def on_round_end(self, row: Mapping[str, object]) -> None:
        """Log the numbers of the row, and how many clients took part and failed."""
        self._display.on_round_end(row)
        assert self._log is not None
        values = {name: float(v) for name, v in row.items() if isinstance(v, (int, float))}
        values |= {name: float(len(v)) for name, v in row.items() if isinstance(v, list)}
        self._log.write(int(values.pop("round")), values)

    def on_profile(self, rows: Rows) -> None:
        """Pass the call on."""
        self._display.on_profile(rows)

    def on_message(self, text: str) -> None:
        """Pass the call on."""
        self._display.on_message(text)
