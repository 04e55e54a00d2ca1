"""Does an encoder keep its contract?"""

import copy
import inspect
import tempfile
import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fedssl.base.config_file import validate
from fedssl.base.import_path import load_dotted
from fedssl.base.registry import config_of
from fedssl.base.seeding import seeded_initialisation
from fedssl.config import LearningConfig
from fedssl.modalities import MODALITIES, Modality, load
from fedssl.model_state import clone, federated_state
from fedssl.models.blueprint import ModelBlueprint
from fedssl.models.model_file import load_encoder, save_model
from fedssl.networks.encoder import EncoderConfig, MaskableEncoder
from fedssl.networks.norms import use_group_norm
from fedssl.testing.shared import (
    Plugin,
    check_documented,
    check_section,
    close,
    find_plugin,
    nothing_drawn,
    require,
    require_same,
    same,
    unchanged,
)
from fedssl.training.local_update import LocalTrainer

EXAMPLES = 12


def check_encoder(
    encoder: type[nn.Module] | str, modality: str = "image", **fields: object
) -> None:
    """Check that an encoder keeps its contract, as the modality's registry of encoders says.

    Parameters
    ----------
    encoder : type[nn.Module] | str
        Its class, the name that it is registered by, or the dotted path of a class, or of a
        callable without arguments.
    modality : str (default: "image")
        What its examples are: the name of a modality, or its dotted path. A few of its first data
        set that needs no files are looked at.
    **fields : object
        Fields of the ``model.encoder`` section that shall differ from their defaults.

    Raises
    ------
    AssertionError
        It does not; the message says what, and where it can be seen.
    ValueError
        There is no such encoder, or a field is wrong.

    Examples
    --------
        from fedssl.testing import check_encoder
        check_encoder("convnet", width=4)
    """
    of = MODALITIES.find(modality)
    plugin = _find(of, encoder, fields)
    if issubclass(config_of(plugin.found), EncoderConfig):
        check_documented(plugin)
    values: dict[str, Any] = {
        "data": _data_of(of, modality),
        "partition": {"name": "iid", "clients": 1},
        "objective": {"name": "simclr"},
        "model": {"encoder": plugin.section, "projector": [16, 8]},
    }
    config = validate(LearningConfig, values, base=Path(), source="check_encoder")
    check_section(config.model.encoder, f"encoder {plugin.name}")
    train = load(config.data).train
    blueprint = ModelBlueprint.of(config, train)
    check_built_encoder(f"encoder {plugin.name}", blueprint, train.fetch())


def _find(of: Modality, encoder: type[nn.Module] | str, fields: dict[str, object]) -> Plugin:
    """Find it; a callable that is no class is a plug-in without documents."""
    if isinstance(encoder, str) and encoder not in of.encoders and "." in encoder:
        item = load_dotted(encoder)
        if not inspect.isclass(item):
            return Plugin(encoder, object, fields)
    return find_plugin(of.encoders, encoder, fields)


def _data_of(modality: Modality, path: str) -> dict[str, object]:
    """Return the ``data`` section of the modality's first set that needs no files."""
    for name, kind in modality.data_sets.items():
        if not any(f.is_required() for n, f in kind.model_fields.items() if n != "name"):
            limit = {"train": EXAMPLES, "test": EXAMPLES}
            return {"name": name, "modality": path, "limit": limit}
    raise ValueError(f"modality = {path}: none of its data sets can be had without files")


def check_built_encoder(where: str, blueprint: ModelBlueprint, examples: Tensor) -> None:
    """Check the encoder of a blueprint.

    Parameters
    ----------
    where : str
        What messages begin with.
    blueprint : ModelBlueprint
        Whose objective is ``simclr``.
    examples : Tensor
        [N, …] as they are stored, N at least 8.
    """
    prepared = blueprint.preparation(examples)
    encoder = _check_building(where, blueprint)
    _check_features(where, encoder, prepared)
    _check_eval(where, encoder, prepared)
    _check_loading(where, blueprint, encoder, prepared)
    _check_learning(where, blueprint, examples)
    _check_model_file(where, blueprint, examples)


def _built(blueprint: ModelBlueprint, seed: int = 0) -> nn.Module:
    with seeded_initialisation(seed):
        return blueprint.build_encoder()


def _check_building(where: str, blueprint: ModelBlueprint) -> nn.Module:
    with nothing_drawn(f"{where}: building it"):
        encoder = _built(blueprint)
    require_same(
        encoder.state_dict(),
        _built(blueprint).state_dict(),
        f"{where}: building it twice from one seed gives other weights",
    )
    return encoder


