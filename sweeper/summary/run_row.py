"""One run directory as one row of the table, whatever its files contain."""

import hashlib
import json
import marshal
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path, PurePath
from statistics import median
from typing import Any

from sweeper.runs.directory import RunDirectory, flat_settings
from sweeper.runs.fingerprint import extensions_of
from sweeper.runs.scores import score_of
from sweeper.summary.columns import ACCURACIES, MEASURES, RESULTS, SHA256, STEP_GROUPS, setting_name
from sweeper.summary.convergence import ConvergenceOptions, convergence
from sweeper.summary.typed_presets import GROUPS as TYPED
from sweeper.summary.typed_presets import typed_preset

LARGEST = 1e100  # of a result; sums and squares of numbers below it are finite
NUMBERS = (int, float)
PLAIN = ({int}, {float})  # types of the values of a column, mostly
MEASURED = (*ACCURACIES, "best_epoch", *MEASURES)  # in result.json
HIGHEST_IS_BEST = {
    "val_acc": True,
    "val_loss": False,
    "val_balanced_acc": True,
    "val_macro_f1": True,
    "val_miou": True,
    "val_pixel_acc": True,
}


@dataclass(frozen=True)
class RunRow:
    """A run's row, and what the columns that depend on other runs or on today's code are made from.

    Attributes:
        row: run_id, the settings under their dotted names, the RESULTS; but `code` and `stale` are missing.
        labels: for each group whose preset has another name than its builder, the preset's name; for each setting that
            counts a file by content, the file's name.
        effective: the effective config without its seed.
        code: the code that trained the run, as recorded.
        keys: of `effective` and of `code`, equal for runs in which these are equal.
        extend: the files from outside of the package that it uses, as recorded.
    """

    row: dict[str, Any]
    labels: dict[str, str]
    effective: dict[str, Any]
    code: Any
    keys: tuple[str, str]
    extend: list[str] = field(default_factory=list)


def read_run(record: RunDirectory, options: ConvergenceOptions) -> RunRow | None:
    """Read one run; return None where its directory does not describe a run of this version, or is a copy of one."""
    run, status, result = record.run(), record.status() or {}, record.result() or {}
    if run is None or not isinstance(run.get("effective"), dict) or record.is_copy(run):
        return None
    effective, code, versions = run["effective"], run.get("code"), run.get("versions")
    rows = record.metrics()
    rows = [row for row, epoch in zip(rows, numbers(rows, "epoch"), strict=True) if epoch is not None]
    seconds = numbers(rows, "train_seconds")
    state = status.get("state")
    values: dict[str, Any] = dict.fromkeys(RESULTS)
    values["state"] = state if isinstance(state, str) else "unknown"
    score = f"val_{score_of(effective)}"
    scores = numbers(rows, score)
    values |= best_epoch(rows, effective.get("select"), score, scores)
    values |= {name: result_number(result[name]) for name in MEASURED if name in result}
    values["epochs_done"] = len(rows)
    values["train_seconds"] = sum(filter(None, seconds))
    values["parameters"] = result_number(run.get("parameters"))
    values["torch"] = as_text(versions.get("torch")) if isinstance(versions, dict) else None
    values["device_type"] = as_text(run.get("device_type"))
    damage = damage_of(rows, seconds, result, score, scores)
    if values["state"] == "finished" and rows and result and damage is None:
        values |= convergence(rows, options.fraction, options.target_acc, score)
        values["val_curve"] = " ".join(repr(float(row[score])) for row in rows)
    values |= image_counts(run.get("dataset"))
    values |= {"images_per_second": median_speed(rows), "machine": machine_of(run, status)}
    values |= {"presets": presets_of(run), "folder": data_root(run.get("config"))}
    values["error"] = last_line(status.get("error")) or damage
    flat = flat_settings(effective)
    settings = {setting_name(name): countable(value) for name, value in flat.items()}
    labels = preset_labels(effective, run.get("labels")) | file_labels(flat, run.get("config"))
    effective = {key: value for key, value in effective.items() if key != "seed"}
    row, keys = {"run_id": record.run_id} | settings | values, (key(effective), key(code))
    return RunRow(row, labels, effective, code, keys, list(extensions_of(run)))


def best_epoch(rows: list[dict[str, Any]], select: Any, score: str, scores: list[Any]) -> dict[str, Any]:
    """Find the best epoch so far by the metric that selects it, and the `score` of that epoch, such as val_acc.

    Args:
        rows: of the metrics.
        select: the metric that selects, as recorded.
        score: the metric that ranks runs.
        scores: its column.
    """
    select = select if isinstance(select, str) and select in HIGHEST_IS_BEST else score
    column = scores if select == score else numbers(rows, select)
    measured = [(value, row) for value, row in zip(column, rows, strict=True) if value is not None]
    _, best = (max if HIGHEST_IS_BEST[select] else min)(measured, key=itemgetter(0), default=(None, {}))
    return {f"best_{score}": result_number(best.get(score)), "best_epoch": best.get("epoch")}


