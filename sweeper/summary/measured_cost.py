"""The measured cost of each change of a sweep: a table from the costs of single runs."""

import io
import math
import socket
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.display import stdout_console
from sweeper.errors import UserError, WriteError
from sweeper.runs.directory import RunDirectory
from sweeper.summary.axes import settings_of
from sweeper.summary.columns import format_override, scores
from sweeper.summary.cost import CLEAR, Sides, format_ratio, ratio_of
from sweeper.summary.effect_options import given_values
from sweeper.summary.effects import effects
from sweeper.summary.export import as_csv
from sweeper.summary.inference import Comparison
from sweeper.summary.kept_costs import KeptCost, combined_spread, keep_costs
from sweeper.summary.output import json_text, output_format, printable, write_output
from sweeper.summary.run_row import digest
from sweeper.summary.study import Method
from sweeper.summary.table import read_runs
from sweeper.summary.table import where as select

if TYPE_CHECKING:
    from sweeper.runs.step_cost import StepCost

Measure = Callable[..., "tuple[dict[str, StepCost], dict[str, object]]"]  # see sweeper.runs.step_cost.measure
COLUMNS = (
    *("data", "axis", "value", "baseline", "change", "against", "pairs", "seconds", "baseline_seconds"),
    *("step_time_ratio", "spread", "parameters", "memory_ratio"),
)


@dataclass(frozen=True)
class Measured:
    """The measured costs of a sweep.

    Attributes:
        rows: of each change, under COLUMNS.
        runs: of each run, see sweeper.runs.step_cost.StepCost.
        notes: sentences on what was measured, and where.
        kept: what sweeper.summary.kept_costs keeps.
    """

    rows: Sequence[Mapping[str, Any]]
    runs: Sequence[Mapping[str, Any]]
    notes: Sequence[str]
    kept: Mapping[str, Mapping[str, KeptCost]]


def measured_costs(frame: pd.DataFrame, baseline: Mapping[str, Any], runs: Path, measure: Measure) -> Measured:
    """Measure a run of each configuration, of the seed that has most of them, and compare changes as `effects` does.

    Args:
        frame: a row for each run, see sweeper.summary.gather.gather.
        baseline: values to compare with, by axis.
        runs: the folder runs/.
        measure: sweeper.runs.step_cost.measure.

    Raises:
        UserError: no two finished runs with the same seed differ in a single setting, or see `effects` and `measure`.
    """
    finished = frame if frame.empty else frame[frame["state"] == "finished"]
    seed = None if finished.empty else Counter(finished["seed"].tolist()).most_common(1)[0][0]
    chosen = finished if finished.empty else finished[finished["seed"] == seed]
    found = effects(
        chosen.assign(images_per_second=1.0, machine="here", costs=None),
        baseline,
        method=Method(measures=[f"test_{scores(chosen)[0]}"]),
    )
    if found.nothing is not None:
        states = effects(frame).nothing if finished.empty else None
        raise UserError(f"nothing to measure: {states or found.nothing}")
    by_data: dict[str, list[tuple[Comparison, Sequence[Sides]]]] = {}
    for comparison in found.comparisons:
        by_data.setdefault(comparison.data, []).append((comparison, comparison.cost.pairs if comparison.cost else ()))
    rows: list[dict[str, Any]] = []
    single: list[dict[str, Any]] = []
    codes = {run_id: digest(code) for run_id, code in zip(chosen["run_id"], chosen["code"], strict=True)}
    notes, kept = [], {}
    for data, compared in by_data.items():
        pairs = [pair for _, of_change in compared for pair in of_change]
        reference = Counter(run_id for _, base in pairs for run_id in base).most_common(1)[0][0]
        others = sorted({run_id for pair in pairs for side in pair for run_id in side} - {reference})
        records = [RunDirectory(runs / run_id) for run_id in others]
        costs, device = measure(RunDirectory(runs / reference), records, lambda line: print(line, file=sys.stderr))
        rows += [row_of(comparison, of_change, costs) for comparison, of_change in compared]
        single += [{"data": data, "is_reference": run_id == reference, **asdict(costs[run_id])} for run_id in costs]
        where = f"{reference} on {socket.gethostname()} ({device['device']}, threads={device['threads']})"
        kept[where] = {
            run_id: KeptCost(cost.ratio, cost.spread, cost.memory, codes[run_id]) for run_id, cost in costs.items()
        }
        notes.append(
            f"{data}: seed {format_override(seed)}, {len(costs)} configurations, each timed alternately with {where}, "
            "current code"
        )
    if max(row["spread"] for row in rows) > math.log(CLEAR):
        notes.append(
            "Where ± is above 10%, other programs ran beside the measurement, and effects and report do not use it: "
            "repeat it on an idle machine"
        )
    if missing := len(settings_of(finished).drop(columns="seed").drop_duplicates()) - len(single):
        notes.append(f"Configurations not measured, since they have no pair among the runs of this seed: {missing}")
    return Measured(rows, single, notes, kept)


