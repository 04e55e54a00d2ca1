"""A run's folder may be a stranger's: none of its code is run, whichever field names it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from fedssl.base.config_file import ConfigError
from fedssl.base.fields import Choice, DependentSection
from fedssl.base.import_path import NAMES_CODE, load_dotted
from fedssl.modalities import MODALITIES
from simulations.record.run_folder import RunFolder
from simulations.settings.experiment import Experiment
from simulations.settings.own_code import load_run_config, own_code_of

GOOD: dict[str, Any] = {
    "data": {"name": "glyphs"},
    "partition": {"name": "iid", "clients": 2},
    "objective": {"name": "simclr"},
}
NAMED = "hostile_code.Thing"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    (run / "hostile_code.py").write_text("raise SystemExit('it was run')\n")
    monkeypatch.syspath_prepend(run)
    return run


def write(folder: Path, **sections: object) -> Path:
    (folder / "config.yaml").write_text(yaml.safe_dump({**GOOD, **sections}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "sections",
    [
        {"data": NAMED},
        {"data": {"name": NAMED}},
        {"data": {"name": "glyphs", "modality": NAMED}},
        {"partition": NAMED},
        {"partition": {"name": NAMED, "clients": 2}},
        {"model": {"encoder": NAMED}},
        {"objective": NAMED},
        {"objective": {"name": NAMED}},
        {"objective": {"name": "simclr", "terms": [NAMED]}},
        {"objective": {"name": "simclr", "terms": [{"name": NAMED}]}},
        {"views": NAMED},
        {"views": ["flip", NAMED]},
        {"views": [{"name": NAMED}]},
        {"strategy": NAMED},
        {"strategy": {"name": NAMED}},
        {"engine": NAMED},
    ],
)
def test_no_field_has_code_in_the_folder_run(folder: Path, sections: dict[str, Any]) -> None:
    write(folder, **sections)
    for read in (own_code_of, load_run_config, lambda path: RunFolder(path).read_config()):
        with pytest.raises(ConfigError, match=r"Thing: its code lies in the run's own folder"):
            read(folder)
    assert "hostile_code" not in sys.modules


def test_nor_does_an_entry_point_lead_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = folder / "friendly-1.0.dist-info" / "entry_points.txt"
    points.parent.mkdir()
    points.write_text("[fedssl.strategies]\nfriendly = hostile_code:Thing\n")
    monkeypatch.syspath_prepend(folder)
    write(folder, strategy="fedavg")
    with pytest.raises(ConfigError, match=r"entry point hostile_code:Thing: its code lies in"):
        own_code_of(folder)
    assert "hostile_code" not in sys.modules


@pytest.mark.parametrize(
    "override", [f"partition={NAMED}", f"partition.name={NAMED}", f"views=[{NAMED}]"]
)
def test_nor_has_an_override(folder: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=r"Thing: its code lies in the run's own folder"):
        load_run_config(write(folder), [override])
    assert "hostile_code" not in sys.modules


def test_code_from_elsewhere_is_told_without_a_look_at_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code_elsewhere.py").write_text("raise SystemExit('it was run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    write(folder, partition="code_elsewhere.Mine", views=["flip", "code_elsewhere.Step"])
    place = f"code of your own, from {tmp_path / 'code_elsewhere.py'}"
    assert own_code_of(folder) == [
        f"partition = code_elsewhere.Mine: {place}",
        f"views.1 = code_elsewhere.Step: {place}",
    ]
    assert "code_elsewhere" not in sys.modules


def choices(kind: Any, seen: set[Any], field: str = "") -> Iterator[tuple[str, Choice]]:
    """Yield each choice by name that a type leads to, and the field that makes it."""
    if get_origin(kind) is Annotated:
        inner, *marks = get_args(kind)
        for mark in marks:
            if isinstance(mark, Choice):
                yield field, mark
                for model in mark.choices.models.values():
                    yield from choices(model, seen, field)
            elif isinstance(mark, DependentSection):
                for modality in MODALITIES.values():
                    of = mark.pick({"data": {"name": next(iter(modality.data_sets))}})
                    yield from choices(of, seen, field)
        yield from choices(inner, seen, field)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        if kind not in seen:
            seen.add(kind)
            for name, info in kind.model_fields.items():
                yield from choices(Annotated[info.annotation, *info.metadata, ...], seen, name)
    else:
        for part in get_args(kind):
            yield from choices(part, seen, field)


def test_every_field_that_chooses_by_name_is_one_that_may_name_code() -> None:
    found = {field for field, choice in choices(Experiment, set()) if not choice.choices.is_closed}
    sections = {"data", "partition", "encoder", "objective", "terms", "views", "strategy"}
    assert found == sections | {"measures"}
    assert found <= NAMES_CODE


@pytest.mark.parametrize("path", ["strategies.mine.Thing", "clients.mine.Thing"])
def test_a_folder_called_like_a_package_of_ours_is_told(path: str) -> None:
    package = path.partition(".")[0]
    with pytest.raises(ValueError, match=f"{package} is fedssl's own package; name yours other"):
        load_dotted(path)
