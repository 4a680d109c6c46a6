"""The documented exercises: their tables are recomputed from their runs, without the program's own code.

PAGES=FOLDER checks the pages and runs of another folder, as `make exercises-test` does.
"""

import os
import re
import statistics
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import pandas as pd
import pytest
from processes import REPOSITORY
from scipy import stats

from sweeper.summary.columns import format_value

DOCS = Path(os.environ.get("PAGES", REPOSITORY / "docs"))
EXERCISES, TRANSFER, PRETRAINED, SEGMENTATION = (
    pd.read_csv(DOCS / name, dtype=str, keep_default_na=False).replace(r"^(-?\d+)\.0$", r"\1", regex=True)
    if (DOCS / name).is_file()
    else pd.DataFrame(columns=["run_id", "sweeps"])
    for name in ("exercises.csv", "transfer.csv", "pretrained.csv", "segmentation.csv")
)
SMALL = EXERCISES[EXERCISES["sweeps"].str.contains(r"\b(?:models|softmax_lr|batch_norm|dropout|activations)\b")]
SETTINGS = (
    *("model", "seed", "norm", "activation", "dropout.rate"),
    *("model.freeze_backbone", "model.weights"),
)
PARSED = {"null": "", "true": "True", "false": "False"}  # a value in a table of effects
SHOWN = {"True": "yes", "False": "no"}
MEASURED = {
    **dict.fromkeys(("best_val_acc", "test_acc", "test_acc_views", "best_val_miou", "test_miou"), 4),
    **dict.fromkeys(("best_epoch", "convergence_epoch", "train_seconds"), 1),
}
# The sweep whose runs a table has.
SWEPT = {
    "Problems 1 to 5": "models",
    "The softmax's learning rate": "softmax_lr",
    "Batch normalization": "batch_norm",
    "Dropout": "dropout",
    "Activations": "activations",
    "A strong small network": "strong",
    "ResNet-18 from scratch": "scratch",
    "EfficientNet-Lite0 from ImageNet weights": "imagenet",
    "Transfer": "transfer",
    "Bonus: segmentation": "segmentation",
    "Pre-trained features for segmentation": "segmentation_transfer",
}
Row = dict[str, str]


def tables(path: Path) -> Iterator[tuple[str, list[Row]]]:
    """Yield every table of a page with the heading above it; a row maps column names to cells."""
    heading = ""
    rows: list[Row] = []
    head: list[str] = []
    for line in [*path.read_text(encoding="utf-8").splitlines(), ""]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("#"):
            heading = line.strip("# ")
        elif not line.startswith("|"):
            if rows:
                yield heading, rows
            rows, head = [], []
        elif not head:
            head = cells
        elif not re.fullmatch(r"[-:]+", cells[0]):
            rows.append(dict(zip(head, cells, strict=True)))


@cache
def swept(heading: str) -> pd.DataFrame:
    """Return the runs of a section."""
    runs = pd.concat([EXERCISES, TRANSFER, PRETRAINED, SEGMENTATION]).fillna("")
    runs = runs[[SWEPT[heading] in names.split() for names in runs["sweeps"]]]
    runs = runs.loc[:, (runs != "").any()]  # test_acc is empty for segmentation
    return (
        runs.assign(**{"model.weights": runs["model.weights"].map(partial(format_value, ""))})
        if "model.weights" in runs
        else runs
    )


