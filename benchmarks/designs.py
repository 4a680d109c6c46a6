"""What a precision and a design cost, simulated and computed: the tables of docs/designs.md. A minute, no training.

python benchmarks/designs.py
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from sweeper.sweep.designs import rows
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


def simulate(stop: Stop, ratio: float) -> str:
    """Return coverage of mean +- h, mean and 90th percentile of the seeds, and rounds, as a cell."""
    generator = np.random.default_rng(0)
    covered, seeds, rounds = (np.zeros(SWEEPS) for _ in range(3))
    for sweep in range(SWEEPS):
        draws = generator.normal(size=MOST)
        number, rounds[sweep] = stop(draws, 1 / ratio)
        seeds[sweep], covered[sweep] = number, abs(draws[:number].mean()) <= 1 / ratio
    return f"{covered.mean():.3f}, {seeds.mean():.1f} [{np.quantile(seeds, 0.9):.0f}], {rounds.mean():.1f}"


def print_table(header: list[str], lines: list[list[str]]) -> None:
    """Print a Markdown table."""
    for line in (header, ["---"] * len(header), *lines):
        print(f"| {' | '.join(line)} |")
    print()


def main() -> None:
    """Print both tables."""
    print(f"Coverage of mean +- h, mean seeds [90th percentile], rounds after the first; {SWEEPS:,} sweeps\n")
    ratios = (0.5, 1.13, 1.5, 2.26, 3.0)
    print_table(
        ["sd / h", *RULES], [[f"{ratio:g}", *(simulate(stop, ratio) for stop in RULES.values())] for ratio in ratios]
    )
    print("Seeds and runs until each of twelve effects is known to +- 0.3 percentage points (95%)\n")
    variances = {"one_at_a_time": 2.0, "leave_one_out": 2.0, "screen": 1 / 6}
    lines = []
    for sigma in (0.15, 0.3, 0.6):
        cells = [f"{sigma:g}"]
        for design, variance in variances.items():
            seeds = seeds_for(sigma * math.sqrt(variance), 0.3, level=0.05)
            cells.append(f"{seeds} seeds, {seeds * len(rows(design, [2] * 12))} runs")
        lines.append(cells)
    print_table(["sd of a run, points", *variances], lines)


if __name__ == "__main__":
    main()
