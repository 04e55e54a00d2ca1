"""The check that every reply passes: what is refused, shortened or left out, and what is said."""

import math

import pytest

from fedssl.model_state import clone
from tests.tools import custom_strategies
from tests.tools.faulty_clients import (
    FAULTS,
    FAULTS_BESIDE,
    SPOILERS,
    raises,
)
from tests.tools.played_rounds import (
    FAULTY,
    Small,
    failed,
    scene,
)
from tests.tools.tensors import same_state


@pytest.mark.parametrize("crossing", [False, True])
def test_a_client_that_sends_other_tensors_beside_the_model_fails_alone(
    small: Small, crossing: bool
) -> None:
    strategy = f"{custom_strategies.__name__}.Sending"
    custom_strategies.HEARD.clear()
    with scene(small, strategy, crossing=crossing) as played:
        assert not failed(played.play({}))
        assert custom_strategies.HEARD == [6]
        played.play({FAULTY: raises(ValueError("not here"))})
        without = clone(played.server.state())
        assert custom_strategies.HEARD == [6, 5]
        reasons: dict[str, str] = {}
        for name, fault in FAULTS_BESIDE.items():
            found = failed(played.play({FAULTY: fault}))
            assert list(found) == [FAULTY], (name, found)
            assert found[FAULTY].isprintable(), name
            assert len(found[FAULTY]) <= 300, name
            assert same_state(played.server.state(), without), name
            assert custom_strategies.HEARD[-1] == 5, name
            assert played.visits() == dict.fromkeys((0, 1, 3, 4, 5), 1.0), name
            reasons[name] = found[FAULTY]
    first = "scaffold/encoder.layers.0.weight"
    for name, reason in {
        "one too many": "its extra has an unexpected tensor scaffold/example",
        "another rule's": "its extra has an unexpected tensor fedx/0.bias",
        "one missing": f"its extra lacks the tensor {first}",
        "all missing": f"its extra lacks the tensor {first}",
        "another shape": f"its tensor {first} has the shape (1, 3, 3, 3) in place of (4, 3, 3, 3)",
        "NaN": f"its tensor {first} is infinite or NaN",
        "float64": f"its tensor {first} is float64 in place of float32",
        "metrics in its place": "it has no ArrayRecord 'extra'",
    }.items():
        assert reason in reasons[name]


def test_the_reason_says_what_is_wrong(small: Small) -> None:
    with scene(small, "fedavg", crossing=True) as played:
        reasons = {
            name: failed(played.play({FAULTY: FAULTS[name]}))[FAULTY]
            for name in (
                "weights NaN",
                "examples 10^18",
                "a header that claims objects",
                "no metrics",
                "400 MB",
            )
        }
    assert (
        "encoder.layers.0.weight is infinite or NaN: try a lower client.lr"
        in (reasons["weights NaN"])
    )
    assert "num-examples is 1000000000000000000: must be from 1 to 8" in reasons["examples 10^18"]
    assert "it holds object, which are no numbers" in reasons["a header that claims objects"]
    assert "it has no MetricRecord 'metrics'" in reasons["no metrics"]
    assert "has 400000000 bytes in place of 432 and a header" in reasons["400 MB"]


def test_an_update_beyond_the_limit_is_shortened_to_it(small: Small) -> None:
    limit = "strategy={name: fedavg, max_update_norm: 0.5}"
    with scene(small, "fedavg", limit) as played:
        answers = played.play({FAULTY: SPOILERS["weights 1e30"]}, [FAULTY])
        assert [answer.clipped for answer in answers] == [True]
        before, now = played.model, played.server.state()
        floats = [n for n, t in now.items() if t.is_floating_point()]
        square = sum(float((now[n] - before[n]).double().square().sum()) for n in floats)
        assert math.sqrt(square) == pytest.approx(0.5, rel=1e-4)
        answers = played.play({FAULTY: SPOILERS["weights 1e30"]})
        assert [a.client for a in answers if a.clipped] == [FAULTY]
        assert not failed(answers)


def test_an_update_beyond_the_limit_may_be_refused(small: Small) -> None:
    limit = "strategy={name: fedavg, max_update_norm: 0.5, on_exceed: refuse}"
    with scene(small, "fedavg", limit) as played:
        played.play({FAULTY: raises(ValueError("not here"))})
        without = clone(played.server.state())
        reasons = failed(played.play({FAULTY: SPOILERS["weights 1e30"]}))
        assert "more than strategy.max_update_norm = 0.5" in reasons[FAULTY]
        assert same_state(played.server.state(), without)
