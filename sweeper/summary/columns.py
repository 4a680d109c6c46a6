"""The columns of a frame of runs: which are settings, which are results, and how a cell is shown."""

from typing import Any

import numpy as np
import pandas as pd

from sweeper.runs.scores import CLASSIFICATION, SCORES

# Only for effects, in no table: the validation accuracy of each epoch, a text; the numbers of images and classes; the
# median over the epochs of training speed, and what it depends on: host, device and threads; presets; the recorded
# data.root; what `python -m sweeper cost` measured.
HIDDEN = (
    *("val_curve", "test_images", "val_images", "num_classes", "images_per_second", "machine", "presets", "folder"),
    "costs",
)
FINGERPRINT, ROOT = "data.fingerprint", "data.root"  # of a dataset; the latter where it tells datasets apart
# Measures of the test images besides test_acc, in result.json; a table shows those that are asked for.
MEASURES = ("test_balanced_acc", "test_macro_f1", "test_pixel_acc", "test_top5_acc", "test_loss", "test_ece")
LOW_IS_BEST = ("test_loss", "test_ece")
CLASS_ACC = "test_acc["  # prefix of columns with the accuracy of one class, such as test_acc[cat]
CLASS_IOU = "test_iou["  # and with the intersection over union of one class
OF_CLASSES = (CLASS_ACC, CLASS_IOU)
# Results and provenance, in the order of the table's columns. Every other column but run_id is a setting.
RESULTS = (
    "best_val_acc",
    "best_val_miou",
    "best_epoch",
    "test_acc",
    "test_miou",
    "test_acc_views",
    *MEASURES,
    "convergence_epoch",
    "convergence_seconds",
    "epochs_to_target",
    "epochs_done",
    "train_seconds",
    "parameters",
    "state",
    "stale",
    "code",
    "torch",
    "device_type",
    "error",
    *HIDDEN,
)
PROVENANCE = ("code", "torch", "device_type")  # never shown as settings; pairs of runs agree in them
ACCURACIES = ("best_val_acc", "best_val_miou", "test_acc", "test_miou", "test_acc_views")
TEXTS = ("state", "stale", *PROVENANCE, "error", *HIDDEN)
AVERAGED = tuple(name for name in RESULTS if name not in TEXTS)
RESERVED = {"run_id", "runs", *RESULTS, *(f"{name}_std" for name in RESULTS)}
STEP_GROUPS = ("augmentation", "architecture", "courses")  # a setting chooses a step; the group's code is their order
CODE_OF = "code of "  # and a group: the column with the digest of that group's code
MODEL = "model"  # the axis whose values each have a line below the effects of others
WITH = "with "  # and a setting of these: the column with its value where it is not that of its choice
SLOTS = ("activation", "norm", "dropout.rate")  # missing where the model lacks the slot: no difference between runs

# Of validation and test images, and of training, by the metric that ranks runs.
MEASURED, TRAINED = {"acc": "accuracy", "miou": "mIoU"}, {"acc": "accuracy", "miou": "pixel accuracy"}
FORMATS = {
    **dict.fromkeys(ACCURACIES, "{:.4f}"),
    **dict.fromkeys(MEASURES, "{:.4f}"),
    "convergence_seconds": "{:.1f}",
    "train_seconds": "{:.1f}",
    "parameters": "{:,.0f}",
}
SHA256 = "sha256:"  # prefix of the digest of a file that counts by content
DIGEST_LENGTH = 8  # digits of a digest that are shown


def setting_columns(frame: pd.DataFrame) -> list[str]:
    return [name for name in map(str, frame.columns) if not is_result(name) and name != "run_id"]


def is_result(column: str) -> bool:
    return column in RESULTS or column.startswith(OF_CLASSES)


def scores(frame: pd.DataFrame) -> list[str]:
    """Return the metrics that rank the frame's runs: that of each task, see sweeper.runs.scores; acc without runs."""
    found = [score for score in SCORES.values() if f"best_val_{score}" in frame and has_any(frame, score)]
    return found or [SCORES[CLASSIFICATION]]


