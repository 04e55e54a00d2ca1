"""What the data are decides which views and encoders a config may name."""

from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from fedssl.base import registry
from fedssl.base.config_file import ConfigError, dump, read, validate
from fedssl.config import LearningConfig
from fedssl.modalities import MODALITIES, load, modality_of
from fedssl.modalities.image import IMAGE
from fedssl.modalities.registry import GROUP, Modalities
from fedssl.modalities.series import SERIES
from fedssl.models.blueprint import ModelBlueprint
from tests.tools.point_modality import POINTS, Rings

TOY = "tests.tools.point_modality.POINTS"


def config(**sections: Any) -> LearningConfig:
    values = {
        "data": {"name": "glyphs"},
        "partition": {"name": "iid", "clients": 2},
        "objective": {"name": "simclr"},
        **sections,
    }
    return validate(LearningConfig, values, base=Path(), source="a test")


@pytest.mark.parametrize(
    ("data", "modality", "encoder"),
    [
        ({"name": "glyphs"}, IMAGE, "convnet"),
        ({"name": "waves"}, SERIES, "conv1d"),
        ({"name": "rings", "modality": TOY}, POINTS, "layers"),
        ({"name": "my_sets.mine"}, IMAGE, "convnet"),
        ({"name": "my_sets.mine", "modality": "series", "length": 7}, SERIES, "conv1d"),
        ({"name": "my_sets.mine", "modality": TOY, "further": 1}, POINTS, "layers"),
    ],
)
def test_the_data_set_decides_the_modality_and_its_defaults(
    data: dict[str, object], modality: object, encoder: str
) -> None:
    made = config(data=data)
    assert modality_of(made.data) is modality
    assert made.model.encoder.name == encoder
    assert made.views == modality_of(made.data).default_policy
    assert type(made.model) is modality_of(made.data).model


def test_a_config_is_read_again_as_it_was_written(tmp_path: Path) -> None:
    for data in ({"name": "waves"}, {"name": "glyphs"}, {"name": "rings", "modality": TOY}):
        made = config(data=data)
        file = tmp_path / "config.yaml"
        file.write_text(dump(made), encoding="utf-8")
        assert read(LearningConfig, file) == made


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"data": {"name": "waves"}, "model": {"encoder": "resnet18"}},
            r"model\.encoder = resnet18: there is no such choice; .*conv1d",
        ),
        (
            {"model": {"encoder": "conv1d"}},
            r"model\.encoder = conv1d: there is no such choice; .*conv",
        ),
        (
            {"data": {"name": "waves"}, "model": {"encoder": "conv1d", "stem": "cifar"}},
            r"model\.stem: unknown field",
        ),
        ({"data": {"name": "waves"}, "views": "byol"}, r"views = byol: there is no such policy"),
        (
            {"data": {"name": "waves"}, "views": [{"name": "solarize"}]},
            r"views\.0\.name = solarize: there is no such choice; choose one of crop",
        ),
        (
            {"data": {"name": "waves"}, "views": [{"name": "crop", "ratio": [1, 1]}]},
            r"views\.0\.ratio: unknown field",
        ),
        (
            {"data": {"name": "glyphs", "modality": "series"}},
            r"data\.modality = series: there is no such choice; .*image",
        ),
        ({"data": {"name": "waves", "size": 3}}, r"data\.size: unknown field"),
        (
            {"data": {"name": "glyphs", "modality": "sound"}},
            r"data\.modality = sound: there is no such modality; choose one of image, series",
        ),
        (
            {"data": {"name": "my_sets.mine", "modality": "no_module.NONE"}},
            r"no module 'no_module'",
        ),
        ({"data": {"name": "waves", "modality": None}}, r"data\.modality: must be the name of one"),
        ({"data": {"name": "wafes"}}, r"data\.name = wafes: there is no such choice; .*waves"),
    ],
)
def test_what_fits_no_example_of_the_kind_is_refused(
    sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**sections)


@pytest.mark.parametrize(
    "data", [{"name": "waves", "lenght": 3}, {"name": "rings", "modality": TOY + "S"}]
)
def test_where_the_data_section_is_wrong_nothing_is_said_of_what_depends_on_it(
    data: dict[str, object],
) -> None:
    with pytest.raises(ConfigError) as told:
        config(data=data, model={"encoder": "layers"}, views="turned")
    assert str(told.value).count("\n") == 1


