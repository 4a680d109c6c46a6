"""Designs: their combinations, the effects that they estimate, and expansion without the product."""

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from sweeper.errors import UserError
from sweeper.sweep import designs
from sweeper.sweep.designs import contrasts, describe_design, rows, screening
from sweeper.sweep.expand import expand


def parsed(*overrides: str) -> Any:
    return OverridesParser.create().parse_overrides(list(overrides))


@pytest.mark.parametrize(
    ("design", "sizes", "expected"),
    [
        ("product", [2, 3], [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]),
        ("one_at_a_time", [2, 3], [(0, 0), (1, 0), (0, 1), (0, 2)]),
        ("leave_one_out", [2, 3], [(1, 2), (0, 2), (1, 0), (1, 1)]),
        ("one_at_a_time", [1, 2], [(0, 0), (0, 1)]),
        ("screen", [2, 2], [(0, 0), (0, 1), (1, 0), (1, 1)]),
    ],
)
def test_the_rows_of_a_design(design: str, sizes: list[int], expected: list[tuple[int, ...]]) -> None:
    assert rows(design, sizes) == expected


@pytest.mark.parametrize(
    ("design", "num_factors", "runs"),
    [
        ("one_at_a_time", 12, 13),
        ("leave_one_out", 12, 13),
        ("product", 12, 4096),
        *(("screen", k, 2**k) for k in (1, 2, 3, 4)),
        *(("screen", k, 24) for k in range(6, 13)),
        ("screen", 5, 16),
        *(("screen", k, runs) for k, runs in ((13, 32), (16, 32), (17, 40), (20, 40), (24, 48), (25, 64), (33, 88))),
    ],
)
def test_the_number_of_runs_per_seed(design: str, num_factors: int, runs: int) -> None:
    assert len(set(rows(design, [2] * num_factors))) == runs


def test_the_screen_of_twelve_is_plackett_and_burmans_with_its_foldover() -> None:
    lines = ["".join("+" if sign > 0 else "-" for sign in row) for row in screening(12)]
    assert [lines[number] for number in (0, 1, 11, 12, 23)] == [
        "++-+++---+-+",
        "-++-+++---++",
        "-----------+",
        "--+---+++-+-",
        "+++++++++++-",
    ]
    assert np.array_equal(screening(7), screening(12)[:, :7])


@pytest.mark.parametrize("num_factors", [3, 4, 5, 6, 12, 13, 20, 24, 28, 40])
def test_the_columns_of_a_screen_are_orthogonal_to_each_other_and_to_interactions(num_factors: int) -> None:
    signs = screening(num_factors)
    assert set(np.unique(signs)) == {-1, 1}
    assert not signs.sum(0).any()
    assert np.array_equal(signs.T @ signs, len(signs) * np.eye(num_factors))
    triples = itertools.combinations(range(num_factors), 3)
    assert not any(signs[:, list(triple)].prod(1).sum() for triple in itertools.islice(triples, 500))


def estimates(design: str, sizes: Sequence[int], results: Sequence[float]) -> list[float]:
    return [
        sum(results[one] - results[other] for one, other in contrast.pairs) / len(contrast.pairs)
        for contrast in contrasts(design, sizes, [0] * len(sizes))
    ]


@pytest.mark.parametrize("num_factors", [2, 4, 5, 12, 13])
def test_a_contrast_of_a_screen_is_that_of_its_whole_column(num_factors: int) -> None:
    sizes = [2] * num_factors
    signs = 2 * np.array(rows("screen", sizes)) - 1
    results = np.random.default_rng(0).normal(size=len(signs))
    assert estimates("screen", sizes, results.tolist()) == pytest.approx(2 / len(signs) * signs.T @ results)


def model(row: tuple[int, ...]) -> float:
    """Effects 1, 2, 4 of three yes/no factors, and an interaction of 0.5 of the first two."""
    return 65 + row[0] + 2 * row[1] + 4 * row[2] + 0.5 * row[0] * row[1]


@pytest.mark.parametrize(
    ("design", "expected"),
    [
        ("one_at_a_time", [1, 2, 4]),
        ("leave_one_out", [1.5, 2.5, 4]),
        ("screen", [1.25, 2.25, 4]),
        ("product", [1.25, 2.25, 4]),
    ],
)
def test_what_a_design_estimates_where_factors_interact(design: str, expected: list[float]) -> None:
    assert estimates(design, [2, 2, 2], [model(row) for row in rows(design, [2, 2, 2])]) == pytest.approx(expected)


