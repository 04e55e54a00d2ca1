"""Plug-ins of a person's own, and of installed packages: every kind is found in the same way."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedssl.base.config_file import ConfigError, dump, parse_yaml, validate
from fedssl.base.registry import Registry
from fedssl.config import LearningConfig
from fedssl.data import DataConfig, Dataset, Splits
from fedssl.modalities import NamedPolicy, load
from fedssl.modalities.image import IMAGE
from fedssl.modalities.image.data.glyphs import Glyphs
from fedssl.modalities.image.views.changes import Change, Flip
from fedssl.modalities.image.views.step import ImageStep
from fedssl.models.blueprint import ModelBlueprint
from fedssl.objectives import OBJECTIVES
from fedssl.objectives.e_ssl import ESSL
from fedssl.objectives.simclr import SimCLR
from fedssl.objectives.term import Term, TermConfig
from fedssl.partitions import PartitionConfig, partition
from fedssl.partitions.iid import Iid
from fedssl.views.recipe import Change as OtherChange
from fedssl.views.step import Probability

HERE = __name__


class Margin(SimCLR):
    """A built-in objective that is changed a little."""


class Weaker(ESSL):
    """A built-in term that is changed a little."""


class Norm(Term):
    """Adds: the projections' norm."""

    class Config(TermConfig):
        """The norm's."""

        name: Literal["norm"] = "norm"
        weight: float = 2.0

    config: Config

    def forward(self, encoder: nn.Module, projections: Tensor, batch: object) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(projections, dim=2)
        return self.config.weight * norms.mean()


class Bare(Term):
    """Adds: nothing, by a class without fields."""

    def forward(self, encoder: nn.Module, projections: Tensor, batch: object) -> Tensor:
        return projections.new_zeros(())


class Backwards(Iid):
    """A built-in partition that is changed a little."""

    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        return super().assign(dataset, random)[::-1].copy()


class Halves(PartitionConfig):
    """Two clients: the first examples, and the last."""

    name: Literal["halves"] = "halves"
    clients: Literal[2] = 2
    share: float = 0.5

    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        return (np.arange(len(dataset)) >= self.share * len(dataset)).astype(np.int64)


class Often(Flip):
    """A built-in step that is changed a little."""

    probability: Probability = 1.0


class Invert(Change):
    """Inverts an image."""

    name: Literal["invert"] = "invert"
    probability: Probability = 0.5

    def change(self, images: Tensor, strengths: Tensor) -> Tensor:
        return 1 - images


class Idle(ImageStep):
    """A step that nothing makes use of."""

    name: Literal["idle"] = "idle"


class Shuffle(OtherChange):
    """A step of another modality."""

    name: Literal["shuffle"] = "shuffle"

    def apply(self, examples: Tensor, uniform: Tensor) -> Tensor:
        return examples


MINE = NamedPolicy("To try it.", (Often(), Invert(probability=1.0)))
STEPS = (Flip(), Invert())


class Letters(Glyphs):
    """A built-in data set that is changed a little."""

    def read(self) -> Splits:
        made = super().read()
        return Splits(made.test, made.train)


def config(**sections: Any) -> LearningConfig:
    values = {
        "data": {"name": "glyphs", "size": 16, "limit": {"train": 20, "test": 8}},
        "partition": {"name": "iid", "clients": 2},
        "objective": {"name": "simclr"},
        **sections,
    }
    return validate(LearningConfig, values, base=Path(), source="a test")


def again(made: LearningConfig) -> LearningConfig:
    """Return a config as it is read once it was written."""
    values = parse_yaml(dump(made), "dumped")
    return validate(LearningConfig, values, base=Path(), source="dumped")


