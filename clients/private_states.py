"""Store a client's private states on the device's disk, three generations of each run."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from fedssl.model_state import State, count_bytes, load_state, save_state

GENERATIONS = 3
_GENERATION = re.compile(r"round-(\d+)\.safetensors")


class PrivateStates:
    """Stores a client's private states after the last three rounds that it took part in.

    A reply may be refused or come too late. A server that was interrupted runs its last round
    again, or the one before if its newest checkpoint is damaged. The client has then finished a
    round that was not merged, so it needs its states from the rounds before.

    Parameters
    ----------
    folder : Path
        The folder of the states: a folder for each run, a file for each round.
    limit : int | None
        The most bytes of a run's states; None for no limit.
    """

    def __init__(self, folder: Path, limit: int | None = None):
        self.folder = folder
        self.limit = limit

    def load(self, run: str, server_round: int) -> State:
        """Return the state from before a round; empty where the client took part in none before.

        Parameters
        ----------
        run : str
            The run's name, of letters and digits: it comes from the server.
        server_round : int
            The round, from 1, after the last one that was merged.
        """
        earlier = [number for number in self._rounds(run) if number < server_round]
        return load_state(self._file(run, max(earlier)))[0] if earlier else {}

    def save(
        self, run: str, server_round: int, state: Mapping[str, Tensor], *, before: int
    ) -> None:
        """Save the state after a round, and keep the two newest states that may be needed again.

        Parameters
        ----------
        run, server_round
            As in `load`.
        state : Mapping[str, Tensor]
            The client's private state.
        before : int
            The round that was given to `load`.

        Raises
        ------
        ValueError
            The states would take more than the limit; nothing was written.
        """
        if self.limit is not None and GENERATIONS * count_bytes(state) > self.limit:
            raise ValueError(
                f"the private state needs {GENERATIONS} times {count_bytes(state) / 1e6:.1f} MB on "
                f"disk, more than the limit of {self.limit / 1e6:.1f} MB: raise --disk"
            )
        file = self._file(run, server_round)
        file.parent.mkdir(parents=True, exist_ok=True)
        rounds = self._rounds(run)
        # All others are of rounds that were not merged.
        kept_rounds = sorted(number for number in rounds if number < before)[1 - GENERATIONS :]
        stamp = {"run": run, "round": str(server_round)}
        save_state(file, state, stamp, mode=0o600)
        for number in rounds:
            if number not in (*kept_rounds, server_round):
                self._file(run, number).unlink()

    def _rounds(self, run: str) -> list[int]:
        folder = self._file(run, 0).parent
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return [int(match[1]) for name in names if (match := _GENERATION.fullmatch(name))]

    def _file(self, run: str, server_round: int) -> Path:
        if not re.fullmatch(r"[0-9a-zA-Z]{1,64}", run):
            raise ValueError(f"the server gave its run a name that is no name: {run!r}")
        return self.folder / run / f"round-{server_round}.safetensors"
