"""Choose the number of worker processes by the CPUs and GPUs of the machines."""

from collections.abc import Iterable, Mapping

from fedssl.base.config_file import ConfigError


def choose_workers(
    requested: int | None,
    machines: Iterable[Mapping[str, float]],
    cpus: int,
    gpus: float,
    where: str,
) -> int:
    """Return the number of workers: the requested number, or as many as the machines can hold.

    >>> choose_workers(None, [{"CPU": 8}], 2, 0, "this machine")
    4

    Parameters
    ----------
    requested : int | None
        ``engine.workers``.
    machines : Iterable[Mapping[str, float]]
        Each machine's resources, by Ray's names ``CPU`` and ``GPU``. No worker spans two machines.
    cpus : int
        The CPUs of a worker: ``client.threads``.
    gpus : float
        The share of a GPU of a worker, from 0 to 1: ``engine.gpus_per_worker``.
    where : str
        The name of the machines in errors.

    Raises
    ------
    ConfigError
        The machines cannot hold so many workers, or not even one.
    """
    machines = list(machines)
    capacity = sum(_capacity(machine, cpus, gpus) for machine in machines)
    if capacity and (requested or 0) <= capacity:
        return requested or capacity
    needed, available = f"client.threads = {cpus}", f"{_total(machines, 'CPU'):g} CPUs"
    if gpus:
        needed += f" and engine.gpus_per_worker = {gpus:g}"
        available += f" and {_total(machines, 'GPU'):g} GPUs"
    fix = f"give at most {capacity}, or null for as many" if capacity else "lower what it takes"
    raise ConfigError(
        f"engine.workers = {'null' if requested is None else requested}: a worker takes {needed}, "
        f"and {where} has {available}, room for {capacity}; {fix}"
    )


def _capacity(machine: Mapping[str, float], cpus: int, gpus: float) -> int:
    workers = int(machine.get("CPU", 0) // cpus)
    if gpus:
        # A share lies on a single GPU: two shares of 0.4 fit on each. The small number added is
        # for rounding errors of shares such as 1/3, of which three fit.
        workers = min(workers, int(machine.get("GPU", 0)) * int(1 / gpus + 1e-6))
    return workers


def _total(machines: Iterable[Mapping[str, float]], resource: str) -> float:
    return sum(machine.get(resource, 0) for machine in machines)