@pytest.mark.parametrize(
    "sections",
    [
        {"objective": {"name": f"{HERE}.Margin", "temperature": 0.25}},
        {"objective": {"name": "simclr", "terms": [{"name": f"{HERE}.Weaker", "weight": 3.0}]}},
        {"objective": {"name": "simclr", "terms": [f"{HERE}.Norm", f"{HERE}.Bare"]}},
        {"partition": {"name": f"{HERE}.Backwards", "clients": 3}},
        {"partition": {"name": f"{HERE}.Halves", "share": 0.25}},
        {"partition": f"{HERE}.Halves"},
        {"views": [{"name": f"{HERE}.Often"}, {"name": f"{HERE}.Invert", "probability": 0.1}]},
        {"views": ["flip", f"{HERE}.Invert"]},
        {"views": f"{HERE}.MINE"},
        {"views": f"{HERE}.STEPS"},
        {"data": {"name": f"{HERE}.Letters", "limit": {"train": 8, "test": 8}, "size": 16}},
    ],
)
def test_ones_own_classes_are_read_written_and_sent_to_other_processes(
    sections: dict[str, Any],
) -> None:
    made = config(**sections)
    assert again(made) == made
    assert pickle.loads(pickle.dumps(made)) == made
    loaded = load(made.data)
    ModelBlueprint.of(made, loaded.train).try_out()
    partition(made.partition, loaded.train, 0)


def test_a_subclass_of_ours_needs_no_config_of_its_own() -> None:
    section = {"name": f"{HERE}.Margin", "temperature": 0.25}
    terms = [{"name": f"{HERE}.Weaker", "weight": 3.0}, {"name": f"{HERE}.Norm"}]
    made = config(objective={**section, "terms": terms})
    objective = ModelBlueprint.of(made, load(made.data).train).build()
    assert type(objective) is Margin
    assert isinstance(objective.config, SimCLR.Config)
    assert (objective.config.name, objective.config.temperature) == (section["name"], 0.25)
    weaker, norm = objective.terms
    assert isinstance(weaker, Weaker)
    assert (weaker.config.weight, weaker.config.width) == (3.0, 512)
    assert isinstance(norm, Norm)
    assert norm.config.weight == 2.0


def test_ones_own_partition_shares_out() -> None:
    dataset = load(config().data).train
    plain, turned = (
        partition(config(partition={"name": name, "clients": 3}).partition, dataset, 0)
        for name in ("iid", f"{HERE}.Backwards")
    )
    assert torch.equal(
        torch.from_numpy(plain.owners(20)), torch.from_numpy(turned.owners(20)[::-1].copy())
    )
    halves = config(partition={"name": f"{HERE}.Halves", "share": 0.25}).partition
    assert partition(halves, dataset, 0).sizes().tolist() == [5, 15]


def test_ones_own_steps_change_images() -> None:
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    policy = config(views=f"{HERE}.MINE").views
    assert [step.name for step in policy] == [f"{HERE}.Often", f"{HERE}.Invert"]
    white = IMAGE.preparation(config().data)(torch.full_like(images, 255))
    made = IMAGE.views(policy, config().data)(images, torch.Generator())
    assert torch.allclose(made, white)


def test_a_data_set_is_a_class_of_ones_own_with_its_fields() -> None:
    made = config(data={"name": f"{HERE}.Letters", "size": 16})
    assert isinstance(made.data, Letters)
    plain = load(config(data={"name": "glyphs", "size": 16}).data)
    assert len(load(made.data).train) == len(plain.test)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"partition": {"name": f"{HERE}.Norm"}}, r"partition\.name = .*Norm: must be a subclass"),
        ({"partition": f"{HERE}.Norm"}, r"partition = .*Norm: must be a subclass of fedssl"),
        ({"partition": {"name": f"{HERE}.Nothing"}}, r"partition\.name = .*has no 'Nothing'"),
        ({"partition": {"name": f"{HERE}.Halves", "shore": 1}}, "shore: unknown .* mean share"),
        ({"views": [f"{HERE}.Shuffle"]}, r"views\.0 = .*Shuffle: must be a subclass of .*ImageS"),
        ({"views": f"{HERE}.Flip"}, "views = .*Flip: must be a NamedPolicy, or a tuple of steps"),
        ({"data": {"name": f"{HERE}.Letters", "sise": 3}}, r"data\.sise: unknown .* mean size"),
        ({"data": {"name": f"{HERE}.Letters", "modality": "series"}}, r"data\.modality = series"),
    ],
)
def test_what_is_none_of_the_kind_is_refused_when_the_config_is_read(
    sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**sections)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ({"terms": [f"{HERE}.Margin"]}, r"objective\.terms\.name = .*Margin: must be a subclass"),
        (
            {"terms": [{"name": f"{HERE}.Norm", "wait": 1}]},
            r"terms\.wait: unknown field; did you mean weight",
        ),
        ({"name": f"{HERE}.Margin", "temperature": -1.0}, r"objective\.temperature = -1\.0"),
    ],
)
def test_what_is_none_of_the_kind_is_refused_before_any_training(
    objective: dict[str, Any], message: str
) -> None:
    made = config(objective={"name": "simclr", **objective})
    with pytest.raises(ValueError, match=message):
        ModelBlueprint.of(made, load(made.data).train).build()


