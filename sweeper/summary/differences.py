"""What differs between two runs: settings, code, data, machine, curves, and which test images they get right."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory, flat_settings
from sweeper.runs.scores import task_of
from sweeper.summary.mask_differences import MaskDifference, compare_masks
from sweeper.summary.wrong_images import class_names, is_same_dataset, predictions_of

TIMINGS = ("train_seconds", "eval_seconds", "images_per_second")
MACHINE = ("host", "device", "device_type", "threads")
Pair = tuple[Any, Any]


@dataclass(frozen=True)
class ClassDifference:
    """How two runs differ on the test images of one class.

    Attributes:
        images: of the class.
        accs: of each run, from 0 to 1.
        only_first, only_second: images that this run alone gets right.
    """

    name: str
    images: int
    accs: tuple[float, float]
    only_first: int
    only_second: int


@dataclass(frozen=True)
class TestDifference:
    """How two runs differ on the same test images.

    Attributes:
        accs: of each run, from 0 to 1.
        only_first, only_second: images that this run alone gets right; both, neither: that both or none gets right.
        p: of McNemar's test (1947), exact and two-sided: whether the runs are equally often alone in being right.
        classes: those whose accuracies differ, the largest difference first.
    """

    __test__ = False  # of pytest

    accs: tuple[float, float]
    both: int
    only_first: int
    only_second: int
    neither: int
    p: float
    classes: list[ClassDifference]


@dataclass(frozen=True)
class Differences:
    """Two runs beside each other, each fact a pair; None where a run lacks it.

    Attributes:
        settings: that decide the result and differ, by dotted name.
        changed_code: definitions that both were trained with, in different versions.
        facts: other facts that differ: data, versions, machine, git commit.
        epoch: the first whose metrics differ, timings aside; None where all epochs that both have are equal.
        curves: the metrics of that epoch that differ.
        test, masks: of two runs of classification or of segmentation; None where there is no test, for the reason
            `untested`.
    """

    runs: tuple[str, str]
    settings: dict[str, Pair]
    changed_code: list[str]
    facts: dict[str, Pair]
    epoch: int | None
    curves: dict[str, Pair]
    test: TestDifference | None
    masks: MaskDifference | None
    untested: str | None


def compare_runs(first: RunDirectory, second: RunDirectory) -> Differences:
    """Compare two runs by their records.

    Raises:
        UserError: both are the same run.
    """
    if first.folder.resolve() == second.folder.resolve():
        raise UserError(f"{first.run_id} was given twice: diff compares two runs")
    runs = [record.run() or {} for record in (first, second)]
    settings = [flat_settings(part(run, "effective")) for run in runs]
    epoch, curves = first_difference(first.metrics(), second.metrics())
    test, masks, untested = None, None, None
    try:
        if all(task_of(run.get("effective")) == "segmentation" for run in runs):
            masks = compare_masks(first, second)
        else:
            test = compare_tests(first, second)
    except UserError as error:
        untested = str(error)
    return Differences(
        (first.run_id, second.run_id),
        unequal(*settings),
        changed_code(*(run.get("code") for run in runs)),
        unequal(*map(facts, runs)),
        epoch,
        curves,
        test,
        masks,
        untested,
    )


def unequal(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Pair]:
    names = dict.fromkeys([*first, *second])
    return {name: pair for name in names if (pair := (first.get(name), second.get(name)))[0] != pair[1]}


def facts(run: dict[str, Any]) -> dict[str, Any]:
    """Return what a run was trained on and with, beside its settings and its code."""
    found: dict[str, Any] = {name: run.get(name) for name in MACHINE}
    found |= {"compile": part(run, "config").get("compile")}
    for group in ("versions", "git", "dataset"):
        for name, value in part(run, group).items():
            found[f"{group}.{name}"] = json.dumps(value) if isinstance(value, list | dict) else value
    return found


def part(run: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a part of run.json; empty where a damaged record has something else."""
    values = run.get(name)
    return values if isinstance(values, dict) else {}


def changed_code(first: Any, second: Any) -> list[str]:
    """Name the definitions that two runs' code has in different versions, sorted.

    A definition that one of them lacks belongs to a choice that its settings show.
    """
    versions: list[dict[str, Any]] = []
    for code in (first, second):
        groups = [group for group in code.values() if isinstance(group, dict)] if isinstance(code, dict) else []
        versions.append({name: digest for group in groups for name, digest in group.items()})
    return sorted(name for name in versions[0].keys() & versions[1].keys() if versions[0][name] != versions[1][name])


def first_difference(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> tuple[int | None, dict[str, Pair]]:
    """Return the first epoch whose metrics differ, and those metrics; None where no epoch of both does."""
    for number, rows in enumerate(zip(first, second, strict=False), 1):
        metrics = [{name: value for name, value in row.items() if name not in TIMINGS} for row in rows]
        if different := unequal(*metrics):
            return number, different
    return None, {}


def compare_tests(first: RunDirectory, second: RunDirectory) -> TestDifference:
    """Compare two runs image by image.

    Raises:
        UserError: a run has no result or no predictions, or they are of different images.
    """
    logits, labels = predictions_of(first)
    others, same_labels = predictions_of(second)
    if not is_same_dataset(first, second) or logits.shape != others.shape or not np.array_equal(labels, same_labels):
        raise UserError(f"{first.run_id} and {second.run_id} have different images")
    a, b = logits.argmax(axis=1) == labels, others.argmax(axis=1) == labels
    names = class_names(first, logits.shape[1])
    classes = []
    for index, name in enumerate(names):
        own = labels == index
        if own.any():
            accs = float(a[own].mean()), float(b[own].mean())
            alone = int((a & ~b & own).sum()), int((b & ~a & own).sum())
            classes.append(ClassDifference(name, int(own.sum()), accs, *alone))
    classes.sort(key=lambda one: -abs(one.accs[1] - one.accs[0]))
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return TestDifference(
        (float(a.mean()), float(b.mean())),
        int((a & b).sum()),
        only_first,
        only_second,
        int((~a & ~b).sum()),
        p,
        [one for one in classes if one.accs[0] != one.accs[1]],
    )
