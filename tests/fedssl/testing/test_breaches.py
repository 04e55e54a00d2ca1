"""Each kit finds each breach of a contract, and says what it is."""

from collections.abc import Callable

import pytest

from fedssl.testing import (
    check_client_rule,
    check_dataset,
    check_encoder,
    check_measure,
    check_objective,
    check_partition,
    check_term,
)
from tests.tools import breaches

HERE = breaches.__name__
Check = Callable[..., None]

BREACHES: list[tuple[Check, str, str]] = [
    (check_objective, "Drawing", "its loss draws from torch's global generator"),
    (check_objective, "NumpyDrawing", "its loss draws from numpy's global generator"),
    (check_objective, "Writing", "writes to the batch: copy them first: see view 1"),
    (check_objective, "Detached", "no finite gradient reaches encoder"),
    (check_objective, "Vector", "the loss must be a finite scalar"),
    (check_objective, "Lonely", "in a batch of minimum_batch = 1: the loss is"),
    (check_objective, "Misnamed", "`private` names target, and its state_dict has no such"),
    (check_objective, "Selfish", "`private` names encoder, which is what clients learn together"),
    (check_objective, "Remembering", "gives other bits twice|a resumed client ends with another"),
    (check_objective, "Peeking", "its loss depends on labels"),
    (check_objective, "Coarse", "under autocast its loss is torch.bfloat16"),
    (check_objective, "Endless", "chance_loss.2. is inf"),
    (check_objective, "Seedless", "building it twice from one seed gives other weights: see odd"),
    (check_objective, "Undescribed", "the field odd of its Config has no description"),
    (check_objective, "Incomplete", "the field odd of its Config has no default"),
    (check_objective, "TooLong", "must say when to use it in fewer than 100 characters"),
    (check_term, "WritingSize", "writes to the projections"),
    (check_term, "Idle", "no gradient of what it adds reaches the encoder"),
    (check_term, "Vain", "no gradient reaches its head.weight"),
    (check_encoder, "Together", "in eval mode features depend on the rest of the batch"),
    (check_encoder, "Dropping", "draws from torch's global generator in training"),
    (check_encoder, "Hidden", "with its state_dict another one gives other features"),
    (check_encoder, "Moving", "in eval mode a forward pass changes a tensor: see seen"),
    (
        check_client_rule,
        "Leaking",
        "the client's first round fails with ValueError: .* would send the tensor secret",
    ),
    (check_client_rule, "Boasting", "its metric size is 2.0, and it declares 0 to 1"),
    (check_client_rule, "Moody", "gives other bits for the same client and round"),
    (check_client_rule, "Gambling", "draws from torch's global generator"),
    (check_client_rule, "Meddling", "sets metrics_only, but clients train differently"),
    (
        check_client_rule,
        "Unready",
        "remember fails with AttributeError if neither initial_tensors nor",
    ),
    (check_measure, "Changing", "gives other figures of an equal subject"),
    (check_measure, "Spoiling", "changes the encoder"),
    (check_measure, "Undefined", "its figure figure is nan"),
    (check_measure, "Taken", "every round has a figure .'seconds'."),
    (check_measure, "Claiming", "can be had without labels"),
    (check_measure, "Denying", "fails without labels; say `labels = True`"),
    (check_measure, "Verbose", "its details are no JSON"),
    (check_partition, "Floating", r"assign must return int64 \[120\].* float64"),
    (check_partition, "Far", "assign gives clients 1 to 4, and there are 4"),
    (check_partition, "Whimsical", "assign gives other clients for the same state"),
    (check_partition, "Nameless", "client_names gives 1 names for 4 clients"),
    (check_partition, "Labelled", "fails without labels, .* say by_label = True"),
]


@pytest.mark.parametrize(
    ("check", "broken", "message"), BREACHES, ids=[broken for _, broken, _ in BREACHES]
)
def test_a_breach_is_found(check: Check, broken: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(getattr(breaches, broken))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("other_labels", "labels go from 0 to 11, and there are 2 class names"),
        ("twice_named", "two classes have one name"),
        ("late_images", "the same row gives other examples|fetched one by one are others"),
        ("new_images", "reading twice gives different examples"),
        ("odd_field", "the field who must be int64"),
    ],
)
def test_a_breach_of_a_data_set_is_found(broken: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_dataset({"name": f"{HERE}.{broken}", "modality": "image"})


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (check_term, "Size"),
        (check_encoder, "Flat"),
        (check_client_rule, "Rule"),
        (check_measure, "Figure"),
        (check_partition, "Deal"),
    ],
)
def test_what_is_broken_there_is_whole_by_its_class_and_by_its_path(
    check: Check, good: str
) -> None:
    check(getattr(breaches, good))
    check(f"{HERE}.{good}")


def test_a_data_set_by_its_path() -> None:
    check_dataset({"name": f"{HERE}.good_images", "modality": "image"})


def test_what_no_config_could_name_is_refused() -> None:
    class Inner(breaches.Size):
        """Cannot be reached."""

    with pytest.raises(ValueError, match="define it at the top level of a module"):
        check_term(Inner)
    with pytest.raises(ValueError, match=r"must be a subclass of .*\.Term"):
        check_term(breaches.Rule)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no such objective; did you mean simclr"):
        check_objective("simclear")
    with pytest.raises(ValueError, match=r"temperature = -1"):
        check_objective("simclr", temperature=-1.0)
