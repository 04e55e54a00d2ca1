"""RankMe: how many dimensions the features really use."""

import math

import torch
from torch import Tensor


def rankme(features: Tensor) -> float:
    """Return the exponential of the entropy of the normalised singular values.

    With p = σ/‖σ‖₁ of the features as they are (not centred), exp(−Σ p·log p): from 1 to
    min(N, D). It depends on N, so compare only values of equal N, and only runs of one method.

    Parameters
    ----------
    features : Tensor
        float [N, D]. All zero features give 0.

    Source: Garrido et al., "RankMe: Assessing the Downstream Performance of Pretrained
    Self-Supervised Representations by Their Rank", ICML 2023, equations 1 and 2.
    """
    sigma = torch.linalg.svdvals(features.double())
    total = sigma.sum()
    if total == 0:
        return 0.0
    return math.exp(torch.special.entr(sigma / total).sum().item())
