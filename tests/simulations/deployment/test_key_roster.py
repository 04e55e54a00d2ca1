"""Keys that come and go in the server's folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fedssl.base.config_file import ConfigError
from simulations.deployment.key_record import KeyRecord
from simulations.deployment.key_roster import KeyRoster
from simulations.deployment.pki import ServerKeys, make_pki


class SuperLink:
    """Lets nodes in, as Flower's does: it forgets no key."""

    def __init__(self) -> None:
        self.keys: dict[bytes, int] = {}
        self.gone: list[int] = []

    def register(self, key: bytes) -> int:
        if key in self.keys:
            raise ValueError("the SuperLink refuses this key")
        self.keys[key] = 1000 + len(self.keys)
        return self.keys[key]

    def unregister(self, node: int) -> None:
        self.gone.append(node)


class Scene:
    def __init__(self, folder: Path, clients: int = 2):
        self.folder = folder
        self.pki = folder / "pki"
        make_pki(self.pki, clients, [])
        self.start()

    def start(self) -> None:
        """Start the server anew."""
        self.said: list[str] = []
        self.superlink = SuperLink()
        record = KeyRecord(self.folder / "federation" / "keys.json")
        self.roster = KeyRoster(ServerKeys(self.pki), record, self.said.append)
        self.roster.check()
        self.roster.open(self.superlink)

    def clients(self) -> tuple[int, ...]:
        """Return the members."""
        return self.roster.clients

    def look(self) -> list[str]:
        """Look at the folder; return what was said about it."""
        self.said.clear()
        self.roster.update()
        return list(self.said)

    def add(self, client: int) -> None:
        """Add a client alone, as `fedssl certs` in a folder of its own would."""
        make_pki(self.folder / "others", client + 1, [])
        shutil.copytree(self.folder / "others" / f"client-{client}", self.pki / f"client-{client}")

    def remove(self, client: int) -> None:
        shutil.move(self.pki / f"client-{client}", self.folder / f"gone-{client}")

    def put_back(self, client: int) -> None:
        shutil.move(self.folder / f"gone-{client}", self.pki / f"client-{client}")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_members_are_those_that_have_a_key(scene: Scene) -> None:
    assert scene.clients() == (0, 1)
    assert sorted(scene.roster.nodes.values()) == [0, 1]
    assert scene.said == []
    assert scene.look() == []
    scene.add(5)
    assert scene.look() == ["client 5 is a member now: its key was added"]
    assert scene.clients() == (0, 1, 5)
    scene.remove(1)
    assert scene.look() == ["client 1 is no member any more: its key was removed"]
    assert scene.clients() == (0, 5)
    assert scene.superlink.gone == [1001]
    assert scene.look() == []


@pytest.fixture
def unrecorded(scene: Scene) -> Scene:
    """A folder of keys from before there was a record of their numbers."""
    (scene.pki / "clients.json").unlink()
    return scene


def test_the_folders_own_record_tells_whose_a_number_is(scene: Scene) -> None:
    scene.remove(1)
    scene.look()
    scene.add(1)
    (said,) = scene.look()
    assert "is another key than the one that number 1 was given to" in said
    assert scene.clients() == (0,)


def test_a_number_is_never_given_twice(unrecorded: Scene) -> None:
    scene = unrecorded
    scene.remove(1)
    scene.look()
    scene.add(1)
    (said,) = scene.look()
    assert "client 1 had another key in this run, and a number is never given twice" in said
    assert "give the new device a new number by fedssl certs" in said
    assert scene.clients() == (0,)
    assert scene.look() == []
    with pytest.raises(ConfigError, match="client 1 had another key in this run"):
        scene.start()


def test_a_key_that_is_replaced_leaves_at_once(unrecorded: Scene) -> None:
    scene = unrecorded
    make_pki(scene.folder / "others", 2, [])
    other = scene.folder / "others" / "client-1" / "client.pub"
    (scene.pki / "client-1" / "client.pub").write_bytes(other.read_bytes())
    left, fault = scene.look()
    assert left == "client 1 is no member any more: its key was removed"
    assert "client 1 had another key" in fault
    assert scene.superlink.gone == [1001]