def test_names_are_those_of_the_modality_that_is_given() -> None:
    with pytest.raises(ConfigError, match=r"data\.name = rigns: .* did you mean rings\?"):
        config(data={"name": "rigns", "modality": TOY})


@pytest.mark.parametrize("name", ["nonsense", "convnet"])
def test_an_encoder_that_a_modality_of_ones_own_lacks_is_refused(name: str) -> None:
    data = {"name": "rings", "modality": TOY}
    with pytest.raises(ConfigError, match=rf"model\.encoder = {name}: .* choose one of layers"):
        config(data=data, model={"encoder": name})
    made = config(data=data, model={"encoder": "tests.tools.point_modality.Wide"})
    assert ModelBlueprint.of(made, load(made.data).train).build().encoder.features == 24


def test_a_data_set_of_another_type_or_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rings = config(data={"name": "rings", "modality": TOY}).data
    good = rings.read()
    wrong = replace(good, test=replace(good.test, examples=good.test.fetch().double()))
    monkeypatch.setattr(Rings, "read", lambda self: wrong)
    with pytest.raises(ValueError, match=r"test points are torch\.float64: they must be torch\.fl"):
        load(rings)
    monkeypatch.setattr(Rings, "read", lambda self: (good.train, good.test))
    with pytest.raises(ValueError, match=r"gave a tuple: it must be fedssl\.data\.Splits"):
        load(rings)


def test_another_data_set_takes_another_modality_along(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    image = config(data={"name": "glyphs", "size": 16})
    file.write_text(dump(image.model_copy(update={"views": (), "model": None})), encoding="utf-8")
    text = file.read_text(encoding="utf-8").replace("model: null\n", "")
    file.write_text(text, encoding="utf-8")
    made = read(LearningConfig, file, ["data.name=waves"])
    assert modality_of(made.data) is SERIES
    assert made.model.encoder.name == "conv1d"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"objective": {"name": "simclr", "terms": [{"name": "e-ssl"}]}},
            r"objective\.terms = e-ssl: series have no turns to be told apart; leave it out",
        ),
        (
            {"objective": {"name": "mae"}},
            r"objective\.name = mae: .* set model\.encoder to patch-transformer",
        ),
        (
            {"data": {"name": "rings", "modality": TOY}, "objective": {"name": "mae"}},
            r"no encoder of points can; choose another objective",
        ),
        (
            {"data": {"name": "rings", "modality": TOY}, "objective": {"name": "mixed-barlow"}},
            r"objective\.name = mixed-barlow: mixes examples, and points cannot be mixed",
        ),
    ],
)
def test_an_objective_that_needs_more_than_the_modality_has_is_refused(
    sections: dict[str, Any], message: str
) -> None:
    made = config(**{"data": {"name": "waves", "limit": {"train": 8, "test": 8}}, **sections})
    with pytest.raises(ValueError, match=message):
        ModelBlueprint.of(made, load(made.data).train).try_out()


def test_an_installed_package_adds_a_modality(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("point", "tests.tools.point_modality:POINTS", GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints((point,)))
    found = Modalities(IMAGE)
    assert list(found) == ["image", "point"]
    assert found.find("point") is POINTS
    assert len(found) == 2


def test_an_entry_point_of_a_name_that_there_is_already_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point = EntryPoint("point", "tests.tools.point_modality:POINTS", GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints((point, point)))
    found = Modalities(IMAGE)
    assert list(found) == ["image", "point"]
    with pytest.raises(ValueError, match="adds the modality point, which exists already"):
        found["point"]


def test_an_entry_point_that_is_no_modality_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("point", "tests.tools.point_modality:Rings", GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints((point,)))
    with pytest.raises(ValueError, match=r"the entry point .*:Rings: must be an instance"):
        Modalities(IMAGE)["point"]


def test_an_entry_point_has_the_modality_s_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("dots", "tests.tools.point_modality:POINTS", GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints((point,)))
    with pytest.raises(ValueError, match="adds the modality point; an entry point must have"):
        Modalities(IMAGE)["dots"]


def test_every_name_of_a_modality_is_its_own() -> None:
    assert {name: modality.name for name, modality in MODALITIES.items()} == {
        "image": "image",
        "series": "series",
    }
    names = [name for modality in MODALITIES.values() for name in modality.data_sets]
    assert len(names) == len(set(names))
