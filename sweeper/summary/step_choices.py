"""The choice of a group of steps, such as augmentation, as one axis: its presets, although each step is a setting.

A preset such as trivial_augment sets several settings, so runs with and without it differ in no single one. Runs whose
group equals a preset have its label. A setting that a run without a label varies by itself stays an axis: a choice is
what the other settings are. Choices are compared between runs that change such settings of their choice equally.
"""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from sweeper.summary.columns import STEP_GROUPS, WITH, format_override

OFF = "none"  # the preset without steps
UNCHANGED = "unchanged"  # cell of a setting that is as its choice has it
Steps = tuple[Any, ...]  # the settings of a group, None where a step is off


def with_step_choices(settings: pd.DataFrame, presets: Sequence[Any], apart: Collection[str] = ()) -> pd.DataFrame:
    """Add the choice of each group of steps as a column of that name, unless all runs have one choice or no label.

    For each setting that is an axis beside its group, a column `with SETTING` has the value where it is not its
    choice's.

    Args:
        settings: of the runs, see sweeper.summary.axes.settings_of.
        presets: for each run, {group: label} as JSON; missing if it was not recorded.
        apart: settings that are axes beside their group in any case: those that are tuned or have a given baseline.
    """
    labels = [json.loads(text) if isinstance(text, str) else {} for text in presets]
    added: dict[str, list[Any]] = {}
    for group in STEP_GROUPS:
        names = [name for name in map(str, settings) if name.startswith(f"{group}.")]
        runs: list[Steps] = list(map(tuple, settings[names].to_numpy(dtype=object)))
        known = label_steps(runs, [label.get(group) for label in labels])
        if not known:
            continue
        varied = single_settings(runs, known)
        singles = [index for index, name in enumerate(names) if index in varied or name in apart]
        choices = choices_of(runs, known, singles)
        if len({*choices.values()}) < 2:
            continue
        added[group] = [name_choice(choices[steps], names, known) for steps in runs]
        for index in singles:
            changed = [UNCHANGED if steps[index] == choices[steps][index] else steps[index] for steps in runs]
            added[f"{WITH}{names[index]}"] = changed
    columns = {name: pd.Series(cells, settings.index, object) for name, cells in added.items()}
    return settings.assign(**columns)


def label_steps(runs: Sequence[Steps], labels: Sequence[Any]) -> dict[Steps, str]:
    """Return the label of each different content that has one: the most common, then the alphabetically first.

    A label of several contents, such as that of a preset that was edited, names none of them.
    """
    counts: dict[Steps, Counter[str]] = {}
    for steps, label in zip(runs, labels, strict=True):
        if isinstance(label, str):
            counts.setdefault(steps, Counter())[label] += 1
    chosen = {steps: min(of, key=lambda label: (-of[label], label)) for steps, of in counts.items()}
    used = Counter(chosen.values())
    return {steps: label for steps, label in chosen.items() if used[label] == 1}


def single_settings(runs: Sequence[Steps], known: Collection[Steps]) -> set[int]:
    """Return the indices of the settings in which alone a run without a label differs from another run."""
    found, different = set[int](), {*runs}
    for index in range(len(runs[0])):
        others: dict[Steps, list[Steps]] = {}
        for steps in different:
            others.setdefault((*steps[:index], *steps[index + 1 :]), []).append(steps)
        if any(len(equal) > 1 and any(steps not in known for steps in equal) for equal in others.values()):
            found.add(index)
    return found


def choices_of(runs: Sequence[Steps], known: Collection[Steps], singles: Collection[int]) -> dict[Steps, Steps]:
    """Return for each different content its choice: of those equal but for the single settings, the plainest.

    That is a preset if there is one, then the one with the fewest settings, then the most common.
    """
    counts, equal = Counter(runs), dict[Steps, list[Steps]]()
    for steps in counts:
        key = tuple(None if index in singles else value for index, value in enumerate(steps))
        equal.setdefault(key, []).append(steps)

    def order(steps: Steps) -> tuple[bool, int, int, str]:
        return steps not in known, sum(value is not None for value in steps), -counts[steps], repr(steps)

    return {steps: min(every, key=order) for every in equal.values() for steps in every}


def name_choice(steps: Steps, names: Sequence[str], known: dict[Steps, str]) -> str:
    """Return a choice's preset, or its settings as they are typed where it has none: {crop_padding:2,flip:random}."""
    texts = [
        f"{name.partition('.')[2]}:{format_override(value)}"
        for name, value in zip(names, steps, strict=True)
        if value is not None
    ]
    return known.get(steps, f"{{{','.join(texts)}}}" if texts else OFF)
