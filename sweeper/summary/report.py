"""The report: one HTML file that says what was asked, what came out, and how to have it again."""

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sweeper.files import number
from sweeper.runs.directory import RunDirectory
from sweeper.runs.fingerprint import changed_definitions, code_of
from sweeper.summary.axes import rank, written
from sweeper.summary.effects import Effects, effects
from sweeper.summary.effects_text import caption, shown_p
from sweeper.summary.gather import ENDED, MEASURES, last_line
from sweeper.summary.inference import JUDGED, LEVEL, Comparison, Measure
from sweeper.summary.learning_curves import Band, Curve, learning_curves, loss_limit
from sweeper.summary.output import write_output
from sweeper.summary.table import cells, is_missing, is_number, lay_out, read_runs, show
from sweeper.sweep.saved import find_sweep, own_jobs, read_plan

TEMPLATE = "report.html.jinja"
BY = "best_val_acc"  # the table's order at first
LISTED = 40  # values of an axis that the question names
CLASSES = 100  # beyond which a confusion matrix is no picture
DRAWN = 8  # curves that are drawn at first, the best
POINTS, FEWEST = 40_000, 25  # of all curves together, of a curve at least: a page of 500 runs stays small
WIDEST = 4  # times the largest mean difference: an interval of two pairs would make a dot of all others
LAST_YEAR = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
NO_FAILURE = ("finished", "running", "interrupted")


@dataclass
class Cell:
    """One of the table: `number` is what it is sorted by, None where that is its text."""

    text: str
    number: float | None
    missing: bool


@dataclass
class Column:
    """One of the table.

    Attributes:
        place: from 0.
        kind: `number`, `identifier` or nothing, for the style.
        choices: what its filter offers; empty where it has none.
    """

    name: str
    place: int
    kind: str
    choices: list[str]


def write_report(output_dir: Path, sweep: str | None = None, output: Path | None = None) -> Path:
    """Write the report of all runs, or of a sweep's, to report.html of the output folder or to another file.

    Returns:
        The file.

    Raises:
        UserError: there are no runs, or no such sweep.
    """
    page = render(output_dir, sweep)
    file = output or output_dir / "report.html"
    write_output(file, page)
    return file


def render(output_dir: Path, sweep: str | None = None) -> str:
    """The page; equal records give an equal one.

    Raises:
        UserError: there are no runs, or no such sweep.
    """
    plan = None if sweep is None else read_plan(find_sweep(output_dir, sweep))
    only = None if plan is None else {job["run_id"] for job in own_jobs(plan)}
    frame, unreadable = read_runs(output_dir, only)
    records = [RunDirectory(output_dir / "runs" / str(run_id)) for run_id in frame["run_id"]]
    runs = [record.run() or {} for record in records]
    statuses = [record.status() or {} for record in records]
    table, notes = lay_out(frame, unreadable, over="seed", by=BY)
    curves = learning_curves(output_dir, frame)
    compared = effects(frame, unreadable=unreadable)
    ended = [number(status.get("heartbeat")) for status in statuses if status.get("state") in ENDED]
    template = environment().get_template(TEMPLATE)
    return template.render(
        title=f"Sweep {sweep}" if sweep else "All runs",
        sweep=sweep,
        axes=shown_axes(frame),
        question=question(frame, runs, plan),
        notes=notes.split("\n"),
        table={"columns": columns_of(table), "rows": rows_of(table), "by": BY},
        nothing=compared.nothing,
        effects=effect_tables(compared),
        effect_notes=caption(compared),
        curves=curve_data(curves),
        drawn=DRAWN,
        confusion=confusion(frame, records),
        failures=failures(frame, statuses),
        provenance=provenance(frame, records, runs),
        commands=[plan["command"]] if plan else sorted({str(run.get("command", "not recorded")) for run in runs}),
        ended=moment(max(filter(None, ended), default=None)),
    )


