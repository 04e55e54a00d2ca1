"""Watch the machines of a Ray cluster, so that one that is lost is noticed and not waited for."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import ray
from ray.util import placement_group_table

from simulations.engines.ray_session import Place
from simulations.errors import EngineLostError

LOOK_SECONDS = 2.0
SILENT_SECONDS = 20.0
"""How long a cluster's head may be silent before it counts as lost."""
EMPTY_SECONDS = 300.0
"""How long a cluster may have no room for any worker: a new machine may be on its way."""


class Watch:
    """Knows which of the reserved places are there: those on machines that live.

    Ray reserves another place for one that was lost as soon as there is room for it.

    Parameters
    ----------
    places : Sequence[Place]
        As `session` reserved them.
    on_change : Callable[[Collection[int], Collection[int]], None]
        Called, in another thread, with the numbers of the places that were lost or are elsewhere
        now, and of all that are there.
    said : Callable[[str], None]
        Told in a sentence what was lost, and what is there again.
    """

    def __init__(
        self,
        places: Sequence[Place],
        on_change: Callable[[Collection[int], Collection[int]], None],
        said: Callable[[str], None],
    ):
        self._group = places[0]["scheduling_strategy"].placement_group
        self._count = len(places)
        self._on_change = on_change
        self._said = said
        self._here = ray.get_runtime_context().get_node_id()
        self._nodes, self._hosts = self._look()
        self._heard = self._had_room = time.monotonic()
        self._fault: str | None = None
        self._ended = threading.Event()
        # A daemon, for it hangs where the head does.
        self._thread = threading.Thread(target=self._run, name="ray-watch", daemon=True)
        self._thread.start()

    @property
    def there(self) -> Collection[int]:
        """The numbers of the places that are there."""
        return self._nodes.keys()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join(LOOK_SECONDS)

    def check(self) -> None:
        """See that there is a cluster to wait for.

        Raises
        ------
        EngineLostError
            Its head is silent, this machine is no longer part of it, or it has had no room for any
            worker for too long.
        """
        now = time.monotonic()
        if now - self._heard > SILENT_SECONDS:
            self._fault = self._fault or f"its head has been silent for {SILENT_SECONDS:g} s"
        if not self._nodes and now - self._had_room > EMPTY_SECONDS:
            self._fault = self._fault or f"it has had no room for {EMPTY_SECONDS:g} s"
        if self._fault:
            raise EngineLostError(
                f"the Ray cluster is lost: {self._fault}; all finished rounds are kept: go on by "
                "--resume, with engine.name=local or another engine.address"
            )

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                nodes, hosts = self._look()
            # Of whatever kind: what is not heard of for long is lost.
            except Exception:
                continue
            self._heard = time.monotonic()
            if not self._ended.is_set():
                self._compare(nodes, hosts)

    def _look(self) -> tuple[dict[int, str], dict[str, str]]:
        """Return the node of each place that is there, and the address of each node that lives."""
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        hosts = {node["NodeID"]: node["NodeManagerAddress"] for node in nodes if node["Alive"]}
        at: dict[int, str] = placement_group_table(self._group)["bundles_to_node_id"]
        return {place: node for place, node in at.items() if node in hosts}, hosts

    def _compare(self, nodes: dict[int, str], hosts: dict[str, str]) -> None:
        if self._here not in hosts:
            self._fault = self._fault or "this machine is no longer part of it"
        if nodes:
            self._had_room = time.monotonic()
        before, self._nodes = self._nodes, nodes
        before_hosts, self._hosts = self._hosts, hosts
        moved = {place for place, node in before.items() if nodes.get(place) != node}
        new = {place for place, node in nodes.items() if before.get(place) != node}
        if not moved and not new:
            return
        self._on_change(moved, nodes.keys())
        left = f"{len(nodes)} of {self._count} workers"
        on = (
            f"going on with {left}"
            if nodes
            else f"waiting for another, at most {EMPTY_SECONDS:g} s"
        )
        for node in sorted({before[place] for place in moved}):
            self._said(f"the Ray cluster has lost the machine {before_hosts[node]}: {on}")
        for node in sorted({nodes[place] for place in new}):
            self._said(f"the Ray cluster has room on the machine {hosts[node]}: {on}")
