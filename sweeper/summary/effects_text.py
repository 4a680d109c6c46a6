"""The effects as they are shown: tables in the terminal, CSV, JSON."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.errors import UserError, format_names
from sweeper.summary.axes import written
from sweeper.summary.effects import Effects, counted, effects
from sweeper.summary.gather import gather
from sweeper.summary.inference import JUDGED, LEVEL, MANY, Comparison
from sweeper.summary.output import json_text, printable, write_output
from sweeper.summary.table import as_csv

COLUMNS = (
    *("measure", "axis", "value", "baseline", "with_axis", "with_value", "with_baseline"),
    *("pairs", "seeds", "mean", "spread", "low", "high", "higher", "lower", "tied", "censored"),
    *("p", "p_holm", "more_seeds", "result"),
)


def as_row(one: Comparison) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for prefix, change in zip(("", "with_"), one.changes, strict=False):
        for name in ("axis", "value", "baseline"):
            cell = getattr(change, name)
            row[prefix + name] = "null" if cell is None else cell
    low, high = one.interval or (None, None)
    row |= {name: getattr(one, name) for name in COLUMNS if hasattr(one, name) and name != "baseline"}
    more = one.more_seeds if one.more_seeds is not None and one.more_seeds <= MANY else None
    return row | {"low": low, "high": high, "p_holm": one.corrected, "more_seeds": more, "result": one.words}


def caption(found: Effects) -> list[str]:
    """What was compared with what, what was left out, and what the columns mean; no line where nothing was."""
    if found.nothing is not None:
        return []
    lines = ["Baseline: " + ", ".join(f"{axis}={written(value)}" for axis, value in found.baseline.items())]
    left = f"; {sum(found.left_out.values())} left out: {counted(found.left_out)}" if found.left_out else ""
    lines += [f"{found.runs} finished runs{left}", *found.notes]
    lines += [
        "A pair: two runs equal in everything else, seed included; pairs of one seed are not independent, so that "
        "their mean is one observation",
        f"mean: of change - against over the seeds, {1 - LEVEL:.0%} interval by Student's t, each for itself",
        "p: paired t-test over the seeds (sign test where a target was not reached or all seeds agree to the last "
        f"digit), two-sided, corrected over its table; below {LEVEL} counts",
    ]
    if found.interactions:
        lines.append("Interactions: the mean with `with` less that with `rather than`, in quadruples of runs")
    return lines


def draw(comparisons: Sequence[Comparison]) -> Table:
    """The table of one measure's comparisons, or interactions."""
    measure = JUDGED[comparisons[0].measure]
    crossed = len(comparisons[0].changes) > 1
    censored = any(one.censored for one in comparisons)
    table = Table(title=Text(measure.title + (": interactions" if crossed else "")), title_justify="left")
    for header in ("change", "against", *(("with", "rather than") if crossed else ())):
        table.add_column(header, overflow="fold")
    counts = ("quadruples" if crossed else "pairs", "seeds")
    for header in (*counts, "mean", f"{1 - LEVEL:.0%} interval", "p (Holm)"):
        table.add_column(header, justify="right", no_wrap=True)
    for header in (*(("orders",) if censored else ()), "result"):
        table.add_column(header, overflow="fold")
    for one in comparisons:
        names = [text for change in one.changes for text in (f"{change.axis}={written(change.value)}", change.baseline)]
        interval = "-" if one.interval is None else f"[{', '.join(map(measure.digits.format, one.interval))}]"
        mean = "-" if one.mean is None else measure.digits.format(one.mean)
        orders = (told_orders(one),) if censored else ()
        row = [*names, one.pairs, one.seeds, mean, interval, shown_p(one.corrected), *orders, one.words]
        table.add_row(*(Text(printable(cell if isinstance(cell, str) else written(cell))) for cell in row))
    return table


def told_orders(one: Comparison) -> str:
    """What the pairs say where some runs never reached their target, such as `2 faster, 1 unknown (1 run censored)`."""
    measure, crossed = JUDGED[one.measure], len(one.changes) > 1
    names = (*(("higher", "lower") if crossed else (measure.higher, measure.lower)), "tied", "unknown")
    counts = (one.higher, one.lower, one.tied, one.pairs - one.higher - one.lower - one.tied)
    told = ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True) if count)
    return told + (f" ({one.censored} {'run' if one.censored == 1 else 'runs'} censored)" if one.censored else "")


def shown_p(p: float | None) -> str:
    if p is None:
        return "-"
    return "<0.0001" if 0 < p < 0.0001 else f"{p:.4f}" if p else "0"


def print_effects(found: Effects, console: Console) -> None:
    """A table for each measure, those of interactions after all others, and the caption; or why there is none."""
    if found.nothing is not None:
        console.print(Text(printable(found.nothing)), soft_wrap=True)
        return
    for family in (found.comparisons, found.interactions):
        for measure in JUDGED:
            judged = [one for one in family if one.measure == measure]
            if judged:
                console.print(draw(judged))
    for line in caption(found):
        console.print(Text(printable(line), style="dim italic"), soft_wrap=not console.is_terminal)


def as_table(found: Effects) -> str:
    """The tables at full width."""
    file = io.StringIO()
    print_effects(found, Console(file=file, width=100_000, force_terminal=False, color_system=None))
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def to_frame(found: Effects) -> pd.DataFrame:
    """A row for each comparison, then for each interaction."""
    return pd.DataFrame([as_row(one) for one in (*found.comparisons, *found.interactions)], columns=list(COLUMNS))


def as_json(found: Effects) -> str:
    """Everything, with the rows of `to_frame`; what is missing as null."""
    content = {name: getattr(found, name) for name in ("nothing", "baseline", "runs", "left_out", "notes")}
    for name in ("comparisons", "interactions"):
        rows = [as_row(one) for one in getattr(found, name)]
        content[name] = [{column: row.get(column) for column in COLUMNS} for row in rows]
    return json_text(content)


FORMATS = {"table": as_table, "csv": lambda found: as_csv(to_frame(found)), "json": as_json}


def show_effects(
    output_dir: Path, only: set[str] | None, baseline: Sequence[str], format: str = "table", output: Path | None = None
) -> None:
    """Print the effects of the runs in a folder, or write them to a file.

    Args:
        output_dir: the folder that has runs/.
        only: ids of the runs that are wanted; None for all.
        baseline: texts AXIS=VALUE.
        format: one of FORMATS.
        output: the file; None for standard output.

    Raises:
        UserError: there is no such format, axis or value, or the file cannot be replaced.
    """
    if format not in FORMATS:
        raise UserError(f"there is no --format {format}; choose from {format_names(FORMATS)}")
    parts = (text.partition("=") for text in baseline)
    frame, unreadable = gather(output_dir / "runs", only)
    found = effects(frame, {axis: value for axis, _, value in parts}, unreadable=unreadable)
    if found.nothing is not None and (output is not None or format != "table"):
        print(printable(found.nothing), file=sys.stderr)
    console = Console()
    if output is not None:
        write_output(output, FORMATS[format](found))
    elif format == "table" and console.is_terminal:
        print_effects(found, console)
    else:
        print(FORMATS[format](found), end="")
