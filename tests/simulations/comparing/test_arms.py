import pytest

from simulations import ConfigError
from simulations.comparing.arms import arms, choices, split


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        ("a(x=1,y=[2,3]), b", ["a(x=1,y=[2,3])", "b"]),
        ("[1,2],[3]", ["[1,2]", "[3]"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ("{x: 1, y: 2},3", ["{x: 1, y: 2}", "3"]),
    ],
)
def test_commas_in_brackets_and_quotes_do_not_split(text: str, parts: list[str]) -> None:
    assert split(text) == parts


def test_a_strategy_may_have_fields_of_its_own() -> None:
    plain, own = arms("fedavg,fedprox(mu=0.1,weighting=uniform)")
    assert plain.overrides == ("strategy.name=fedavg",)
    assert own.label == "fedprox(mu=0.1,weighting=uniform)"
    assert own.overrides == (
        "strategy.name=fedprox",
        "strategy.mu=0.1",
        "strategy.weighting=uniform",
    )


def test_choices_are_fields_and_values() -> None:
    assert choices(["a.b=1,[2,3]", "c=x"], "--vary") == {"a.b": ("1", "[2,3]"), "c": ("x",)}
    with pytest.raises(ConfigError, match="--vary a=2: a is given twice"):
        choices(["a=1", "a=2"], "--vary")
