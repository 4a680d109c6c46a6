"""A real sweep whose table, effects and report agree with its records: everything recomputed from JSON alone."""

import csv
import html
import io
import json
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import Program

EPOCHS, TARGET = 4, 0.97  # which some runs reach
SWEEP = ["model=softmax,mlp", "activation=relu,selu", "seed=0,1", f"epochs={EPOCHS}"]
MEASURED = ("best_val_acc", "best_epoch", "test_acc", "convergence_epoch", "convergence_seconds")
FORMS = {
    "test_acc": "{:+.4f}",
    "epochs_to_level": "{:+.2f}",
    "mean_val_acc": "{:+.4f}",
    "epochs_to_target": "{:+.2f}",
}

Runs = dict[tuple[str, str | None, int], dict[str, Any]]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Run the sweep and four commands; return their folder, with a file for what each command printed."""
    folder = tmp_path_factory.mktemp("agreement")
    settings = ["data=digits", "data.image_size=8", f"data.cache={cache}", "threads=1", "sweep.name=agree"]
    command(folder, "-m", *settings, *SWEEP, module=None)
    for name, arguments in {
        "printed": ("summary",),
        "rows.csv": ("summary", "agree", "--format", "csv", "--group-by", "none"),
        "means.json": ("summary", "agree", "--format", "json"),
        "effects.json": ("effects", "agree", "--format", "json"),
        "effects.txt": ("effects", "agree"),
        "page": ("report", "agree"),
    }.items():
        printed = command(folder, *arguments, "--target-acc", str(TARGET))
        (folder / name).write_text(printed, encoding="utf-8")
    return folder


def command(folder: Path, *arguments: str, module: str | None = "sweeper") -> str:
    done = Program(arguments, folder, module=module, separate_errors=True).completed(timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def runs(sweep: Path) -> Runs:
    """Return what each run's curve says, by model, activation and seed."""
    found: Runs = {}
    for folder in (sweep / "outputs/runs").iterdir():
        effective = json.loads((folder / "run.json").read_text())["effective"]
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        accs = [row["val_acc"] for row in rows]
        confusion = json.loads((folder / "result.json").read_text())["confusion"]
        converged = next(index for index, acc in enumerate(accs) if acc >= 0.99 * max(accs))
        key = (effective["model"]["name"], effective.get("activation", {}).get("name"), effective["seed"])
        found[key] = {
            "run_id": folder.name,
            "best_val_acc": max(accs),
            "best_epoch": 1 + accs.index(max(accs)),
            "test_acc": sum(row[index] for index, row in enumerate(confusion)) / sum(map(sum, confusion)),
            "convergence_epoch": converged + 1,
            "convergence_seconds": sum(row["train_seconds"] for row in rows[: converged + 1]),
            "epochs_to_target": next((1 + index for index, acc in enumerate(accs) if acc >= TARGET), None),
            "rows": rows,
        }
    return found


def test_the_sweep_is_six_runs(runs: Runs) -> None:
    assert sorted(runs, key=str) == [
        *(("mlp", activation, seed) for activation in ("relu", "selu") for seed in (0, 1)),
        *(("softmax", None, seed) for seed in (0, 1)),
    ]
    assert {run["epochs_to_target"] is None for run in runs.values()} == {True, False}
    assert all([row["epoch"] for row in run["rows"]] == list(range(1, EPOCHS + 1)) for run in runs.values())


def test_results_and_rows_are_the_curves(sweep: Path, runs: Runs) -> None:
    rows = {row["run_id"]: row for row in csv.DictReader(io.StringIO((sweep / "rows.csv").read_text()))}
    with (sweep / "outputs/summary.csv").open(newline="", encoding="utf-8") as file:
        whole = {row["run_id"]: row for row in csv.DictReader(file)}
    assert rows.keys() == whole.keys() == {run["run_id"] for run in runs.values()}
    for (model, activation, seed), run in runs.items():
        result = json.loads((sweep / "outputs/runs" / run["run_id"] / "result.json").read_text())
        row, full = rows[run["run_id"]], whole[run["run_id"]]
        assert (row["model"], row["activation"], row["seed"]) == (model, activation or "", str(seed))
        assert all(full[name] == text for name, text in row.items())
        for name in MEASURED:
            assert run[name] == float(row[name])
        assert all(result[name] == run[name] for name in ("best_val_acc", "best_epoch", "test_acc"))
        reached = run["epochs_to_target"]
        assert row["epochs_to_target"] == (f">{EPOCHS}" if reached is None else str(reached))


