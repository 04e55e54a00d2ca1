"""CKA: known answers, and the choice of clients."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from fedssl.evaluation import cka as module
from fedssl.evaluation.cka import CKA, linear_cka
from tests.tools.evaluation import Noisy, a_subject, rng

measure = CKA(CKA.Config()).measure


def test_turned_and_scaled_features_are_the_same() -> None:
    x = torch.randn(40, 6, generator=rng())
    turn = torch.linalg.qr(torch.randn(6, 6, generator=rng(1))).Q
    assert linear_cka(x, 3 * x @ turn + 1) == pytest.approx(1)


def test_orthogonal_features_have_nothing_in_common() -> None:
    q = torch.linalg.qr(torch.randn(40, 5, generator=rng(), dtype=torch.float64)).Q
    q = torch.linalg.qr(q - q.mean(0)).Q
    assert linear_cka(q[:, :2], q[:, 2:]) == pytest.approx(0, abs=1e-12)
    # Of 4 and 1 dimensions of equal variance, one is in common: 1 / √(4·1).
    assert linear_cka(q[:, :4], q[:, :1]) == pytest.approx(1 / 2)
    assert linear_cka(q, torch.ones(40, 3)) == 0


def test_it_is_hsic_of_the_gram_matrices() -> None:
    x, y = (torch.randn(15, d, generator=rng(d), dtype=torch.float64) for d in (4, 7))
    center = torch.eye(15, dtype=torch.float64) - 1 / 15
    k, m = center @ x @ x.T @ center, center @ y @ y.T @ center
    assert linear_cka(x, y) == pytest.approx(((k * m).sum() / (k.norm() * m.norm())).item())


def test_clients_that_learn_nothing_agree_and_others_less(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, owner = Noisy(), np.arange(90) % 3
    same = measure(a_subject(encoder, owner=owner, after_update=lambda _: encoder))
    assert same.figures == pytest.approx(
        {"cka_with_global": 1, "cka_between_clients": 1, "cka_least": 1}
    )

    def changed(client: int) -> nn.Module:
        other = copy.deepcopy(encoder)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=rng(50 + client)))
        return other

    found = measure(a_subject(encoder, owner=owner, after_update=changed))
    assert found.figures["cka_least"] <= found.figures["cka_between_clients"] < 0.999
    assert found.details["clients"] == [0, 1, 2]
    monkeypatch.setattr(module, "CLIENTS", 2)
    fewer = measure(a_subject(encoder, owner=owner, after_update=changed)).details
    assert len(fewer["clients"]) == 2
    assert np.shape(fewer["cka"]) == (3, 3)


def test_without_clients_examples_it_says_so() -> None:
    with pytest.raises(ValueError, match="clients' examples"):
        measure(a_subject(Noisy()))
