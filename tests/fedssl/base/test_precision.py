from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from fedssl.base.precision import choose_precision, has_native_bf16
from fedssl.objectives.barlow import barlow_twins
from fedssl.objectives.byol import prediction_error
from fedssl.objectives.simclr import nt_xent
from fedssl.objectives.simsiam import negative_cosine
from tests.tools.objectives import normal

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "simclr": partial(nt_xent, temperature=0.1),
    "byol": prediction_error,
    "simsiam": negative_cosine,
    "barlow": partial(barlow_twins, off_diagonal=0.005),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_computed_in_float32_under_autocast(name: str) -> None:
    loss = LOSSES[name]
    rounded = [normal(16, 8, seed=s).bfloat16().requires_grad_() for s in (0, 1)]
    wide = [z.detach().float().requires_grad_() for z in rounded]
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(*rounded)
    expected = loss(*wide)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    (rough,), (fine,) = (
        torch.autograd.grad(x, z[:1]) for x, z in [(found, rounded), (expected, wide)]
    )
    assert torch.equal(rough, fine.bfloat16())


@pytest.mark.parametrize("name", LOSSES)
def test_float64_is_not_narrowed(name: str) -> None:
    first, second = (normal(4, 3, seed=s, dtype=torch.float64) for s in (0, 1))
    assert LOSSES[name](first, second).dtype == torch.float64


@pytest.mark.parametrize("native", [True, False])
def test_auto_asks_the_cpu(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    cpu = torch.device("cpu")
    assert has_native_bf16(cpu) is native
    assert choose_precision("auto", cpu) == ("bf16" if native else "fp32")
    assert choose_precision("bf16", cpu) == "bf16"
    assert choose_precision("fp32", cpu) == "fp32"


def test_a_gpu_that_only_emulates_bfloat16_does_not_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert not has_native_bf16(torch.device("cuda"))


def test_the_cpu_answers() -> None:
    assert has_native_bf16(torch.device("cpu")) in (True, False)
