"""Watch the machines of a Ray cluster, to notice one that is lost."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import ray
from ray.util import placement_group_table

from simulations.engines.ray_session import WorkerSlot
from simulations.errors import EngineLostError

POLL_SECONDS = 2.0
SILENT_SECONDS = 20.0
"""The seconds without an answer of the cluster's head after which it counts as lost."""
EMPTY_SECONDS = 300.0
"""The seconds that a cluster may lack resources for any worker: a new machine may still join."""


class ClusterWatch:
    """Tracks which of the reserved worker slots are available: those on machines that live.

    Ray moves a slot whose machine was lost to another machine as soon as one has resources for it.

    Parameters
    ----------
    slots : Sequence[WorkerSlot]
        The slots that `session` reserved.
    on_change : Callable[[Collection[int], Collection[int]], None]
        Called, in another thread, with the numbers of the slots that were lost or moved, and of
        all that are available.
    on_message : Callable[[str], None]
        Called with a message on each machine that is lost, or available again.
    """

    def __init__(
        self,
        slots: Sequence[WorkerSlot],
        on_change: Callable[[Collection[int], Collection[int]], None],
        on_message: Callable[[str], None],
    ):
        self._group = slots[0]["scheduling_strategy"].placement_group
        self._count = len(slots)
        self._on_change = on_change
        self._on_message = on_message
        self._here = ray.get_runtime_context().get_node_id()
        self._nodes, self._hosts = self._poll()
        self._heard = self._had_room = time.monotonic()
        self._fault: str | None = None
        self._ended = threading.Event()
        # A daemon, for it hangs where the head does.
        self._thread = threading.Thread(target=self._run, name="ray-watch", daemon=True)
        self._thread.start()

    @property
    def available(self) -> Collection[int]:
        """The numbers of the available slots."""
        return self._nodes.keys()

    def close(self) -> None:
        """Stop watching."""
        self._ended.set()
        self._thread.join(POLL_SECONDS)

    def check(self) -> None:
        """Check that the cluster still exists.

        Raises
        ------
        EngineLostError
            The cluster's head does not answer, this machine is no longer part of the cluster, or it
            has lacked resources for any worker for too long.
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
        while not self._ended.wait(POLL_SECONDS):
            try:
                nodes, hosts = self._poll()
            # Of any kind: a cluster that does not answer for long counts as lost.
            except Exception:
                continue
            self._heard = time.monotonic()
            if not self._ended.is_set():
                self._compare(nodes, hosts)

    def _poll(self) -> tuple[dict[int, str], dict[str, str]]:
        """Return the node of each available slot, and the address of each node that lives."""
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        hosts = {node["NodeID"]: node["NodeManagerAddress"] for node in nodes if node["Alive"]}
        slot_nodes: dict[int, str] = placement_group_table(self._group)["bundles_to_node_id"]
        return {slot: node for slot, node in slot_nodes.items() if node in hosts}, hosts

    def _compare(self, nodes: dict[int, str], hosts: dict[str, str]) -> None:
        if self._here not in hosts:
            self._fault = self._fault or "this machine is no longer part of it"
        if nodes:
            self._had_room = time.monotonic()
        before, self._nodes = self._nodes, nodes
        before_hosts, self._hosts = self._hosts, hosts
        moved = {slot for slot, node in before.items() if nodes.get(slot) != node}
        new = {slot for slot, node in nodes.items() if before.get(slot) != node}
        if not moved and not new:
            return
        self._on_change(moved, nodes.keys())
        remaining = f"{len(nodes)} of {self._count} workers"
        consequence = (
            f"going on with {remaining}"
            if nodes
            else f"waiting for another, at most {EMPTY_SECONDS:g} s"
        )
        for node in sorted({before[slot] for slot in moved}):
            self._on_message(
                f"the Ray cluster has lost the machine {before_hosts[node]}: {consequence}"
            )
        for node in sorted({nodes[slot] for slot in new}):
            self._on_message(
                f"the Ray cluster has room on the machine {hosts[node]}: {consequence}"
            )
