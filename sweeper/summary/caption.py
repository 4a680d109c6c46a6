"""The caption of a table of runs: shared settings, final states, limitations."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from sweeper.runs.scores import SCORES
from sweeper.summary.average import keys
from sweeper.summary.columns import (
    FINGERPRINT,
    best_val,
    chooser_of,
    format_override,
    format_setting,
    is_measure,
    is_missing,
    scores,
    setting_columns,
)

FEW_IMAGES = 500  # below, the standard error of an accuracy is up to 0.022 and more
TESTS = ("test_acc", "test_miou", "test_acc_views")
SHARED = "Shared settings: "  # begins the line of the settings that all runs share
MAX_ERRORS = 10  # runs whose error is shown


def caption(
    frame: pd.DataFrame,
    constant: list[str],
    by: str = "best_val_acc",
    implied: Sequence[str] = (),
    configurations: int | None = None,
    *,
    is_top_finished: bool = True,
) -> list[str]:
    """Return the caption's lines.

    Args:
        frame: a row for each run.
        constant: the settings that all runs share.
        by: the column that the frame is sorted by.
        implied: the settings that choices imply, see `implied_settings`.
        configurations: number of rows where they are averages; None where a row is a run.
        is_top_finished: whether the first row has a finished run.
    """
    states = frame["state"].value_counts().sort_index()
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    lines = [f"{len(frame)} {'run' if len(frame) == 1 else 'runs'}: {counts}"]
    shared = [f"{name}={format_override(value)}" for name in constant for value in frame[name].dropna().unique()]
    lines += [SHARED + ", ".join(shared)] if shared else []
    lines += [*implied, *several_tasks(frame)]
    if stale := int(frame["stale"].sum()):
        lines.append(f"{stale} stale: trained with different code")
    best = "The top row" if is_top_finished else "The first row of a finished run"
    lines += optimistic(frame, by, configurations, best) + few_images(frame)
    failed = frame[["run_id", "state", "error"]].dropna().itertuples(index=False)
    errors = [f"{run_id} {state}: {error}" for run_id, state, error in failed]
    lines += errors[:MAX_ERRORS] + ([f"and {len(errors) - MAX_ERRORS} more with errors"] * (len(errors) > MAX_ERRORS))
    return lines


def optimistic(frame: pd.DataFrame, by: str, configurations: int | None, best: str = "The top row") -> list[str]:
    """Name the numbers that a selection made optimistic.

    The test images did not select the first row, but the luck of its training did, which shows on both sets of images.
    Among several datasets, and where no run has the column asked for, the first row is the best of nothing.
    """
    tested = frame["data.val_size"] == 0 if "data.val_size" in frame else pd.Series(False, frame.index)
    is_tested = bool(tested.any())
    finished = int((frame["state"] == "finished").sum())
    datasets = frame[[name for name in ("data", FINGERPRINT) if name in frame]].drop_duplicates()
    is_sorted = by == best_val(frame) or by not in frame or bool(frame[by].notna().any())
    is_ranked = is_sorted and finished > 1 and configurations != 1 and len(datasets) < 2
    selected_from = f"{finished} runs" if configurations is None else f"{configurations} configurations"
    score = by.removeprefix("best_val_")
    lines = [] if is_sorted else [f"The rows are not sorted: no run has {by}"]
    if is_ranked and by == f"best_val_{score}":
        what = {"acc": "validation accuracy", "miou": "validation mIoU"}[score]
        holds = f"its test_{score} holds for these weights, expect slightly less from other seeds"
        if tested.all():
            holds = f"its test_{score} too, since it is of the same images"
        elif is_tested:
            holds = f"with data.val_size=0 its test_{score} too, else that {holds.partition(f'test_{score} ')[2]}"
        lines.append(f"{best} is the best of {selected_from} by {what}: its {by} is optimistic; {holds}")
    if is_ranked and (by in TESTS or is_measure(by)):
        lines.append(f"{best} is the best of {selected_from} by {by}: its {by} is optimistic")
    return lines + selected_on_test(frame)


def selected_on_test(frame: pd.DataFrame) -> list[str]:
    """Say that test results of runs without validation images are optimistic; nothing where there are none."""
    tested = frame[frame["data.val_size"] == 0] if "data.val_size" in frame else frame[:0]
    if tested.empty:
        return []
    tests = [f"test_{score}" for score in scores(tested)]
    return [
        f"Runs with data.val_size=0 selected their best epoch on test images: their {' and '.join(tests)} "
        f"{'are' if len(tests) > 1 else 'is'} optimistic"
    ]


def several_tasks(frame: pd.DataFrame) -> list[str]:
    """Say that runs of several tasks are not ranked together."""
    found = scores(frame)
    if len(found) < 2:
        return []
    tasks = [f"{task} by best_val_{score}" for task, score in SCORES.items() if score in found]
    return [f"Runs of several tasks, which are not comparable: {', '.join(tasks)}; --where data=NAME shows one"]


def few_images(frame: pd.DataFrame) -> list[str]:
    """Warn of accuracies over fewer than FEW_IMAGES images, with a run's standard error from the choice of images.

    It is that of a share of n images, the largest of the finished runs: sqrt(p (1 - p) / (n + 4)), where p counts two
    more right images and two more wrong ones, so that a share of 0 or 1 is not taken for certain (Agresti and Coull
    1998).
    """
    lines, finished = [], frame[frame["state"] == "finished"]
    for column, images, advice in (
        ("best_val_acc", "val_images", "the epoch and the run selected by it may not be the best"),
        ("test_acc", "test_images", "the ± over seeds does not include it"),
    ):
        if images not in finished or column not in finished:
            continue
        accs, counts = (pd.to_numeric(finished[name], errors="coerce") for name in (column, images))
        few = (counts > 0) & (counts < FEW_IMAGES) & accs.between(0, 1)
        if few.any():
            shares = (accs * counts + 2) / (counts + 4)
            errors = (shares * (1 - shares) / (counts + 4))[few] ** 0.5
            what = "validation" if images == "val_images" else "test"
            number = f"{counts[few].min():.0f}"
            lines.append(
                f"Only {number} {what} images: {column} has a standard error of {errors.max():.3f} from their choice "
                f"alone; {advice}"
            )
    return lines


def averaging(frame: pd.DataFrame, over: str, uneven: bool = False) -> list[str]:
    """Describe which runs the rows average and, with uneven seeds, how they are ranked.

    Also report configurations whose runs were not averaged, or were trained under different conditions.
    """
    lines = [f"Mean ± standard deviation over the runs that differ only in {over}"]
    if uneven:
        lines.append(
            f"Rows have different seeds: ranked by {best_val(frame)} minus the effect of each seed's validation split"
        )
    settings = keys(frame, [name for name in setting_columns(frame) if name != over])
    code = keys(frame, ["code"])
    split = int((code[0].groupby(settings).nunique() > 1).sum())
    if split:
        configurations = "1 configuration has" if split == 1 else f"{split} configurations have"
        lines.append(f"{configurations} one row per version of the code that trained it")
    for name, what in (("torch", "torch versions"), ("device_type", "device types")):
        mixed = int((frame[name].groupby(settings + code).nunique() > 1).sum())
        lines += [f"{mixed} {'row averages' if mixed == 1 else 'rows average'} runs of several {what}"] if mixed else []
    return lines


def implied_settings(frame: pd.DataFrame, implied: list[str]) -> list[str]:
    """Return the settings that all runs of a choice share, choice by choice: `model=mlp implies hidden=[1024]`."""
    lines = []
    for group in dict.fromkeys(map(chooser_of, implied)):
        names = [name for name in implied if chooser_of(name) == group]
        for choice, runs in frame.groupby(group):
            values: list[tuple[str, Any]] = [(name, runs[name].iloc[0]) for name in names]
            texts = [
                f"{name.removeprefix(f'{group}.')}={format_setting(name, value)}"
                for name, value in values
                if not is_missing(value)
            ]
            lines += [f"{group}={choice} implies {', '.join(texts)}"] if texts else []
    return lines