def test_means_are_those_of_the_curves(sweep: Path, runs: Runs) -> None:
    content = json.loads((sweep / "means.json").read_text())
    assert content["caption"][0] == "6 runs: 6 finished"
    order = [(row["model"], row["activation"]) for row in content["rows"]]
    assert sorted(order, key=str) == [("mlp", "relu"), ("mlp", "selu"), ("softmax", None)]
    means = [statistics.fmean(runs[*key, seed]["best_val_acc"] for seed in (0, 1)) for key in order]
    assert means == sorted(means, reverse=True)
    for row in content["rows"]:
        pair = [runs[row["model"], row["activation"], seed] for seed in (0, 1)]
        assert (row["runs"], row["state"]) == (2, "finished")
        for name in MEASURED:
            values = [float(run[name]) for run in pair]
            assert row[name] == statistics.fmean(values)
            assert row[f"{name}_std"] == pytest.approx(statistics.stdev(values), rel=1e-12)
    shown = table_of((sweep / "outputs/summary.md").read_text(encoding="utf-8"))
    for (model, activation), row, cells in zip(order, shown, page_table(sweep), strict=True):
        assert (row["model"], row["activation"], row["runs"]) == (model, activation or "-", "2")
        assert (cells["model"], cells["activation"], cells["runs"]) == (model, activation or "-", "2")
        for name in ("best_val_acc", "test_acc"):
            values = [runs[model, activation, seed][name] for seed in (0, 1)]
            assert row[name] == f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}"
            percent = [100 * statistics.fmean(values), 100 * statistics.stdev(values)]
            assert cells[f"{name} (%)"] == " ± ".join(f"{value:.1f}" for value in percent)
            assert row[name] in (sweep / "printed").read_text(encoding="utf-8")


def table_of(markdown: str) -> list[dict[str, str]]:
    header, _, *lines = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line.startswith("|")]
    return [dict(zip(header, line, strict=True)) for line in lines]


