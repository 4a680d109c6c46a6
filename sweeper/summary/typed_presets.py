"""Settings that are shown as their preset where they were typed so: dropout=light rather than dropout.rate=0.1."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sweeper.summary.columns import format_override

GROUPS = {"dropout.rate": "dropout"}  # a setting that is all of its group, and the group
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
        labels = [json.loads(text).get(group) if isinstance(text, str) else None for text in known["presets"]]
        pairs = {*zip(known[setting].tolist(), labels, strict=True)}
        values = [value for value, _ in pairs]
        if None not in labels and 1 < len(pairs) == len({*values}) == len({*labels}):
            found[setting] = dict(pairs)
    return found


def as_typed(frame: pd.DataFrame, presets: Presets) -> pd.DataFrame:
    """Return the frame with presets in place of the values of settings."""
    shown = frame.assign(**{name: frame[name].map(of) for name, of in presets.items()})
    return shown.rename(columns={name: GROUPS[name] for name in presets})


def shown(setting: str, value: Any, presets: Presets) -> str:
    """Return a setting with its value as it was typed: dropout=light, or dropout.rate=0.1."""
    if setting in presets and value in presets[setting]:
        return f"{GROUPS[setting]}={presets[setting][value]}"
    return f"{setting}={format_override(value)}"
