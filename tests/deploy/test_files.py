"""What deploy/ and the guide call are commands that there are, with options that they have."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from simulations.cli import app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def parse(arguments: list[str]) -> dict[str, Any]:
    """Return what a command would be called with; a click.UsageError where it would not be."""
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group)
    with click.Context(group) as parent:
        name, command, rest = group.resolve_command(parent, arguments)
        assert command is not None
        return command.make_context(name, rest, parent).params


def started(unit: Path) -> list[str]:
    (line,) = re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE)
    program, *arguments = shlex.split(line)
    assert program == "/opt/fedssl/bin/fedssl"
    return arguments


def test_there_are_the_units_that_the_guide_names() -> None:
    guide = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    for path in DEPLOY.iterdir():
        if path.suffix != ".py":
            assert f"deploy/{path.name}" in guide, path


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_a_command_that_there_is(unit: Path) -> None:
    params = parse(started(unit))
    assert Path(params["pki"]).is_absolute()
    # Only there may it write.
    written = Path(params.get("state") or params["out_folder"])
    assert written.is_relative_to("/var/lib/fedssl")


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_finds_no_fault_in_a_unit(unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd here")
    verified = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    faults = [line for line in verified.stderr.splitlines() if "/opt/fedssl/" not in line]
    # Units of the machine's own may have faults, too.
    assert [line for line in faults if unit.name in line] == []
    exposed = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert exposed.returncode == 0, exposed.stdout + exposed.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_starts_a_command_that_there_is(name: str) -> None:
    service = SERVICES[name]
    params = parse(service["command"])
    mounted = [volume.split(":")[1:] for volume in service["volumes"]]
    for given, mode in (
        (params["pki"], ["ro"]),
        (params.get("config") or params["examples"], ["ro"]),
        (params.get("state") or params["out_folder"], []),
    ):
        assert any(Path(given).is_relative_to(path) and mode == rest for path, *rest in mounted), (
            given
        )
    assert service["healthcheck"]["test"][-1] == str(params["health"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_no_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_image_is_made_of_what_there_is_and_of_nothing_else() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == [SERVICES["server"]["user"]]


def test_the_guide_calls_commands_that_there_are() -> None:
    guide = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    calls = [
        line
        for block in re.findall(r"^```\n(.+?)^```", guide, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
        if line.startswith("fedssl ")
    ]
    assert len(calls) > 5
    for call in calls:
        parse(shlex.split(call, comments=True)[1:])
