"""Devices that come and go over gRPC and TLS, while the server runs and where it is killed."""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clients.network import find_free_port
from simulations.deployment.status import ask_server, read_run
from simulations.record.members import MemberRecord
from simulations.record.run_folder import RunFolder
from simulations.settings.experiment import Experiment
from simulations.setup.cohort import draw_cohort_of_members
from simulations.setup.prepare import prepare
from tests.tools.federation import Federation, federation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc"),
]
Small = Callable[..., Experiment]
ROUNDS = 4


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
    devices.write_examples(prepare(experiment))
    for client in (0, 1):
        add(tmp_path, client)
    # Rounds wait for two, so that not all are over before client 2 has come.
    serving = (*asked, "engine.min_clients=2", "evaluation.every=3", "data.size=16")
    figures = str(find_free_port())
    server = devices.serve(config, *serving, "--metrics", figures)
    server.wait_for("listening on port")
    first, revoked = (devices.join(client, pki="keys") for client in (0, 1))
    server.wait_for("round 1/")
    # Client 3 never comes, and is revoked before it ever was here.
    for client in (2, 3):
        add(tmp_path, client)
    server.wait_for("client 3 is a member now")
    for client in (1, 3):
        shutil.rmtree(tmp_path / "pki" / f"client-{client}")
    server.wait_for("client 3 is no member any more")
    status, _ = ask_server(f"localhost:{figures}")
    assert sorted(status.members) == [0, 2]
    assert status.clients[0].here
    new = devices.join(2, pki="keys")
    new.wait_for(": 12 examples, loss")
    revoked.wait_for("refuses client 1: either it has not this client's client.pub")
    for command in (server, first, new, revoked):
        command.kill()
    for client in (0, 2):
        devices.join(client, pki="keys")
    server = devices.serve(config, *serving, "--resume")
    assert server.wait(180) == 0, server.text

    folder = RunFolder(tmp_path / "run")
    checkpoint = folder.checkpoint.load()
    assert checkpoint is not None
    record = MemberRecord(checkpoint.members)
    cohorts = [row["cohort"] for row in folder.read_metrics()[1:]]
    assert cohorts == [
        draw_cohort_of_members(record.members(number), experiment.seed, number, 1.0)
        for number in range(1, ROUNDS + 1)
    ]
    assert set(record.members(1)) == {0, 1}
    assert dict(record.latest()) == {0: 12, 2: 12}

    text = (folder.federation / "audit.jsonl").read_text()
    audit = [json.loads(line) for line in text.splitlines()]
    assert [row["event"] for row in audit].count("started") == 2
    assert audit[-1] | {"event": "ended", "how": "finished"} == audit[-1]
    left = [row["client"] for row in audit if row.get("why") == "its key was removed"]
    assert sorted(left) == [1, 3]
    rounds = [row["cohort"] for row in audit if row["event"] == "round" and row["round"]]
    assert rounds[-1] == cohorts[-1]
    status, how = read_run(folder.path)
    assert how.startswith("not running: finished")
    good = Counter(
        client
        for row in folder.read_metrics()
        for client in set(row["cohort"]) - set(row["failed"])
    )
    assert {number: client.rounds for number, client in status.members.items()} == {
        client: good[client] for client in (0, 2)
    }
