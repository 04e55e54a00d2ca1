"""Does a modality keep its contract?"""

import copy
import json
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedssl.blueprint import ModelBlueprint
from fedssl.config import LearningConfig
from fedssl.config_file import validate
from fedssl.data import DataConfig, Splits
from fedssl.encoders import MaskableEncoder
from fedssl.example import ExampleSpec
from fedssl.local_update import Worker
from fedssl.modalities import DATA_SETS, MODALITIES, Modality, NamedPolicy, ViewPolicy, load
from fedssl.model_file import load_encoder, save_model
from fedssl.norms import use_group_norm
from fedssl.seeding import initialising
from fedssl.state import clone, federated_state

EXAMPLES = 24
"""So many training examples are looked at."""
FAR = 1e-4
"""Features of one example in two batches are at most so far apart, as a share of the largest."""


def check_modality(
    modality: str, data: Mapping[str, object], encoders: Sequence[str] | None = None
) -> None:
    """Check that a modality keeps its contract, as `Modality` and what it returns say.

    Parameters
    ----------
    modality : str
        Its name, where it is registered (by an entry point), or its dotted path.
    data : Mapping[str, object]
        A ``data`` section of a small data set of it, by which examples are loaded.
    encoders : Sequence[str] | None
        The encoders that are tried; None for all that its `encoders` names.

    Raises
    ------
    AssertionError
        It does not; the message says what, and where it can be seen.
    ValueError
        There is no such modality, or the section cannot be used.

    Examples
    --------
    >>> from fedssl.testing import check_modality
    >>> check_modality("image", {"name": "glyphs", "limit": {"train": 64, "test": 32}}, ["convnet"])
    """
    found = MODALITIES.find(modality)
    section = {"modality": modality, **data}
    _check_names(found, modality)
    for name in encoders or ():
        found.check_encoder(name)
    tried = [n for n in found.encoders if "/" not in n] if encoders is None else list(encoders)
    blueprint, splits = _check_loading(found, section)
    examples = splits.train.fetch()[:EXAMPLES]
    _check_preparation(blueprint, examples)
    for name in found.policies:
        _check_views(blueprint, name, examples)
    for name in tried:
        _check_encoder(blueprint, name, examples)
        _check_learning(section, name, examples)
        _check_model_file(section, name, examples)
    _check_turns(found, blueprint, examples)
    _check_device_data(found, blueprint)
    _check_device(found, blueprint, splits)
    _check_sheet(found, blueprint, examples)


def _require(kept: bool, message: str) -> None:
    if not kept:
        raise AssertionError(message)


@contextmanager
def _unchanged(examples: Tensor, by: str) -> Iterator[None]:
    before = examples.clone()
    yield
    _require(_same(before, examples), f"{by} writes to the stored examples: copy them first")


def _same(first: Tensor, second: Tensor) -> bool:
    """Tell whether two tensors have the same bits; what is not there (NaN) is the same, too."""
    return (
        first.shape == second.shape
        and first.dtype == second.dtype
        and torch.equal(torch.nan_to_num(first), torch.nan_to_num(second))
        and torch.equal(first.isnan(), second.isnan())
    )


def _config(section: Mapping[str, object], **sections: object) -> LearningConfig:
    values: dict[str, Any] = {
        "data": dict(section),
        "partition": {"name": "iid", "clients": 1},
        "objective": {"name": "simclr"},
        **sections,
    }
    return validate(LearningConfig, values, base=Path(), source="check_modality")


