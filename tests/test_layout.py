"""Tests lie where the code does: the test of `a/b.py` is `tests/a/test_b.py`."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("fedssl", "strategies", "clients", "simulations")
LONG = 60
"""The lines of code from which on a module has a test of its own."""

# What holds for several modules at once, and lies in the folder that they have in common.
OF_SEVERAL = {
    "clients/flower_adapter/test_flower_version.py",  # whether a new Flower fits the adapter
    "clients/test_series_devices.py",  # a device, its examples and the server's model
    "fedssl/modalities/image/data/test_hostile.py",  # files, folders, lists and archives
    "fedssl/modalities/series/test_mae.py",  # an objective on a modality's encoder
    "fedssl/objectives/test_chance.py",  # the loss of chance of every objective
    "fedssl/test_absence.py",  # what clients keep, by objective and rule
    "simulations/bench/test_benchmarks.py",  # each measurement against its reference
    "simulations/cli/test_look.py",  # show, report, init, list and schema
    "simulations/deployment/test_faulty_devices.py",  # a federation of processes
    "simulations/deployment/test_membership_change.py",
    "simulations/engines/test_membership.py",  # server, engine and record
    "simulations/engines/test_ray_runs.py",  # whole runs under the engine ray
    "simulations/test_damaged_checkpoints.py",  # whole runs, from here on
    "simulations/test_damaged_folders.py",
    "simulations/test_hostile_configs.py",
    "simulations/test_interruptions.py",
    "simulations/test_kills.py",
    "simulations/test_modalities.py",
    "simulations/test_no_room.py",
    "simulations/test_objectives.py",
    "simulations/test_on_demand.py",
    "simulations/test_series.py",
    "simulations/test_siblings.py",
    "simulations/test_strategies.py",
    "simulations/test_writers.py",
    "strategies/test_instructions.py",  # what strategies and clients make of instructions
    "strategies/test_robust.py",  # the rules against attackers, side by side
    "strategies/test_table.py",  # every strategy, its formula and its laws
}

# By module, the test that covers it instead, and why.
ELSEWHERE = {
    # fedssl's tests may not import what loads an experiment, by which configs are read.
    "fedssl/base/config_file.py": "simulations/settings/test_experiment.py",
    "fedssl/base/fields.py": "simulations/settings/test_experiment.py",
    "fedssl/config.py": "simulations/settings/test_experiment.py",
    # What others are built of: it does nothing by itself.
    "fedssl/client_rules/context.py": "fedssl/client_rules/test_rule_runner.py",
    "fedssl/evaluation/subject.py": "fedssl/evaluation/test_measures.py",
    "fedssl/modalities/base.py": "fedssl/testing/test_modality.py",
    "fedssl/models/blueprint.py": "fedssl/models/test_model_file.py",
    "fedssl/objectives/base.py": "fedssl/objectives/test_objectives.py",
    "fedssl/views/policy.py": "fedssl/modalities/image/views/test_policies.py",
    "strategies/collected.py": "strategies/test_robust.py",
    # One part of what is used, and so tested, as a whole.
    "fedssl/modalities/image/export.py": "fedssl/models/test_export.py",
    "fedssl/testing/learning.py": "fedssl/testing/test_objective.py",
    "fedssl/testing/setting.py": "fedssl/testing/test_client_rule.py",
    "fedssl/testing/shared.py": "fedssl/testing/test_term.py",
    "simulations/comparing/jobs.py": "simulations/comparing/test_worker.py",
    "simulations/comparing/pictures.py": "simulations/comparing/test_report.py",
    "simulations/comparing/plot_style.py": "simulations/comparing/test_divergence_pictures.py",
    "simulations/comparing/tables.py": "simulations/comparing/test_report.py",
    "simulations/probing/plots.py": "simulations/probing/test_probe.py",
    "simulations/reports/page.py": "simulations/reports/test_run_report.py",
    "simulations/server/server.py": "simulations/server/test_rounds.py",
    # All benchmarks are checked in one way.
    "simulations/bench/reply_check.py": "simulations/bench/test_benchmarks.py",
    "simulations/bench/overhead.py": "simulations/bench/test_benchmarks.py",
    "simulations/bench/central_evaluation.py": "simulations/bench/test_benchmarks.py",
    "simulations/bench/local_work.py": "simulations/bench/test_benchmarks.py",
    # Commands, where what they print is that of a run which is made there.
    "simulations/cli/certs.py": "simulations/cli/test_join.py",
    "simulations/cli/compare.py": "simulations/comparing/test_run_missing.py",
    "simulations/cli/probe.py": "simulations/probing/test_probe.py",
    "simulations/cli/replay.py": "simulations/replaying/test_replay.py",
    # What needs processes or a cluster around it.
    "clients/flower_adapter/runtime_api.py": "clients/flower_adapter/test_flower_version.py",
    "clients/flower_adapter/superlink.py": "simulations/deployment/test_serve.py",
    "clients/message_handler.py": "simulations/engines/test_flower.py",
    "simulations/deployment/superlink.py": "simulations/deployment/test_serve.py",
    "simulations/settings/engines.py": "simulations/engines/test_ray_session.py",
    # Formulas and laws are checked for all strategies in one way.
    "strategies/fedlws.py": "strategies/test_table.py",
    "strategies/scaffold.py": "strategies/test_table.py",
}


def modules() -> list[str]:
    return sorted(
        str(p.relative_to(ROOT)) for name in PACKAGES for p in (ROOT / name).rglob("*.py")
    )


def place_of_test(module: str) -> str:
    path = Path(module)
    return str(path.with_name(f"test_{path.name}"))


def lines_of_code(module: str) -> int:
    """Count the lines on which something begins or ends, without comments and docstrings."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    texts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for part in (node, node.value)
    }
    return len(
        {
            line
            for node in ast.walk(tree)
            if isinstance(node, ast.expr | ast.stmt) and id(node) not in texts
            for line in (node.lineno, node.end_lineno)
        }
    )


def test_each_test_lies_where_its_module_does() -> None:
    places = {place_of_test(module) for module in modules()}
    # A package's test has its name, and lies in it or beside it.
    for module in modules():
        path = Path(module)
        if path.name == "__init__.py":
            name = f"test_{path.parent.name}.py"
            places |= {str(path.with_name(name)), str(path.parent.with_name(name))}
    tests = {
        str(path.relative_to(ROOT / "tests"))
        for package in PACKAGES
        for path in (ROOT / "tests" / package).rglob("test_*.py")
    }
    assert tests - places == OF_SEVERAL, "move the test, or name it in OF_SEVERAL"


def test_each_long_module_has_its_test() -> None:
    for module in modules():
        own = ROOT / "tests" / place_of_test(module)
        if module in ELSEWHERE:
            assert not own.exists(), f"{module} has a test of its own: take it out of ELSEWHERE"
            assert (ROOT / "tests" / ELSEWHERE[module]).exists(), ELSEWHERE[module]
        elif lines_of_code(module) > LONG and not module.endswith("__init__.py"):
            assert own.exists(), f"write {own}, or name in ELSEWHERE what covers it"


def test_only_modules_are_named() -> None:
    assert set(ELSEWHERE) <= set(modules())
