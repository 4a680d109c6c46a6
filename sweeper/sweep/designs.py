"""Experimental designs: which combinations of the swept values are run, and which of their runs an effect compares.

A row is a combination: the number of the value of each factor, 0 for its first. Factors are the swept keys besides seed
and data; the caller crosses every row with all seeds and datasets.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard

Row = tuple[int, ...]
FULL_UP_TO = 4  # yes/no factors: sixteen runs tell more than a part of a larger design


@dataclass(frozen=True)
class Contrast:
    """An effect as the mean difference over pairs of rows, that with the value minus that with the baseline value.

    Attributes:
        factor: its number.
        value, baseline: numbers of its values.
        pairs: numbers of rows.
    """

    factor: int
    value: int
    baseline: int
    pairs: tuple[tuple[int, int], ...]


def rows(design: str, sizes: Sequence[int]) -> list[Row]:
    """Return the rows of a design for factors with so many values each.

    - product: every combination, the last factor advances fastest.
    - one_at_a_time: the baseline, which has every factor's first value, then each other value in it alone.
    - leave_one_out: the full recipe, which has every factor's last value, then each other value in it alone.
    - screen: of two values each, see `screening`; of up to FULL_UP_TO factors every combination.
    """
    if design == "one_at_a_time":
        return list(changed_in_one((0,) * len(sizes), sizes))
    if design == "leave_one_out":
        return list(changed_in_one(tuple(size - 1 for size in sizes), sizes))
    if design == "product" or len(sizes) <= FULL_UP_TO:
        return list(itertools.product(*map(range, sizes)))
    return [tuple(int(sign > 0) for sign in signs) for signs in screening(len(sizes))]


def changed_in_one(reference: Row, sizes: Sequence[int]) -> Iterator[Row]:
    """Yield a row, then those that differ from it in one factor."""
    yield reference
    for factor, size in enumerate(sizes):
        for value in range(size):
            if value != reference[factor]:
                yield (*reference[:factor], value, *reference[factor + 1 :])


def screening(num_factors: int) -> NDArray[np.int64]:
    """Return a folded Plackett-Burman design of resolution IV, (2n, num_factors), +1 for on and -1 for off.

    Its columns are balanced and orthogonal, and so is each to the product of any two others: the estimate of an effect
    is free of all interactions of two factors. n is the least order of `orthogonal` that has enough columns, at least
    12; the second half has all signs turned (Plackett and Burman 1946; Box and Wilson 1951 for the fold).
    """
    order = max(12, num_factors)
    while not (is_prime_3_mod_4(order - 1) or order.bit_count() == 1):
        order += 1
    half = orthogonal(order)[:, :num_factors]
    return np.concatenate([half, -half])


def orthogonal(order: int) -> NDArray[np.int64]:
    """Return a square matrix of +1 and -1 with orthogonal columns (a Hadamard matrix).

    Where order - 1 is a prime that leaves 3 when divided by 4, it is Plackett and Burman's: the quadratic residues as a
    cyclic generator, a row of -1 and a column of +1 (Paley 1933). Else the order is a power of two (Sylvester 1867).
    """
    prime = order - 1
    if not is_prime_3_mod_4(prime):
        return np.asarray(hadamard(order), np.int64)
    residues = {number * number % prime for number in range(prime)}
    generator = np.array([1 if number in residues else -1 for number in range(prime)])
    shifts = [np.roll(generator, shift) for shift in range(prime)]
    return np.column_stack([np.vstack([*shifts, -np.ones(prime, np.int64)]), np.ones(order, np.int64)])


def is_prime_3_mod_4(number: int) -> bool:
    return number % 4 == 3 and all(number % divisor for divisor in range(3, math.isqrt(number) + 1, 2))


def contrasts(design: str, sizes: Sequence[int]) -> list[Contrast]:
    """Return every effect that a design estimates, in order of factor and value.

    Values are compared with the first of their factor; under leave_one_out, the last is compared with each other one.
    Of a folded screen, a row is paired with the one that has all signs turned: the sum over such pairs is the contrast
    of the whole column.
    """
    all_rows = rows(design, sizes)
    number_of = {row: number for number, row in enumerate(all_rows)}
    is_folded = design == "screen" and len(sizes) > FULL_UP_TO
    found = []
    for factor, size in enumerate(sizes):
        last = size - 1
        compared = [(last, value) for value in range(last)] if design == "leave_one_out" else []
        for value, baseline in compared or [(value, 0) for value in range(1, size)]:
            pairs = []
            for row, number in number_of.items():
                if row[factor] == value:
                    turned = tuple(1 - other for other in row)
                    partner = turned if is_folded else (*row[:factor], baseline, *row[factor + 1 :])
                    if partner in number_of:
                        pairs.append((number, number_of[partner]))
            found.append(Contrast(factor, value, baseline, tuple(pairs)))
    return found


def describe_design(design: str, sizes: Sequence[int]) -> str:
    """Return a sentence on what a design can tell and what it cannot; empty for the product."""
    if design == "product":
        return ""
    runs, combinations = len(rows(design, sizes)), math.prod(sizes)
    part = "all" if runs == combinations else f"{runs} of"
    begin = f"sweep.design={design}: {part} {combinations:,} combinations a seed"
    if design == "screen":
        interactions = "can" if runs == combinations else "cannot"
        return (
            f"{begin}; an effect is the average over the other tricks off and on, free of interactions of two tricks, "
            f"which {interactions} be told apart"
        )
    where = "a change of the baseline" if design == "one_at_a_time" else "leaving a trick out of the full recipe"
    return f"{begin}; an effect is that of {where}; interactions cannot be told"
