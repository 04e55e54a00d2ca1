from pathlib import Path

import pytest

from tests.tools.command import fedssl

pytestmark = pytest.mark.usefixtures("without_report")


def test_export_writes_the_encoder_and_says_how_to_load_it(config: Path) -> None:
    run = config.parent / "runs" / "small"
    assert fedssl("run", config, "rounds=1", "--quiet").exit_code == 0
    result = fedssl("export", run, "--format", "safetensors")
    assert result.exit_code == 0, result.output
    file = run / "encoder-safetensors.safetensors"
    assert file.exists()
    assert result.stdout.splitlines()[0] == f"encoder: {file}"
    assert f"    state = load_file('{file}')" in result.stdout.splitlines()
    result = fedssl("export", run, "--format", "torchvision")
    assert result.exit_code == 2
    assert "the encoder is convnet, which torchvision does not have" in result.stderr
