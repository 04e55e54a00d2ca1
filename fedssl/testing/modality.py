"""Does a modality keep its contract?"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedssl.base.config_file import validate
from fedssl.config import LearningConfig
from fedssl.data import DataConfig, Splits
from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities import DATA_SETS, MODALITIES, Modality, NamedPolicy, ViewPolicy, load
from fedssl.models.blueprint import ModelBlueprint
from fedssl.testing.encoder import check_built_encoder
from fedssl.testing.shared import close, require, rng, same, unchanged

EXAMPLES = 24
"""So many training examples are looked at."""


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
        from fedssl.testing import check_modality
        check_modality("image", {"name": "glyphs", "limit": {"train": 64, "test": 32}}, ["convnet"])
    """
    checked = MODALITIES.find(modality)
    section = {"modality": modality, **data}
    _check_names(checked, modality)
    names = [n for n in checked.encoders if "/" not in n] if encoders is None else list(encoders)
    for name in names:
        _config(section, model={"encoder": name})
    blueprint, splits = _check_loading(checked, section)
    examples = splits.train.fetch()[:EXAMPLES]
    _check_preparation(blueprint, examples)
    for name in checked.policies:
        _check_views(blueprint, name, examples)
    for name in names:
        model = {"encoder": name, "projector": [16, 8]}
        encoder_blueprint = ModelBlueprint(_config(section, model=model), blueprint.spec)
        check_built_encoder(f"encoder {name}", encoder_blueprint, examples)
    _check_turns(checked, blueprint, examples)
    _check_device_data(checked, blueprint)
    _check_device(checked, blueprint, splits)
    _check_sheet(checked, blueprint, examples)


def _config(section: Mapping[str, object], **sections: object) -> LearningConfig:
    values: dict[str, Any] = {
        "data": dict(section),
        "partition": {"name": "iid", "clients": 1},
        "objective": {"name": "simclr"},
        **sections,
    }
    return validate(LearningConfig, values, base=Path(), source="check_modality")


