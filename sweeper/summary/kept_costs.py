"""Costs that were measured, kept beside the runs: effects and the report take them in place of recorded speeds."""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.files import number, read_json, write_json

FILE = "costs.json"


@dataclass(frozen=True)
class KeptCost:
    """The measured cost of a run.

    Attributes:
        ratio: of seconds a step to those of the measurement's reference.
        spread: of that ratio, see sweeper.runs.step_cost.StepCost.
        memory: peak bytes on a GPU; None on a CPU.
        code: digest of the run's recorded code: a run that is retrained with other code is another.
        at: seconds since 1970.
    """

    ratio: float
    spread: float
    memory: float | None
    code: str
    at: float = 0.0


Kept = dict[str, dict[str, KeptCost]]  # measurement (reference, host, device, threads) -> run ID -> cost


def read_costs(output_dir: Path) -> Kept:
    """Return the costs that are kept; without what is not valid."""
    found: Kept = {}
    content = (read_json(output_dir / FILE) or {}).get("measurements")
    for key, runs in content.items() if isinstance(content, dict) else ():
        for run_id, values in runs.items() if isinstance(runs, dict) else ():
            if isinstance(values, list) and len(values) == 5 and isinstance(values[3], str):
                ratio, spread, memory, at = (number(values[index]) for index in (0, 1, 2, 4))
                if ratio is not None and ratio > 0 and spread is not None and spread >= 0 and at is not None:
                    memory = memory if memory is not None and memory > 0 else None
                    found.setdefault(key, {})[run_id] = KeptCost(ratio, spread, memory, values[3], at)
    return found


def keep_costs(output_dir: Path, measured: Mapping[str, Mapping[str, KeptCost]]) -> None:
    """Add costs that were measured now; a run that was measured before against the same reference is replaced.

    Raises:
        WriteError: the file cannot be written.
    """
    kept, now = read_costs(output_dir), time.time()
    for key, costs in measured.items():
        kept.setdefault(key, {}).update({run_id: replace(cost, at=now) for run_id, cost in costs.items()})
    content = {key: {run_id: list(astuple(cost)) for run_id, cost in costs.items()} for key, costs in kept.items()}
    write_json(output_dir / FILE, {"measurements": content})


def cell_of(kept: Kept, run_id: str, code: str) -> str | None:
    """Return what was measured of a run with this code, as JSON; None where nothing was.

    Returns:
        {measurement: [ratio, spread, memory, at]}.
    """
    found = {
        key: [cost.ratio, cost.spread, cost.memory, cost.at]
        for key, costs in kept.items()
        if (cost := costs.get(run_id)) is not None and cost.code == code
    }
    return json.dumps(found, sort_keys=True) if found else None


@dataclass(frozen=True)
class PairCost:
    """The measured cost of a pair of sides, as logarithms of ratios.

    Attributes:
        seconds: a step.
        spread: of `seconds`, from that of the timed blocks.
        memory: None where it is not known.
    """

    seconds: float
    spread: float
    memory: float | None


def pair_cost(sides: tuple[list[Any], list[Any]]) -> PairCost | None:
    """Return the cost of a pair by the newest measurement that all of its runs have; None without one.

    Args:
        sides: cells as `cell_of` returns them, None where there is none.
    """
    read = [[json.loads(cell) if isinstance(cell, str) else {} for cell in side] for side in sides]
    shared = set.intersection(*(set(cell) for side in read for cell in side)) if all(read) else set()
    if not shared:
        return None
    key = max(shared, key=lambda key: (min(cell[key][3] for side in read for cell in side), key))
    seconds, spreads, memory = ([[cell[key][index] for cell in side] for side in read] for index in range(3))
    known = all(value for side in memory for value in side)
    return PairCost(difference(seconds), combined_spread(spreads), difference(memory) if known else None)


def difference(sides: list[list[float]]) -> float:
    """Return the difference between the mean logarithms of two sides."""
    means = [math.fsum(map(math.log, side)) / len(side) for side in sides]
    return means[0] - means[1]


def combined_spread(sides: Iterable[Sequence[float]]) -> float:
    """Return the spread of the sum or difference of the means of independent sides."""
    return math.sqrt(sum(math.fsum(spread**2 for spread in side) / len(side) ** 2 for side in sides))
