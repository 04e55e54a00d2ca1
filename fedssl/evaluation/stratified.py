"""A share of each class, drawn."""

import numpy as np
import torch


def stratified(labels: np.ndarray, share: float, generator: torch.Generator) -> np.ndarray:
    """Draw a share of each class, rounded to the nearest example, but at least one.

    Parameters
    ----------
    labels : np.ndarray
        int64 [N]; −1 (no label) is left out.
    share : float
        In (0, 1].
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    np.ndarray
        int64, ascending: the rows drawn.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> rows = stratified(labels, 0.5, torch.Generator().manual_seed(0))
    >>> labels[rows].tolist()
    [0, 0, 1]
    """
    order = torch.randperm(len(labels), generator=generator).numpy()
    chosen = []
    for label in np.unique(labels[labels >= 0]):
        rows = order[labels[order] == label]
        chosen.append(rows[: max(1, round(share * len(rows)))])
    return np.sort(np.concatenate(chosen))
