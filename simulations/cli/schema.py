"""``fedssl schema``: the JSON schema of a config."""

import json
import sys


def schema() -> None:
    """Print the JSON schema of a config, with which editors complete and check it.

    For example:

        fedssl schema > fedssl.schema.json

    then begin a config with `# yaml-language-server: $schema=fedssl.schema.json`.
    """
    from simulations.settings.experiment import Experiment

    sys.stdout.write(json.dumps(Experiment.model_json_schema(), indent=2) + "\n")
