"""What a device keeps from round to round: on its own disk, three generations of each run."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from fedssl.model_state import State, count_bytes, load_state, save_state

GENERATIONS = 3
_GENERATION = re.compile(r"round-(\d+)\.safetensors")


class PrivateStates:
    """A client's private state after the last three rounds that it took part in.

    A reply may be refused or come too late, and a server that was interrupted runs its last round
    again, or the one before, if its newest checkpoint is damaged. The client finished that round,
    but it does not count, so what it kept from the rounds before is needed, too.

    Parameters
    ----------
    folder : Path
        Where they lie: a folder for each run, a file for each round.
    limit : int | None
        The most bytes that a run may take here; None for no limit.
    """

    def __init__(self, folder: Path, limit: int | None = None):
        self.folder = folder
        self.limit = limit

    def before(self, run: str, server_round: int) -> State:
        """Return the state from before a round, empty where the client was in none before.

        Parameters
        ----------
        run : str
            The run's name, of letters and digits: it comes from the server.
        server_round : int
            From 1: the one after the last that counted.
        """
        earlier = [number for number in self._rounds(run) if number < server_round]
        return load_state(self._file(run, max(earlier)))[0] if earlier else {}

    def keep(
        self, run: str, server_round: int, state: Mapping[str, Tensor], *, before: int
    ) -> None:
        """Keep the state after a round, and the two newest of those that it may go back to.

        Parameters
        ----------
        run, server_round
            As in `before`.
        state : Mapping[str, Tensor]
            The client's private state.
        before : int
            The round that `before` was asked for.

        Raises
        ------
        ValueError
            It would take more than the limit; nothing was written.
        """
        if self.limit is not None and GENERATIONS * count_bytes(state) > self.limit:
            raise ValueError(
                f"the private state needs {GENERATIONS} times {count_bytes(state) / 1e6:.1f} MB on "
                f"disk, more than the limit of {self.limit / 1e6:.1f} MB: raise --disk"
            )
        file = self._file(run, server_round)
        file.parent.mkdir(parents=True, exist_ok=True)
        rounds = self._rounds(run)
        # All others are of rounds that do not count.
        stays = sorted(number for number in rounds if number < before)[1 - GENERATIONS :]
        stamp = {"run": run, "round": str(server_round)}
        save_state(file, state, stamp, mode=0o600)
        for number in rounds:
            if number not in (*stays, server_round):
                self._file(run, number).unlink()

    def _rounds(self, run: str) -> list[int]:
        folder = self._file(run, 0).parent
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return [int(match[1]) for name in names if (match := _GENERATION.fullmatch(name))]

    def _file(self, run: str, server_round: int) -> Path:
        if not re.fullmatch(r"[0-9a-zA-Z]{1,64}", run):
            raise ValueError(f"the server gave its run a name that is no name: {run!r}")
        return self.folder / run / f"round-{server_round}.safetensors"
