"""``fedssl schema``: the JSON schema of a config."""

import json
import re
import sys
from typing import Any


def schema() -> None:
    """Print the JSON schema of a config, with which editors complete and check it.

    For example:

        fedssl schema > fedssl.schema.json

    then begin a config with `# yaml-language-server: $schema=fedssl.schema.json`.
    """
    from simulations.settings.experiment import Experiment

    text = _without_sections(Experiment.model_json_schema())
    sys.stdout.write(json.dumps(text, indent=2) + "\n")


def _without_sections(schema: Any) -> Any:
    """Return a schema whose descriptions end before the first section of a docstring."""
    if isinstance(schema, list):
        return [_without_sections(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    cut = {key: _without_sections(value) for key, value in schema.items()}
    if isinstance(description := cut.get("description"), str):
        cut["description"] = re.split(r"\n\n\w+\n-+\n", description)[0]
    return cut
