"""The cost of a precision and of a design, simulated and computed: the tables of docs/designs.md and more.

python -m benchmarks.designs: two minutes, no training.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from benchmarks.markdown import print_table
from sweeper.sweep.designs import contrasts, rows
from sweeper.sweep.precision import LEVEL, PILOT, half_width, seeds_for, seeds_to_add

SWEEPS, MOST = 10_000, 400
Stop = Callable[[NDArray[np.float64], float], tuple[int, int]]  # a sweep's differences, h -> seeds, rounds


def rule(level: float, pilot: int, *, one_by_one: bool = False) -> Stop:
    """Return the rule of sweep.precision with its constants, or adding one seed at a time."""
    widths = np.array([math.inf, math.inf, *(half_width(1.0, seeds, level) for seeds in range(2, MOST))])

    def stop(draws: NDArray[np.float64], precision: float) -> tuple[int, int]:
        seeds, rounds = pilot, 0
        while (spread := float(np.std(draws[:seeds], ddof=1))) * widths[seeds] > precision:
            needed = int(np.searchsorted(-widths, -precision / spread))
            seeds, rounds = seeds + (1 if one_by_one else seeds_to_add(seeds, needed)), rounds + 1
        return seeds, rounds

    return stop


def stein_seeds(pilot: NDArray[np.float64], precision: float, level: float = 0.05) -> int:
    """Return the total seeds of Stein's two-stage procedure (1945), exact for any spread."""
    quantile = float(stdtrit(len(pilot) - 1, 1 - level / 2))
    return max(len(pilot), math.ceil((quantile * float(np.std(pilot, ddof=1)) / precision) ** 2))


def stein(pilot: int) -> Stop:
    """Return Stein's rule with a pilot of this many seeds."""
    return lambda draws, precision: (stein_seeds(draws[:pilot], precision), 1)


RULES = {
    "as here": rule(LEVEL, PILOT),
    "one seed at a time": rule(LEVEL, PILOT, one_by_one=True),
    "95% interval, from 3 seeds": rule(0.05, 3),
    "Stein's two stages, from 5": stein(5),
}
RATIOS = (0.5, 1.13, 1.5, 2.26, 3.0)  # of the spread to the precision


def simulate(stop: Stop, ratio: float) -> str:
    """Return coverage of mean +- h, mean and 90th percentile of the seeds, and rounds, as a cell."""
    generator = np.random.default_rng(0)
    covered, seeds, rounds = (np.zeros(SWEEPS) for _ in range(3))
    for sweep in range(SWEEPS):
        draws = generator.normal(size=MOST)
        number, rounds[sweep] = stop(draws, 1 / ratio)
        seeds[sweep], covered[sweep] = number, abs(draws[:number].mean()) <= 1 / ratio
    return f"{covered.mean():.3f}, {seeds.mean():.1f} [{np.quantile(seeds, 0.9):.0f}], {rounds.mean():.1f}"


def several(effects: int, ratio: float, sweeps: int = 5000) -> list[str]:
    """Return the coverage of the rule if it adds seeds until the last of several independent effects is narrow enough.

    Returns:
        Coverage of each effect, false-positive rate of the table if there is no true effect, mean number of seeds.
    """
    generator = np.random.default_rng(1)
    stop_at = np.array([math.inf, math.inf, *(1 / ratio / half_width(1.0, seeds) for seeds in range(2, MOST))])
    covered, seeds_of = np.zeros((sweeps, effects), bool), np.zeros(sweeps)
    for sweep in range(sweeps):
        draws, seeds = generator.normal(size=(effects, MOST)), PILOT
        while (spread := float(draws[:, :seeds].std(axis=1, ddof=1).max())) > stop_at[seeds]:
            seeds += seeds_to_add(seeds, int(np.searchsorted(stop_at[2:], spread)) + 2)
        covered[sweep], seeds_of[sweep] = np.abs(draws[:, :seeds].mean(axis=1)) <= 1 / ratio, seeds
    return [f"{covered.mean():.3f}", f"{1 - covered.all(axis=1).mean():.3f}", f"{seeds_of.mean():.1f}"]


def interacting(design: str, seeds: int = 5, sweeps: int = 2000) -> list[str]:
    """Return how often the interval over seeds covers each of three definitions of a trick's effect.

    There are twelve tricks, and five pairs interact by 0.3 to 0.6 points; a run has a standard deviation of 0.3.

    Returns:
        Coverage of the average over the other tricks, of one change to the baseline, of removal from the full recipe.
    """
    generator = np.random.default_rng(2)
    signs = 2 * np.array(rows(design, [2] * 12)) - 1
    pairs, sizes = [(0, 1), (0, 2), (3, 4), (5, 6), (1, 7)], np.array([0.3, -0.4, 0.5, 0.6, -0.3])
    fixed = sum(size * signs[:, one] * signs[:, other] / 4 for (one, other), size in zip(pairs, sizes, strict=True))
    shift = np.zeros(12)
    for pair, size in zip(pairs, sizes, strict=True):
        shift[list(pair)] += size / 2
    results = fixed + generator.normal(0, 0.3, (sweeps, seeds, len(signs)))
    covered = np.zeros(3)
    for contrast in contrasts(design, [2] * 12, [0] * 12):
        value, baseline = np.array(contrast.pairs).T
        means = (results[..., value] - results[..., baseline]).mean(axis=2)
        means = means if contrast.value == 1 else -means
        half = half_width(1.0, seeds, 0.05) * means.std(axis=1, ddof=1)
        truths = (0.0, -shift[contrast.factor], shift[contrast.factor])
        covered += [(np.abs(means.mean(axis=1) - truth) <= half).mean() / 12 for truth in truths]
    return [f"{share:.3f}" for share in covered]


def print_tables() -> None:
    """Print all tables."""
    print_table(
        f"Coverage of mean ± h, mean seeds [90th percentile], rounds after the first; {SWEEPS:,} sweeps",
        ["sd / h", *RULES],
        [[f"{ratio:g}", *(simulate(stop, ratio) for stop in RULES.values())] for ratio in RATIOS],
    )
    print_table(
        "Seeds added until the last of several null effects is known to ± h; 5,000 sweeps",
        ["effects", "sd / h", "coverage of each", "false-positive rate of the table", "mean seeds"],
        [[number, f"{ratio:g}", *several(number, ratio)] for number in (1, 5, 12) for ratio in (1.13, 2.26)],
    )
    variances = {"one_at_a_time": 2.0, "leave_one_out": 2.0, "screen": 1 / 6}
    lines = []
    for sigma in (0.15, 0.3, 0.6):
        cells = [f"{sigma:g}"]
        for design, variance in variances.items():
            needed = [seeds_for(sigma * math.sqrt(variance), 0.3, level=level) for level in (0.05, 0.05 / 12)]
            runs = [seeds * len(rows(design, [2] * 12)) for seeds in needed]
            cells.append(f"{needed[0]} seeds, {runs[0]} runs [{needed[1]}, {runs[1]}]")
        lines.append(cells)
    print_table(
        "Seeds and runs until each of twelve effects is known to ± 0.3 percentage points (95% each) [95% for all]",
        ["sd of a run, points", *variances],
        lines,
    )
    print_table(
        "Coverage of intervals over five seeds for three definitions of an effect, if some of twelve tricks interact; "
        "2,000 sweeps",
        ["design", "average over the others", "one change to the baseline", "removed from the full recipe"],
        [[design, *interacting(design)] for design in variances],
    )


if __name__ == "__main__":
    print_tables()
