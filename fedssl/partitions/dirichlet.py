"""Skew drawn from a Dirichlet distribution, in labels or in size."""

from typing import Literal

import numpy as np
from pydantic import Field

from fedssl.base.fields import Number
from fedssl.data.dataset import Dataset
from fedssl.partitions.config import PartitionConfig


class Dirichlet(PartitionConfig):
    """The usual label skew: each class is shared out by proportions from Dirichlet(alpha).

    At alpha = 0.1 a client holds mostly one or two classes, at 100 all of them alike [1]_.

    References
    ----------
    .. [1] Hsu, Qi and Brown, "Measuring the effects of non-identical data distribution for
       federated visual classification", arXiv:1909.06335; here class by class, as in Yurochkin et
       al., "Bayesian nonparametric federated learning of neural networks", ICML 2019.
    """

    by_label = True

    name: Literal["dirichlet"] = "dirichlet"
    """This partition."""
    clients: int = Field(ge=1)
    """How many clients there are."""
    alpha: Number = Field(gt=0)
    """The concentration: the smaller, the fewer classes a client holds."""

    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        """Cut each class by its own draw."""
        labels = dataset.labels.numpy()
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        return _cut_by_dirichlet(groups, self.clients, self.alpha, self.minimum, random)


class Quantity(PartitionConfig):
    """Skew in size alone: few clients hold most examples, with the same mix of classes.

    Sizes are proportional to one draw from Dirichlet(alpha) over the clients [1]_.

    References
    ----------
    .. [1] Li et al., "Federated learning on non-IID data silos", ICDE 2022, section IV-C.
    """

    name: Literal["quantity"] = "quantity"
    """This partition."""
    clients: int = Field(ge=1)
    """How many clients there are."""
    alpha: Number = Field(gt=0)
    """The concentration: the smaller, the less even the sizes."""

    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        """Cut all examples by one draw."""
        groups = [np.arange(len(dataset))]
        return _cut_by_dirichlet(groups, self.clients, self.alpha, self.minimum, random)


_TRIES = 100
_HOPELESS = 50
"""With so many clients short in one draw, no draw will do: the odds are below exp(-50)."""


def _cut_by_dirichlet(
    groups: list[np.ndarray],
    clients: int,
    alpha: float,
    minimum: int,
    random: np.random.Generator,
) -> np.ndarray:
    """Share out each group by its own draw from Dirichlet(alpha), until each client has enough."""
    owner = np.empty(sum(map(len, groups)), np.int64)
    best = 0
    for _ in range(_TRIES):
        for group in groups:
            ends = np.cumsum(_dirichlet(clients, alpha, random))[:-1] * len(group)
            # Client k gets the places from ⌊end k-1⌋ up to ⌊end k⌋ of the shuffled group.
            holder = np.searchsorted(np.floor(ends), np.arange(len(group)), side="right")
            owner[random.permutation(group)] = holder
        sizes = np.bincount(owner, minlength=clients)
        short = int((sizes < minimum).sum())
        if not short:
            return owner
        best = max(best, int(sizes.min()))
        if short > _HOPELESS:
            break
    raise ValueError(
        f"partition.minimum = {minimum}: in up to {_TRIES} draws the smallest client never had "
        f"more than {best} examples, and {short} of {clients} clients fell short in the last; use "
        "a larger alpha, fewer clients or a lower minimum"
    )


def _dirichlet(clients: int, alpha: float, random: np.random.Generator) -> np.ndarray:
    """Draw the shares of one symmetric Dirichlet, float64 [clients].

    As normalised gamma variates, in logs: for small ``alpha`` the variates themselves are all 0 in
    double precision. Gamma(a) = Gamma(a + 1) · U^(1/a) [1]_.

    References
    ----------
    .. [1] Devroye, "Non-uniform random variate generation", 1986, chapter IX, section 3.5.
    """
    logs = np.log(random.standard_gamma(alpha + 1, clients))
    logs -= random.standard_exponential(clients) / alpha
    shares = np.exp(logs - logs.max())
    return np.asarray(shares / shares.sum())
