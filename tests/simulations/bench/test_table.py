import json

from rich.console import Console

from simulations.bench.measurement import Measurement, Target
from simulations.bench.table import as_json, as_table

FIGURES = [
    Measurement("views", "per s", 23_456.7, 1_000.0, 23.4567, 0.031, Target(20_000, True), "PIL"),
    Measurement("a GPU", "per s", target=Target(0.25, True), note="not measured: there is none"),
    Measurement("memory", "MB", 300.0, target=Target(260, False, unit="MB")),
]


def test_the_table_shows_figures_targets_and_why_one_is_missing() -> None:
    console = Console(width=110, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(as_table(FIGURES))
    text = capture.get()
    for part in ("23,457", "23.46 ±3%", "≥ 20,000", "yes", "no", "not measured: there is none"):
        assert part in text


def test_the_json_holds_the_machine_and_a_list_of_figures() -> None:
    content = json.loads(as_json(FIGURES))
    assert content["machine"]["torch"]
    assert [measurement["met"] for measurement in content["figures"]] == [True, None, False]
