"""The report: one HTML file with the answer, the results, and how to repeat them."""

import base64
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sweeper.errors import UserError
from sweeper.files import number
from sweeper.runs.directory import RunDirectory
from sweeper.summary.columns import MEASURED, scores
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.effect_options import EffectOptions
from sweeper.summary.effects_text import known_measures
from sweeper.summary.index import ENDED
from sweeper.summary.measure_columns import with_measures
from sweeper.summary.output import write_output
from sweeper.summary.report_answer import ask, next_steps
from sweeper.summary.report_dataset import Source, section, split_datasets
from sweeper.summary.report_question import format_time, question, shown_axes
from sweeper.summary.report_runs import failures, provenance
from sweeper.summary.report_sweeps import REPORT, sweep_list
from sweeper.summary.table import read_runs
from sweeper.summary.table import where as select
from sweeper.sweep.saved import find_sweep, own_jobs, precision_of, read_plan

PAGE = Path(__file__).parent / "page"
TEMPLATE = "report.html.jinja"
STYLES = ("style.css", "narrow.css")
SCRIPTS = ("start.js", "table.js", "parallel.js", "curves.js", "matrix.js", "print.js")


def write_report(
    output_dir: Path,
    sweep: str | None = None,
    output: Path | None = None,
    options: ConvergenceOptions | None = None,
    where: Sequence[str] = (),
    asked: EffectOptions | None = None,
) -> Path:
    """Write the report of all runs to report.html of the output folder, or of a sweep's to that of the sweep's folder.

    Args:
        output: another file instead.
        where: conditions COLUMN=VALUE that the runs meet.
        asked: how runs are compared; None: the defaults.

    Returns:
        The file.

    Raises:
        UserError: there are no runs, or no such sweep; or the file has the suffix of another type.
    """
    if output is not None and output.suffix.lower() not in ("", ".html", ".htm"):
        raise UserError(f"--output {output}: unsupported file type; choose .html")
    home = output_dir if sweep is None else find_sweep(output_dir, sweep)
    links = None if output is not None else "" if sweep is None else "../../"
    page = render(output_dir, sweep, options, where, links, asked)
    file = output or home / REPORT
    write_output(file, page)
    return file


def render(
    output_dir: Path,
    sweep: str | None = None,
    options: ConvergenceOptions | None = None,
    where: Sequence[str] = (),
    links: str | None = None,
    asked: EffectOptions | None = None,
) -> str:
    """Return the page of the runs that meet every condition COLUMN=VALUE; equal records give equal pages.

    Args:
        links: the way from the page's folder to the output folder; None where the page has no links to other files.
        asked: how runs are compared; None: the defaults.

    Raises:
        UserError: there are no runs, or no such sweep; or a condition is wrong, or how runs are to be compared.
    """
    options, asked = options or ConvergenceOptions(), asked or EffectOptions()
    plan = None if sweep is None else read_plan(find_sweep(output_dir, sweep))
    only = None if plan is None else {job["run_id"] for job in own_jobs(plan)}
    frame, skipped = read_runs(output_dir, only, options)
    frame = select(with_measures(frame, output_dir / "runs", asked.measure), where).reset_index(drop=True)
    method = asked.method(precision_of(output_dir, sweep), known_measures(asked.measure, frame))
    records = [RunDirectory(output_dir / "runs" / str(run_id)) for run_id in frame["run_id"]]
    runs = [record.run() or {} for record in records]
    statuses = [record.status() or {} for record in records]
    datasets = split_datasets(frame)
    by_id = {record.run_id: run for record, run in zip(records, runs, strict=True)}
    source = Source(output_dir, by_id, method, asked.given, options, skipped, len(datasets))
    sections = [section(dataset, source, rank) for rank, dataset in enumerate(datasets)]
    unused = [shown["unused"] for found, shown in sections if found.nothing is None]
    if unused and all(unused):
        raise UserError(unused[0])
    axes, varied = shown_axes(frame), [name for _, shown in sections for name in shown["settings"] if name != "seed"]
    states = zip(statuses, frame["state"], strict=True)
    ended = [number(status.get("heartbeat")) for status, state in states if state in ENDED]
    commands = [plan["command"]] if plan else sorted({str(run.get("command", "not recorded")) for run in runs})
    style, script = (Markup("").join(map(read, names)) for names in (STYLES, SCRIPTS))
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            style=style,
            script=script,
            title=f"Sweep {sweep}" if sweep else "All runs",
            sweep=sweep,
            asked=ask(frame, list(dict.fromkeys(varied)), [part.name for part in datasets]),
            axes=axes,
            question=question(frame, runs, plan),
            asked_options=asked.text,
            steps=next_steps(sweep, plan, [found for found, _ in sections], asked.text),
            skipped=skipped.captions if len(datasets) > 1 else [],
            datasets=[shown for _, shown in sections],
            sweeps=sweep_list(output_dir) if sweep is None else [],
            links=links,
            has_whole=(output_dir / REPORT).is_file(),
            failures=failures(frame, statuses),
            provenance=provenance(frame, runs),
            commands=commands,
            ended=format_time(max(filter(None, ended), default=None)),
            convergence=options,
            scores=[(score, MEASURED[score]) for score in scores(frame)],
        )
    )


def read(name: str) -> Markup:
    """Return a file of the page, which has nothing from records."""
    return Markup((PAGE / name).read_text(encoding="utf-8"))


def environment() -> Environment:
    """Return Jinja's environment, which escapes everything that is not marked as safe."""
    made = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"csp_hash": csp_hash, "zip": zip, "quoted": quoted}
    made.globals["level"] = level
    return made


def quoted(name: str) -> str:
    """Return a folder's name as part of an address."""
    return quote(name, safe="", errors="replace")


def csp_hash(text: str) -> str:
    """Return the name of an inline style or script in a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def level(count: int, row: Sequence[int]) -> int:
    """Return the shade of a cell, from 0 to 9, by its share of the row; the root makes small shares visible."""
    return round(9 * math.sqrt(count / sum(row))) if count else 0