def averaged(values: list[float], digits: int) -> str:
    """Format the values of several seeds as a table does."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}".removesuffix(".0")
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    if digits == 4 or deviation > 0:
        return f"{mean:.{digits}f} ± {deviation:.{digits}f}"
    return f"{mean:g}"


SAVING = "## Saving, resuming, reproducing"
AXES = {"Batch normalization": "norm", "Dropout": "dropout.rate", "Activations": "activation"}
# The value of each setting that a section's others are compared with.
BASELINES = {
    "Batch normalization": {"model": "cnn_pool", "norm": "none"},
    "Dropout": {"model": "cnn_pool", "dropout.rate": "0"},
    "Activations": {"model": "cnn_pool", "activation": "relu"},
    "Bonus: segmentation": {"model": "fcn32s"},
    "Transfer": {"model.freeze_backbone": "False", "model.weights": "sha256:74bb001f"},
}
FAMILY = "The five tricks together"
PAGE = list(tables(DOCS / "exercises.md"))
MEANS = [(heading, row) for heading, rows in PAGE if heading in SWEPT for row in rows if "best_epoch" in row]
EFFECTS = [(heading, row) for heading, rows in PAGE if heading in {*SWEPT, FAMILY} for row in rows if "pairs" in row]


def test_the_page_has_tables() -> None:
    assert len(MEANS) >= 5
    assert EFFECTS


@pytest.mark.parametrize(("heading", "row"), MEANS)
def test_a_documented_mean_is_that_of_its_runs(heading: str, row: Row) -> None:
    runs = swept(heading)
    for column, value in row.items():
        if column in runs and column not in MEASURED:
            runs = runs[runs[column].replace(SHOWN) == ("" if value == "-" else value.replace(",", ""))]
    assert len(runs) == int(row.get("runs", "1"))
    for column, digits in MEASURED.items():
        if column in row:
            assert row[column] == averaged([float(value) for value in runs[column]], digits), column


def seed_means(heading: str, axis: str, value: str, baseline: str) -> tuple[int, list[float]]:
    """Return the number of pairs of a change, and the mean of each seed's."""
    runs = swept(heading)
    runs = runs.assign(**{"dropout.rate": runs["dropout.rate"].replace("", "0")} if "dropout.rate" in runs else {})
    keys = [name for name in SETTINGS if name in runs and name != axis]
    accuracy = runs.set_index([*keys, axis])["test_acc" if "test_acc" in runs else "test_miou"].astype(float)
    differences: dict[str, list[float]] = {}
    for key in {index[:-1] for index in accuracy.index}:
        if (*key, value) in accuracy.index and (*key, baseline) in accuracy.index:
            seed = str(key[keys.index("seed")])
            differences.setdefault(seed, []).append(accuracy[(*key, value)] - accuracy[(*key, baseline)])
    return sum(map(len, differences.values())), [statistics.mean(found) for found in differences.values()]


@cache
def swept_ps(heading: str) -> dict[tuple[str, str, str], float]:
    """Return the p of every change of a section's sweep: its values of each setting against the baseline's."""
    runs = swept(heading)
    return {
        (axis, value, baseline): stats.ttest_1samp(seed_means(heading, axis, value, baseline)[1], 0).pvalue
        for axis, baseline in BASELINES[heading].items()
        for value in {text or ("0" if axis == "dropout.rate" else "") for text in runs[axis]} - {baseline}
    }


def holm_adjusted(ps: dict[tuple[str, str, str], float], change: tuple[str, str, str]) -> tuple[float, float]:
    """Return a change's p, corrected by Holm's method for all changes, and its Holm-adjusted level.

    Args:
        ps: of all changes.
        change: the setting, its value and its baseline.
    """
    ordered, corrected, number = sorted(ps, key=lambda key: ps[key]), [0.0], len(ps)
    for rank, key in enumerate(ordered):
        corrected.append(max(corrected[-1], min(1.0, ps[key] * (number - rank))))
    significant = sum(p < 0.05 for p in corrected[1:])
    rank = ordered.index(change)
    return corrected[1 + rank], 0.05 / max(1, number - min(rank, significant))


