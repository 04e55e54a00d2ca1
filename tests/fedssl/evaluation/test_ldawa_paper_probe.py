"""The paper's probe: features before pooling, and a fit by SGD against its optimum."""

import pytest
import torch
from torch import nn

from fedssl.base.seeding import seeded_initialisation
from fedssl.evaluation.features import extract
from fedssl.evaluation.ldawa_paper_probe import Paper, fit_by_sgd
from fedssl.evaluation.linear import accuracy
from fedssl.evaluation.prepool import before_pooling
from fedssl.modalities.image.encoders import build_encoder
from tests.tools.evaluation import PREPARATION, Noisy, a_subject, blobs, rng

measure = Paper(Paper.Config()).measure


def encoder_of(name: str) -> nn.Module:
    with seeded_initialisation(0):
        return build_encoder(name, 32)


@pytest.mark.parametrize(("name", "width"), [("resnet18", 8192), ("convnet", 2048)])
def test_features_before_pooling_have_the_pooled_ones_as_their_means(name: str, width: int) -> None:
    encoder = encoder_of(name)
    examples = torch.randint(0, 256, (3, 3, 32, 32), generator=rng(), dtype=torch.uint8)
    modes = [m.training for m in encoder.modules()]
    with before_pooling(encoder, torch.zeros(1, 3, 32, 32)) as wrapped:
        maps = extract(wrapped, examples, PREPARATION, batch_size=2)
    assert maps.shape == (3, width)
    pooled = extract(encoder, examples, PREPARATION)
    torch.testing.assert_close(maps.view(3, pooled.shape[1], -1).mean(2), pooled)
    assert [m.training for m in encoder.modules()] == modes
    assert not any(m._forward_hooks for m in encoder.modules())


def test_a_transformer_has_none() -> None:
    with (
        pytest.raises(ValueError, match="no maps before its pooling"),
        before_pooling(encoder_of("vit-tiny"), torch.zeros(1, 3, 32, 32)),
    ):
        pass


def test_sgd_comes_near_the_optimum_and_is_the_same_each_time() -> None:
    features, labels = blobs(600, 8, spread=3)
    labels[::10] = -1
    first, second = (fit_by_sgd(features, labels, rng()) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    weight = torch.zeros(4, 8, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimum = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")
    known = labels >= 0

    def closure() -> float:
        optimum.zero_grad()
        loss = nn.functional.cross_entropy(
            features[known].double() @ weight.T + bias, labels[known]
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    optimum.step(closure)  # type: ignore[no-untyped-call]
    assert first.objective == pytest.approx(closure(), abs=0.03)
    assert accuracy(first.predict(features), labels) > 0.5


def test_the_learning_rate_falls_after_60_and_80(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    step = torch.optim.SGD.step

    def noting(self: torch.optim.SGD, closure: None = None) -> None:
        seen.append(self.param_groups[0]["lr"])
        assert self.param_groups[0]["nesterov"]
        step(self, closure)

    monkeypatch.setattr(torch.optim.SGD, "step", noting)
    fit_by_sgd(*blobs(130, 4), rng())
    assert len(seen) == 200
    assert seen[::2] == pytest.approx([0.01] * 60 + [1e-3] * 20 + [1e-4] * 20)


def test_without_labels_there_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="none has a label"):
        fit_by_sgd(torch.ones(3, 2), torch.full((3,), -1), rng())


def test_colours_are_told_apart() -> None:
    found = measure(a_subject(Noisy()))
    assert found.figures == {"paper_accuracy": 1}
    assert found.details == {"features": 8 * 6 * 6}