@pytest.mark.parametrize("baselines", [(0, 0), (1, 0), (0, 1), (1, 2)])
@pytest.mark.parametrize("design", ["product", "one_at_a_time", "leave_one_out"])
def test_the_effects_of_a_factor_of_three_values(design: str, baselines: tuple[int, int]) -> None:
    found = contrasts(design, [2, 3], baselines)
    assert [(contrast.factor, contrast.value, contrast.baseline) for contrast in found] == [
        (factor, value, baseline)
        for factor, (size, baseline) in enumerate(zip((2, 3), baselines, strict=True))
        for value in range(size)
        if value != baseline
    ]
    all_rows = rows(design, [2, 3])
    for contrast in found:
        assert contrast.pairs
        for one, other in contrast.pairs:
            changed = [number for number in (0, 1) if all_rows[one][number] != all_rows[other][number]]
            assert changed == [contrast.factor]
            assert (all_rows[one][contrast.factor], all_rows[other][contrast.factor]) == (
                contrast.value,
                contrast.baseline,
            )


@pytest.mark.parametrize(
    ("design", "sizes", "text"),
    [
        ("product", [2, 2], ""),
        (
            "one_at_a_time",
            [2] * 12,
            "sweep.design=one_at_a_time: 13 of 4,096 combinations per seed; each effect is that of one change to "
            "the baseline; interactions are not estimated",
        ),
        (
            "leave_one_out",
            [2, 2],
            "sweep.design=leave_one_out: 3 of 4 combinations per seed; each effect is that of removing a trick from "
            "the full recipe; interactions are not estimated",
        ),
        (
            "screen",
            [2] * 6,
            "sweep.design=screen: 24 of 64 combinations per seed; each effect is averaged over the other tricks and "
            "not confounded with two-factor interactions, which are not estimated",
        ),
        (
            "screen",
            [2] * 3,
            "sweep.design=screen: all 8 combinations per seed; each effect is averaged over the other tricks; "
            "two-factor interactions are estimated as well",
        ),
    ],
)
def test_a_design_describes_what_it_estimates(design: str, sizes: list[int], text: str) -> None:
    assert describe_design(design, sizes) == text


@pytest.mark.parametrize(
    ("design", "jobs"),
    [
        ("one_at_a_time", ["a=1 b=x", "a=2 b=x", "a=1 b=y", "a=1 b=z"]),
        ("leave_one_out", ["a=2 b=z", "a=1 b=z", "a=2 b=x", "a=2 b=y"]),
    ],
)
def test_every_combination_of_a_design_is_run_with_each_seed_and_dataset(design: str, jobs: list[str]) -> None:
    crossed = [
        ["seed=0", "data=digits"],
        ["seed=0", "data=cifar10"],
        ["seed=1", "data=digits"],
        ["seed=1", "data=cifar10"],
    ]
    overrides = parsed("seed=0,1", "a=1,2", "epochs=3", "data=digits,cifar10", "b=x,y,z")
    expected = [[seed, a, "epochs=3", data, b] for a, b in (job.split() for job in jobs) for seed, data in crossed]
    assert expand(overrides, design=design) == expected


def test_zipped_keys_are_one_factor() -> None:
    overrides = parsed("a=1,2", "c=7,8", "b=x,y")
    expected = ["a=1 b=x c=7", "a=2 b=y c=7", "a=1 b=x c=8"]
    assert [" ".join(job) for job in expand(overrides, [["a", "b"]], "one_at_a_time")] == expected


def test_a_design_does_not_build_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = parsed(*(f"key{number}=off,on" for number in range(60)), "seed=0,1")
    assert len(expand(overrides, design="one_at_a_time")) == 2 * 61
    assert len(expand(overrides, design="leave_one_out")) == 2 * 61
    assert len(expand(overrides, design="screen")) == 2 * 120


@pytest.mark.parametrize(
    ("overrides", "zips", "design", "sentence"),
    [
        (
            ["seed=0,1", "data=digits,cifar10"],
            [],
            "one_at_a_time",
            "sweep.design=one_at_a_time: nothing is swept but seed",
        ),
        (["a=1"], [], "screen", "sweep.design=screen: nothing is swept but seed and data; sweep over a trick"),
        (
            ["a=1,2", "b=1,2,3"],
            [],
            "screen",
            "sweep.design=screen: each swept key needs two values, off and on; b has 3",
        ),
        (["a=1,2", "seed=1,2"], [["a", "seed"]], "screen", "each seed and dataset; sweep.zip cannot join a, seed"),
    ],
)
def test_a_sweep_that_a_design_cannot_use_is_a_user_error(
    overrides: list[str], zips: list[list[str]], design: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        expand(parsed(*overrides), zips, design)


@pytest.mark.parametrize("design", ["product", "one_at_a_time", "leave_one_out", "screen"])
def test_a_key_without_values_has_no_combination(design: str) -> None:
    assert expand(parsed("a=1,2", "b=range(0,0)"), design=design) == []


def test_a_key_that_is_fixed_later_is_no_factor() -> None:
    assert expand(parsed("a=1,2", "b=1,2", "a=3"), design="screen") == [["a=3", "b=1"], ["a=3", "b=2"]]


def test_primes_of_plackett_and_burmans_orders() -> None:
    assert [number for number in range(60) if designs.is_prime_3_mod_4(number)] == [3, 7, 11, 19, 23, 31, 43, 47, 59]
