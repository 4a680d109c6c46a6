"""Stratified splits: hold images out, or choose some, class by class."""

import numpy as np
from numpy.typing import NDArray


def stratified_split(labels: NDArray[np.int64], size: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold out `size` images so that each class has the share that it has in `labels` (N,).

    Returns:
        Indices of the images that stay and of those held out, both ascending.
    """
    classes, counts = np.unique(labels, return_counts=True)
    quotas = shares(counts, size)
    generator = np.random.Generator(np.random.PCG64(seed))
    held = [
        generator.permutation(np.flatnonzero(labels == name))[:quota]
        for name, quota in zip(classes, quotas, strict=True)
    ]
    held_out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def shares(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Divide `size` images among classes in proportion to their counts.

    Images left over by rounding go to the classes with the largest remainders, smaller class numbers first.
    """
    quotas, remainders = np.divmod(counts * size, counts.sum())
    for index in np.argsort(-remainders, kind="stable")[: size - quotas.sum()]:
        quotas[index] += 1
    return quotas


def nested_subset(labels: NDArray[np.int64], size: int, seed: int) -> NDArray[np.int64]:
    """Choose `size` images so that each class has its share, and that a smaller choice is part of a larger one.

    The images of a class are shuffled. The k-th of n has the rank (k - 1/2) / n, and the images of the lowest ranks are
    chosen. These are the shares of Webster's method, which do not fall when the size grows (Balinski & Young 1982);
    those of the largest remainders may.

    Returns:
        Indices into `labels` (N,), ascending.
    """
    stream = np.random.SeedSequence(seed, spawn_key=(1,))  # apart from that of stratified_split
    generator = np.random.Generator(np.random.PCG64(stream))
    ranks = np.empty(len(labels))
    for name in np.unique(labels):
        members = np.flatnonzero(labels == name)
        ranks[generator.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(np.argsort(ranks, kind="stable")[:size])
