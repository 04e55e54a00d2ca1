"""Devices that come and go over gRPC and TLS, while the server runs and where it is killed."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simulations.experiment import Experiment
from simulations.members import MemberRecord, draw_among
from simulations.prepare import prepare
from simulations.run_folder import RunFolder
from tests.simulations.deployment.federation import Federation, federation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc"),
]
Small = Callable[..., Experiment]
ROUNDS = 9


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[Federation]:
    with federation(tmp_path) as made:
        assert made.run("certs", "--clients", "4", "--out", "keys").wait() == 0
        (tmp_path / "pki").mkdir()
        for name in ("ca.crt", "server.crt", "server.key"):
            shutil.copy(tmp_path / "keys" / name, tmp_path / "pki")
        yield made


def add(folder: Path, client: int) -> None:
    (folder / "pki" / f"client-{client}").mkdir()
    name = Path(f"client-{client}", "client.pub")
    shutil.copy(folder / "keys" / name, folder / "pki" / name)


def test_clients_join_and_leave_while_the_server_runs(
    small: Small, devices: Federation, tmp_path: Path
) -> None:
    config, asked = tmp_path / "small.yaml", (f"rounds={ROUNDS}", "participation=1.0")
    experiment = small(*asked, "data.size=16")
    devices.write_images(prepare(experiment))
    # Client 3 never comes, and is revoked before it ever was here.
    for client in (0, 1, 3):
        add(tmp_path, client)
    serving = (*asked, "engine.round_timeout=5", "evaluation.every=3", "data.size=16")
    server = devices.serve(config, *serving)
    server.wait_for("listening on port")
    first, revoked = (devices.join(client, pki="keys") for client in (0, 1))
    server.wait_for("round 1/")
    for client in (1, 3):
        shutil.rmtree(tmp_path / "pki" / f"client-{client}")
        server.wait_for(f"client {client} is no member any more")
    add(tmp_path, 2)
    server.wait_for("client 2 is a member now")
    new = devices.join(2, pki="keys")
    server.wait_for("client 2 is here, with 12 images")
    server.kill()
    server = devices.serve(config, *serving, "--resume")
    assert server.wait() == 0, server.text
    for client in (first, new):
        assert client.process.poll() is None
    assert revoked.wait() == 2
    assert "refuses client 1" in revoked.text

    folder = RunFolder(tmp_path / "run")
    checkpoint = folder.checkpoint.load()
    assert checkpoint is not None
    record = MemberRecord(checkpoint.members)
    cohorts = [row["cohort"] for row in folder.read_metrics()[1:]]
    assert cohorts == [
        draw_among(record.members(number), experiment.seed, number, 1.0)
        for number in range(1, ROUNDS + 1)
    ]
    assert set(record.members(1)) == {0, 1, 3}
    assert dict(record.latest()) == {0: 12, 2: 12}
    assert [row["failed"] for row in folder.read_metrics()][-1] == []
