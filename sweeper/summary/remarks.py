"""Notes on why runs are left out of comparisons, and on what limits the results."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import pandas as pd

from sweeper.errors import enumerate_words
from sweeper.summary.axes import axes_of
from sweeper.summary.caption import selected_on_test
from sweeper.summary.columns import WITH, format_override, is_implied
from sweeper.summary.effect_measures import METRICS, USUAL_OF, has_score
from sweeper.summary.inference import Comparison
from sweeper.summary.pairing import at_own
from sweeper.summary.study import Study
from sweeper.summary.together import Others
from sweeper.summary.typed_presets import Presets, shown
from sweeper.sweep.baseline import sort_key


def remarks(study: Study, comparisons: Sequence[Comparison]) -> list[str]:
    """Describe why runs are left out of some comparisons, and which runs are averaged."""
    lines, settings = [], study.finished_settings
    for name in study.method.measures:
        if name.startswith("epochs_to_"):
            continue  # missing where mean_val_acc is missing; often not requested
        what = "a learning curve" if name.startswith("mean_val_") else name
        score = next((it for it, names in USUAL_OF.items() if name in names), None)
        rows = [row for row in study.finished if score is None or has_score(study.runs, row, score)]
        lacking = sum(not METRICS[name].is_known(study.runs, row) for row in rows)
        lines += [f"{lacking} finished {'run' if lacking == 1 else 'runs'} without {what}"] if lacking else []
    for axis in study.baseline:
        own = [name for name in map(str, settings) if name.startswith(f"{axis}.") and not is_implied(settings, name)]
        own = [name for name in own if f"{WITH}{name}" not in settings]
        if own and any(comparison.averaged for comparison in comparisons if comparison.changes[0].axis == axis):
            lines.append(f"{axis}: runs that differ only in {', '.join(own)} are averaged and count as one")
        elif own:
            lines += own_settings(study, comparisons, axis, own)
    return lines


def own_settings(study: Study, comparisons: Sequence[Comparison], axis: str, own: Sequence[str]) -> list[str]:
    """Describe at which values of its own settings each choice of an axis was compared."""
    lines = []
    for comparison in comparisons:
        change = comparison.changes[0]
        if change.axis != axis:
            continue
        sides = [at_own(study.settings, own, rows) for rows in (comparison.rows, comparison.base_rows)]
        if None not in sides and any(sides):
            value, base = (f"{axis}={format_override(cell)}" for cell in (change.value, change.baseline))
            lines.append(f"{value}{sides[0]} is compared with {base}{sides[1]}")
    return list(dict.fromkeys(lines))


def never_finished(
    settings: pd.DataFrame, finished: Collection[int], diverged: Collection[int], presets: Presets
) -> list[str]:
    """Name the values of settings with which no run finished, and how their runs ended.

    Args:
        settings: of the runs that finished, diverged or failed.
        finished, diverged: rows of these runs.
        presets: those that were typed.
    """
    lines, done = [], settings.loc[sorted(finished)]
    for axis in axes_of(settings):
        for value in sorted({*settings[axis].dropna()} - {*done[axis].dropna()}, key=sort_key):
            rows = settings.index[settings[axis] == value]
            lines.append(f"{shown(axis, value, presets)}: no run finished, {count_ends(rows, diverged)}")
    return lines


def ended_apart(apart: Mapping[int, Others], diverged: Collection[int], presets: Presets) -> list[str]:
    """Name the values of settings that change together in all finished runs, but not in these, none of which finished.

    Args:
        apart: values of such settings, by row.
        diverged: rows that diverged; the others failed.
        presets: those that were typed.
    """
    found: dict[str, list[int]] = {}
    for row, cells in apart.items():
        found.setdefault(", ".join(shown(name, cell, presets) for name, cell in cells), []).append(row)
    return [f"{name}: no run finished, {count_ends(rows, diverged)}" for name, rows in sorted(found.items())]


def count_ends(rows: Iterable[int], diverged: Collection[int]) -> str:
    """Count how runs without a result ended, such as `2 diverged, 1 failed`."""
    states = Counter("diverged" if row in diverged else "failed" for row in rows)
    return ", ".join(f"{number} {state}" for state, number in sorted(states.items()))


def limits(study: Study) -> list[str]:
    """Describe what limits the results of all comparisons."""
    lines, frame = [], study.runs.frame.loc[sorted(study.finished)]
    if scored := len(study.scored):
        runs = "1 diverged run counts" if scored == 1 else f"{scored} diverged runs count"
        lines.append(
            f"{runs} as chance accuracy, 1 / number of classes; such differences are far from normal, so p and "
            "intervals are approximate"
        )
    if images := count_test_images(study):
        lines.append(f"Intervals are for these {images} test images and do not cover the choice of other test images")
    if stale := int(frame["stale"].eq(True).sum()):
        lines.append(f"{stale} of the finished runs are stale; pairs share all code except that of the compared choice")
    return lines + selected_on_test(frame)


def count_test_images(study: Study) -> str:
    """Return how many test images each dataset has, as text; empty where that was not recorded."""
    counts: dict[str, str] = {}
    for row in sorted(study.finished & {*study.settings.index}):
        number = study.runs.number("test_images", row)
        data = study.settings["data"][row] if "data" in study.settings else None
        counts |= {study.datasets[data]: f"{number:,.0f}"} if number else {}
    several = len(study.datasets) > 1
    return enumerate_words([f"{number} ({data})" if several else number for data, number in sorted(counts.items())])
