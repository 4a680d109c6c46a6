"""The report's sections: one for each dataset, with everything that its runs show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.summary.best import best_configuration
from sweeper.summary.columns import (
    FINGERPRINT,
    MEASURED,
    TRAINED,
    best_val,
    format_setting,
    format_value,
    is_missing,
    scores,
)
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.effects import Effects, effects
from sweeper.summary.effects_caption import caption
from sweeper.summary.gather import Skipped
from sweeper.summary.learning_curves import learning_curves, name_of, split_settings
from sweeper.summary.other_images import correctness_of
from sweeper.summary.report_answer import findings
from sweeper.summary.report_calibration import calibration
from sweeper.summary.report_classes import confusion
from sweeper.summary.report_cost import cost_picture
from sweeper.summary.report_curves import curve_data
from sweeper.summary.report_forest import effect_tables, forest
from sweeper.summary.report_masks import worst_masks
from sweeper.summary.report_parallel import parallel, settings_shown
from sweeper.summary.report_question import format_dataset
from sweeper.summary.report_samples import mistakes, samples
from sweeper.summary.report_tables import columns_of, ordered, rows_of, runs_of_rows
from sweeper.summary.report_training import missing_images, training
from sweeper.summary.study import Method
from sweeper.summary.table import lay_out
from sweeper.summary.typed_presets import as_typed

CURVES_DRAWN = 8  # at first, the best
PICTURED = 4  # datasets with pictures, so that a page of many stays small
SHARED, IMPLIES = "Shared settings: ", " implies "  # of lines of the caption that are folded


@dataclass(frozen=True)
class Dataset:
    """The runs of one dataset.

    Attributes:
        name: of the dataset, with digits of its fingerprint where two have one name.
        frame: a row for each run, labeled from 0.
    """

    name: str
    frame: pd.DataFrame


def split_datasets(frame: pd.DataFrame) -> list[Dataset]:
    """Return the datasets, that of most runs first."""
    names = (
        frame["data"].map(lambda name: format_value("data", name)) if "data" in frame else pd.Series("-", frame.index)
    )
    keys = frame[FINGERPRINT] if FINGERPRINT in frame else pd.Series(None, frame.index, object)
    keys = keys.where(keys.notna(), names).map(str)
    parts = [(str(key), runs) for key, runs in frame.groupby(keys, sort=True)]
    firsts = [str(names[runs.index[0]]) for _, runs in parts]
    found = []
    for (key, runs), name in zip(parts, firsts, strict=True):
        shown = name if firsts.count(name) == 1 else f"{name} {format_value('data.fingerprint', key)}"
        found.append(Dataset(shown, runs.reset_index(drop=True)))
    return sorted(found, key=lambda dataset: (-len(dataset.frame), dataset.name))


@dataclass(frozen=True)
class Source:
    """Where the sections of a report come from, and how they are read.

    Attributes:
        output_dir: the folder that has runs/.
        runs: run.json of each run, by ID.
        method: how runs are compared.
        baseline: the given baseline value of axes.
        options: how learning curves are read.
        skipped: the folders that have no row.
        number: of datasets.
    """

    output_dir: Path
    runs: Mapping[str, dict[str, Any]]
    method: Method
    baseline: Mapping[str, str]
    options: ConvergenceOptions
    skipped: Skipped
    number: int


def section(dataset: Dataset, source: Source, rank: int) -> tuple[Effects, dict[str, Any]]:
    """Return the effects on a dataset, and everything that its section shows.

    Args:
        dataset: of the section.
        source: where it comes from.
        rank: of the dataset on the page, from 0; only the first have pictures.
    """
    options, skipped = source.options, source.skipped if source.number == 1 else Skipped()
    found, unused = compare_runs(dataset.frame, source, skipped)
    frame = as_typed(dataset.frame)
    table, notes = lay_out(frame, skipped, over="seed", options=options)
    by, score = best_val(frame), scores(frame)[0]
    sorted_by, lines = table[by].dropna(), notes.split("\n")
    folder = source.output_dir / "runs"
    best = [RunDirectory(folder / str(run_id)) for run_id in best_configuration(frame)]
    shown, settings = ordered(table), settings_shown(table)
    runs_of = runs_of_rows(frame, table)
    images = dict.fromkeys(format_dataset(source.runs[str(run_id)]) for run_id in frame["run_id"])
    pictured = best[0] if best and rank < PICTURED else None
    content: dict[str, Any] = {
        "name": dataset.name,
        "measured": MEASURED[score],
        "runs": len(frame),
        "images": "; ".join(sorted(images)),
        "findings": findings(found),
        "nothing": found.nothing,
        "forest": forest(found),
        "tables": effect_tables(found),
        "unused": unused,
        "effect_notes": [
            *([f"Compared without the given baseline and --tune: {unused}"] if unused else []),
            *caption(found),
        ],
        "cost": cost_picture(found),
        "table": {
            "columns": columns_of(shown),
            "rows": rows_of(table, shown, runs_of),
            "by": by if sorted_by.is_monotonic_decreasing else None,  # uneven seeds: by adjusted means
        },
        "shared": shared_settings(frame),
        "implied": [line for line in lines if IMPLIES in line],
        "notes": [line for line in lines[1:] if not is_elsewhere(line, frame)],
        "settings": settings,
        "parallel": parallel(table, settings),
        "curves": curve_data(
            learning_curves(source.output_dir, frame),
            1 / source.number,
            {"val": MEASURED[score], "train": TRAINED[score]},
        ),
        "drawn": CURVES_DRAWN,
        "best": best_name(frame, [record.run_id for record in best]),
        "confusion": confusion(best),
        "calibration": calibration(best),
        "mistakes": mistakes(pictured),
        "worst": worst_masks(pictured),
        "samples": samples(pictured),
        "training": training(pictured),
        "missing_images": missing_images(pictured),
    }
    return found, content


def compare_runs(frame: pd.DataFrame, source: Source, skipped: Skipped) -> tuple[Effects, str]:
    """Return the effects on a dataset, and why a given baseline or a tuned setting cannot be used here, or ''.

    An axis need not vary on every dataset; what can be used is.
    """

    def compare(method: Method, baseline: Mapping[str, str]) -> Effects:
        correctness = correctness_of(frame, source.output_dir / "runs")
        return effects(frame, baseline, method=method, correctness=correctness, skipped=skipped, options=source.options)

    def applies(method: Method, baseline: Mapping[str, str]) -> bool:
        try:
            compare(method, baseline)
        except UserError:
            return False
        return True

    try:
        return compare(source.method, source.baseline), ""
    except UserError as error:
        if not source.method.tuned and not source.baseline:
            raise
        plain = replace(source.method, tuned=())
        tuned = [axis for axis in source.method.tuned if applies(replace(plain, tuned=[axis]), {})]
        given = {axis: value for axis, value in source.baseline.items() if applies(plain, {axis: value})}
        return compare(replace(plain, tuned=tuned), given), str(error)


def is_elsewhere(line: str, frame: pd.DataFrame) -> bool:
    """Return whether a line of the caption is shown in another way: settings, errors of runs."""
    run_ids = tuple(f"{run_id} " for run_id in frame["run_id"])
    return line.startswith((SHARED, *run_ids)) or IMPLIES in line or line.endswith(" more with errors")


def shared_settings(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the settings that all runs share, as they are typed."""
    found = []
    for name in split_settings(frame)[2]:
        known = [value for value in frame[name].tolist() if not is_missing(value)]
        if known:
            found.append((name, format_setting(name, known[0])))
    return found


def best_name(frame: pd.DataFrame, run_ids: Sequence[str]) -> str | None:
    """Return the name of the best configuration: its settings among those that vary; None without a finished run."""
    if not run_ids:
        return None
    varying = split_settings(frame)[1] or [name for name in ("model",) if name in frame]
    row = frame[frame["run_id"] == run_ids[0]].iloc[0]
    return name_of({name: None if is_missing(row[name]) else row[name] for name in varying}) or run_ids[0]
