"""Experimental designs: the combinations of swept values that are run, and the runs that each effect compares.

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
FULL_UP_TO = 4  # on/off factors up to which a screen has every combination


@dataclass(frozen=True)
class Contrast:
    """An effect as the mean difference over pairs of rows, that with the value minus that with the baseline value.

    Attributes:
        factor: index of the factor.
        value, baseline: indices of its values.
        pairs: indices of rows.
    """

    factor: int
    value: int
    baseline: int
    pairs: tuple[tuple[int, int], ...]


def rows(design: str, sizes: Sequence[int]) -> list[Row]:
    """Return the rows of a design for factors with these numbers of values.

    - product: every combination, the last factor varies fastest.
    - one_at_a_time: the baseline, which has every factor's first value, then each other value in it alone.
    - leave_one_out: the full recipe, which has every factor's last value, then each other value in it alone.
    - screen: of two values each, see `screening`.
    """
    if design == "one_at_a_time":
        return list(changed_in_one((0,) * len(sizes), sizes))
    if design == "leave_one_out":
        return list(changed_in_one(tuple(size - 1 for size in sizes), sizes))
    if design == "product":
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
    """Return a two-level design, (runs, num_factors), +1 for on and -1 for off, whose rows all differ.

    Its columns are balanced and orthogonal, and so is each to the product of any two others: the estimate of an effect
    is free of all interactions of two factors (resolution IV or more).

    - Up to FULL_UP_TO factors: every combination.
    - Five: half of the combinations, the fifth factor the product of the others (Box and Hunter 1961); of the design
      for more factors, two rows would occur twice.
    - More: the folded matrix of `orthogonal` of the least order from 12 that has enough columns, the second half with
      all signs flipped (Plackett and Burman 1946; Box and Wilson 1951 for the fold). Up to twelve factors: 24 runs.
    """
    if num_factors <= FULL_UP_TO + 1:
        free = min(num_factors, FULL_UP_TO)
        signs = np.array(list(itertools.product((-1, 1), repeat=free)))
        return signs if free == num_factors else np.column_stack([signs, signs.prod(axis=1)])
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


def contrasts(
    design: str, sizes: Sequence[int], baselines: Sequence[int], ran: Sequence[Row] | None = None
) -> list[Contrast]:
    """Return every effect that a design estimates, in order of factor and value.

    Pairs differ in the factor alone, but not those of a screen, which has few such: any pairing of its rows with and
    without the value gives the contrast of the whole column.

    Args:
        design: see `rows`.
        sizes: number of values of each factor.
        baselines: the index of each factor's value with which its others are compared, see sweeper.sweep.baseline. It
            need not be the value that one_at_a_time or leave_one_out give the other factors.
        ran: the rows that there are; None for all rows of the design.
    """
    all_rows = rows(design, sizes) if ran is None else ran
    number_of = {row: number for number, row in enumerate(all_rows)}
    found = []
    for factor, (size, baseline) in enumerate(zip(sizes, baselines, strict=True)):
        for value in (value for value in range(size) if value != baseline):
            chosen = [row for row in all_rows if row[factor] == value]
            partners = [(*row[:factor], baseline, *row[factor + 1 :]) for row in chosen]
            if design == "screen":
                partners = [row for row in all_rows if row[factor] == baseline]
            pairs = [(row, other) for row, other in zip(chosen, partners, strict=True) if other in number_of]
            numbers = tuple((number_of[row], number_of[other]) for row, other in pairs)
            found.append(Contrast(factor, value, baseline, numbers))
    return found


def describe_design(design: str, sizes: Sequence[int]) -> str:
    """Return a sentence on what a design estimates and what it does not; empty for the product."""
    if design == "product":
        return ""
    runs, combinations = len(rows(design, sizes)), math.prod(sizes)
    part = "all" if runs == combinations else f"{runs} of"
    begin = f"sweep.design={design}: {part} {combinations:,} combinations per seed"
    if design == "screen":
        average = f"{begin}; each effect is averaged over the other tricks"
        if runs == combinations:
            return f"{average}; two-factor interactions are estimated as well"
        return f"{average} and not confounded with two-factor interactions, which are not estimated"
    what = "one change to the baseline" if design == "one_at_a_time" else "removing a trick from the full recipe"
    return f"{begin}; each effect is that of {what}; interactions are not estimated"
