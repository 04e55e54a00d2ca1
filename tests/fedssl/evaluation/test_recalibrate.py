"""BatchNorm statistics measured anew."""

import pytest
import torch
from torch import nn

from fedssl.evaluation.recalibrate import recalibrated
from fedssl.modalities.image.preparation import normalise
from tests.tools.evaluation import MEAN, PREPARATION, STD, Noisy, colors


@pytest.mark.parametrize(("count", "used"), [(48, 48), (40, 32), (10, 10)])
def test_the_statistics_are_the_mean_over_the_full_batches(count: int, used: int) -> None:
    encoder, examples = Noisy(), colors(count).fetch()
    state = {n: t.clone() for n, t in encoder.state_dict().items()}
    measured = recalibrated(encoder, examples, PREPARATION, batch_size=16)

    convolution, norm = encoder.layers[0], measured.get_submodule("layers.1")
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        batches = torch.split(convolution(normalise(examples[:used], MEAN, STD)), 16)
    means = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    variances = torch.stack([b.transpose(0, 1).flatten(1).var(1) for b in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, means, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, variances, atol=1e-5, rtol=1e-4)

    assert not any(m.training for m in measured.modules())
    assert all(m.training for m in encoder.modules())
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, state[name])
        if "running" not in name and "batches" not in name:
            assert torch.equal(measured.state_dict()[name], tensor)
