"""Stratified splits: hold images out class by class."""

import numpy as np
from numpy.typing import NDArray


def stratified_split(labels: NDArray[np.int64], size: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold out `size` images so that each class has the share that it has in `labels` (N,).

    Images left over by rounding go to the classes with the largest remainders, smaller class numbers first.

    Returns:
        Indices of the images that stay and of those held out, both ascending.
    """
    classes, counts = np.unique(labels, return_counts=True)
    quotas, remainders = np.divmod(counts * size, len(labels))
    for index in np.argsort(-remainders, kind="stable")[: size - quotas.sum()]:
        quotas[index] += 1
    generator = np.random.Generator(np.random.PCG64(seed))
    held = [
        generator.permutation(np.flatnonzero(labels == name))[:quota]
        for name, quota in zip(classes, quotas, strict=True)
    ]
    held_out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out