def _check_names(modality: Modality, path: str) -> None:
    for what in (
        "name",
        "noun",
        "dtype",
        "dimensions",
        "data",
        "own_data",
        "model",
        "encoders",
        "policies",
    ):
        _require(hasattr(modality, what), f"the modality has no {what}")
    _require(len(modality.noun) == 2, "noun must be two words: of one example, and of several")
    _require(bool(modality.encoders), "encoders is empty: name at least one")
    _require(bool(modality.policies), "policies is empty: name at least one")
    _require(bool(modality.steps), "steps is empty: name at least one")
    for name, policy in modality.policies.items():
        _require(isinstance(policy, NamedPolicy), f"policy {name}: must be a NamedPolicy")
    for name, step in modality.steps.items():
        own_name = step.model_fields["name"].default
        _require(own_name == name, f"steps names {name} what calls itself {own_name}")
    _require(
        modality.weak_policy in modality.policies,
        f"weak_policy = {modality.weak_policy}: is none of its policies",
    )
    for kind in (*modality.data.values(), modality.own_data):
        own = kind.model_fields["modality"].default
        _require(
            own == path,
            f"{kind.__name__}.modality is {own!r} by default: it must be {path!r}, so that a "
            "config finds its way back",
        )
        first = (kind.__doc__ or "").strip().partition("\n")[0]
        _require(
            bool(first), f"{kind.__name__} has no docstring: `fedssl list` prints its first line"
        )
    unknown = [name for name in modality.maskable if name not in modality.encoders]
    _require(not unknown, f"maskable names {unknown}, which encoders does not")


def _check_loading(
    modality: Modality, section: Mapping[str, object]
) -> tuple[ModelBlueprint, Splits]:
    config = _config(section)
    splits, again = load(config.data), load(config.data)
    blueprint = ModelBlueprint.of(config, splits.train)
    for part, other in ((splits.train, again.train), (splits.test, again.test)):
        examples = part.fetch()
        _require(
            examples.dtype == modality.dtype,
            f"loaded examples are {examples.dtype}, and the modality says {modality.dtype}",
        )
        _require(
            tuple(examples.shape[1:]) == blueprint.spec.shape,
            f"test examples are {list(examples.shape[1:])}, and training examples "
            f"{list(blueprint.spec.shape)}: `fit` must make them the same",
        )
        _require(_same(examples, other.fetch()), "loading twice gives different examples")
    _require(len(splits.train) >= 8, "give a data section with at least 8 training examples")
    as_json = json.loads(json.dumps(asdict(blueprint.spec)))
    again_spec = ExampleSpec(as_json["modality"], tuple(as_json["shape"]), as_json["dtype"])
    _require(again_spec == blueprint.spec, "the spec is not what its JSON says")
    return blueprint, splits


def _check_preparation(blueprint: ModelBlueprint, examples: Tensor) -> None:
    preparation = blueprint.preparation
    with _unchanged(examples, "the preparation"):
        prepared = preparation(examples)
    spec = preparation.spec_of(blueprint.spec)
    _require(spec.dtype == "float32", f"prepared examples are {spec.dtype}: they must be float32")
    _require(
        prepared.dtype == torch.float32 and tuple(prepared.shape[1:]) == spec.shape,
        f"prepared examples are {prepared.dtype} {list(prepared.shape[1:])}, and its spec_of says "
        f"float32 {list(spec.shape)}",
    )
    parts = torch.cat([preparation(part) for part in torch.split(examples, 5)])
    _require(_same(parts, prepared), "an example is prepared otherwise in another batch")
    constants = {name: list(values) for name, values in preparation.constants.items()}
    _require(
        json.loads(json.dumps(constants)) == constants, "the preparation's constants are no numbers"
    )


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _check_views(blueprint: ModelBlueprint, name: str, examples: Tensor) -> None:
    modality, data = blueprint.modality, blueprint.config.data
    steps = modality.policies[name].steps
    policy = modality.views(steps, data)
    _require(bool(modality.policies[name].when), f"policy {name}: say when to use it")
    for view in (1, 2, 3):
        where = f"policy {name}, view {view}"
        with _unchanged(examples, where):
            try:
                made = policy(examples, _rng(), view)
            except Exception as error:
                counts = ", ".join(f"{step.name}: {step.draws}" for step in steps)
                raise AssertionError(
                    f"{where}: fails with {type(error).__name__}: {error}; each step is given as "
                    f"many uniform numbers for an example as its draws, or draws_of, say ({counts})"
                ) from error
        spec = policy.spec_of(blueprint.spec, view)
        _require(
            made.dtype == torch.float32 and tuple(made.shape) == (len(examples), *spec.shape),
            f"{where}: gives {made.dtype} {list(made.shape)}, and its spec_of says float32 "
            f"{[len(examples), *spec.shape]}",
        )
        _require(not bool(made.isinf().any()), f"{where}: gives infinite values")
        _require(
            _same(made, policy(examples, _rng(), view)),
            f"{where}: gives other bits for the same state of the generator",
        )
        # Steps of rank 0 look at the whole batch.
        if all(step.rank > 0 for step in steps):
            _require(
                _close(made, _in_two_batches(policy, examples, view)),
                f"{where}: two batches after one another are not the one that they make: use "
                "each example's own row of uniform numbers, and nothing of the rest of the batch; "
                "a step that needs it says so by rank = 0",
            )


