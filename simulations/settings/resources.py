"""How many worker processes machines have room for: each takes CPUs, and maybe a share of a GPU."""

from collections.abc import Iterable, Mapping

from fedssl.base.config_file import ConfigError


def choose_workers(
    asked: int | None, machines: Iterable[Mapping[str, float]], cpus: int, gpus: float, where: str
) -> int:
    """Return the number of workers: as many as asked for, or else as there is room for.

    Parameters
    ----------
    asked : int | None
        ``engine.workers``.
    machines : Iterable[Mapping[str, float]]
        What each has, as Ray names it: ``CPU`` and ``GPU``. No worker spans two machines.
    cpus : int
        What a worker takes: ``client.threads``.
    gpus : float
        What else it takes, 0 to 1: ``engine.gpus_per_worker``.
    where : str
        What errors call the machines.

    Raises
    ------
    ConfigError
        There is no room for as many, or for none at all.
    """
    machines = list(machines)
    room = sum(_room(machine, cpus, gpus) for machine in machines)
    if room and (asked or 0) <= room:
        return asked or room
    takes, has = f"client.threads = {cpus}", f"{_total(machines, 'CPU'):g} CPUs"
    if gpus:
        takes += f" and engine.gpus_per_worker = {gpus:g}"
        has += f" and {_total(machines, 'GPU'):g} GPUs"
    fix = f"give at most {room}, or null for as many" if room else "lower what it takes"
    raise ConfigError(
        f"engine.workers = {'null' if asked is None else asked}: a worker takes {takes}, and "
        f"{where} has {has}, room for {room}; {fix}"
    )


def _room(machine: Mapping[str, float], cpus: int, gpus: float) -> int:
    room = int(machine.get("CPU", 0) // cpus)
    if gpus:
        # A share of a GPU lies on one of them: of 0.4, two fit on each. The little more is for
        # shares such as 1/3, of which three fit.
        room = min(room, int(machine.get("GPU", 0)) * int(1 / gpus + 1e-6))
    return room


def _total(machines: Iterable[Mapping[str, float]], what: str) -> float:
    return sum(machine.get(what, 0) for machine in machines)