def _check_names(modality: Modality, path: str) -> None:
    for attribute in (
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
        require(hasattr(modality, attribute), f"the modality has no {attribute}")
    require(len(modality.noun) == 2, "noun must be two words: of one example, and of several")
    require(bool(modality.encoders), "encoders is empty: name at least one")
    require(bool(modality.policies), "policies is empty: name at least one")
    require(bool(modality.steps), "steps is empty: name at least one")
    for name, policy in modality.policies.items():
        require(isinstance(policy, NamedPolicy), f"policy {name}: must be a NamedPolicy")
    require(
        modality.weak_policy in modality.policies,
        f"weak_policy = {modality.weak_policy}: is none of its policies",
    )
    for kind in (*modality.data_sets.values(), modality.own_data):
        default = kind.model_fields["modality"].default
        require(
            default == path,
            f"{kind.__name__}.modality is {default!r} by default: it must be {path!r}, so that a "
            "config finds its way back",
        )
        first = (kind.__doc__ or "").strip().partition("\n")[0]
        require(
            bool(first), f"{kind.__name__} has no docstring: `fedssl list` prints its first line"
        )


def _check_loading(
    modality: Modality, section: Mapping[str, object]
) -> tuple[ModelBlueprint, Splits]:
    config = _config(section)
    splits, again = load(config.data), load(config.data)
    blueprint = ModelBlueprint.of(config, splits.train)
    for part, other in ((splits.train, again.train), (splits.test, again.test)):
        examples = part.fetch()
        require(
            examples.dtype == modality.dtype,
            f"loaded examples are {examples.dtype}, and the modality says {modality.dtype}",
        )
        require(
            tuple(examples.shape[1:]) == blueprint.spec.shape,
            f"test examples are {list(examples.shape[1:])}, and training examples "
            f"{list(blueprint.spec.shape)}: `fit` must make them the same",
        )
        require(same(examples, other.fetch()), "loading twice gives different examples")
    require(len(splits.train) >= 8, "give a data section with at least 8 training examples")
    as_json = json.loads(json.dumps(asdict(blueprint.spec)))
    again_spec = ExampleSpec(as_json["modality"], tuple(as_json["shape"]), as_json["dtype"])
    require(again_spec == blueprint.spec, "the spec is not what its JSON says")
    return blueprint, splits


def _check_preparation(blueprint: ModelBlueprint, examples: Tensor) -> None:
    preparation = blueprint.preparation
    with unchanged({"them": examples}, "the preparation", "the stored examples"):
        prepared = preparation(examples)
    spec = preparation.spec_of(blueprint.spec)
    require(spec.dtype == "float32", f"prepared examples are {spec.dtype}: they must be float32")
    require(
        prepared.dtype == torch.float32 and tuple(prepared.shape[1:]) == spec.shape,
        f"prepared examples are {prepared.dtype} {list(prepared.shape[1:])}, and its spec_of says "
        f"float32 {list(spec.shape)}",
    )
    parts = torch.cat([preparation(part) for part in torch.split(examples, 5)])
    require(same(parts, prepared), "an example is prepared otherwise in another batch")
    constants = {name: list(values) for name, values in preparation.constants.items()}
    require(
        json.loads(json.dumps(constants)) == constants, "the preparation's constants are no numbers"
    )


def _check_views(blueprint: ModelBlueprint, name: str, examples: Tensor) -> None:
    modality, data = blueprint.modality, blueprint.config.data
    steps = modality.policies[name].steps
    policy = modality.views(steps, data)
    require(bool(modality.policies[name].when), f"policy {name}: say when to use it")
    for view in (1, 2, 3):
        where = f"policy {name}, view {view}"
        with unchanged({"them": examples}, where, "the stored examples"):
            try:
                viewed = policy(examples, rng(), view)
            except Exception as error:
                counts = ", ".join(f"{step.name}: {step.draws}" for step in steps)
                raise AssertionError(
                    f"{where}: fails with {type(error).__name__}: {error}; each step is given as "
                    f"many uniform numbers for an example as its draws, or draws_of, say ({counts})"
                ) from error
        spec = policy.spec_of(blueprint.spec, view)
        require(
            viewed.dtype == torch.float32 and tuple(viewed.shape) == (len(examples), *spec.shape),
            f"{where}: gives {viewed.dtype} {list(viewed.shape)}, and its spec_of says float32 "
            f"{[len(examples), *spec.shape]}",
        )
        require(not bool(viewed.isinf().any()), f"{where}: gives infinite values")
        require(
            same(viewed, policy(examples, rng(), view)),
            f"{where}: gives other bits for the same state of the generator",
        )
        # Steps of rank 0 look at the whole batch.
        if all(step.rank > 0 for step in steps):
            require(
                close(viewed, _in_two_batches(policy, examples, view)),
                f"{where}: two batches after one another are not the one that they make: use "
                "each example's own row of uniform numbers, and nothing of the rest of the batch; "
                "a step that needs it says so by rank = 0",
            )


def _in_two_batches(policy: ViewPolicy, examples: Tensor, view: int) -> Tensor:
    draws, cut = rng(), len(examples) // 3
    return torch.cat([policy(part, draws, view) for part in (examples[:cut], examples[cut:])])


def _check_turns(modality: Modality, blueprint: ModelBlueprint, examples: Tensor) -> None:
    if not modality.turns:
        return
    views = blueprint.views(examples, rng(), 1)
    turned = modality.turned(views)
    require(len(turned) == 4 * len(views), "turned must give four turns of each view")


def _check_device_data(modality: Modality, blueprint: ModelBlueprint) -> None:
    try:
        data = modality.device_data(blueprint.config.data, blueprint.spec)
    except ValueError:
        return
    values = json.loads(json.dumps(data))
    model = DATA_SETS.pick_section({"modality": blueprint.spec.modality, **values})
    require(model is not None, f"device_data = {values}: names no data set of the modality")
    assert model is not None
    config = model.model_validate(values)
    assert isinstance(config, DataConfig)
    prepared = modality.preparation(config).constants
    require(
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
        require(modality.holds(path), "holds does not know what write_device wrote")
        opened = modality.open_device(path)
        require(opened.count() == len(train), "open_device counts others than write_device wrote")
        values = {"modality": blueprint.spec.modality, **json.loads(json.dumps(data))}
        config = _config(values).data
        read = opened.read(config).fetch()
        require(same(read, train.fetch()), "a device reads other examples than were written")


def _check_sheet(modality: Modality, blueprint: ModelBlueprint, examples: Tensor) -> None:
    from matplotlib.figure import Figure

    views = [blueprint.views(examples[:4], rng(), view) for view in (1, 2)]
    try:
        figure = modality.sheet(examples[:4], views, blueprint.config.data)
    except ValueError:
        return
    require(isinstance(figure, Figure), "sheet must return a matplotlib Figure")