def _check_features(where: str, encoder: nn.Module, prepared: Tensor) -> None:
    drawn = torch.get_rng_state()
    with unchanged({"prepared": prepared}, where, "the examples"):
        features = encoder(prepared)
    require(
        torch.equal(drawn, torch.get_rng_state()),
        f"{where}: draws from torch's global generator in training, as dropout does, so no run "
        "could be repeated",
    )
    width = getattr(encoder, "features", None)
    require(
        isinstance(width, int) and features.shape == (len(prepared), width),
        f"{where}: gives {list(features.shape)} for {len(prepared)} examples, and its attribute "
        f"`features` is {width}",
    )
    require(bool(features.isfinite().all()), f"{where}: features are infinite or NaN")
    features.square().sum().backward()
    dead = [n for n, p in encoder.named_parameters() if p.requires_grad and p.grad is None]
    require(not dead, f"{where}: no gradient reaches {', '.join(dead[:3])}")


@torch.no_grad()
def _check_eval(where: str, encoder: nn.Module, prepared: Tensor) -> None:
    kept = clone(encoder.state_dict())
    whole = encoder.eval()(prepared)
    parts = torch.cat([encoder(part) for part in torch.split(prepared, 5)])
    require(close(whole, parts), f"{where}: in eval mode features depend on the rest of the batch")
    require_same(
        kept, encoder.state_dict(), f"{where}: in eval mode a forward pass changes a tensor"
    )
    use_group_norm(copy.deepcopy(encoder))(prepared)
    if isinstance(encoder, MaskableEncoder):
        _check_maskable(encoder, prepared, where)


def _check_maskable(encoder: MaskableEncoder, prepared: Tensor, where: str) -> None:
    patches = encoder.patches(prepared)
    count = patches.shape[1]
    require(
        patches.shape == (len(prepared), count, encoder.values_per_patch),
        f"{where}: patches are {list(patches.shape)}, and values_per_patch is "
        f"{encoder.values_per_patch}",
    )
    every = torch.arange(count).expand(len(prepared), -1)
    tokens = encoder.tokens(prepared)
    require(
        tokens.shape == (len(prepared), count, encoder.features),
        f"{where}: tokens are {list(tokens.shape)}",
    )
    require(
        close(tokens, encoder.tokens(prepared, every)),
        f"{where}: tokens of all patches shown one by one are others than those of all",
    )
    few = encoder.tokens(prepared, every[:, : max(1, count // 2)])
    require(few.shape[1] == max(1, count // 2), f"{where}: shows other patches than it is told")
    places = encoder.position_encodings(prepared, 24)
    require(places.shape == (count, 24), f"{where}: places are {list(places.shape)}")


@torch.no_grad()
def _check_loading(
    where: str, blueprint: ModelBlueprint, encoder: nn.Module, prepared: Tensor
) -> None:
    other = _built(blueprint, seed=1).eval()
    require(
        other.state_dict().keys() == encoder.state_dict().keys(),
        f"{where}: another seed gives it other tensors",
    )
    other.load_state_dict(clone(encoder.state_dict()))
    require(
        same(other(prepared), encoder(prepared)),
        f"{where}: with its state_dict another one gives other features: what they depend on must "
        "be a parameter, a buffer or a field of its Config",
    )


def _check_learning(where: str, blueprint: ModelBlueprint, examples: Tensor) -> None:
    """Let a client train for one step, as clients do."""
    blueprint.try_out()
    worker = LocalTrainer(blueprint, torch.device("cpu"), threading.Event())
    received = clone(federated_state(worker.objective))
    labels = torch.full((len(examples),), -1)
    update = worker.run(examples, labels, received, {}, client=0, server_round=1)
    moved = any(not torch.equal(received[n], t) for n, t in update.state.items())
    require(moved, f"{where}: a local step changes nothing")


@torch.no_grad()
def _check_model_file(where: str, blueprint: ModelBlueprint, examples: Tensor) -> None:
    objective = blueprint.build().eval()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_model(file, objective, blueprint)
        # A file never decides which code is run.
        given = None if blueprint.has_known_encoder else blueprint.build_encoder()
        prepared = blueprint.preparation(examples)
        again = load_encoder(file, given)(prepared)
        require(
            same(again, objective.encoder(prepared)),
            f"{where}: read from a model's file it gives other features",
        )
