"""What holds for every objective, and how one is found by name."""

from collections.abc import Sequence
from typing import Annotated

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from fedssl.modalities.image import IMAGE
from fedssl.model_state import clone, copy_into, private_tensors
from fedssl.objectives import (
    OBJECTIVES,
    Batch,
    CustomObjectiveConfig,
    Objective,
    ObjectiveConfig,
    build,
)
from tests.tools.objectives import TinyEncoder, batch_of, encoder_for, make_batch, make_objective


class Constant(Objective):
    """A custom objective with fields of its own."""

    class Config(ObjectiveConfig):
        value: float = 1.0

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        assert isinstance(config, Constant.Config)
        self.encoder, self.projector, self.value = encoder, nn.Identity(), config.value

    def forward(self, batch: Batch) -> Tensor:
        return torch.tensor(self.value)


class Plain(Objective):
    """A custom objective that reads its section's fields as they are."""

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder, self.projector = encoder, nn.Identity()
        self.value: float = config.value  # type: ignore[attr-defined]

    def forward(self, batch: Batch) -> Tensor:
        return torch.tensor(self.value)


def validated(**section: object) -> ObjectiveConfig:
    adapter: TypeAdapter[ObjectiveConfig] = TypeAdapter(
        Annotated[ObjectiveConfig, OBJECTIVES.choice]
    )
    return adapter.validate_python(section)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_name_builds_its_objective_with_its_defaults(name: str) -> None:
    config = validated(name=name)
    objective = build(config, encoder_for(OBJECTIVES[name]), (16, 8), IMAGE)
    assert type(objective) is OBJECTIVES[name]
    assert config.name == name


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("projector", [(), (8,), (16, 8)])
def test_a_few_steps_lower_the_loss(name: str, projector: tuple[int, ...]) -> None:
    objective = make_objective(OBJECTIVES[name], projector)
    optimizer = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], lr=0.02)
    # Queues are filled first; then private state stands still, since a loss that follows it may
    # well rise.
    objective(batch_of(objective))
    objective.after_step(0.0)
    private = clone(private_tensors(objective))
    losses = []
    for _ in range(15):
        copy_into(private_tensors(objective), private)
        loss = objective(batch_of(objective))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert loss.ndim == 0
    assert losses[-1] < losses[0] - 1e-4


@pytest.mark.parametrize(
    "section",
    [
        {"name": "simclr", "temperature": 0.0},
        {"name": "simclr", "temperature": float("nan")},
        {"name": "simclr", "tau": 0.5},
        {"name": "byol", "momentum": 1.1},
        {"name": "simsiam", "predictor_width": 0},
        {"name": "barlow", "off_diagonal": -1.0},
        {"name": "simclr", "margin": -0.1},
        {"name": "vicreg", "variance": -1.0},
        {"name": "moco", "queue": 0},
        {"name": "moco", "on_return": "forget"},
        {"name": "dclw", "sigma": 0.0},
        {"name": "mixed-barlow", "mixing": -1.0},
        {"name": "w-mse", "views": 1},
        {"name": "dino", "teacher_warmup": 1.5},
        {"name": "directpred", "correlation_momentum": 1.0},
        {"name": "mv-infonce", "views": 1},
        {"name": "mv-dhel", "temperature": 0.0},
        {"name": "cacr", "positive": -1.0},
        {"name": "supervised", "classes": 0},
        {"name": "diet", "label_smoothing": 1.0},
        {"name": "all4one", "centroid_temperature": 0.0},
        {"name": "mae", "masked": 1.0},
        {"name": "mae", "decoder_width": 10},
        {"name": "pal", "query": "clever"},
        {"name": "pal", "budget": -1},
        {"name": "unknown"},
    ],
)
def test_the_config_refuses_what_makes_no_sense(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        validated(**section)


def test_a_dotted_path_builds_a_custom_objective() -> None:
    for kind in (Constant, Plain):
        config = validated(name=f"{__name__}.{kind.__name__}", value=3.0)
        assert isinstance(config, CustomObjectiveConfig)
        objective = build(config, TinyEncoder(), (), IMAGE)
        assert type(objective) is kind
        assert objective(make_batch()).item() == 3.0


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"name": f"{__name__}.Constant", "value": "high"},
            r"objective\.value = high: must be a number",
        ),
        ({"name": f"{__name__}.Constant", "other": 1}, r"objective\.other: unknown field"),
        ({"name": f"{__name__}.TinyEncoder"}, "must be a subclass of"),
        ({"name": f"{__name__}.make_batch"}, "must be a subclass of"),
        ({"name": f"{__name__}.Missing"}, "Missing"),
    ],
)
def test_a_wrong_custom_objective_is_explained(section: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(validated(**section), TinyEncoder(), (), IMAGE)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean simclr"):
        build(ObjectiveConfig(name="simclear"), TinyEncoder(), (), IMAGE)