def environment() -> Environment:
    """Jinja2's, which escapes whatever it is not told to trust."""
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
    """What a Content-Security-Policy calls an inline style or script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def level(count: int, row: Sequence[int]) -> int:
    """The shade of a cell, from 0 to 9, by its share of the row; the root shows small ones too."""
    return round(9 * math.sqrt(count / sum(row))) if count else 0


def shown_axes(frame: pd.DataFrame) -> dict[str, list[str]]:
    """For each setting that tells runs apart, the seed too, its values as they are shown, in order."""
    table, _ = lay_out(frame, [])
    axes = {}
    for name in table.columns:
        if name not in (*MEASURES, "run_id"):
            values = distinct(str(name), table[name])
            rest = [f"and {len(values) - LISTED} more"] if len(values) > LISTED else []
            axes[str(name)] = values[:LISTED] + rest
    return axes


def distinct(name: str, values: "pd.Series[Any]") -> list[str]:
    """The different values as they are shown: numbers, then texts, then what stands for a missing one."""
    found = {show(name, value): value for value in values.tolist()}
    return sorted(found, key=lambda text: (is_missing(found[text]), *rank(found[text]), text))


def question(frame: pd.DataFrame, runs: Sequence[dict[str, Any]], plan: dict[str, Any] | None) -> dict[str, str]:
    """What else the runs were: the images, the epochs, how many and how long."""
    asked = {"dataset": "; ".join(sorted({dataset(run) for run in runs}))}
    if "epochs" in frame:
        asked["epochs"] = ", ".join(distinct("epochs", frame["epochs"]))
    if plan is not None:
        fates = Counter(job["fate"] for job in plan["jobs"])
        missing = len(own_jobs(plan)) - len(frame)
        parts = [f"{fates['excluded']} excluded"] * bool(fates["excluded"])
        parts += [f"{fates['equal']} equal to another"] * bool(fates["equal"])
        parts += [f"{missing} without a readable run yet"] * (missing > 0)
        asked["combinations"] = ", ".join([str(len(plan["jobs"])), *parts])
    counts = Counter(map(str, frame["state"]))
    asked["runs"] = f"{len(frame)}: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    asked["training"] = duration(sum(filter(None, map(number, frame["train_seconds"].tolist())))) + " in all"
    begun = moment(min(filter(None, (number(run.get("created")) for run in runs)), default=None))
    return asked | ({"first begun": begun} if begun else {})


def dataset(run: dict[str, Any]) -> str:
    """Its name, its sizes where they were recorded."""
    name = at(run, "effective", "data", "name") or at(run, "config", "data", "name")
    return ", ".join(text for text in (str(name or "not recorded"), images(run)) if text)


def images(run: dict[str, Any]) -> str:
    """Such as `45000 training + 5000 validation + 10000 test images of 10 classes`; empty where no number is known."""
    parts = (("train", "training"), ("val", "validation"), ("test", "test"))
    counts = [f"{count} {name}" for part, name in parts if (count := at(run, "dataset", part)) is not None]
    classes = at(run, "dataset", "classes")
    of_classes = f" of {len(classes)} classes" if isinstance(classes, list) else ""
    return f"{' + '.join(counts)} images{of_classes}" if counts else ""


def at(content: Any, *keys: str) -> Any:
    """What lies below nested keys; None where a file has nothing or something else there."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def duration(seconds: float) -> str:
    """Such as `4,000.0 s (1:06:40)`."""
    return f"{seconds:,.1f} s" + (f" ({timedelta(seconds=int(seconds))})" if 60 <= seconds < LAST_YEAR else "")