def _in_two_batches(policy: ViewPolicy, examples: Tensor, view: int) -> Tensor:
    draws, cut = _rng(), len(examples) // 3
    return torch.cat([policy(part, draws, view) for part in (examples[:cut], examples[cut:])])


def _close(first: Tensor, second: Tensor) -> bool:
    if not torch.equal(first.isnan(), second.isnan()):
        return False
    a, b = torch.nan_to_num(first), torch.nan_to_num(second)
    return bool((a - b).abs().max() <= FAR * a.abs().max().clamp(min=1))


def _check_encoder(blueprint: ModelBlueprint, name: str, examples: Tensor) -> None:
    config = blueprint.config.model_copy(
        update={"model": blueprint.config.model.model_copy(update={"encoder": name})}
    )
    own = ModelBlueprint(config, blueprint.spec)
    where = f"encoder {name}"

    def build() -> nn.Module:
        with initialising(0):
            return own.build_encoder()

    encoder, prepared = build(), own.preparation(examples)
    _require(
        all(
            _same(t, u)
            for t, u in zip(*(m.state_dict().values() for m in (encoder, build())), strict=True)
        ),
        f"{where}: building it twice from one seed gives other weights",
    )
    drawn = torch.get_rng_state()
    features = encoder(prepared)
    _require(
        torch.equal(drawn, torch.get_rng_state()),
        f"{where}: draws from torch's global generator in training, as dropout does, so no run "
        "could be repeated",
    )
    width = getattr(encoder, "features", None)
    _require(
        isinstance(width, int) and features.shape == (len(examples), width),
        f"{where}: gives {list(features.shape)} for {len(examples)} examples, and its attribute "
        f"`features` is {width}",
    )
    _require(bool(features.isfinite().all()), f"{where}: features are infinite or NaN")
    features.square().sum().backward()
    dead = [n for n, p in encoder.named_parameters() if p.requires_grad and p.grad is None]
    _require(not dead, f"{where}: no gradient reaches {', '.join(dead[:3])}")
    with torch.no_grad():
        whole = encoder.eval()(prepared)
        parts = torch.cat([encoder(part) for part in torch.split(prepared, 5)])
        _require(
            _close(whole, parts), f"{where}: in eval mode features depend on the rest of the batch"
        )
        use_group_norm(copy.deepcopy(encoder))(prepared)
        if isinstance(encoder, MaskableEncoder):
            _check_maskable(encoder, prepared, where)
    is_maskable = isinstance(encoder, MaskableEncoder)
    listed = name in blueprint.modality.maskable
    _require(
        is_maskable == listed, f"{where}: is a MaskableEncoder or not as `maskable` does not say"
    )


