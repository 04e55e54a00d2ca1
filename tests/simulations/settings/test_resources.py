import os

import pytest
import torch

from simulations import ConfigError
from simulations.settings.engines import RayConfig
from simulations.settings.resources import choose_workers


@pytest.mark.parametrize(
    ("machines", "cpus", "gpus", "room"),
    [
        ([{"CPU": 8}], 1, 0, 8),
        ([{"CPU": 8}], 3, 0, 2),
        ([{"CPU": 5}, {"CPU": 5}], 3, 0, 2),
        ([{"CPU": 16, "GPU": 4}], 1, 1, 4),
        ([{"CPU": 2, "GPU": 4}], 1, 1, 2),
        ([{"CPU": 16, "GPU": 2}], 1, 0.4, 4),
        ([{"CPU": 16, "GPU": 1}], 1, 1 / 3, 3),
        ([{"CPU": 16, "GPU": 1}], 1, 0.1, 10),
        ([{"CPU": 4}, {"CPU": 4, "GPU": 1}], 1, 1, 1),
    ],
)
def test_as_many_workers_as_there_is_room_for_are_chosen_or_allowed(
    machines: list[dict[str, float]], cpus: int, gpus: float, room: int
) -> None:
    assert choose_workers(None, machines, cpus, gpus, "here") == room
    assert choose_workers(room, machines, cpus, gpus, "here") == room
    with pytest.raises(ConfigError, match=rf"engine\.workers = {room + 1}: .*give at most {room}"):
        choose_workers(room + 1, machines, cpus, gpus, "here")


@pytest.mark.parametrize("asked", [None, 1])
def test_no_room_at_all_is_an_error_that_names_what_a_worker_takes(asked: int | None) -> None:
    with pytest.raises(ConfigError, match=r"client\.threads = 4 and engine\.gpus_per_worker = 0.5"):
        choose_workers(asked, [{"CPU": 2, "GPU": 1}], 4, 0.5, "here")


def test_what_is_left_out_is_settled_by_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert RayConfig(device="cpu").resolve(3) == RayConfig(
        device="cpu", workers=2, gpus_per_worker=0.0
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert RayConfig().resolve(1) == RayConfig(device="cuda", workers=2, gpus_per_worker=1.0)
    shared = RayConfig(gpus_per_worker=0.25).resolve(1)
    assert shared.workers == 8
    # How many a cluster has room for is known once it is joined.
    assert RayConfig(address="head:6379").resolve(1).workers is None
    with pytest.raises(ConfigError, match=r"engine\.gpus_per_worker = 0: .* is cuda"):
        RayConfig(gpus_per_worker=0.0).resolve(1)