def test_a_step_that_would_change_nothing_is_refused() -> None:
    made = config(views=[f"{HERE}.Idle"])
    with pytest.raises(ValueError, match=r"views: .*Idle changes nothing: make it a subclass of"):
        ModelBlueprint.of(made, load(made.data).train).try_out()


Install = Callable[..., None]


def test_installed_packages_add_to_every_kind(install: Install) -> None:
    install(
        objectives=("margin", f"{HERE}:Margin"),
        terms=("norm", f"{HERE}:Norm"),
        partitions=("backwards", f"{HERE}:Backwards"),
        image_data=("letters", f"{HERE}:Letters"),
        image_steps=("invert", f"{HERE}:Invert"),
        image_policies=("mine", f"{HERE}:MINE"),
    )
    made = config(
        data={"name": "letters", "limit": {"train": 8, "test": 8}},
        partition={"name": "backwards", "clients": 2},
        objective={"name": "margin", "margin": 0.5, "terms": ["norm"]},
        views=["flip", "invert"],
    )
    assert again(made) == made
    assert pickle.loads(pickle.dumps(made)) == made
    objective = ModelBlueprint.of(made, load(made.data).train).build()
    assert type(objective) is Margin
    assert isinstance(objective.config, SimCLR.Config)
    assert objective.config.margin == 0.5
    assert isinstance(made.partition, Backwards)
    assert isinstance(made.data, Letters)
    assert isinstance(made.views[1], Invert)
    assert again(config(views="mine")).views == config(views="mine").views
    assert OBJECTIVES.summary("margin") == "A built-in objective that is changed a little."
    assert IMAGE.view_policies.summary("mine") == "To try it."


def test_what_nobody_asks_for_is_not_imported(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "never_imported.py").write_text("raise SystemExit('it was imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    install(
        objectives=("other", "never_imported:Other"), image_policies=("else", "never_imported:P")
    )
    config(objective="byol", views="byol")
    with pytest.raises(ConfigError, match="did you mean other"):
        config(objective="othr")
    assert "never_imported" not in sys.modules


def test_an_entry_point_of_another_kind_or_a_taken_name_is_told(install: Install) -> None:
    install(partitions=("margin", f"{HERE}:Margin"))
    with pytest.raises(ConfigError, match=r"the entry point .*Margin: must be a subclass"):
        config(partition="margin")
    install(partitions=("iid", f"{HERE}:Backwards"))
    with pytest.raises(ConfigError, match="adds the partition iid, which exists already"):
        config(partition="iid")
    # It is in nobody's way who does not ask for it.
    with pytest.raises(ConfigError, match="there is no such choice; did you mean shards"):
        config(partition="shardz")


def test_a_package_that_cannot_be_imported_is_told_to_who_asks_for_it(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_package.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    install(objectives=("broken", "broken_package:Other"))
    words = r"entry point broken_package:Other: cannot be imported: ModuleNotFoundError: .*remove"
    with pytest.raises(ConfigError, match=words):
        config(objective="broken")
    config(objective="byol")
    assert "broken" in OBJECTIVES
    assert "broken" not in OBJECTIVES.models
    with pytest.raises(ValueError, match="cannot be imported"):
        OBJECTIVES.summary("broken")


class Unfit(SimCLR):
    """An objective whose Config is none."""

    class Config:
        """Not a model."""


def test_a_config_that_is_no_model_is_told_with_what_it_must_be() -> None:
    with pytest.raises(ValueError, match="Unfit: its Config must be a subclass"):
        OBJECTIVES.resolve(config(objective=f"{HERE}.Unfit").objective, "objective")


def test_what_no_config_could_choose_is_refused() -> None:
    class Nameless(DataConfig):
        """Has no name."""

    with pytest.raises(ValueError, match=r"Nameless: has no `name: Literal"):
        Registry("data set", "fedssl.none", DataConfig, Nameless)


def test_a_modality_may_list_by_name() -> None:
    changed = type("Changed", (type(IMAGE),), {"data": {"glyphs": Glyphs}})()
    assert list(changed.data_sets) == ["glyphs"]