def _check_maskable(encoder: MaskableEncoder, prepared: Tensor, where: str) -> None:
    patches = encoder.patches(prepared)
    count = patches.shape[1]
    _require(
        patches.shape == (len(prepared), count, encoder.patch_values),
        f"{where}: patches are {list(patches.shape)}, and patch_values is {encoder.patch_values}",
    )
    every = torch.arange(count).expand(len(prepared), -1)
    tokens = encoder.tokens(prepared)
    _require(
        tokens.shape == (len(prepared), count, encoder.features),
        f"{where}: tokens are {list(tokens.shape)}",
    )
    _require(
        _close(tokens, encoder.tokens(prepared, every)),
        f"{where}: tokens of all patches shown one by one are others than those of all",
    )
    few = encoder.tokens(prepared, every[:, : max(1, count // 2)])
    _require(few.shape[1] == max(1, count // 2), f"{where}: shows other patches than it is told")
    places = encoder.places(prepared, 24)
    _require(places.shape == (count, 24), f"{where}: places are {list(places.shape)}")


def _own(section: Mapping[str, object], encoder: str, splits_spec: ExampleSpec) -> ModelBlueprint:
    model = {"encoder": encoder, "projector": [16, 8]}
    return ModelBlueprint(_config(section, model=model), splits_spec)


def _check_learning(section: Mapping[str, object], encoder: str, examples: Tensor) -> None:
    """Let a client train for one step, through the door that clients train by."""
    blueprint = _own(section, encoder, _spec(section, examples))
    blueprint.try_out()
    worker = Worker(blueprint, torch.device("cpu"), threading.Event())
    received = clone(federated_state(worker.objective))
    labels = torch.full((len(examples),), -1)
    update = worker.run(examples, labels, received, {}, client=0, round=1)
    moved = any(not torch.equal(received[n], t) for n, t in update.state.items())
    _require(moved, f"encoder {encoder}: a local step changes nothing")


def _spec(section: Mapping[str, object], examples: Tensor) -> ExampleSpec:
    return ExampleSpec.of(str(section["modality"]), tuple(examples.shape[1:]), examples.dtype)


def _check_model_file(section: Mapping[str, object], encoder: str, examples: Tensor) -> None:
    blueprint = _own(section, encoder, _spec(section, examples))
    objective = blueprint.build().eval()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        file = Path(folder) / "model.safetensors"
        save_model(file, objective, blueprint)
        # A file never decides which code is run: not that of a modality of one's own, either.
        given = blueprint.build_encoder() if "." in str(section["modality"]) else None
        prepared = blueprint.preparation(examples)
        again = load_encoder(file, given)(prepared)
        _require(
            _same(again, objective.encoder(prepared)),
            f"encoder {encoder}: read from a model's file it gives other features",
        )


def _check_turns(modality: Modality, blueprint: ModelBlueprint, examples: Tensor) -> None:
    if not modality.turns:
        return
    views = blueprint.views(examples, _rng(), 1)
    turned = modality.turned(views)
    _require(len(turned) == 4 * len(views), "turned must give four turns of each view")


def _check_device_data(modality: Modality, blueprint: ModelBlueprint) -> None:
    try:
        data = modality.device_data(blueprint.config.data, blueprint.spec)
    except ValueError:
        return
    values = json.loads(json.dumps(data))
    model = DATA_SETS.pick_section({"modality": blueprint.spec.modality, **values})
    _require(model is not None, f"device_data = {values}: names no data set of the modality")
    assert model is not None
    config = model.model_validate(values)
    assert isinstance(config, DataConfig)
    prepared = modality.preparation(config).constants
    _require(
        prepared == blueprint.preparation.constants,
        "device_data makes a device prepare its examples otherwise than the server",
    )


def _check_device(modality: Modality, blueprint: ModelBlueprint, splits: Splits) -> None:
    """Write examples for a device, and have it read what it is told to make of them."""
    train = splits.train.take(np.arange(min(EXAMPLES, len(splits.train))))
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = modality.write_device(train, Path(folder) / "examples")
            data = modality.device_data(blueprint.config.data, blueprint.spec)
        except ValueError:
            return
        _require(modality.holds(path), "holds does not know what write_device wrote")
        opened = modality.open_device(path)
        _require(opened.count() == len(train), "open_device counts others than write_device wrote")
        values = {"modality": blueprint.spec.modality, **json.loads(json.dumps(data))}
        config = _config(values).data
        read = opened.read(config).fetch()
        _require(_same(read, train.fetch()), "a device reads other examples than were written")


def _check_sheet(modality: Modality, blueprint: ModelBlueprint, examples: Tensor) -> None:
    from matplotlib.figure import Figure

    views = [blueprint.views(examples[:4], _rng(), view) for view in (1, 2)]
    try:
        figure = modality.sheet(examples[:4], views, blueprint.config.data)
    except ValueError:
        return
    _require(isinstance(figure, Figure), "sheet must return a matplotlib Figure")
