"""Which tensors of a model travel between the server and a client in a round."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import model_validator

from fedssl.base.fields import Fields, Listed

Names = Annotated[tuple[str, ...], Listed]


class TravelPlan(Fields):
    """Which tensors travel; all of them, both ways, by default."""

    local: Names = ()
    """Tensors that never travel: each client has its own, made from the seed at first."""
    scheduled: Names = ()
    """Tensors that are not merged in every round; a client keeps its own while they are newer."""
    merged: Annotated[tuple[int, ...], Listed] = ()
    """The last round that merged each of ``scheduled``, 0 for none yet."""
    withheld: Names = ()
    """Tensors that are not sent back in this round."""

    @model_validator(mode="after")
    def _one_round_each(self) -> Self:
        if len(self.merged) != len(self.scheduled):
            raise ValueError(f"merged = {self.merged}: must have a round for each of scheduled")
        return self

    @property
    def withholds(self) -> frozenset[str]:
        """The tensors that are in no reply."""
        return frozenset(self.local) | frozenset(self.withheld)

    @property
    def kept(self) -> frozenset[str]:
        """The tensors of which a client keeps its own from visit to visit."""
        return frozenset(self.local) | frozenset(self.scheduled)

    def newer(self, own: Mapping[str, object], last_round: int) -> list[str]:
        """Return the scheduled tensors of a client's own that no round has merged since.

        Parameters
        ----------
        own : Mapping[str, object]
            What the client kept, by name.
        last_round : int
            The round of its last visit.
        """
        pairs = zip(self.scheduled, self.merged, strict=True)
        return [name for name, merged in pairs if last_round > merged and name in own]
