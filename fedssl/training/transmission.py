"""Which federated tensors a round's messages and replies hold."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import model_validator

from fedssl.base.fields import Fields, Listed

Names = Annotated[tuple[str, ...], Listed]


class TransmissionPlan(Fields):
    """Which federated tensors the server sends and clients return; by default all of them.

    Examples
    --------
    >>> plan = TransmissionPlan(local=["head.bias"], withheld=["encoder.bias"])
    >>> sorted(plan.absent_from_reply), sorted(plan.stored_on_client)
    (['encoder.bias', 'head.bias'], ['head.bias'])
    """

    local: Names = ()
    """Tensors that are never transmitted: each client trains its own, which start from the seed."""
    scheduled: Names = ()
    """Tensors that are not merged in every round; a client uses its own while they are newer."""
    merged: Annotated[tuple[int, ...], Listed] = ()
    """The last round in which each tensor of ``scheduled`` was merged; 0 if there was none."""
    withheld: Names = ()
    """Tensors that clients do not return in this round."""

    @model_validator(mode="after")
    def _one_round_each(self) -> Self:
        if len(self.merged) != len(self.scheduled):
            raise ValueError(f"merged = {self.merged}: must have a round for each of scheduled")
        return self

    @property
    def absent_from_reply(self) -> frozenset[str]:
        """The names of the tensors that clients do not return."""
        return frozenset(self.local) | frozenset(self.withheld)

    @property
    def stored_on_client(self) -> frozenset[str]:
        """The names of the tensors that each client stores from round to round."""
        return frozenset(self.local) | frozenset(self.scheduled)

    def newer_on_client(self, local_tensors: Mapping[str, object], last_round: int) -> list[str]:
        """Return the scheduled tensors that were not merged since the client trained them.

        Parameters
        ----------
        local_tensors : Mapping[str, object]
            The tensors that the client stored, by name.
        last_round : int
            The last round in which the client trained.
        """
        pairs = zip(self.scheduled, self.merged, strict=True)
        return [name for name, merged in pairs if last_round > merged and name in local_tensors]
