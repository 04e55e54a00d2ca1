"""A small experiment's learning, and a fake in timm's place."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from torch import Tensor, nn
from torch.nn import functional

from fedssl.base.config_file import read
from fedssl.config import LearningConfig
from tests.tools.small_experiment import LEARNING, write_small


class Made(nn.Module):
    """What the fake makes: a convolution and dropout of several kinds."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.drop, self.path = nn.Dropout(0.5), nn.Identity()
        self.path.drop_prob = 0.3  # type: ignore[assignment]
        self.drop_rate = 0.2

    def forward(self, examples: Tensor) -> Tensor:
        dropped: Tensor = self.drop(self.conv(examples)).mean((2, 3))
        return functional.dropout(dropped, self.drop_rate, self.training)


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Put a fake in timm's place, whose `vit` alone takes an example size; return what it made."""
    calls: list[dict[str, object]] = []

    def create_model(name: str, **fields: object) -> nn.Module:
        if name != "vit" and "img_size" in fields:
            raise TypeError("unexpected keyword argument 'img_size'")
        calls.append({"name": name, **fields})
        return Made(7)

    fake = ModuleType("timm")
    fake.__dict__.update(create_model=create_model, list_models=lambda: ["vit", "cnn"])
    monkeypatch.setitem(sys.modules, "timm", fake)
    return calls


@pytest.fixture
def small(tmp_path: Path, write_npz: Callable[..., Path]) -> Callable[..., LearningConfig]:
    """Load a small BYOL experiment's learning, of four clients."""
    path = write_small(tmp_path, LEARNING, write_npz)
    return lambda *overrides: read(LearningConfig, path, overrides)


@pytest.fixture
def machine_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the system say that the machine has so many bytes of memory."""

    def say(size: int) -> None:
        monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": size, "SC_PAGE_SIZE": 1}.__getitem__)

    return say
