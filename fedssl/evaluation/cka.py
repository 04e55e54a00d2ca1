"""CKA: how alike are the representations that the clients make of the same examples?"""

from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from fedssl.base.seeding import numpy_generator
from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.features import extract
from fedssl.evaluation.metrics import PLAIN
from fedssl.evaluation.subject import MeasureResult, Subject

CLIENTS = 10
"""At most so many clients are compared; where there are more, they are drawn."""


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Return ‖YᵀX‖² / (‖XᵀX‖·‖YᵀY‖) in Frobenius norms, of features whose means are subtracted.

    Parameters
    ----------
    first, second : Tensor
        X, float [N, D], and Y, float [N, E]: two encoders' features of the same examples.

    Returns
    -------
    float
        In [0, 1]: 1 where one is the other turned, mirrored and scaled as a whole. It is biased
        upwards where N is not far above D and E. Constant features give 0.

    Source: Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019,
    section 3 (linear CKA).

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    >>> turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    >>> round(linear_cka(features, 5 * features @ turn), 4)
    1.0
    """
    x, y = first.double(), second.double()
    x, y = x - x.mean(0), y - y.mean(0)
    norms = (x.T @ x).norm() * (y.T @ y).norm()
    if norms == 0:
        return 0.0
    alike: Tensor = (y.T @ x).square().sum() / norms
    return alike.item()


class CKA(Measure):
    """How far clients' data pull their encoders apart in a round."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: CKA."""

        name: Literal["cka"] = "cka"
        """The name of this measure."""

    labels = False
    reports: ClassVar = dict.fromkeys(
        ("cka_with_global", "cka_between_clients", "cka_least"), PLAIN
    )

    def measure(self, subject: Subject) -> MeasureResult:
        """Compare, on test examples, what clients make of this encoder in one local update.

        Each update is a client's first: whatever a client kept, and what its strategy asks of it,
        does not count. So it says how far apart the clients' data alone pull the model in one
        round. No labels are needed, but the clients' examples are.

        Raises
        ------
        ValueError
            Clients' examples are elsewhere, or no client can train.
        """
        if subject.after_update is None or subject.owner is None:
            raise ValueError("needs the clients' examples, which are not here")
        all_clients = np.unique(subject.owner[subject.owner >= 0])
        random = numpy_generator(subject.seed, "measure cka")
        chosen = np.sort(random.permutation(all_clients)[:CLIENTS]).tolist()
        examples = subject.examples.test.fetch()
        features = [subject.test_features]
        for place, client in enumerate(chosen):
            subject.on_progress(f"client {client} ({place + 1} of {len(chosen)})")
            features.append(extract(subject.after_update(client), examples, subject.preparation))
        alike = torch.eye(len(features), dtype=torch.float64)
        for i in range(len(features)):
            for j in range(i):
                alike[i, j] = alike[j, i] = linear_cka(features[i], features[j])
        between = alike[1:, 1:][~torch.eye(len(chosen), dtype=torch.bool)]
        figures = {"cka_with_global": alike[0, 1:].mean().item()}
        if len(between):
            figures["cka_between_clients"] = between.mean().item()
            figures["cka_least"] = between.min().item()
        names = [subject.client_names[client] for client in chosen if subject.client_names]
        named = {"client_names": names} if names else {}
        return MeasureResult(figures, {"clients": chosen, **named, "cka": alike.tolist()})
