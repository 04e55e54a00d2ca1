from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fedssl.modalities.image.encoders import build_encoder
from fedssl.models.warm_start import warm_start


def weights(encoder: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in encoder.state_dict().items()}


@pytest.fixture
def trained() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return weights(build_encoder("convnet", 16, width=4))


def fill(path: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    torch.manual_seed(2)
    encoder = build_encoder("convnet", 16, width=4)
    warm_start(encoder, path)
    return weights(encoder)


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_the_encoder_is_that_of_the_file(
    tmp_path: Path, trained: dict[str, Tensor], prefix: str
) -> None:
    heads = {"projector.0.weight": torch.ones(3)} if prefix else {}
    file = {prefix + name: tensor for name, tensor in trained.items()} | heads
    filled = fill(tmp_path / "model.safetensors", file)
    assert filled.keys() == trained.keys()
    assert all(torch.equal(filled[name], trained[name]) for name in trained)
    encoder = build_encoder("convnet", 16, width=4)
    warm_start(encoder, tmp_path)  # the folder that holds it
    assert torch.equal(weights(encoder)["layers.0.weight"], trained["layers.0.weight"])


def test_only_counters_may_be_missing(tmp_path: Path, trained: dict[str, Tensor]) -> None:
    floats = {name: tensor for name, tensor in trained.items() if tensor.is_floating_point()}
    filled = fill(tmp_path / "a.safetensors", floats)
    assert all(torch.equal(filled[name], floats[name]) for name in floats)
    del floats["layers.0.weight"]
    with pytest.raises(ValueError, match=r"model\.init.*only one of them has layers\.0\.weight"):
        fill(tmp_path / "b.safetensors", floats)


def test_what_does_not_fit_is_refused_and_changes_nothing(
    tmp_path: Path, trained: dict[str, Tensor]
) -> None:
    trained["layers.9.weight"] = torch.zeros(1)
    save_file(trained, tmp_path / "wide.safetensors")
    encoder = build_encoder("convnet", 16, width=8)
    before = weights(encoder)
    with pytest.raises(ValueError, match=r"model\.init = .*wide\.safetensors: does not fit"):
        warm_start(encoder, tmp_path / "wide.safetensors")
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(encoder).items())


def test_a_pickle_is_refused_and_never_opened(tmp_path: Path, trained: dict[str, Tensor]) -> None:
    torch.save(trained, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="is not a safetensors file"):
        warm_start(build_encoder("convnet", 16, width=4), tmp_path / "model.pt")
    with pytest.raises(ValueError, match="there is no such file"):
        warm_start(build_encoder("convnet", 16, width=4), tmp_path / "gone.safetensors")
