"""SSLMem: what an encoder remembers of single examples that it was trained on."""

import hashlib
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedssl.data.dataset import Dataset
from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.metrics import PLAIN
from fedssl.evaluation.subject import MeasureResult, Subject

VIEWS = 10
"""So many views of each example."""
EXAMPLES = 1_000
"""At most so many candidates, and so many examples that neither encoder saw."""
PART = 1_024
"""Examples that are fetched at a time to be told apart."""


def spread(views: Tensor) -> Tensor:
    """Return the mean distance of the unit features of an example's views, over all pairs of them.

    Parameters
    ----------
    views : Tensor
        float [q, N, D], q ≥ 2, of any norm.

    Returns
    -------
    Tensor
        float64 [N], in [0, 2].
    """
    unit = F.normalize(views.double(), dim=2)
    pairs = torch.combinations(torch.arange(len(unit)), 2).tolist()
    return torch.stack([(unit[i] - unit[j]).norm(dim=1) for i, j in pairs]).mean(0)


def memorised(seen: Tensor, unseen: Tensor) -> Tensor:
    """Return how much closer an example's views are to an encoder that saw it, example by example.

    m(x) = E‖g(x') − g(x'')‖ − E‖f(x') − f(x'')‖ over views x', x'' of x, of unit features; f was
    trained on x, g was not.

    Parameters
    ----------
    seen, unseen : Tensor
        float [q, N, D] each: the features that f, and g, make of q views of N examples.

    Returns
    -------
    Tensor
        float64 [N], in [−2, 2].

    Source: Wang et al., "Memorization in Self-Supervised Learning Improves Downstream
    Generalization", ICLR 2024, section 3. The paper also scales the scores, by what could not be
    verified; here they are as they are.
    """
    return spread(unseen) - spread(seen)


def only_in(first: Dataset, second: Dataset) -> np.ndarray:
    """Return the rows, int64 and ascending, of the examples of ``first`` that ``second`` lacks.

    Examples are the same where all their bytes are.
    """
    there = set(_digests(second))
    return np.flatnonzero([digest not in there for digest in _digests(first)])


def _digests(dataset: Dataset) -> list[bytes]:
    # A part at a time: examples on demand may not fit into memory.
    parts = np.split(np.arange(len(dataset)), range(PART, len(dataset), PART))
    return [
        hashlib.blake2b(example.tobytes(), digest_size=16).digest()
        for rows in parts
        for example in dataset.fetch(rows).cpu().numpy()
    ]


class SSLMem(Measure):
    """Memorisation of single examples; needs a run without them, --against."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: SSLMem."""

        name: Literal["sslmem"] = "sslmem"
        """The name of this measure."""

    labels = False
    of_a_round = False
    reports: ClassVar = dict.fromkeys(("sslmem", "sslmem_control"), PLAIN)

    def measure(self, subject: Subject) -> MeasureResult:
        """Compare with a run whose training examples lack some of this one's: the candidates.

        The two should differ in nothing else: the same config and seed, as many examples. What the
        two encoders make of test examples, which neither saw, is a control: it should be about 0,
        and ``sslmem`` counts only as far as it lies above it. Federated, give the other run other
        examples for one client, and the candidates are that client's.

        Raises
        ------
        ValueError
            No other run is given, or it has all of this run's training examples.
        """
        if len(subject.others) != 1:
            raise ValueError(
                "compares with an encoder that did not see some of the training examples: give one "
                f"other run by --against, not {len(subject.others)}"
            )
        ((name, other),) = subject.others.items()
        candidates = only_in(subject.train, other.train)
        if len(candidates) == 0:
            raise ValueError(
                f"{name} was trained on all examples of this run: none is left to compare"
            )
        order = torch.randperm(len(candidates), generator=subject.generator("sslmem")).numpy()
        candidates = np.sort(candidates[order[:EXAMPLES]])
        scores = []
        for examples in (subject.train.fetch(candidates), subject.examples.test.fetch()[:EXAMPLES]):
            views: tuple[list[Tensor], list[Tensor]] = [], []
            for number in range(VIEWS):
                subject.on_progress(f"view {number + 1} of {VIEWS}")
                for features, encoder in zip(views, (subject.encoder, other.encoder), strict=True):
                    features.append(subject.views_of(examples, "sslmem", number, encoder))
            scores.append(memorised(torch.stack(views[0]), torch.stack(views[1])))
        return MeasureResult(
            {"sslmem": scores[0].mean().item(), "sslmem_control": scores[1].mean().item()},
            {
                "against": name,
                "examples": candidates.tolist(),
                "scores": scores[0].tolist(),
                "control_scores": scores[1].tolist(),
            },
        )
