"""docs/security.md claims nothing that no test holds."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)


def test_every_test_that_is_named_exists() -> None:
    missing = []
    for file, name in NAMED:
        path = ROOT / file
        tree = ast.parse(path.read_text(encoding="utf-8")) if path.exists() else ast.Module([], [])
        if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            missing.append(f"{file}::{name}")
    assert missing == []
    assert len(NAMED) > 30
    # Whatever looks like a test is written so that it was looked for here.
    assert TEXT.count("test_") - TEXT.count("/test_") == len(NAMED)


def test_every_claim_of_a_table_names_a_test_or_none_in_plain_sight() -> None:
    claims = [line for line in TEXT.splitlines() if line.startswith("| to ")]
    assert len(claims) > 20
    assert [claim for claim in claims if "::test_" not in claim] == []


def test_the_policy_leads_there() -> None:
    assert "](docs/security.md)" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
