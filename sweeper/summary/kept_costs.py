"""Costs that were measured, kept beside the runs: effects and the report take them in place of recorded speeds."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeper.files import number, read_json, write_json

FILE = "costs.json"
# Reference, host, device and threads: ratios to one reference compare, whenever they were measured.
Kept = dict[str, dict[str, tuple[float, float | None]]]


def kept_costs(output_dir: Path) -> dict[str, str]:
    """Return what was measured of each run, as JSON: {measurement: (its seconds a step, peak memory)}.

    Seconds are those of the reference times the ratio to it, of the reference 1; memory is null on a CPU.
    """
    of_runs: Kept = {}
    for key, runs in measurements(output_dir).items():
        for run_id, values in runs.items():
            of_runs.setdefault(run_id, {})[key] = values
    return {run_id: json.dumps(values, sort_keys=True) for run_id, values in of_runs.items()}


def measurements(output_dir: Path) -> Kept:
    """Return the ratio of seconds a step and the peak memory of each run, by measurement; without what is not valid."""
    found: Kept = {}
    content = (read_json(output_dir / FILE) or {}).get("measurements")
    for key, runs in content.items() if isinstance(content, dict) else ():
        for run_id, values in runs.items() if isinstance(runs, dict) else ():
            ratio, memory = map(number, values) if isinstance(values, list) and len(values) == 2 else (None, None)
            if ratio is not None and ratio > 0:
                found.setdefault(key, {})[run_id] = (ratio, memory)
    return found


def keep_costs(output_dir: Path, measured: Mapping[str, Mapping[str, tuple[float, float | None]]]) -> None:
    """Add measurements to those that are kept; a run that was measured before against the same reference is replaced.

    Raises:
        WriteError: the file cannot be written.
    """
    kept = measurements(output_dir)
    for key, runs in measured.items():
        kept.setdefault(key, {}).update(runs)
    write_json(output_dir / FILE, {"measurements": kept})


def log_ratio(sides: tuple[list[Any], list[Any]]) -> tuple[float, float | None] | None:
    """Return the logarithms of the ratios of seconds a step and of memory between the sides of a pair.

    Args:
        sides: cells as `kept_costs` returns them, None where there is none.

    Returns:
        By the first measurement that all of them have; None without one. The memory is None where it is not known.
    """
    read = [[json.loads(cell) if isinstance(cell, str) else {} for cell in side] for side in sides]
    shared = set.intersection(*(set(cell) for side in read for cell in side)) if all(read) else set()
    if not shared:
        return None
    key = min(shared)
    seconds, memory = ([[cell[key][index] for cell in side] for side in read] for index in (0, 1))
    known = all(value for side in memory for value in side)
    return difference(seconds), difference(memory) if known else None


def difference(sides: list[list[float]]) -> float:
    """Return the difference between the mean logarithms of two sides."""
    means = [math.fsum(map(math.log, side)) / len(side) for side in sides]
    return means[0] - means[1]