@pytest.mark.parametrize(("heading", "row"), EFFECTS)
def test_a_documented_effect_is_that_of_its_pairs(heading: str, row: Row) -> None:
    axis, _, changed = row["change"].partition("=")
    value, baseline = (PARSED.get(text, text) for text in (changed, row["baseline"]))
    change = axis, value, baseline
    if heading == FAMILY:
        heading = next(name for name, swept_axis in AXES.items() if swept_axis == axis)
        ps = {key: p for name in AXES for key, p in swept_ps(name).items() if key[0] == AXES[name]}
    else:
        ps = swept_ps(heading)
    pairs, means = seed_means(heading, *change)
    assert (pairs, len(means)) == (int(row["pairs"]), int(row["seeds"]))
    corrected, level = holm_adjusted(ps, change)
    center, error = statistics.mean(means), statistics.stdev(means) / len(means) ** 0.5
    low, high = stats.t.interval(1 - level, len(means) - 1, center, error)
    assert (row["mean"], row["interval"]) == (f"{center:+.4f}", f"[{low:+.4f}, {high:+.4f}]")
    assert row["p (Holm)"] == f"{corrected:.4f}"


def saving() -> str:
    """Return the section on the best run, without line breaks."""
    return " ".join((DOCS / "exercises.md").read_text(encoding="utf-8").partition(SAVING)[2].split())


SETTINGS_OF_RUNS = [
    name
    for name in EXERCISES.columns[: [*EXERCISES.columns, "best_val_acc"].index("best_val_acc")]
    if name not in ("run_id", "sweeps", "seed")
]


def configurations(runs: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the runs of each configuration, and how far each is ahead of the mean small run of its seed."""
    runs = runs.astype({"best_val_acc": float, "test_acc": float})
    of_seed = SMALL.astype({"best_val_acc": float}).groupby("seed")["best_val_acc"].mean()
    runs = runs.assign(ahead=runs["best_val_acc"] - runs["seed"].map(of_seed))
    return [same for _, same in runs.groupby(SETTINGS_OF_RUNS)]


def test_the_page_has_all_runs_of_the_resnet_and_evaluates_the_best_run() -> None:
    resnets = EXERCISES[EXERCISES["sweeps"].str.contains(r"\bscratch\b")]
    shown = sum(int(row.get("runs", "1")) for heading, row in MEANS if heading == "ResNet-18 from scratch")
    assert shown == len(resnets)
    every = pd.concat([SMALL, resnets, EXERCISES[EXERCISES["sweeps"].str.contains(r"\bstrong\b")]])
    best = max(configurations(every[every["state"] == "finished"]), key=lambda runs: float(runs["ahead"].mean()))
    run = best.sort_values("ahead").iloc[-1]
    assert f"`{run['run_id']}`, and evaluates its test images again: {run['test_acc']:.4f}" in saving()


def test_the_page_names_the_best_small_network_by_its_mean_over_the_seeds() -> None:
    small = configurations(SMALL)
    best = max(small, key=lambda runs: float(runs["best_val_acc"].mean()))
    run = best.sort_values("ahead").iloc[-1]
    highest = pd.concat(small).sort_values("best_val_acc").iloc[-1]
    val, test = (
        {
            seed: sum(seed in {*runs["seed"][runs[name] == runs[name].max()]} for runs in small)
            for seed in sorted({*SMALL["seed"]})
        }
        for name in ("best_val_acc", "test_acc")
    )
    seed = max(val, key=lambda seed: val[seed])
    sentences = [
        f"`{run['run_id']}` ({best['best_val_acc'].mean():.4f} on average over its seeds)",
        f"with a test accuracy of {run['test_acc']:.4f}",
        f"{val[seed]} of the {len(small)} small configurations with several seeds have their highest "
        f"validation accuracy with seed {seed}, and {test[seed]} their highest test accuracy",
    ]
    if highest["best_val_acc"] > run["best_val_acc"]:
        sentences += [
            f"`{highest['run_id']}` has the highest validation accuracy ({highest['best_val_acc']:.4f}); its recorded "
            f"test accuracy is {highest['test_acc']:.4f}"
        ]
    assert [sentence for sentence in sentences if sentence not in saving()] == []