def has_any(frame: pd.DataFrame, score: str) -> bool:
    return any(bool(frame[name].notna().any()) for name in (f"best_val_{score}", f"test_{score}") if name in frame)


def best_val(frame: pd.DataFrame) -> str:
    """Return the column that ranks runs; of runs of several tasks, that of the first."""
    return f"best_val_{scores(frame)[0]}"


def measured(frame: pd.DataFrame) -> str:
    """Name what ranks the runs of a frame, such as accuracy."""
    return " or ".join(MEASURED[score] for score in scores(frame))


def is_measure(column: str) -> bool:
    """Return whether the column is a measure of the test images that a table shows only where it is asked for."""
    return column in MEASURES or column.startswith(OF_CLASSES)


def high_is_best(column: str) -> bool:
    return column in ACCURACIES or (is_measure(column) and column not in LOW_IS_BEST)


def setting_name(name: str) -> str:
    """Return a column name for a setting that no other column has."""
    return f"{name} (setting)" if name in RESERVED or name.startswith(OF_CLASSES) else name


def is_number(column: str) -> bool:
    return column in AVERAGED or (column.startswith(OF_CLASSES) and column.endswith("]"))


def is_deviation(column: str) -> bool:
    """Return whether the column is the standard deviation of another."""
    return column.endswith("_std") and is_number(column.removesuffix("_std"))


def digits_of(column: str) -> str | None:
    """Return the format of a column's numbers; None where they are shown as they are."""
    return FORMATS.get("test_acc" if column.startswith(OF_CLASSES) else column)


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and pd.isna(value))


OWN = ("activation", "norm")  # slots that a network may have layers of its own for


def chooser_of(name: str) -> str:
    """Return the group whose choice a setting may follow from: its own, or model of a slot with layers of its own."""
    return "model" if name in OWN else name.partition(".")[0]


def is_implied(frame: pd.DataFrame, name: str) -> bool:
    """Return whether a setting such as model.hidden follows from its group's choice in all runs.

    Activation and norm follow from the model where some are a network's own and each model has one.
    """
    group = chooser_of(name)
    if name in OWN and not (frame[name] == "own").any():
        return False
    if group == name or group not in frame:
        return False
    return bool((frame.groupby(group, dropna=False)[name].nunique(dropna=False) <= 1).all())


def format_value(name: str, value: Any) -> str:
    """Return a cell of the column as text; `-` where it is missing."""
    if is_missing(value):
        return "-"
    if name == FINGERPRINT or str(value).startswith(SHA256):
        return str(value)[: DIGEST_LENGTH + len(SHA256) * (name != FINGERPRINT)]
    digits = digits_of(name)
    if digits is not None:
        return digits.format(value)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value)) if abs(value) < 1e15 else f"{value:g}"
    return str(value)


def format_override(value: Any) -> str:
    """Format a value as it is typed on the command line."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    return "null" if is_missing(value) else format_value("", value)


def format_setting(name: str, value: Any) -> str:
    """Format a setting's value as it is typed; a fingerprint, which nobody types, as its first digits."""
    return format_value(name, value) if name == FINGERPRINT else format_override(value)


def format_mean(name: str, value: Any, std: Any) -> str:
    """Return a mean and its standard deviation as text, or the value alone where there is no deviation."""
    if is_missing(std):
        return format_value(name, value)
    digits = digits_of(name) or "{:.1f}"
    shown = std > 0 or name in ACCURACIES
    return f"{digits.format(value)} ± {digits.format(std)}" if shown else format_value(name, value)


def text_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table as text, as it is shown: a mean and its standard deviation in one cell."""
    texts = {}
    for name in map(str, table.columns):
        if not is_deviation(name):
            std = table[f"{name}_std"] if is_number(name) and f"{name}_std" in table else [None] * len(table)
            texts[name] = [format_mean(name, *pair) for pair in zip(table[name], std, strict=True)]
    return pd.DataFrame(texts)