def test_a_key_that_comes_back_is_taken_in_by_the_next_server(scene: Scene) -> None:
    scene.remove(1)
    scene.look()
    scene.put_back(1)
    (said,) = scene.look()
    assert "client 1 is a member again once fedssl serve is stopped and started" in said
    assert scene.clients() == (0,)
    scene.start()
    assert scene.clients() == (0, 1)


def spoil(scene: Scene) -> Path:
    path = scene.pki / "client-7" / "client.pub"
    path.parent.mkdir()
    return path


def no_key(scene: Scene) -> None:
    spoil(scene).write_text("nothing\n")


def another_s(scene: Scene) -> None:
    spoil(scene).write_bytes((scene.pki / "client-0" / "client.pub").read_bytes())


def copy(scene: Scene) -> None:
    text = (scene.pki / "client-0" / "client.pub").read_text()
    spoil(scene).write_text(text.replace("client-0", "client-7"))


def too_large(scene: Scene) -> None:
    spoil(scene).write_text("x" * 100_000)


def a_folder(scene: Scene) -> None:
    spoil(scene).mkdir()


def another_kind(scene: Scene) -> None:
    rsa = "ssh-dss AAAAB3NzaC1kc3MAAACBAP fedssl-client-7\n"
    spoil(scene).write_text(rsa)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (no_key, "no public key of an elliptic curve"),
        (another_s, "is the key of client 0; put each in its folder"),
        (copy, "is the same key as client 0's"),
        (too_large, "is larger than"),
        (a_folder, "it is a folder"),
        (another_kind, "no public key of an elliptic curve"),
    ],
)
def test_a_bad_key_is_said_once_and_the_others_stay(
    scene: Scene, make: Callable[[Scene], None], reason: str
) -> None:
    make(scene)
    scene.add(3)
    said = scene.look()
    assert any(f"{scene.pki}/client-7/client.pub" in text and reason in text for text in said)
    assert scene.clients() == (0, 1, 3)
    scene.remove(0)
    assert scene.look()[0] == "client 0 is no member any more: its key was removed"
    assert scene.clients() == (1, 3)
    with pytest.raises(ConfigError, match=r"client-7/client\.pub"):
        scene.start()


def test_two_new_clients_with_one_key_are_one(scene: Scene) -> None:
    scene.add(5)
    text = (scene.pki / "client-5" / "client.pub").read_text()
    spoil(scene).write_text(text.replace("client-5", "client-7"))
    joined, fault = scene.look()
    assert joined == "client 5 is a member now: its key was added"
    assert "client-7/client.pub: is the same key as client 5's" in fault


def test_a_number_has_a_bound(scene: Scene) -> None:
    text = (scene.pki / "client-1" / "client.pub").read_text()
    scene.remove(1)
    folder = scene.pki / "client-99999999"
    folder.mkdir()
    (folder / "client.pub").write_text(text.replace("client-1", folder.name))
    assert any("numbers go up to" in said for said in scene.look())
    assert scene.clients() == (0,)


def test_a_key_that_the_superlink_refuses_is_no_member(scene: Scene) -> None:
    def refuse(key: bytes) -> int:
        raise ValueError("the SuperLink refuses this key: 400")

    scene.superlink.register = refuse  # type: ignore[method-assign]
    scene.add(2)
    (said,) = scene.look()
    assert said.endswith("client-2/client.pub: the SuperLink refuses this key: 400")
    assert scene.clients() == (0, 1)


@pytest.mark.parametrize("text", ["", "[]", '{"0": 5}', '{"-1": "' + "0" * 64 + '"}', "{" * 99])
def test_a_record_that_cannot_be_read_is_refused(scene: Scene, text: str) -> None:
    (scene.folder / "federation" / "keys.json").write_text(text)
    with pytest.raises(ConfigError, match=r"keys\.json: does not tell which client has which key"):
        scene.start()
    # Of a run that only begins it does not matter.
    KeyRecord(scene.folder / "federation" / "keys.json", new=True)


def test_the_folder_is_watched(scene: Scene) -> None:
    with scene.roster.watch(seconds=0.001):
        scene.add(2)
        while scene.clients() != (0, 1, 2):
            pass
