"""Oscillations of ten kinds, as eight sensors would measure them, drawn on the spot."""

import math
from functools import cache
from typing import Literal

import numpy as np
import torch

from fedssl.base.seeding import numpy_generator
from fedssl.data.dataset import Dataset, Splits
from fedssl.modalities.series.data.config import SeriesConstants, SeriesData, SeriesSpreads

TRAIN, TEST = 4000, 1200
STEPS, AXES = 128, 3
KINDS = (
    "sine",
    "square",
    "sawtooth",
    "pulses",
    "chirp",
    "tremolo",
    "vibrato",
    "two tones",
    "burst",
    "decay",
)
SENSORS = 8

_CYCLES = (4.0, 12.0)
"""How often a wave swings in a series, at least and at most."""
_STRENGTHS = (0.5, 1.5)
_DRIFT = 0.6
_NOISE = (0.15, 0.5)
"""The noise of the best sensor and of the worst."""
_GAINS = (0.6, 1.6)
_OFFSET = 0.5
_RATES = (0.85, 1.2)
"""How fast sensors measure, as a multiple of the usual rate."""
_SMOOTHINGS = (1, 1, 1, 2, 2, 3, 3, 4)
"""Over how many steps each sensor takes its mean."""


class Waves(SeriesData):
    """To try things out: ten kinds of oscillation, measured by eight sensors; no download.

    Three axes, 128 steps; 4,000 series for training, 1,200 for testing. Frequency, phase, strength,
    direction and drift are random and say nothing of the class. A natural partition may split by
    ``sensor``: each has its own gain, offset, rotation, rate, smoothing and noise. Drawn in about a
    second, and always the same.
    """

    name: Literal["waves"] = "waves"
    """This data set."""
    mean: SeriesConstants = (0.05,)
    """The mean of its series."""
    std: SeriesSpreads = (1.07,)
    """The standard deviation of its series."""

    def read(self) -> Splits:
        """Draw the series."""
        return _draw()


@cache
def _draw() -> Splits:
    # Its own seed, not the experiment's: the series are the same in every run.
    random = numpy_generator(0, "waves")
    total = TRAIN + TEST
    kinds = random.permutation(np.arange(total) % len(KINDS))
    sensors = random.permutation(np.arange(total) % SENSORS)
    series = _measure(kinds, sensors, random)
    whole = Dataset(
        torch.from_numpy(series),
        torch.from_numpy(kinds),
        KINDS,
        {"sensor": sensors},
        {"sensor": tuple(f"sensor {number}" for number in range(SENSORS))},
    )
    return Splits(whole.take(np.arange(TRAIN)), whole.take(np.arange(TRAIN, total)))


def _measure(kinds: np.ndarray, sensors: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return what the sensors measure of waves of these kinds: float32 [N, AXES, STEPS]."""
    number = len(kinds)
    rotations = np.linalg.qr(random.standard_normal((SENSORS, AXES, AXES)))[0]
    gains = _log_uniform(_GAINS, (SENSORS, AXES), random)
    offsets = random.uniform(-_OFFSET, _OFFSET, (SENSORS, AXES))
    rates = random.permutation(np.geomspace(*_RATES, SENSORS))
    noises = random.permutation(np.geomspace(*_NOISE, SENSORS))
    # So that the mean over steps has what comes before a series' first.
    before = max(_SMOOTHINGS) - 1
    steps = np.arange(-before, STEPS) / STEPS
    times = steps * rates[sensors][:, None]
    wave = np.empty((number, len(steps)))
    for n, kind in enumerate(KINDS):
        wave[kinds == n] = _wave(kind, times[kinds == n], random)
    direction = random.standard_normal((number, AXES))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    strength = _log_uniform(_STRENGTHS, (number,), random) * np.sqrt(AXES)
    body = direction[:, :, None] * (strength[:, None] * wave)[:, None]
    slope, bend = random.uniform(-_DRIFT, _DRIFT, (2, number, AXES, 1))
    body += slope * (2 * steps - 1) + bend * (2 * steps - 1) ** 2
    seen = np.einsum("nij,njt->nit", rotations[sensors] * gains[sensors][:, :, None], body)
    seen += noises[sensors][:, None, None] * random.standard_normal(seen.shape)
    for sensor, width in enumerate(_SMOOTHINGS):
        of = sensors == sensor
        sums = np.cumsum(seen[of], 2)
        sums[..., width:] -= sums[..., :-width].copy()
        seen[of] = sums / width
    made: np.ndarray = (seen[..., before:] + offsets[sensors][:, :, None]).astype(np.float32)
    return made


def _log_uniform(
    bounds: tuple[float, float], shape: tuple[int, ...], random: np.random.Generator
) -> np.ndarray:
    low, high = map(math.log, bounds)
    return np.asarray(np.exp(random.uniform(low, high, shape)))


def _wave(kind: str, times: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return waves of one kind at times [N, T] in units of a series, of mean square 1."""
    number = len(times)

    def draw(low: float, high: float) -> np.ndarray:
        return random.uniform(low, high, (number, 1))

    cycles = _log_uniform(_CYCLES, (number, 1), random)
    turns = cycles * times + draw(0, 1)
    angle = 2 * np.pi * turns
    slow = 2 * np.pi * (draw(1, 2.5) * times + draw(0, 1))
    if kind == "square":
        wave = np.sign(np.sin(angle))
    elif kind == "sawtooth":
        wave = 2 * (turns % 1) - 1
        wave *= np.where(draw(0, 1) < 0.5, -1, 1)
    elif kind == "pulses":
        wave = (turns % 1 < draw(0.12, 0.25)).astype(float)
    elif kind == "chirp":
        wave = np.sin(angle + 2 * np.pi * cycles * draw(0.6, 1.0) * (times - 0.5) ** 2)
    elif kind == "tremolo":
        wave = (1 + draw(0.7, 1.0) * np.sin(slow)) * np.sin(angle)
    elif kind == "vibrato":
        wave = np.sin(angle + draw(2.0, 3.5) * np.sin(slow))
    elif kind == "two tones":
        wave = np.sin(angle) + draw(0.7, 1.0) * np.sin(angle * draw(1.6, 2.6) + draw(0, 6))
    elif kind == "burst":
        wave = np.exp(-(((times - draw(0.25, 0.75)) / draw(0.08, 0.16)) ** 2)) * np.sin(angle)
    elif kind == "decay":
        wave = np.exp(-draw(2.0, 4.0) * times) * np.sin(angle)
    else:
        wave = np.sin(angle)
    wave = wave - wave.mean(1, keepdims=True)
    return np.asarray(wave / np.sqrt(np.square(wave).mean(1, keepdims=True)))
