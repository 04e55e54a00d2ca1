"""The cost of a strategy's runs, and the cost of reaching an accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from simulations.comparing.results import Result


@dataclass(frozen=True)
class Cost:
    """The mean cost of a run over the seeds."""

    bytes_up: float
    """The bytes that all clients sent in all rounds."""
    bytes_down: float
    """The bytes that were sent to all clients."""
    bytes_up_per_client: float
    bytes_down_per_client: float
    client_seconds: float
    """The local updates' wall time, summed over clients."""
    server_seconds: float
    """The time of the server's merges, without evaluation."""
    reach: float
    """The accuracy in per cent, or another metric, that the next three fields refer to."""
    reached: int
    """The number of seeds that reached it."""
    rounds_to_reach: float | None
    """The first evaluated round that reached it; None unless every seed has one."""
    bytes_to_reach: float | None
    """The bytes up and down until then."""


def cost(results: Sequence[Result], reach: float) -> Cost | None:
    """Return the cost of a strategy's runs, or None if there are none.

    Parameters
    ----------
    results : Sequence[Result]
        The finished runs' results.
    reach : float
        The accuracy to reach, in per cent.
    """
    if not results:
        return None
    crossings = [crossing for result in results if (crossing := _crossing(result, reach))]
    everywhere = len(crossings) == len(results)
    clients = results[0].clients
    up, down = (fmean(_total(result, name) for result in results) for name in _BYTES)
    return Cost(
        bytes_up=up,
        bytes_down=down,
        bytes_up_per_client=up / clients,
        bytes_down_per_client=down / clients,
        client_seconds=fmean(_total(result, "client_seconds") for result in results),
        server_seconds=fmean(_total(result, "merge_seconds") for result in results),
        reach=reach,
        reached=len(crossings),
        rounds_to_reach=fmean(number for number, _ in crossings) if everywhere else None,
        bytes_to_reach=fmean(sent for _, sent in crossings) if everywhere else None,
    )


_BYTES = ("bytes_up", "bytes_down")


def _total(result: Result, name: str) -> float:
    return float(sum(row.get(name, 0) for row in result.rows))


def _crossing(result: Result, reach: float) -> tuple[int, float] | None:
    """Return the first evaluated round that has the accuracy, and the bytes until then."""
    sent, metric = 0.0, result.metric
    for row in result.rows:
        sent += sum(row[name] for name in _BYTES)
        if metric.key in row and metric.sign * metric.of(row) >= metric.sign * reach:
            return int(row["round"]), sent
    return None
