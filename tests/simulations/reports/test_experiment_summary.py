"""What `fedssl show` says of how much travels, and how much stays on each client."""

import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from fedssl.model_state import (
    State,
    count_bytes,
    federated_state,
    parameter_names,
    private_tensors,
    tensor_roles,
)
from simulations.reports.experiment_summary import describe
from simulations.settings.experiment import Experiment
from tests.tools import custom_strategies
from tests.tools.blueprints import blueprint

# So wide that tenths of a megabyte tell what is meant.
WIDE = ("model.projector=[512, 512]", "objective.predictor_width=256")


def of(names: tuple[str, ...]) -> Callable[[State], float]:
    return lambda state: count_bytes({n: t for n, t in state.items() if n.startswith(names)})


@pytest.mark.parametrize(
    ("strategy", "remembered", "beside"),
    [
        ("fedavg", (), False),
        ("fedprox", (), False),
        ("moon", ("encoder.", "projector."), False),
        ("fedu", ("predictor.",), False),
        ("encoder-only", ("projector.", "predictor."), False),
        (f"{custom_strategies.__name__}.Sending", ("",), True),
    ],
)
def test_how_much_travels_and_stays(
    small: Callable[..., Experiment], strategy: str, remembered: tuple[str, ...], beside: bool
) -> None:
    experiment = small(f"strategy={{name: {strategy}}}", *WIDE)
    said = io.StringIO()
    describe(experiment, Console(file=said, width=200))
    found = re.search(r"([\d.]+) MB to each and back; ([\d.]+) MB stay on each", said.getvalue())
    assert found
    sent, kept = (float(number) for number in found.groups())
    objective = blueprint(experiment, 16).build()
    state = federated_state(objective)
    named = parameter_names(state, tensor_roles(objective).buffers)
    controls = count_bytes({n: state[n] for n in named}) if beside else 0
    local = of(remembered)(state) if strategy == "encoder-only" else 0
    own = controls if beside else of(remembered)(state) if remembered else 0
    assert sent == pytest.approx((count_bytes(state) - local + controls) / 1e6, abs=0.051)
    assert kept == pytest.approx((count_bytes(private_tensors(objective)) + own) / 1e6, abs=0.051)
    assert count_bytes(private_tensors(objective)) > 200_000
