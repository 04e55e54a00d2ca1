"""The kit of objectives: each of ours keeps the contract, and each breach is found."""

import pytest

from fedssl.objectives import OBJECTIVES
from fedssl.testing import check_objective
from tests.tools import breaches


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective(name: str) -> None:
    check_objective(name)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("Drawing", "its loss draws from torch's global generator"),
        ("NumpyDrawing", "its loss draws from numpy's global generator"),
        ("Writing", "writes to the batch: copy them first: see view 1"),
        ("Detached", "no finite gradient reaches encoder"),
        ("Vector", "the loss must be a finite scalar"),
        ("Lonely", "in a batch of minimum_batch = 1: the loss is"),
        ("Misnamed", "`private` names target, and its state_dict has no such"),
        ("Selfish", "`private` names encoder, which is what clients learn together"),
        ("Remembering", "gives other bits twice|a resumed client ends with another"),
        ("Peeking", "its loss depends on labels"),
        ("Coarse", "under autocast its loss is torch.bfloat16"),
        ("Endless", "chance_loss.2. is inf"),
        ("Seedless", "building it twice from one seed gives other weights: see odd"),
        ("Undescribed", "the field odd of its Config has no description"),
        ("Incomplete", "the field odd of its Config has no default"),
        ("TooLong", "must say when to use it in fewer than 100 characters"),
    ],
)
def test_a_breach_is_found(broken: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_objective(getattr(breaches, broken))


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no such objective; did you mean simclr"):
        check_objective("simclear")
    with pytest.raises(ValueError, match=r"temperature = -1"):
        check_objective("simclr", temperature=-1.0)