def damage_of(
    rows: list[dict[str, Any]], seconds: list[Any], result: dict[str, Any], score: str, scores: list[Any]
) -> str | None:
    """Describe why a run's curve cannot be read as recorded; None where it can."""
    lacking = scores.count(None)
    if lacking:
        return f"{lacking} of {len(rows)} epochs have no {score} in metrics.jsonl"
    if result and None in seconds:
        return f"{seconds.count(None)} of {len(rows)} epochs have no train_seconds in metrics.jsonl"
    expected = result_number(result.get("epochs"))
    if expected is not None and expected != len(rows):
        return f"metrics.jsonl has {len(rows)} of {expected:g} epochs"
    return None


def image_counts(dataset: Any) -> dict[str, Any]:
    """Return the number of images that the run's accuracies are measured on, and of classes."""
    if not isinstance(dataset, dict):
        return {}
    classes = dataset.get("classes")
    counts = {f"{part}_images": result_number(dataset.get(part)) for part in ("test", "val")}
    return counts | {"num_classes": len(classes) if isinstance(classes, list) and classes else None}


def median_speed(rows: list[dict[str, Any]]) -> float | None:
    """Return the median over the epochs of training images per second; None where one is not recorded."""
    speeds = numbers(rows, "images_per_second")
    return median(speeds) if speeds and None not in speeds else None


def machine_of(run: dict[str, Any], status: dict[str, Any]) -> str | None:
    """Return the machine that a run's speed depends on; None if it is unknown, changed during the run or was shared.

    Processes that share a GPU wait for each other: the speed of each depends on what the others train.
    """
    facts = [run.get(name) for name in ("host", "device", "threads")]
    is_shared = run.get("runs_per_gpu", 1) != 1
    moved = status.get("host") != run.get("host")
    return None if None in facts or is_shared or moved else json.dumps(facts, default=str)


def preset_labels(effective: dict[str, Any], labels: Any) -> dict[str, str]:
    """Return the labels that differ from their group's name; a group without a name has none."""
    if not isinstance(labels, dict):
        return {}
    named = {
        group: values["name"] for group, values in effective.items() if isinstance(values, dict) and "name" in values
    }
    return {
        group: label for group, label in labels.items() if isinstance(label, str) and named.get(group, label) != label
    }


def file_labels(settings: Mapping[str, Any], config: Any) -> dict[str, str]:
    """Return the names of the files that settings count by content; a best.pt has that of its run.

    Args:
        settings: as they count, by dotted name.
        config: as recorded, with the files.
    """
    found = {}
    for name, value in settings.items():
        if isinstance(value, str) and value.startswith(SHA256):
            group, _, key = name.partition(".")
            recorded = config.get(group) if isinstance(config, dict) else None
            file = recorded.get(key) if isinstance(recorded, dict) else None
            if isinstance(file, str) and (parts := PurePath(file).parts):
                is_of_run = parts[-2:] == RunDirectory(Path()).best.parts and len(parts) > 2
                found[setting_name(name)] = parts[-3] if is_of_run else parts[-1]
    return found


def presets_of(run: dict[str, Any]) -> str | None:
    """Return {group: label} as JSON of the groups that are shown as their preset; None where there is none.

    Those whose settings were typed are not, even where they are those of a preset.
    """
    groups = (*STEP_GROUPS, *TYPED.values())
    typed = {group: typed_preset(group, run.get("labels"), run.get("command")) for group in groups}
    found = {group: label for group, label in typed.items() if label is not None}
    return json.dumps(found) if found else None


def data_root(config: Any) -> str | None:
    """Return the recorded folder of the dataset; None where it has none."""
    data = config.get("data") if isinstance(config, dict) else None
    return as_text(data.get("root")) if isinstance(data, dict) else None


def key(content: Any) -> str:
    """Return a key of JSON content, faster than by writing JSON; equal content in another order may have another."""
    return hashlib.sha256(marshal.dumps(content, 0)).hexdigest()[:16]


def digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def numbers(rows: list[dict[str, Any]], name: str) -> list[Any]:
    """Return a column of the metrics, None where a row has no number of that name (see `result_number`)."""
    column: list[Any] = [row.get(name) for row in rows]
    if {*map(type, column)} in PLAIN and sum(map(abs, column)) < LARGEST:  # then each is; of a NaN nothing is
        return column
    return [value if isinstance(value, NUMBERS) and -LARGEST < value < LARGEST else None for value in column]


def result_number(value: Any) -> Any:
    """Return the value where it is a number that a run may have as a result, else None."""
    return value if isinstance(value, NUMBERS) and -LARGEST < value < LARGEST else None


def as_text(value: Any) -> str | None:
    return None if value is None else str(value)


def countable(value: Any) -> Any:
    """Return a setting as something hashable."""
    return str(value) if isinstance(value, list | dict) else value


def last_line(error: Any) -> str | None:
    """Return the last line of a traceback; None where there is no error."""
    lines = str(error or "").strip().splitlines()
    return lines[-1] if lines else None
