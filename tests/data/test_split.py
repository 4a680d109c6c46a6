"""The stratified split against integer arithmetic; nested subsets against the divisor method."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from sweeper.data.split import nested_subset, stratified_split


def shuffled_labels(counts: Sequence[int], seed: int = 0) -> NDArray[np.int64]:
    labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    return np.random.default_rng(seed).permutation(labels)


def largest_remainder(counts: Sequence[int], size: int) -> list[int]:
    """Return the quotas in integers: floors, plus 1 for the largest remainders, smaller classes first."""
    total = sum(counts)
    quotas = [count * size // total for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda index: (-(counts[index] * size % total), index))
    for index in by_remainder[: size - sum(quotas)]:
        quotas[index] += 1
    return quotas


@pytest.mark.parametrize(
    ("counts", "size", "quotas"),
    [
        ((10, 10, 10), 6, [2, 2, 2]),
        ((40, 40, 40), 24, [8, 8, 8]),
        ((5, 5, 5), 4, [2, 1, 1]),
        ((5, 5, 5), 5, [2, 2, 1]),
        ((90, 9, 1), 10, [9, 1, 0]),
        ((1, 9, 90), 10, [0, 1, 9]),
        ((1, 1, 98), 50, [1, 0, 49]),
        ((6, 3, 1), 10, [6, 3, 1]),
        ((6, 3, 1), 9, [5, 3, 1]),
        ((6, 3, 1), 0, [0, 0, 0]),
        ((7,), 3, [3]),
        ((1, 7, 1), 3, [1, 2, 0]),  # three equal remainders of unequal classes
        ((7, 1, 1), 3, [3, 0, 0]),
    ],
)
def test_each_class_gets_its_share(counts: tuple[int, ...], size: int, quotas: list[int]) -> None:
    labels = shuffled_labels(counts)
    stays, held_out = stratified_split(labels, size, seed=0)
    assert np.bincount(labels[held_out], minlength=len(counts)).tolist() == quotas
    assert (len(stays), len(held_out)) == (len(labels) - size, size)


@pytest.mark.parametrize("seed", range(30))
def test_shares_of_random_classes_against_integer_arithmetic(seed: int) -> None:
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, 60, size=generator.integers(1, 12)).tolist()
    labels = shuffled_labels(counts, seed)
    for size in range(len(labels) + 1):
        _, held_out = stratified_split(labels, size, seed)
        assert np.bincount(labels[held_out], minlength=len(counts)).tolist() == largest_remainder(counts, size)


@pytest.mark.parametrize("size", [0, 1, 17, 99, 100])
def test_the_two_parts_are_disjoint_complete_and_ascending(size: int) -> None:
    parts = stratified_split(shuffled_labels((50, 30, 20)), size, seed=3)
    assert sorted([*parts[0].tolist(), *parts[1].tolist()]) == list(range(100))
    for part in parts:
        assert part.dtype == np.int64
        assert part.tolist() == sorted(part.tolist())


def test_classes_need_not_be_numbered_from_zero() -> None:
    labels = np.array([7, 3, 7, 3, 7, 3, 7, 7], dtype=np.int64)
    _, held_out = stratified_split(labels, 4, seed=0)
    assert sorted(labels[held_out].tolist()) == [3, 3, 7, 7]  # 1.5 and 2.5: equal remainders


def test_the_same_seed_gives_the_same_split() -> None:
    labels = shuffled_labels((50, 30, 20))
    first, again = stratified_split(labels, 20, seed=5), stratified_split(labels.copy(), 20, seed=5)
    assert [part.tolist() for part in first] == [part.tolist() for part in again]


def test_every_image_is_held_out_for_some_seed() -> None:
    labels = shuffled_labels((50, 30, 20))
    splits = [tuple(stratified_split(labels, 20, seed)[1].tolist()) for seed in range(100)]
    assert len(set(splits)) == 100
    assert {index for split in splits for index in split} == set(range(100))


def test_labels_are_not_modified() -> None:
    labels = shuffled_labels((5, 3))
    before = labels.copy()
    stratified_split(labels, 4, seed=0)
    assert labels.tolist() == before.tolist()


def webster(counts: Sequence[int], size: int) -> list[int]:
    """Return the shares of Webster's method: each image goes to the largest count / (2 share + 1)."""
    shares = [0] * len(counts)
    for _ in range(size):
        quotients = [Fraction(count, 2 * share + 1) for count, share in zip(counts, shares, strict=True)]
        shares[quotients.index(max(quotients))] += 1
    return shares


@pytest.mark.parametrize("counts", [(10, 10, 10), (90, 9, 1), (6, 3, 1), (17, 23, 5, 41), (7,)])
def test_subsets_are_nested_and_have_websters_shares(counts: tuple[int, ...]) -> None:
    """Where classes tie, the first image decides; so do the classes of sorted labels."""
    labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    before: set[int] = set()
    for size in range(len(labels) + 1):
        chosen = nested_subset(labels, size, seed=0)
        assert chosen.tolist() == sorted(chosen.tolist()) and {*chosen.tolist()} >= before
        assert np.bincount(labels[chosen], minlength=len(counts)).tolist() == webster(counts, size)
        before = {*chosen.tolist()}


def test_a_subset_is_drawn_with_the_seed_in_a_stream_of_its_own() -> None:
    labels = shuffled_labels((50, 30, 20))
    subsets = [tuple(nested_subset(labels, 20, seed).tolist()) for seed in range(100)]
    assert subsets[5] == tuple(nested_subset(labels.copy(), 20, seed=5).tolist())
    assert len({*subsets}) == 100 and {index for subset in subsets for index in subset} == set(range(100))
    assert subsets[5] != tuple(stratified_split(labels, 20, seed=5)[1].tolist())
