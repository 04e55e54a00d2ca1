from pathlib import Path

from typer.testing import CliRunner

from simulations.cli import app


def test_figures_are_not_cut_however_long_a_name_is(folder: Path) -> None:
    layers = ", ".join(f"encoder.layers.{n}: 1" for n in (0, 1, 4, 5))
    long = f"layer-schedule(every={{{layers}}})"
    result = CliRunner().invoke(
        app, ["replay", str(folder), "--round", "2", "--strategies", f"fedavg,{long}"]
    )
    assert result.exit_code == 0, result.output
    assert long in result.stdout
    assert "over test examples" in result.stdout
    assert "…" not in result.stdout
