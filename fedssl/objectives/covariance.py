"""How much features repeat one another."""

from torch import Tensor


def off_diagonal_covariance(features: Tensor) -> Tensor:
    """Return Σ_{i≠j} cov_ij² / D of features [B, D]; the covariance divides by B − 1.

    Examples
    --------
    >>> import torch
    >>> float(off_diagonal_covariance(torch.tensor([[1.0, 1.0], [-1.0, -1.0]])))
    4.0
    """
    count, width = features.shape
    centred = features - features.mean(0)
    covariance = centred.T @ centred / (count - 1)
    # The sums run over D² and D entries: subtracting the diagonal's share saves a copy.
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / width
