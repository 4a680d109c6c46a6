"""What runs vary, and what is compared with what: their settings, the axes among these, the baseline's values."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from sweeper.errors import UserError, format_names, nearest
from sweeper.runs.directory import flat_settings
from sweeper.summary.gather import MEASURES, READINGS
from sweeper.summary.table import SLOTS, is_implied, is_missing, show

CONF = Path(__file__).parents[2] / "conf"
NEVER = ("seed", "data", "code")  # what runs are paired by and not compared by


def settings_of(finished: pd.DataFrame) -> pd.DataFrame:
    """The runs' settings, what is missing as None; data: the dataset's fingerprint; code: that of what trained it."""
    results = [name for name in ("run_id", *READINGS, *MEASURES) if name != "code"]
    settings = finished.drop(columns=results, errors="ignore").astype(object)
    settings = settings.where(settings.notna(), None)
    if "dropout.rate" in settings:  # without dropout there is none
        settings["dropout.rate"] = [0.0 if rate is None else rate for rate in settings["dropout.rate"]]
    if "data.fingerprint" in settings:
        fingerprints = settings.pop("data.fingerprint")
        settings["data"] = fingerprints.where(fingerprints.notna(), settings.get("data"))
    return settings[sorted(map(str, settings.columns))]


def axes_of(settings: pd.DataFrame) -> list[str]:
    """What varies, less what follows from a group's choice (of data: from the dataset)."""
    return sorted(
        name
        for name in map(str, settings)
        if name not in NEVER and settings[name].nunique(dropna=name in SLOTS) > 1 and not is_implied(settings, name)
    )


def values_of(settings: pd.DataFrame, axis: str) -> list[Any]:
    """An axis' value in every run that could have another: its group's choice has several, its model has the slot."""
    column, group = settings[axis], axis.partition(".")[0]
    if group != axis and group in settings:
        choice = settings[group].map(written)
        several = column.map(written).groupby(choice).nunique() > 1
        column = column[choice.map(several)]
    return [value for value in column if value is not None or axis not in SLOTS]


def choose_baselines(
    settings: pd.DataFrame, axes: Sequence[str], given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """For each axis the value that the others are compared with; see `effects`."""
    for axis in given:
        if axis not in axes:
            raise UserError(f"there is no axis {axis}{nearest(axis, axes)}; the runs vary {format_names(axes)}")
    chosen = {}
    for axis in axes:
        values = values_of(settings, axis)
        if axis in given:
            chosen[axis] = find(axis, given[axis], values)
        elif axis in defaults and defaults[axis] in values:
            chosen[axis] = defaults[axis]
        else:
            chosen[axis] = most_common(values)
    return chosen


def most_common(values: Sequence[Any]) -> Any:
    """The value that occurs most, the smallest of several."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], rank(value)))


def rank(value: Any) -> tuple[int, float, str]:
    """The order of values: null, numbers, texts."""
    if value is None:
        return 0, 0, ""
    return (1, value, "") if isinstance(value, int | float) else (2, 0, str(value))


def find(axis: str, given: Any, values: Sequence[Any]) -> Any:
    """The value that a text or a value means.

    Raises:
        UserError: there is none.
    """
    text = written(given)
    found = [value for value in values if written(value) == text] or [value for value in values if means(text, value)]
    if not found:
        texts = {written(value) for value in values}
        raise UserError(f"{axis}={text} does not occur{nearest(text, texts)}; it is {format_names(texts)}")
    return found[0]


def means(text: str, value: Any) -> bool:
    """Whether a text is a value written in another way, such as 1e-3 or [64,64]."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return "".join(text.split()).lower() == "".join(written(value).split()).lower()


def written(value: Any) -> str:
    """A value as one writes it on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if is_missing(value) else show("", value)


def config_defaults() -> dict[str, Any]:
    """The choices in the defaults list of conf/config.yaml, and their settings; empty where the file is not there."""
    file = CONF / "config.yaml"
    entries = OmegaConf.to_container(OmegaConf.load(file)) if file.is_file() else {}
    found: dict[str, Any] = {}
    for entry in entries.get("defaults", []) if isinstance(entries, dict) else []:
        for group, choice in entry.items() if isinstance(entry, dict) else ():
            chosen = CONF / str(group) / f"{choice}.yaml"
            if chosen.is_file() and isinstance(content := OmegaConf.to_container(OmegaConf.load(chosen)), dict):
                found |= flat_settings({str(group): content})
    return found


def without_slots(settings: pd.DataFrame, baseline: Mapping[str, Any]) -> pd.DataFrame:
    """A model without a slot counts as one with the baseline in it, so that it has partners among the others."""
    settings = settings.copy()
    for slot in (slot for slot in SLOTS if slot in settings):
        lacking = settings[slot].isna()
        if not lacking.any() or lacking.all():
            continue
        usual = baseline.get(slot, most_common([value for value in settings[slot] if value is not None]))
        filled = settings[settings[slot] == usual]
        for name in [name for name in map(str, settings) if name == slot or name.startswith(f"{slot}.")]:
            values = list(filled[name])
            value = baseline[name] if name in baseline and baseline[name] in values else most_common(values)
            settings[name] = [value if lacks else own for lacks, own in zip(lacking, settings[name], strict=True)]
    return settings
