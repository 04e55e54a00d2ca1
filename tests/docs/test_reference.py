"""docs/reference.md is what `fedssl list --markdown` prints."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter
from typer.testing import CliRunner

from fedssl.base.fields import Fields, Listed
from simulations.cli import app
from simulations.reports.listing import sections, type_in_words

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"


@pytest.fixture(scope="module")
def printed() -> str:
    result = CliRunner().invoke(app, ["list", "--markdown"])
    assert result.exit_code == 0
    return result.output


def test_the_page_is_what_the_command_prints(printed: str) -> None:
    assert PAGE.read_text(encoding="utf-8") == printed, (
        "the page is old: fedssl list --markdown > docs/reference.md"
    )


def test_every_name_has_a_row_and_every_field_a_meaning(printed: str) -> None:
    for section in sections():
        chapter = printed.partition(f"## {section.field}\n")[2].partition("\n## ")[0]
        for name in section.names:
            assert f"| `{name}` | {section.registry.summary(name)} |" in chapter
    row = "| `simclr` | `margin` | number ≥ 0, < 2 | `0.0` | m: an example's views must be closer"
    assert row in printed
    assert "any |" not in printed
    assert not [line for line in printed.splitlines() if line.endswith("|  |")]


def test_fields_that_are_alike_have_one_row(printed: str) -> None:
    chapter = printed.partition("## strategy.name\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in chapter.splitlines()]
    norms = [row for row in rows if len(row) > 1 and row[1] == "`max_update_norm`"]
    assert [row[0] for row in norms] == ["| all"]
    assert ["| `krum`, `multikrum`", "`byzantine`"] in [row[:2] for row in rows]


class Inner(Fields):
    """A section."""

    x: int = 0


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Annotated[int, Field(ge=1, le=64_000)], "whole number ≥ 1, ≤ 64,000"),
        (Annotated[float, Field(gt=0, lt=0.5)] | None, "number > 0, < 0.5 or null"),
        (Annotated[int, Field(multiple_of=4)], "whole number a multiple of 4"),
        (Literal["keep", "resync"], "`keep`, `resync`"),
        (Annotated[tuple[float, ...], Listed], "list of number"),
        (tuple[int, str], "list [whole number, text]"),
        (dict[str, int], "section of whole number by name"),
        (Path, "path"),
        (bool, "true or false"),
        (Inner, "section"),
        (Any, "any"),
    ],
)
def test_types_in_words(annotation: Any, words: str) -> None:
    assert type_in_words(TypeAdapter(annotation).json_schema()) == words