def page_table(sweep: Path) -> list[dict[str, str]]:
    """The report's table of results."""
    (table,) = re.findall(r'<table class="sortable".*?</table>', page(sweep), re.DOTALL)
    names = [re.sub("<.*?>", "", name) for name in re.findall("<button.*?</button>", table)]
    rows = re.findall("<tr data-row.*?</tr>", table, re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
    texts = [[html.unescape(re.sub("<ul>.*</ul>|<.*?>", "", cell)) for cell in row] for row in cells]
    return [dict(zip(names, row, strict=True)) for row in texts]


def page(sweep: Path) -> str:
    path = (sweep / "page").read_text(encoding="utf-8").strip()
    return (sweep / path).read_text(encoding="utf-8")


def measure_pair(measure: str, pair: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the measure of value and baseline, and its resolution as the standard deviation of a seed's mean."""
    curves = [[row["val_acc"] for row in run["rows"]] for run in pair]
    if measure == "test_acc":
        values, resolution = [run["test_acc"] for run in pair], 1 / 297
    elif measure == "epochs_to_level":
        level = 0.99 * min(map(max, curves))
        values, resolution = [next(1 + epoch for epoch, acc in enumerate(curve) if acc >= level) for curve in curves], 1
    elif measure == "mean_val_acc":
        values = [statistics.fmean(max(curve[: 1 + epoch]) for epoch in range(EPOCHS)) for curve in curves]
        resolution = 1 / 200
    else:
        values, resolution = [run["epochs_to_target"] or EPOCHS + 1 for run in pair], 1
    return round(values[0] - values[1], 10), resolution / math.sqrt(6)


def expected_effects(runs: Runs) -> list[dict[str, Any]]:
    """Return the effects of both changes by each metric, for two seeds: Student's t of one degree is Cauchy's."""
    selu: Callable[[int], tuple[Any, Any]] = lambda seed: (("mlp", "selu", seed), ("mlp", "relu", seed))  # noqa: E731
    softmax: Callable[[int], tuple[Any, Any]] = lambda seed: (("softmax", None, seed), ("mlp", "relu", seed))  # noqa: E731
    found = []
    for measure in FORMS:
        family = []
        for axis, value, baseline, pair in (("activation", "selu", "relu", selu), ("model", "softmax", "mlp", softmax)):
            one: dict[str, Any] = {"measure": measure, "axis": axis, "value": value, "baseline": baseline}
            measured = [measure_pair(measure, [runs[key] for key in pair(seed)]) for seed in (0, 1)]
            (first, floor), (second, _) = measured
            mean = (first + second) / 2
            error = max(abs(first - second) / math.sqrt(2), floor) / math.sqrt(2)
            one |= {"pairs": 2, "seeds": 2, "mean": mean, "error": error}
            one["p"] = 1 - 2 / math.pi * math.atan(abs(mean) / error)
            family.append(one)
        ps = sorted(one["p"] for one in family)
        corrected = [min(1.0, 2 * ps[0]), max(min(1.0, 2 * ps[0]), ps[1])]
        told = sum(p < 0.05 for p in corrected)
        for one in family:
            rank = ps.index(one["p"])
            one["p_holm"], one["level"] = corrected[rank], 0.05 / (2 - min(rank, told, 1))
            for suffix, level in (("", 0.05), ("_family", one["level"])):
                half = one["error"] * math.tan(math.pi * (0.5 - level / 2))
                most = {"epochs_to_target": EPOCHS, "epochs_to_level": EPOCHS - 1}.get(measure, 1)  # that is possible
                one |= {f"low{suffix}": max(one["mean"] - half, -most), f"high{suffix}": min(one["mean"] + half, most)}
            del one["error"]
        found += family
    return found


def test_effects_are_those_of_the_curves(sweep: Path, runs: Runs) -> None:
    content = json.loads((sweep / "effects.json").read_text())
    assert content["baseline"] == {"activation": "relu", "model": "mlp"}
    assert (content["runs"], content["left_out"], content["interactions"]) == (6, {}, [])
    lines = [
        [cell.strip() for cell in line.split("│")[1:]]
        for line in (sweep / "effects.txt").read_text(encoding="utf-8").splitlines()
        if line.startswith("│")
    ]
    shown = page(sweep).partition('id="d1-effects">')[2].partition('id="d1-results"')[0]
    rows = re.findall("<tr><td>(.*?)</tr>", shown)
    expected = expected_effects(runs)
    assert len(content["comparisons"]) == len(expected) == len(lines) == len(rows) == 8
    for row, one, line, markup in zip(content["comparisons"], expected, lines, rows, strict=True):
        for name, value in one.items():
            assert row[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), name
        form = FORMS[one["measure"]].format
        mean, ends = form(one["mean"]), [form(one["low_family"]), form(one["high_family"])]
        p = f"{one['p_holm']:.4f}"
        change = f"{one['axis']}={one['value']}"
        assert line[:6] == [change, one["baseline"], "2", mean, f"[{ends[0]}, {ends[1]}]", p]
        cells = [html.unescape(re.sub("<.*?>", "", cell)) for cell in markup.split("</td><td")]
        cells = [cell.rpartition(">")[2] for cell in cells]
        assert cells[:4] == [change, one["baseline"], "2", mean]
        assert cells[4] == " to ".join(ends)
        assert p in cells[5:]
        if one["measure"] == "epochs_to_target":
            keys = (
                [("mlp", "selu"), ("mlp", "relu")]
                if one["axis"] == "activation"
                else [("softmax", None), ("mlp", "relu")]
            )
            reached = [sum(runs[*key, seed]["epochs_to_target"] is not None for seed in (0, 1)) for key in keys]
            assert line[6] == f"{reached[0]} of 2 vs. {reached[1]} of 2" and line[6] in cells


def test_the_reports_curves_are_those_of_the_records(sweep: Path, runs: Runs) -> None:
    (text,) = re.findall('<script type="application/json" class="curves-data">(.*?)</script>', page(sweep), re.DOTALL)
    curves = {curve["name"]: curve for curve in json.loads(text)["curves"]}
    for model, activation in {key[:2] for key in runs}:
        name = f"model={model}" + (f", activation={activation}" if activation else "")
        curve = curves.pop(name)
        both = [runs[model, activation, seed]["rows"] for seed in (0, 1)]
        assert curve["epochs"] == list(range(1, EPOCHS + 1))
        for metric in ("val_acc", "train_acc", "val_loss", "train_loss"):
            values = [[rows[epoch][metric] for rows in both] for epoch in range(EPOCHS)]
            for edge, over in (("mean", statistics.fmean), ("low", min), ("high", max)):
                assert curve[metric][edge] == [float(f"{over(pair):.4g}") for pair in values]
        epochs = [runs[model, activation, seed]["convergence_epoch"] for seed in (0, 1)]
        assert curve["convergence_epoch"] == statistics.fmean(epochs)
    assert curves == {}
