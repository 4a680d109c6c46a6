"""Effects as text: tables in the terminal, CSV, JSON."""

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
from sweeper.summary.axes import format_override
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.effects import Effects, effects, format_counts
from sweeper.summary.export import as_csv
from sweeper.summary.gather import gather
from sweeper.summary.inference import LEVEL, MAX_MORE_SEEDS, METRICS, Comparison
from sweeper.summary.output import json_text, printable, write_output

COLUMNS = (
    *("measure", "axis", "value", "baseline", "with_axis", "with_value", "with_baseline"),
    *("pairs", "seeds", "mean", "spread", "low", "high", "higher", "lower", "tied", "censored"),
    *("p", "p_holm", "more_seeds", "result"),
)


def as_row(comparison: Comparison) -> dict[str, Any]:
    row: dict[str, Any] = {"measure": comparison.metric}
    for prefix, change in zip(("", "with_"), comparison.changes, strict=False):
        for name in ("axis", "value", "baseline"):
            cell = getattr(change, name)
            row[prefix + name] = "null" if cell is None else cell
    low, high = comparison.interval or (None, None)
    row |= {name: getattr(comparison, name) for name in COLUMNS if hasattr(comparison, name) and name != "baseline"}
    more = comparison.more_seeds
    more = more if more is not None and more <= MAX_MORE_SEEDS else None
    p_holm, result = comparison.corrected, comparison.words
    return row | {"low": low, "high": high, "p_holm": p_holm, "more_seeds": more, "result": result}


def caption(found: Effects) -> list[str]:
    """Return the baseline, what was left out, and what the columns mean; no line where nothing was compared."""
    if found.nothing is not None:
        return []
    lines = ["Baseline: " + ", ".join(f"{axis}={format_override(value)}" for axis, value in found.baseline.items())]
    left = f"; {sum(found.left_out.values())} left out: {format_counts(found.left_out)}" if found.left_out else ""
    lines += [f"{found.runs} finished runs{left}", *found.notes]
    lines += [
        "A pair: two runs equal in everything else, seed included; pairs of one seed are not independent, so "
        "their mean is one observation",
        "A choice includes its own settings: optimizer=sgd at its lr is compared with optimizer=adam at its lr",
        f"mean: change minus baseline, averaged over seeds; {1 - LEVEL:.0%} interval: Student's t, not corrected",
        "p: paired t-test over seeds (sign test where a target was not reached or all seeds are identical), "
        f"two-sided, Holm-corrected within each table; significant below {LEVEL}",
    ]
    if found.interactions:
        lines.append("Interactions: the mean in `with` minus the mean in `rather than`, over quadruples of runs")
    return lines


def as_grid(comparisons: Sequence[Comparison]) -> Table:
    """Return the table of one metric's comparisons, or interactions."""
    metric = METRICS[comparisons[0].metric]
    crossed = len(comparisons[0].changes) > 1
    censored = any(comparison.censored for comparison in comparisons)
    table = Table(title=Text(metric.title + (": interactions" if crossed else "")), title_justify="left")
    for header in ("change", "baseline", *(("with", "rather than") if crossed else ())):
        table.add_column(header, overflow="fold")
    counts = ("quadruples" if crossed else "pairs", "seeds")
    for header in (*counts, "mean", f"{1 - LEVEL:.0%} interval", "p (Holm)"):
        table.add_column(header, justify="right", no_wrap=True)
    for header in (*(("signs",) if censored else ()), "result"):
        table.add_column(header, overflow="fold")
    for comparison in comparisons:
        names = []
        for change in comparison.changes:
            names += [f"{change.axis}={format_override(change.value)}", format_override(change.baseline)]
        interval = comparison.interval
        row = [*names, str(comparison.pairs), str(comparison.seeds)]
        row.append("-" if comparison.mean is None else metric.digits.format(comparison.mean))
        row.append("-" if interval is None else f"[{', '.join(map(metric.digits.format, interval))}]")
        row += [format_p(comparison.corrected), *((format_signs(comparison),) if censored else ()), comparison.words]
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def format_signs(comparison: Comparison) -> str:
    """Return the signs of pairs some of which never reached their target, `2 faster, 1 unknown (1 run censored)`."""
    metric, crossed = METRICS[comparison.metric], len(comparison.changes) > 1
    names = (*(("higher", "lower") if crossed else (metric.higher, metric.lower)), "tied", "unknown")
    known = (comparison.higher, comparison.lower, comparison.tied)
    counts = (*known, comparison.pairs - sum(known))
    text = ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True) if count)
    runs = "run" if comparison.censored == 1 else "runs"
    return text + (f" ({comparison.censored} {runs} censored)" if comparison.censored else "")


def format_p(p: float | None) -> str:
    if p is None:
        return "-"
    return "<0.0001" if 0 < p < 0.0001 else f"{p:.4f}" if p else "0"


def print_effects(found: Effects, console: Console) -> None:
    """Print a table for each metric, those of interactions last, and the caption; or why there is none."""
    if found.nothing is not None:
        console.print(Text(printable(found.nothing)), soft_wrap=True)
        return
    for family in (found.comparisons, found.interactions):
        for metric in METRICS:
            comparisons = [comparison for comparison in family if comparison.metric == metric]
            if comparisons:
                console.print(as_grid(comparisons))
    for line in caption(found):
        console.print(Text(printable(line), style="dim italic"), soft_wrap=not console.is_terminal)


def as_table(found: Effects) -> str:
    """Return the tables at full width."""
    file = io.StringIO()
    print_effects(found, Console(file=file, width=100_000, force_terminal=False, color_system=None))
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def to_frame(found: Effects) -> pd.DataFrame:
    """Return a row for each comparison, then for each interaction."""
    rows = [as_row(comparison) for comparison in (*found.comparisons, *found.interactions)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def as_json(found: Effects) -> str:
    """Return everything, with the rows of `to_frame`; missing values as null."""
    content = {name: getattr(found, name) for name in ("nothing", "baseline", "runs", "left_out", "notes")}
    for name in ("comparisons", "interactions"):
        rows = [as_row(comparison) for comparison in getattr(found, name)]
        content[name] = [{column: row.get(column) for column in COLUMNS} for row in rows]
    return json_text(content)


FORMATS = {"table": as_table, "csv": lambda found: as_csv(to_frame(found)), "json": as_json}


def show_effects(
    output_dir: Path,
    only: set[str] | None,
    baseline: Sequence[str],
    *,
    format: str = "table",
    output: Path | None = None,
    options: ConvergenceOptions | None = None,
) -> None:
    """Print the effects of the runs in a folder, or write them to a file.

    Args:
        output_dir: the folder that has runs/.
        only: ids of the runs that are wanted; None for all.
        baseline: texts AXIS=VALUE.
        format: one of FORMATS.
        output: the file; None for standard output.
        options: how learning curves are read; None for the defaults.

    Raises:
        UserError: the format is unknown, axis or value, or the file cannot be replaced.
    """
    if format not in FORMATS:
        raise UserError(f"--format {format}: unknown format; choose from {format_names(FORMATS)}")
    parts = (text.partition("=") for text in baseline)
    frame, skipped = gather(output_dir / "runs", only, options)
    found = effects(frame, {axis: value for axis, _, value in parts}, skipped=skipped, options=options)
    if found.nothing is not None and (output is not None or format != "table"):
        print(printable(found.nothing), file=sys.stderr)
    console = Console()
    if output is not None:
        write_output(output, FORMATS[format](found))
    elif format == "table" and console.is_terminal:
        print_effects(found, console)
    else:
        print(FORMATS[format](found), end="")
