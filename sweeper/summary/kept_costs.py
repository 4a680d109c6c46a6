"""Costs that were measured, kept beside the runs: effects and the report take them in place of recorded speeds."""

import json
import math
import time
from collections.abc import Mapping
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
        memory: peak bytes on a GPU; None on a CPU.
        code: digest of the run's recorded code: a run that is retrained with other code is another.
        at: seconds since 1970.
    """

    ratio: float
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
            if isinstance(values, list) and len(values) == 4 and isinstance(values[2], str):
                ratio, memory, at = number(values[0]), number(values[1]), number(values[3])
                if ratio is not None and ratio > 0 and at is not None:
                    memory = memory if memory is not None and memory > 0 else None
                    found.setdefault(key, {})[run_id] = KeptCost(ratio, memory, values[2], at)
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
    """Return what was measured of a run with this code, as JSON {measurement: [ratio, memory, at]}; None without."""
    found = {
        key: [cost.ratio, cost.memory, cost.at]
        for key, costs in kept.items()
        if (cost := costs.get(run_id)) is not None and cost.code == code
    }
    return json.dumps(found, sort_keys=True) if found else None


def log_ratio(sides: tuple[list[Any], list[Any]]) -> tuple[float, float | None] | None:
    """Return the logarithms of the ratios of seconds a step and of memory between the sides of a pair.

    Args:
        sides: cells as `cell_of` returns them, None where there is none.

    Returns:
        By the newest measurement that all of them have; None without one. The memory is None where it is not known.
    """
    read = [[json.loads(cell) if isinstance(cell, str) else {} for cell in side] for side in sides]
    shared = set.intersection(*(set(cell) for side in read for cell in side)) if all(read) else set()
    if not shared:
        return None
    key = max(shared, key=lambda key: (min(cell[key][2] for side in read for cell in side), key))
    seconds, memory = ([[cell[key][index] for cell in side] for side in read] for index in (0, 1))
    known = all(value for side in memory for value in side)
    return difference(seconds), difference(memory) if known else None


def difference(sides: list[list[float]]) -> float:
    """Return the difference between the mean logarithms of two sides."""
    means = [math.fsum(map(math.log, side)) / len(side) for side in sides]
    return means[0] - means[1]