def moment(seconds: float | None) -> str | None:
    """A point in time, given since 1970, as UTC; None where it is none."""
    if seconds is None or not 0 <= seconds < LAST_YEAR:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def columns_of(table: pd.DataFrame) -> list[Column]:
    """A filter has each setting, and the state."""
    columns = []
    for place, name in enumerate(map(str, cells(table).columns)):
        known = [value for value in table[name].tolist() if not is_missing(value)]
        plain = all(number(value) is not None and not isinstance(value, bool) for value in known)
        kind = "identifier" if name == "run_id" else "number" if is_number(name) or (known and plain) else ""
        filtered = name == "state" or name not in (*MEASURES, "run_id", "runs")
        columns.append(Column(name, place, kind, distinct(name, table[name]) if filtered else []))
    return columns


def rows_of(table: pd.DataFrame) -> list[list[Cell]]:
    """As the table is shown, with what it is sorted by."""
    columns = [
        [Cell(text, number(value), is_missing(value)) for text, value in zip(texts, table[name].tolist(), strict=True)]
        for name, texts in cells(table).items()
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def effect_tables(found: Effects) -> list[dict[str, Any]]:
    """A table for each measure, those of interactions after all others; intervals drawn from -100 to 100."""
    tables = []
    for crossed, family in enumerate((found.comparisons, found.interactions)):
        for name, measure in JUDGED.items():
            judged = [one for one in family if one.measure == name]
            ends = [value for one in judged for value in (one.mean, *(one.interval or ())) if value is not None]
            means = [abs(one.mean) for one in judged if one.mean is not None]
            span = min(max(map(abs, ends), default=0.0), WIDEST * max(means, default=0.0)) or 1.0
            title = measure.title + (": interactions" if crossed else "")
            rows = [effect_row(one, measure, span) for one in judged]
            censored = any(one.censored for one in judged)
            tables += [{"title": title, "crossed": crossed, "censored": censored, "rows": rows}] if rows else []
    return tables


def effect_row(one: Comparison, measure: Measure, span: float) -> dict[str, Any]:
    """One comparison as text, and where its interval and mean are drawn; `span` is drawn at 100."""

    def drawn(value: float) -> str:
        return f"{100 * value / span:.1f}"

    show_difference = measure.digits.format
    return {
        "changes": [(f"{it.axis}={written(it.value)}", written(it.baseline)) for it in one.changes],
        "pairs": one.pairs,
        "seeds": one.seeds,
        "mean": "-" if one.mean is None else show_difference(one.mean),
        "interval": "-" if one.interval is None else " to ".join(map(show_difference, one.interval)),
        "counts": (one.higher, one.lower, one.tied, one.pairs - one.higher - one.lower - one.tied, one.censored),
        "p": shown_p(one.corrected),
        "result": one.words,
        "sure": one.corrected is not None and one.corrected < LEVEL,
        "middle": None if one.mean is None else drawn(one.mean),
        "ends": None if one.interval is None else tuple(map(drawn, one.interval)),
    }


def curve_data(curves: Sequence[Curve]) -> dict[str, Any] | None:
    """What the page's script draws; None where there are no curves."""
    if not curves:
        return None
    limit = loss_limit(curves)
    data = [as_data(curve, max(FEWEST, POINTS // len(curves))) for curve in curves]
    return {
        "curves": data,
        "loss_limit": None if limit is None else rounded(limit, 3),
        "thinned": any(len(one["epochs"]) < len(curve.epochs) for one, curve in zip(data, curves, strict=True)),
    }


def as_data(curve: Curve, most: int) -> dict[str, Any]:
    """A curve for the page's script: at most so many epochs, the first and the last among them, to five digits."""
    last = len(curve.epochs) - 1
    kept = sorted({round(place * last / (most - 1)) for place in range(most)}) if last >= most else range(last + 1)

    def chosen(values: Sequence[float]) -> list[float]:
        return [rounded(values[place], 5) for place in kept]

    def band(found: Band) -> dict[str, Any]:
        edges = {"low": chosen(found.low), "high": chosen(found.high)} if max(curve.runs) > 1 else {}
        return {"mean": chosen(found.mean), "low": None, "high": None} | edges

    return {
        "name": curve.name,
        "state": curve.state,
        "epochs": [curve.epochs[place] for place in kept],
        "runs": [curve.runs[place] for place in kept],
        "seconds": chosen(curve.seconds.mean),
        "val_acc": band(curve.val_acc),
        "train_loss": band(curve.train_loss),
        "convergence_epoch": None if curve.convergence_epoch is None else rounded(curve.convergence_epoch, 5),
    }


def rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def confusion(frame: pd.DataFrame, records: Sequence[RunDirectory]) -> dict[str, Any] | None:
    """The confusion matrix of the finished run of the best validation accuracy, no rows where it has too many."""
    best = next((record for record, state in zip(records, frame["state"], strict=True) if state == "finished"), None)
    rows = None if best is None else (best.result() or {}).get("confusion")
    if best is None or not is_matrix(rows):
        return None
    classes = at(best.run(), "dataset", "classes")
    if not isinstance(classes, list) or len(classes) != len(rows):
        classes = list(range(len(rows)))
    return {"run_id": best.run_id, "classes": list(map(str, classes)), "rows": rows if len(rows) <= CLASSES else []}


def is_matrix(rows: Any) -> TypeGuard[list[list[int]]]:
    """Whether these are as many rows of counts as each has columns."""
    return (
        isinstance(rows, list)
        and len(rows) > 0
        and all(isinstance(row, list) and len(row) == len(rows) for row in rows)
        and all(isinstance(count, int) and 0 <= count < 1e15 for row in rows for count in row)
    )


def failures(frame: pd.DataFrame, statuses: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What failed and why, runs of the same state and error together."""
    groups: dict[tuple[str, str], list[str]] = {}
    for run_id, state, status in zip(frame["run_id"], frame["state"], statuses, strict=True):
        error = str(status.get("error") or "")
        if error or state not in NO_FAILURE:
            groups.setdefault((str(state), error), []).append(str(run_id))
    return [
        {"state": state, "reason": last_line(error) or "no reason was recorded", "error": error, "runs": run_ids}
        for (state, error), run_ids in groups.items()
    ]


def provenance(
    frame: pd.DataFrame, records: Iterable[RunDirectory], runs: Iterable[dict[str, Any]]
) -> list[tuple[str, str, int]]:
    """What the runs were made with: each fact's name, each of its values, and how many runs have it."""
    found: dict[str, Counter[str]] = {}
    for run, stale in zip(runs, frame["stale"], strict=True):
        for name, value in facts(run).items():
            found.setdefault(name, Counter())[value] += 1
        changed = (
            f"stale, other than now: {', '.join(changed_definitions(run.get('code'), code_of(run['effective'])))}"
            if stale
            else "as it is now"
        )
        found.setdefault("training code", Counter())[changed if at(run, "code") else "not recorded"] += 1
    return [
        (name, value, count)
        for name, counts in found.items()
        for value, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def facts(run: Mapping[str, Any]) -> dict[str, str]:
    """Of one run, by name; what was not recorded says so."""
    versions, device, shape = at(run, "versions"), at(run, "device"), at(run, "dataset", "input_shape")
    found = {
        "git commit": at(run, "git", "commit"),
        **({f"version of {name}": version for name, version in versions.items()} if isinstance(versions, dict) else {}),
        "host": at(run, "host"),
        "device": device if at(run, "device_type") is None else f"{device} ({at(run, 'device_type')})",
        "threads": at(run, "threads"),
        "dataset": dataset(dict(run)),
        "dataset fingerprint": at(run, "dataset", "fingerprint") or at(run, "effective", "data", "fingerprint"),
        "input shape": " x ".join(map(str, shape)) if isinstance(shape, list) else shape,
    }
    if found["git commit"] is not None and at(run, "git", "dirty"):
        found["git commit"] = f"{found['git commit']}, with uncommitted changes"
    return {name: "not recorded" if value is None else str(value) for name, value in found.items()}
