"""GroupNorm in place of BatchNorm."""

import importlib.util
from typing import Annotated

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fedssl.base.seeding import seeded_initialisation
from fedssl.modalities.image import IMAGE
from fedssl.modalities.image.encoders import ENCODERS, build_encoder
from fedssl.model_state import floating_buffer_names, tensor_roles
from fedssl.networks.norms import MIN_GROUP_CHANNELS, group_count, use_group_norm
from fedssl.objectives import OBJECTIVES, ObjectiveConfig, build
from tests.tools.objectives import batch_of, encoder_for, normal


@pytest.mark.parametrize(
    ("channels", "expected"), [(32, 2), (64, 4), (512, 32), (12, 1), (65, 1), (100, 5), (7, 1)]
)
def test_a_group_has_sixteen_channels_where_it_can(channels: int, expected: int) -> None:
    assert group_count(channels) == expected


@given(st.integers(1, 3000))
def test_groups_divide_the_channels_and_are_never_small(channels: int) -> None:
    size, rest = divmod(channels, group_count(channels))
    assert rest == 0
    assert size >= min(MIN_GROUP_CHANNELS, channels)


def test_each_example_is_normalised_by_itself_and_alike_in_training_and_evaluation() -> None:
    norm = use_group_norm(nn.BatchNorm2d(32))
    examples = normal(5, 32, 4, 4) * 3 + 1
    whole = norm(examples)
    for example, found in zip(examples, whole, strict=True):
        for channels in (slice(0, 16), slice(16, 32)):
            part = example[channels]
            expected = (part - part.mean()) / (part.var(correction=0) + 1e-5).sqrt()
            torch.testing.assert_close(found[channels], expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(norm.eval()(examples), whole)


def test_scale_shift_and_shared_modules_are_kept() -> None:
    shared = nn.BatchNorm1d(32, eps=0.5)
    nn.init.normal_(shared.weight)
    nn.init.normal_(shared.bias)
    plain = nn.BatchNorm1d(32, affine=False)
    made = use_group_norm(nn.Sequential(shared, nn.ReLU(), nn.Sequential(shared, plain)))
    first, again, last = made[0], made[2][0], made[2][1]  # type: ignore[index]
    assert first is again
    assert torch.equal(first.weight, shared.weight)
    assert torch.equal(first.bias, shared.bias)
    assert first.eps == 0.5
    assert not list(last.parameters())


class NormAct(nn.BatchNorm2d):
    """A BatchNorm and an activation in one, as timm's BatchNormAct2d."""

    def __init__(self, channels: int):
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        activated: Tensor = self.act(self.drop(super().forward(maps)))
        return activated


def test_the_activation_that_timm_puts_into_a_batchnorm_is_kept() -> None:
    norm = NormAct(32)
    nn.init.normal_(norm.weight)
    made = use_group_norm(nn.Sequential(norm))
    plain = use_group_norm(nn.BatchNorm2d(32))
    plain.load_state_dict(made[0].state_dict())  # type: ignore[index]
    maps = normal(5, 32, 4, 4)
    assert torch.equal(made(maps), plain(maps).relu())
    assert (made(maps) == 0).any()


class Scaled(nn.BatchNorm2d):
    """A BatchNorm that does something of its own."""

    def forward(self, maps: Tensor) -> Tensor:
        return 2 * super().forward(maps)


def test_a_batchnorm_that_does_something_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match="norm = group: no GroupNorm can replace a Scaled"):
        use_group_norm(nn.Sequential(Scaled(32)))


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs timm")
def test_timms_activations_are_kept() -> None:
    encoder = use_group_norm(build_encoder("timm/test_efficientnet", 32))
    activated: list[nn.Module] = []
    for norm in encoder.modules():
        if isinstance(norm, nn.GroupNorm) and not isinstance(norm.act, nn.Identity):
            norm.act.register_forward_hook(lambda act, *_: activated.append(act))  # type: ignore[union-attr]
    assert encoder(normal(2, 3, 32, 32)).shape == (2, encoder.features)
    assert activated


FEDSSLS = [name for name in ENCODERS if "/" not in name]


@pytest.mark.parametrize("name", [*FEDSSLS, "torchvision/shufflenet_v2_x0_5"])
def test_no_encoder_keeps_a_batchnorm_or_a_statistic(name: str) -> None:
    with seeded_initialisation(0):
        before = build_encoder(name, 32).state_dict()
    with seeded_initialisation(0):
        encoder = use_group_norm(build_encoder(name, 32))
    assert not any(isinstance(module, _BatchNorm) for module in encoder.modules())
    assert not floating_buffer_names(encoder)
    # The same weights under the same names: runs with both norms are paired.
    after = encoder.state_dict()
    assert after.keys() <= before.keys()
    assert all(torch.equal(before[key], value) for key, value in after.items())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains_without_batchnorm(name: str) -> None:
    adapter: TypeAdapter[ObjectiveConfig] = TypeAdapter(
        Annotated[ObjectiveConfig, OBJECTIVES.choice]
    )
    config = adapter.validate_python({"name": name})
    objective = build(config, encoder_for(OBJECTIVES[name]), (16, 8), IMAGE)
    use_group_norm(objective)
    objective.resize(32)
    objective.start(torch.Generator().manual_seed(0))
    assert not any(isinstance(module, _BatchNorm) for module in objective.modules())
    assert not tensor_roles(objective).batchnorm_names
    loss = objective(batch_of(objective))
    loss.backward()
    assert loss.isfinite()
    gradients = [p.grad for p in objective.encoder.parameters() if p.grad is not None]
    assert gradients
    assert all(g.isfinite().all() for g in gradients)
    assert any(g.abs().sum() > 0 for g in gradients)
