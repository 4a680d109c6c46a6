"""The report: one HTML file with the question, the results, and how to repeat them."""

import base64
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sweeper.files import number
from sweeper.runs.directory import RunDirectory
from sweeper.summary.columns import best_val, name_validation, scores
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.effects import effects
from sweeper.summary.effects_caption import caption
from sweeper.summary.index import ENDED
from sweeper.summary.learning_curves import learning_curves
from sweeper.summary.other_images import correctness_of
from sweeper.summary.output import write_output
from sweeper.summary.report_cost import cost_pictures
from sweeper.summary.report_curves import curve_data
from sweeper.summary.report_errors import mistakes
from sweeper.summary.report_question import format_time, question, shown_axes
from sweeper.summary.report_runs import confusion, failures, provenance
from sweeper.summary.report_tables import columns_of, effect_tables, rows_of
from sweeper.summary.sentences import answers
from sweeper.summary.study import Method
from sweeper.summary.table import lay_out, read_runs
from sweeper.summary.table import where as select
from sweeper.sweep.saved import find_sweep, own_jobs, precision_of, read_plan

TEMPLATE = "report.html.jinja"
CURVES_DRAWN = 8  # at first, the best


def write_report(
    output_dir: Path,
    sweep: str | None = None,
    output: Path | None = None,
    options: ConvergenceOptions | None = None,
    where: Sequence[str] = (),
) -> Path:
    """Write the report of all runs, or of a sweep's, to report.html of the output folder or to another file.

    Args:
        where: conditions COLUMN=VALUE that the runs meet.

    Returns:
        The file.

    Raises:
        UserError: there are no runs, or no such sweep.
    """
    page = render(output_dir, sweep, options, where)
    file = output or output_dir / "report.html"
    write_output(file, page)
    return file


def render(
    output_dir: Path,
    sweep: str | None = None,
    options: ConvergenceOptions | None = None,
    where: Sequence[str] = (),
) -> str:
    """Return the page of the runs that meet every condition COLUMN=VALUE; equal records give equal pages.

    Raises:
        UserError: there are no runs, or no such sweep; or a condition is wrong.
    """
    options = options or ConvergenceOptions()
    plan = None if sweep is None else read_plan(find_sweep(output_dir, sweep))
    only = None if plan is None else {job["run_id"] for job in own_jobs(plan)}
    frame, skipped = read_runs(output_dir, only, options)
    frame = select(frame, where).reset_index(drop=True)
    records = [RunDirectory(output_dir / "runs" / str(run_id)) for run_id in frame["run_id"]]
    runs = [record.run() or {} for record in records]
    statuses = [record.status() or {} for record in records]
    table, notes = lay_out(frame, skipped, over="seed", options=options)
    by = best_val(frame)
    shown = table[by].dropna()
    sorted_by = by if shown.is_monotonic_decreasing else None  # uneven seeds: by adjusted means
    correctness = correctness_of(frame, output_dir / "runs")
    method = Method(precision=precision_of(output_dir, sweep))
    compared = effects(frame, method=method, correctness=correctness, skipped=skipped, options=options)
    states = zip(statuses, frame["state"], strict=True)
    ended = [number(status.get("heartbeat")) for status, state in states if state in ENDED]
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            title=f"Sweep {sweep}" if sweep else "All runs",
            sweep=sweep,
            answers=answers(compared),
            axes=shown_axes(frame),
            question=question(frame, runs, plan),
            notes=notes.split("\n"),
            table={"columns": columns_of(table), "rows": rows_of(table), "by": sorted_by},
            nothing=compared.nothing,
            effects=effect_tables(compared),
            effect_notes=caption(compared),
            costs=cost_pictures(compared),
            curves=curve_data(learning_curves(output_dir, frame)),
            drawn=CURVES_DRAWN,
            confusion=confusion(frame, records),
            mistakes=mistakes(frame, records),
            failures=failures(frame, statuses),
            provenance=provenance(frame, runs),
            commands=[plan["command"]] if plan else sorted({str(run.get("command", "not recorded")) for run in runs}),
            ended=format_time(max(filter(None, ended), default=None)),
            convergence=options,
            validation=name_validation(frame),
            best_val=by,
            test=f"test_{scores(frame)[0]}",
        )
    )


def environment() -> Environment:
    """Return Jinja's environment, which escapes everything that is not marked as safe."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"csp_hash": csp_hash, "zip": zip}
    made.globals["level"] = level
    return made


def csp_hash(text: str) -> str:
    """Return the name of an inline style or script in a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def level(count: int, row: Sequence[int]) -> int:
    """Return the shade of a cell, from 0 to 9, by its share of the row; the root makes small shares visible."""
    return round(9 * math.sqrt(count / sum(row))) if count else 0
