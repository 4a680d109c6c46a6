"""Effects as tables in the terminal."""

import io
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sweeper.display import stdout_console
from sweeper.errors import UserError, format_names, nearest
from sweeper.summary.columns import OF_CLASSES
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.cost import format_cost
from sweeper.summary.effect_measures import METRICS
from sweeper.summary.effect_options import EffectOptions
from sweeper.summary.effects import Effects, effects
from sweeper.summary.effects_caption import caption
from sweeper.summary.effects_lines import format_interval, format_p, print_lines
from sweeper.summary.effects_rows import as_json, to_csv
from sweeper.summary.effects_tables import recipe_of_table, tables
from sweeper.summary.held import beside, heading_of
from sweeper.summary.inference import Comparison
from sweeper.summary.measure_columns import PREFIXES, expand, with_measures
from sweeper.summary.other_images import correctness_of
from sweeper.summary.output import output_format, printable, write_output
from sweeper.summary.sentences import answers
from sweeper.summary.table import read_runs
from sweeper.summary.table import where as select
from sweeper.summary.verdicts import verdict
from sweeper.sweep.saved import sweeps_with_precision

MOST_WIDTH = 100_000
RESULT_WIDTH = 28  # characters in which a result is legible
INDENT = 2  # of a sentence's further lines


def title_of(table: Sequence[Comparison], several: bool) -> str:
    """Return the title of a table of comparisons: the metric, the dataset where there are several, the family.

    Where the changes are made to other settings than the baseline's, it names them.
    """
    metric, crossed = METRICS[table[0].metric], len(table[0].changes) > 1
    title = metric.title + (f" on {table[0].data}" if several else "") + (": interactions" if crossed else "")
    title += heading_of(recipe_of_table(table))
    return title + (" (exploratory)" if metric.is_exploratory or crossed else "")


def families(found: Effects) -> list[tuple[str, list[Comparison]]]:
    """Return the tables with their titles, those of interactions last."""
    several = len({comparison.data for comparison in found.comparisons}) > 1
    every = [*tables(found.comparisons), *tables(found.interactions)]
    return [(title_of(table, several), table) for table in every]


def as_grid(title: str, comparisons: Sequence[Comparison]) -> Table:
    """Return the table of one metric's comparisons, or interactions, on one dataset."""
    digits = METRICS[comparisons[0].metric].digits
    crossed = len(comparisons[0].changes) > 1
    has_models = any(comparison.models for comparison in comparisons)
    has_cost = shows_cost(comparisons)
    has_target = any(comparison.reached is not None for comparison in comparisons) and not crossed
    table = Table(title=Text(title), title_justify="left")
    for header in ("change", "baseline", *(("with", "rather than") if crossed else ())):
        table.add_column(header, overflow="fold")
    numbers = [*(["models"] if has_models else []), "seeds", "mean", "interval", "p (Holm)"]
    for header in [*numbers, *(["cost"] if has_cost else [])]:
        table.add_column(header, justify="right", no_wrap=True)
    for header in (*(("reached",) if has_target else ()), "result"):
        table.add_column(header, overflow="fold")
    recipe = recipe_of_table(comparisons)
    for comparison in comparisons:
        names = []
        for change in comparison.changes:
            names += [change.name, change.base_text]
        names[1] += beside(comparison.shown_held, recipe)
        up = f"{comparison.models_up} of {len(comparison.models)} up" if comparison.models else "-"
        row = [*names, *([up] if has_models else []), str(comparison.seeds), digits.format(comparison.mean)]
        row += [format_interval(comparison.family, digits), format_p(comparison.corrected)]
        row += [format_cost(comparison.cost)] if has_cost else []
        row += [comparison.reached.text if comparison.reached else "-"] if has_target else []
        table.add_row(*(Text(printable(cell)) for cell in (*row, verdict(comparison))))
        for model in comparison.models:
            cells = [f"  {model.name}", *[""] * len(names), "", digits.format(model.mean)]
            cells.append(format_interval(model.family, digits))
            table.add_row(*(Text(printable(cell), style="dim") for cell in cells))
    return table


def shows_cost(comparisons: Sequence[Comparison]) -> bool:
    """Return whether a table of comparisons has a column with their cost."""
    return any(comparison.cost is not None and comparison.cost.step_time is not None for comparison in comparisons)


