"""Settings that are shown as their preset where they were typed so: dropout=light rather than dropout.rate=0.1.

Likewise augmentation=flip_crop rather than each setting of its steps.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from sweeper.summary.columns import STEP_GROUPS, format_override
from sweeper.sweep.notation import SHOWN_AS

GROUPS = {setting: group for group, setting in SHOWN_AS.items()}
Presets = Mapping[str, Mapping[Any, str]]  # of each such setting, the preset of each value


def typed_preset(group: str, labels: Any, command: Any) -> str | None:
    """Return the preset of a run's group; None where the run's command has a setting of the group.

    Args:
        labels: as recorded in run.json.
        command: likewise.
    """
    if isinstance(command, str) and re.search(rf"""(^|[\s+'"]){group}\.""", command):
        return None
    label = labels.get(group) if isinstance(labels, dict) else None
    return label if isinstance(label, str) else None


def labels_of(frame: pd.DataFrame, group: str) -> list[str | None]:
    """Return the preset of a group that each run recorded as JSON, None where it has none."""
    return [json.loads(text).get(group) if isinstance(text, str) else None for text in frame["presets"]]


def typed_presets(frame: pd.DataFrame) -> Presets:
    """Return the settings that vary and have a preset for each value, typed in every run.

    Args:
        frame: a row for each run, whose `presets` are {group: preset} as JSON.
    """
    found = {}
    for setting, group in GROUPS.items():
        if setting not in frame or group in frame:
            continue
        known = frame[frame[setting].notna()]
        labels = labels_of(known, group)
        pairs = {*zip(known[setting].tolist(), labels, strict=True)}
        values = [value for value, _ in pairs]
        if None not in labels and 1 < len(pairs) == len({*values}) == len({*labels}):
            found[setting] = dict(pairs)
    return found


def as_typed(frame: pd.DataFrame, apart: Collection[str] = ()) -> pd.DataFrame:
    """Return the frame with the presets that were typed in place of settings, but for the settings in `apart`."""
    presets = {name: of for name, of in typed_presets(frame).items() if name not in apart}
    shown = frame.assign(**{name: frame[name].map(of) for name, of in presets.items()})
    shown = shown.rename(columns={name: GROUPS[name] for name in presets})
    for group in STEP_GROUPS:
        shown = with_typed_steps(shown, group, apart)
    return shown


def with_typed_steps(frame: pd.DataFrame, group: str, apart: Collection[str]) -> pd.DataFrame:
    """Return the frame with a column of the presets of a group of steps, which its settings follow from.

    It stays as it is where they are equal in all runs, or where a run was not typed by preset or its preset was edited.
    """
    names = [name for name in map(str, frame.columns) if name.startswith(f"{group}.")]
    varied = [name for name in names if frame[name].nunique(dropna=False) > 1]
    if not varied or group in frame or {*names} & {*apart}:
        return frame
    labels = labels_of(frame, group)
    contents = [str(steps) for steps in zip(*(frame[name].tolist() for name in varied), strict=True)]
    pairs = {*zip(contents, labels, strict=True)}
    if None in labels or not len(pairs) == len({*contents}) == len({*labels}):
        return frame
    shown = frame.copy()
    shown.insert(frame.columns.tolist().index(names[0]), group, labels)
    return shown


def typed_values(setting: str, values: Sequence[Any], presets: Presets) -> tuple[str, tuple[Any, ...]]:
    """Return a setting and its values, or the group and the presets that were typed for all of them."""
    known = presets.get(setting, {})
    if not all(value in known for value in values):
        return setting, tuple(values)
    return GROUPS[setting], tuple(known[value] for value in values)


def shown(setting: str, value: Any, presets: Presets) -> str:
    """Return a setting with its value as it was typed: dropout=light, or dropout.rate=0.1."""
    if setting in presets and value in presets[setting]:
        return f"{GROUPS[setting]}={presets[setting][value]}"
    return f"{setting}={format_override(value)}"