def row_of(comparison: Comparison, pairs: Sequence[Sides], costs: Mapping[str, "StepCost"]) -> dict[str, Any]:
    """Return the cost of a change: geometric means over its pairs, and the mean change in parameters."""

    def seconds(side: int) -> float:
        return math.exp(fmean(fmean(math.log(costs[run_id].seconds) for run_id in pair[side]) for pair in pairs))

    (change,) = comparison.changes
    parameters = [
        fmean(costs[run_id].parameters for run_id in plus) - fmean(costs[run_id].parameters for run_id in minus)
        for plus, minus in pairs
    ]
    spreads = [combined_spread([[costs[run_id].spread for run_id in side] for side in pair]) for pair in pairs]
    row: dict[str, Any] = {"data": comparison.data, "axis": change.axis, "value": change.value}
    row |= {"baseline": change.baseline, "pairs": len(pairs), "change": change.name, "against": change.base_text}
    row |= {"seconds": seconds(0), "baseline_seconds": seconds(1)}
    row |= {"step_time_ratio": ratio_of(pairs, lambda run_id: costs[run_id].seconds)}
    row |= {
        "spread": math.sqrt(fmean(spread**2 for spread in spreads)),
        "memory_ratio": ratio_of(pairs, lambda run_id: costs[run_id].memory),
    }
    return row | {"parameters": fmean(parameters)}


def as_grid(measured: Measured) -> Table:
    """Return the table of changes."""
    several = len({row["data"] for row in measured.rows}) > 1
    has_memory = any(row["memory_ratio"] is not None for row in measured.rows)
    table = Table(title="Cost of a training step", title_justify="left")
    for header in (*(["data"] if several else []), "change", "baseline"):
        table.add_column(header, overflow="fold")
    for header in ("pairs", "ms/step", "cost", "±", "parameters", *(["memory"] if has_memory else [])):
        table.add_column(header, justify="right", no_wrap=True)
    for row in measured.rows:
        cells = [row["data"]] if several else []
        cells += [row["change"], row["against"], str(row["pairs"])]
        cells += [
            format_ms(row["seconds"]),
            format_ratio(row["step_time_ratio"], 1),
            f"{100 * row['spread']:.1f}%",
            f"{round(row['parameters']):+,}" if row["parameters"] else "0",
        ]
        cells += [format_ratio(row["memory_ratio"], 1)] if has_memory else []
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def format_ms(seconds: float) -> str:
    """Format seconds in milliseconds with three digits, from 100 on without decimals."""
    return f"{1000 * seconds:,.0f}" if 1000 * seconds >= 99.95 else f"{1000 * seconds:#.3g}"


MEANINGS = (
    "ms/step: milliseconds per training step",
    "cost: change in seconds per training step, geometric mean over pairs of configurations that are otherwise equal; "
    "±: half the interquartile range over the timed blocks of steps",
    "parameters: change in the number of parameters, mean over the pairs",
)


def print_costs(measured: Measured, console: Console) -> None:
    """Print the table and its caption."""
    console.print(as_grid(measured))
    for line in (*measured.notes, *MEANINGS):
        console.print(Text(printable(line), style="dim italic"), soft_wrap=not console.is_terminal)


def as_table(measured: Measured) -> str:
    """Return the table at full width."""
    file = io.StringIO()
    print_costs(measured, Console(file=file, width=100_000, force_terminal=False, color_system=None))
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def to_csv(measured: Measured) -> str:
    return as_csv(pd.DataFrame(measured.rows, columns=list(COLUMNS)))


def as_json(measured: Measured) -> str:
    return json_text({"notes": list(measured.notes), "comparisons": list(measured.rows), "runs": list(measured.runs)})


FORMATS = {"table": as_table, "csv": to_csv, "json": as_json}


def show_costs(
    output_dir: Path,
    only: set[str] | None,
    baseline: Sequence[str],
    measure: Measure,
    *,
    where: Sequence[str] = (),
    format: str = "table",
    output: Path | None = None,
) -> None:
    """Print the measured costs of the changes in a folder, or write them to a file; keep them for effects and report.

    Args:
        output_dir: the folder that has runs/.
        only: ids of the runs that are wanted; None for all.
        baseline: texts AXIS=VALUE.
        measure: sweeper.runs.step_cost.measure.
        where: texts COLUMN=VALUE that the runs meet.
        format: one of FORMATS; "table" with a file: that of its suffix.
        output: the file; None for standard output.

    Raises:
        UserError: the format, a condition, an axis or a value is unknown, see `measured_costs`, or the file cannot be
            replaced.
    """
    format = output_format(format, output, FORMATS)
    given = given_values(baseline)
    frame = select(read_runs(output_dir, only)[0], where)
    measured = measured_costs(frame, given, output_dir / "runs", measure)
    try:
        keep_costs(output_dir, measured.kept)
    except WriteError as error:
        print(f"not kept for effects and report: {error}", file=sys.stderr)
    if output is not None:
        write_output(output, FORMATS[format](measured))
    elif format == "table" and sys.stdout.isatty():
        print_costs(measured, stdout_console())
    else:
        print(FORMATS[format](measured), end="")