def print_effects(found: Effects, console: Console) -> None:
    """Print the answer in sentences, a table for each metric and dataset, interactions last, and the caption.

    Where the console is too narrow for a table, each of its comparisons has its own lines. Where nothing was compared,
    print why.
    """
    if found.nothing is not None:
        console.print(Text(printable(found.nothing)), soft_wrap=True)
        return
    print_answers(found, console)
    for title, comparisons in families(found):
        grid = as_grid(title, comparisons)
        if width_of(grid, console) <= console.width:
            console.print(grid)
        else:
            print_lines(title, comparisons, console)
            console.print()
    for line in caption(found):
        console.print(Text(printable(line), style="dim italic"), soft_wrap=not console.is_terminal)


def print_answers(found: Effects, console: Console) -> None:
    """Print a sentence for each change, its further lines indented, and an empty line."""
    for answer in answers(found):
        console.print(Text(printable(answer.heading)), soft_wrap=not console.is_terminal)
        for sentence in answer.sentences:
            text = Text(printable(sentence), style="bold")
            if not console.is_terminal:
                console.print(text, soft_wrap=True)
                continue
            for index, line in enumerate(text.wrap(console, max(console.width - INDENT, 1))):
                console.print(Padding(line, (0, 0, 0, INDENT if index else 0)))
        console.print()


def width_of(grid: Table, console: Console) -> int:
    """Return the characters that a table needs: every cell in one line but the results, which may wrap."""
    wide = console.options.update(width=MOST_WIDTH)
    result = grid.columns[-1]
    natural = Measurement.get(console, wide, grid).maximum
    widest = max((Text(str(cell)).cell_len for cell in result.cells), default=0)
    return natural - max(0, widest - RESULT_WIDTH)


def as_table(found: Effects) -> str:
    """Return the tables at full width."""
    file = io.StringIO()
    print_effects(found, Console(file=file, width=MOST_WIDTH, force_terminal=False, color_system=None))
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def known_measures(names: Sequence[str], frame: pd.DataFrame) -> list[str]:
    """Return the measures without repetition, all classes in place of class_accs and class_ious.

    Raises:
        UserError: one is unknown.
    """
    measures = list(dict.fromkeys(expand(names, frame)))
    for name in measures:
        if name not in METRICS and not (name.startswith(OF_CLASSES) and name in frame):
            valid = [*METRICS, *(column for column in map(str, frame) if column.startswith(OF_CLASSES)), *PREFIXES]
            raise UserError(
                f"--measure {name}: unknown measure{nearest(name, valid)}; choose from {format_names(valid)}"
            )
    return measures


FORMATS = {"table": as_table, "csv": to_csv, "json": as_json}


def show_effects(
    output_dir: Path,
    only: set[str] | None,
    asked: EffectOptions,
    *,
    where: Sequence[str] = (),
    precision: float | None = None,
    format: str = "table",
    output: Path | None = None,
    options: ConvergenceOptions | None = None,
) -> None:
    """Print the effects of the runs in a folder, or write them to a file.

    Args:
        output_dir: the folder that has runs/.
        only: ids of the runs that are wanted; None for all.
        asked: how runs are compared.
        where: texts COLUMN=VALUE that the runs meet.
        precision: the sweep.precision that chose the number of seeds; None if there was none.
        format: one of FORMATS; "table" with a file: that of its suffix.
        output: the file; None for standard output.
        options: how learning curves are read; None for the defaults.

    Raises:
        UserError: the format is unknown, a condition, an axis, a value or a measure, or the file cannot be replaced.
    """
    format = output_format(format, output, FORMATS)
    method = asked.method(precision)  # before any run is read
    frame, skipped = read_runs(output_dir, only, options)
    frame = select(with_measures(frame, output_dir / "runs", asked.measure), where)
    found = effects(
        frame,
        asked.given,
        method=replace(method, measures=known_measures(asked.measure, frame)),
        correctness=correctness_of(frame, output_dir / "runs"),
        skipped=skipped,
        options=options,
    )
    if only is None:
        found.notes.extend(
            f"The seeds of sweep {name} were chosen by sweep.precision, after looks at their spread: `effects {name}` "
            "has the intervals that are valid for it"
            for name in sweeps_with_precision(output_dir)
        )
    if found.nothing is not None and (output is not None or format != "table"):
        print(printable(found.nothing), file=sys.stderr)
    if output is not None:
        write_output(output, FORMATS[format](found))
    elif format == "table" and sys.stdout.isatty():
        print_effects(found, stdout_console())
    else:
        print(FORMATS[format](found), end="")
