"""The settings of runs, the axes among them, and the baseline value of each axis."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from sweeper.config import Config
from sweeper.errors import UserError, format_names, nearest
from sweeper.runs.directory import flat_settings
from sweeper.summary.columns import (
    FINGERPRINT,
    PROVENANCE,
    ROOT,
    SLOTS,
    STEP_GROUPS,
    WITH,
    format_override,
    is_implied,
    is_result,
)

CONF = Path(__file__).parents[2] / "conf"
CODE_OF = "code of "  # and a group: the column with the digest of that group's code
PAIRED_BY = ("seed", "data", "torch", "device_type")  # pairs agree in these, which are no axes


def settings_of(finished: pd.DataFrame) -> pd.DataFrame:
    """Return the columns in which pairs agree: settings, the dataset's fingerprint as `data`, code and environment.

    Missing values are None. The code has a column for each group, such as `code of optimizer`, and `code of core`.
    """
    results = [name for name in finished if (is_result(str(name)) or name == "run_id") and name not in PROVENANCE]
    settings = finished.drop(columns=results).astype(object)
    settings = settings.where(settings.notna(), None)
    settings = settings.drop(columns=ROOT, errors="ignore")
    if FINGERPRINT in settings:
        fingerprints = settings.pop(FINGERPRINT)
        settings["data"] = fingerprints.where(fingerprints.notna(), settings.get("data"))
    if "code" in settings:
        codes = [group_digests(code) for code in settings.pop("code")]
        for group in sorted(set().union(*codes)):
            settings[f"{CODE_OF}{group}"] = pd.Series([code.get(group) for code in codes], settings.index, object)
    return settings[sorted(map(str, settings.columns))]


def group_digests(code: str | None) -> dict[str, str]:
    digests = json.loads(code) if code is not None else {}
    return digests if isinstance(digests, dict) else {}


def is_axis(name: str) -> bool:
    """Return whether values of the column may be compared."""
    return name not in PAIRED_BY and not name.startswith((CODE_OF, WITH))


def axes_of(settings: pd.DataFrame) -> list[str]:
    """Return the settings that vary, except those implied by a group's choice (for data: by the dataset)."""
    return sorted(
        name
        for name in map(str, settings)
        if is_axis(name) and settings[name].nunique(dropna=name in SLOTS) > 1 and not is_implied(settings, name)
    )


def values_of(settings: pd.DataFrame, axis: str) -> list[Any]:
    """Return an axis' value in every run that could have another: its choice has several, its model has the slot."""
    column, group = settings[axis], axis.partition(".")[0]
    if group != axis and group in settings:
        choice = settings[group].map(format_override)
        several = column.map(format_override).groupby(choice).nunique() > 1
        column = column[choice.map(several)]
    return [value for value in column if value is not None or axis not in SLOTS]


def choose_baselines(
    settings: pd.DataFrame, axes: Sequence[str], given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Return for each axis the value that the others are compared with.

    It is the given value, else the default, else null if the group is absent by default (mixing=none), else the most
    common value.

    Raises:
        UserError: there is no such axis or value.
    """
    for axis in given:
        if axis not in axes:
            raise UserError(
                f"--baseline: unknown axis {axis}{nearest(axis, axes)}; axes that vary: {format_names(axes)}"
            )
    baselines = {}
    for axis in axes:
        values = values_of(settings, axis)
        if axis in given:
            baselines[axis] = find_value(axis, given[axis], values)
        elif axis in defaults and defaults[axis] in values:
            baselines[axis] = defaults[axis]
        elif axis in defaults and None in values:
            baselines[axis] = None
        else:
            baselines[axis] = most_common(values)
    return baselines


def most_common(values: Sequence[Any]) -> Any:
    """Return the value that occurs most often, the smallest in a tie."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], sort_key(value)))


def sort_key(value: Any) -> tuple[int, float, str]:
    """Return a key that sorts null before numbers before texts."""
    if value is None:
        return 0, 0, ""
    return (1, value, "") if isinstance(value, int | float) else (2, 0, str(value))


def find_value(axis: str, given: Any, values: Sequence[Any]) -> Any:
    """Return the value of the axis that a text or a value stands for.

    Raises:
        UserError: there is none.
    """
    text = format_override(given)
    found = [value for value in values if format_override(value) == text]
    found = found or [value for value in values if parses_to(text, value)]
    if not found:
        texts = {format_override(value) for value in values}
        raise UserError(
            f"--baseline {axis}={text}: no finished run has it{nearest(text, texts)}; values: {format_names(texts)}"
        )
    return found[0]


def parses_to(text: str, value: Any) -> bool:
    """Return whether a text is another spelling of a value, such as 1e-3 or [64,64]."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return "".join(text.split()).lower() == "".join(format_override(value).split()).lower()


def config_defaults() -> dict[str, Any]:
    """Return the presets in the defaults list of conf/config.yaml and their settings; empty without that file.

    The settings of a group of steps are null where the preset leaves them out.
    """
    file = CONF / "config.yaml"
    entries = OmegaConf.to_container(OmegaConf.load(file)) if file.is_file() else {}
    defaults: dict[str, Any] = {}
    for entry in entries.get("defaults", []) if isinstance(entries, dict) else []:
        for group, preset in entry.items() if isinstance(entry, dict) else ():
            chosen = CONF / str(group) / f"{preset}.yaml"
            if chosen.is_file() and isinstance(content := OmegaConf.to_container(OmegaConf.load(chosen)), dict):
                off = {} if "name" in content else asdict(getattr(Config(), str(group)))
                settings = flat_settings({str(group): off | content})
                is_choice = str(group) in settings or group in STEP_GROUPS
                defaults |= settings | ({str(group): str(preset)} if is_choice else {})
    return defaults


def without_slots(settings: pd.DataFrame, baseline: Mapping[str, Any]) -> pd.DataFrame:
    """Give a model that lacks a slot the baseline's value in it, and that value's code, so that it can be paired."""
    settings = settings.copy()
    for slot in (slot for slot in SLOTS if slot in settings):
        lacking = settings[slot].isna()
        if not lacking.any() or lacking.all():
            continue
        usual = baseline.get(slot, most_common([value for value in settings[slot] if value is not None]))
        filled = settings[settings[slot] == usual]
        own = (slot, f"{CODE_OF}{slot.partition('.')[0]}")
        for name in [name for name in map(str, settings) if name in own or name.startswith(f"{slot}.")]:
            values = list(filled[name])
            value = baseline[name] if name in baseline and baseline[name] in values else most_common(values)
            pairs = zip(lacking, settings[name], strict=True)
            settings[name] = pd.Series([value if lacks else cell for lacks, cell in pairs], settings.index, object)
    return settings
