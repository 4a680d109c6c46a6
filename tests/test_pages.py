"""The pages that are written from runs: committed ones are up to date, and what they claim follows from the runs."""

import json
import re
import runpy
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from paired import runs, table
from records import finish, make
from scipy import stats

from benchmarks.pages.records import DOCS, Records, collect, joined, read, untimed, without_hosts, write
from benchmarks.pages.render import PARTS, TEMPLATES, WHOLE, Pages, insert, tidy, with_parts
from benchmarks.pages.selection import Selection
from benchmarks.pages.tricks import read_tricks
from sweeper.runs.predictions import write_predictions
from sweeper.summary.effects import effects
from sweeper.summary.other_images import correctness_of
from sweeper.summary.table import read_runs

COMMITTED = Pages()
SEEDS = (0.0, 0.001, -0.001)  # what each seed adds to an effect


@pytest.mark.parametrize("page", WHOLE)
def test_a_committed_page_is_what_its_template_and_the_runs_give(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == COMMITTED.render(page), "run `make docs-exercises`"


@pytest.mark.parametrize("page", PARTS, ids=lambda page: page.name)
def test_the_committed_parts_of_a_page_are_what_their_templates_and_the_runs_give(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == with_parts(page, COMMITTED), "run `make docs-exercises`"


@pytest.mark.parametrize("template", sorted(TEMPLATES.iterdir()), ids=lambda path: path.name)
def test_no_measured_figure_is_pasted_into_a_template(template: Path) -> None:
    text = re.sub(r"{[{%#].*?[}%#]}", "", template.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert re.findall(r"\b0\.[1-9]\d+|[+-]\d*\.\d+|\d+(?:\.\d+)? (?:points|%|seconds|minutes|hours)", text) == []


def study(**sweeps: pd.DataFrame) -> Pages:
    """Return the pages of runs by sweep."""
    every = [frame.assign(sweeps=name, run_id=name + frame["run_id"]) for name, frame in sweeps.items()]
    frame = pd.concat(every, ignore_index=True)
    frame = frame.assign(best_val_acc=frame["test_acc"], epochs=10, train_seconds=36.0, stale=False, device_type="cpu")
    pages = Pages()
    pages.records["study"] = Records(frame, pd.DataFrame(), {})
    return pages


def added(**effect_of: float) -> pd.DataFrame:
    """Return runs of a recipe and of single changes with these effects; two underscores stand for a dot."""
    recipe: dict[str, Any] = {
        "mixing": "none",
        "optimizer": "momentum",
        "augmentation__cutout": None,
        "activation": "gelu",
    }
    changed: list[dict[str, Any]] = [
        {key: value} for key, value in (("mixing", "mixup"), ("optimizer", "sam"), ("activation", "relu"))
    ]
    rows = runs("mixing", {"none": [0.9, 0.91, 0.92]}, **{key: recipe[key] for key in recipe if key != "mixing"})
    for change in [*changed, {"augmentation__cutout": 8}]:
        (name,) = change
        accs = [0.9 + 0.01 * seed + effect_of[name] + more for seed, more in enumerate(SEEDS)]
        rows += [{**recipe, **change, "seed": seed, "test_acc": acc} for seed, acc in enumerate(accs)]
    return table(*rows)


def test_what_is_said_about_tricks_follows_from_the_runs() -> None:
    effect_of = {"mixing": 0.02, "optimizer": -0.02, "activation": 0.0, "augmentation__cutout": 0.02}
    page = " ".join(study(one_at_a_time=added(**effect_of)).render("measured.md").split())
    assert "Of four changes, two significantly raise test accuracy and one significantly lowers it" in page
    assert "Here it helps." in page and "On ResNet-18" not in page
    assert "These runs took 0.1 hours of training." in page  # 15 runs of 36 seconds
    assert "Every combination of the same values would have taken 0 hours" in page
    assert re.search(r"\| mixup \| `mixing=mixup` \| `none` \| 3 \| \+0.0200 \| .* \| helps \|.*CutMix", page)
    assert re.search(r"\| SAM \| `optimizer=sam` \| `momentum` \| 3 \| -0.0200 \| .* \| hurts \|", page)
    opposite = {name: -effect for name, effect in effect_of.items()}
    page = " ".join(study(one_at_a_time=added(**opposite), resnet=added(**effect_of)).render("measured.md").split())
    assert page.count("two significantly raise test accuracy and one significantly lowers it") == 1  # On ResNet-18
    assert "one significantly raises test accuracy and two significantly lower it" in page
    assert "Here it hurts." in page


def test_single_changes_are_compared_with_the_recipe_that_they_change() -> None:
    runs_of = study(one_at_a_time=added(mixing=0, optimizer=0, activation=0, augmentation__cutout=0)).sweep("study")
    selection = runs_of("one_at_a_time")
    assert selection is not None
    assert selection.effects.baseline["activation"] == "gelu"  # not the default of conf/, relu, which occurs as well
    assert len(selection.like_baseline.frame) == 3


def test_steps_that_change_together_are_one_change() -> None:
    plain: dict[str, Any] = {
        "augmentation__brightness": None,
        "augmentation__contrast": None,
        "activation": "gelu",
        "norm": "none",
    }
    changed: list[dict[str, Any]] = [
        {},
        {"augmentation__brightness": 0.2, "augmentation__contrast": 0.3},
        {"activation": "relu"},
    ]
    made = [
        run
        for number, change in enumerate([*changed, {"norm": "batch"}])
        for run in runs("width", {1: [0.9, 0.91 + number / 1000, 0.92]}, **plain | change)
    ]
    selection = study(one_at_a_time=table(*made)).sweep("study")("one_at_a_time")
    assert selection is not None
    assert [one.changes[0].name for one in selection.main()] == [
        "activation=relu",
        "augmentation.brightness=0.2 + contrast=0.3",
        "norm=batch",
    ]


def test_the_effect_of_views_is_that_within_each_run() -> None:
    frame = added(mixing=0, optimizer=0, activation=0, augmentation__cutout=0)
    gains = 0.01 + np.resize(SEEDS, len(frame))
    pages = study(leave_one_out_small=frame.assign(test_acc_views=frame["test_acc"] + gains, views="mirror_shift"))
    text = " ".join(pages.render("ablation.md").split())
    assert "Six views of each test image, of the same networks: +1.00 points (0.75 to 1.25; 3 seeds)" in text
    assert "None of the four ingredients is significantly missed." in text


def test_configurations_are_compared_as_wholes_with_the_one_before() -> None:
    exercises = COMMITTED.records["exercises"]
    assert exercises is not None
    models = Selection.of_sweep(exercises, "models")
    assert models is not None
    names = ("softmax", "mlp", "mlp_deep", "cnn", "cnn_pool")
    found = models.steps(*([f"model={name}"] for name in names))
    accs = {name: group.sort_values("seed")["test_acc"].to_numpy() for name, group in models.frame.groupby("model")}
    expected = [stats.ttest_rel(accs[after], accs[before]) for before, after in pairwise(names)]
    assert [one.p for one in found] == pytest.approx([result.pvalue for result in expected])
    ps = sorted(float(result.pvalue) for result in expected)
    holm = np.maximum.accumulate([p * (len(ps) - rank) for rank, p in enumerate(ps)]).tolist()
    assert sorted(one.corrected or 0.0 for one in found) == pytest.approx(holm)


def test_the_page_says_that_each_problem_beats_the_last_only_where_each_does_significantly() -> None:
    pages = Pages()
    exercises = pages.records["exercises"]
    assert exercises is not None
    is_last, accs = exercises.runs["model"].eq("cnn_pool"), exercises.runs["test_acc"]
    claim = "Each problem beats the previous one, as the exercises predict."
    for change, is_claimed in ((0.2, True), (-0.2, False)):
        changed = exercises.runs.assign(test_acc=accs.mask(is_last, accs + change))
        pages.records["exercises"] = replace(exercises, runs=changed)
        assert (claim in pages.render("exercises.md")) == is_claimed


def test_the_page_compares_the_strong_network_with_the_best_of_the_classic_ones() -> None:
    pages = Pages()
    exercises = pages.records["exercises"]
    assert exercises is not None
    best = Selection.of_sweep(exercises, "models", "softmax_lr", "batch_norm", "dropout", "activations")
    assert best is not None
    classic = exercises.runs[exercises.runs["run_id"].isin(best.best_configuration.frame["run_id"])]
    strong = classic.assign(
        run_id="strong-" + classic["run_id"].str[-10:], sweeps="strong", model="airbench", epochs=10
    )
    strong = strong.assign(
        test_acc=classic["test_acc"] + 0.1 + np.array(SEEDS), test_acc_views=classic["test_acc"] + 0.12, batch_size=1024
    )
    strong["best_val_acc"] += 0.2
    runs = pd.concat([exercises.runs.assign(batch_size=64), strong], ignore_index=True)
    for is_timed in (True, False):
        records = Records(runs, pd.DataFrame(), {})
        pages.records["exercises"] = records if is_timed else untimed(records)
        text = " ".join(pages.render("exercises.md").split())
        assert "batch size 1,024, ten epochs, without early stopping" in text
        assert "best configuration of the networks above: +10.00 points (9.75 to 10.25; 3 seeds" in text
        assert "Six views of each test image, of the same networks: +2.00 points (1.75 to 2.25; 3 seeds" in text
        assert ("Its runs train for" in text, "train_seconds" in text.partition("## ResNet-18 from ImageNet")[0]) == (
            is_timed,
            is_timed,
        )
        assert f"`{strong['run_id'].iloc[0][:6]}" in text.partition("## Saving")[2]  # the best of all


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output folder with the runs of two norms, three seeds each, their predictions, and a sweep."""
    monkeypatch.setattr("socket.gethostname", lambda: "secret-host")
    random, labels = np.random.default_rng(0), np.arange(200) % 10
    jobs: list[dict[str, Any]] = []
    for norm, seed in ((norm, seed) for norm in ("none", "batch") for seed in range(3)):
        run_id = f"mlp-{norm}-s{seed}-{len(jobs):010d}"
        predicted = np.where(random.random(200) < 0.6 + 0.2 * (norm == "batch"), labels, (labels + 1) % 10)
        accuracy = float((predicted == labels).mean())
        where = {"host": "secret-host", "device": "EPYC", "threads": 1, "config": {"data": {"root": str(tmp_path)}}}
        record = finish(tmp_path, run_id, [0.5, 0.51], accuracy, norm={"name": norm}, seed=seed, run=where)
        record.write_status(state="finished")
        write_predictions(record.predictions, np.eye(10, dtype=np.float32)[predicted], labels.astype(np.int64))
        jobs.append(job(run_id))
    plan = {"command": "python train.py", "created": 1.0, "concurrency": 1, "precision": 0.05, "jobs": jobs}
    (tmp_path / "sweeps" / "norms").mkdir(parents=True)
    (tmp_path / "sweeps" / "norms" / "sweep.json").write_text(json.dumps({"schema": 2, "name": "norms", **plan}))
    return tmp_path


def job(run_id: str) -> dict[str, Any]:
    """Return a run's part of a plan."""
    rest: dict[str, Any] = {"epochs": 2, "epoch": None, "seconds": 1.0, "heartbeat": None}
    return {"run_id": run_id, "action": "train", "reason": "new", "overrides": [], "changed": [], **rest}


def test_effects_from_checked_in_files_are_those_of_the_runs(outputs: Path, tmp_path_factory: Any) -> None:
    into = tmp_path_factory.mktemp("docs")
    make(outputs, "mlp-none-s3-0000000009", [0.4], state="running", norm={"name": "none"}, seed=3)
    paths = write(collect([outputs]), "study", into)
    records = read("study", into)
    assert records is not None and [path.name for path in paths] == [
        "study.csv",
        "study-curves.csv",
        "study-correct.npz",
    ]
    selection = Selection.of_sweep(records, "norms")
    assert selection is not None and selection.precision == 0.05
    frame, _ = read_runs(outputs)
    frame = frame[frame["state"] == "finished"]
    direct = effects(frame, correctness=correctness_of(frame, outputs / "runs"))
    again = replace(selection, precision=None).effects
    assert again.comparisons == direct.comparisons
    assert direct.comparisons[0].images is not None  # needs the test images that each run got right
    assert records.curves.groupby("run")["val_acc"].max().tolist() == [0.51] * 6
    text = (into / "study.csv").read_text(encoding="utf-8")
    assert "secret-host" not in text and str(outputs) not in text


def test_a_study_can_be_trained_in_parts(outputs: Path, tmp_path_factory: Any) -> None:
    whole, into = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
    write(collect([outputs]), "study", whole)
    runs = sorted((outputs / "runs").iterdir())
    later = tmp_path_factory.mktemp("later")  # the last runs of the sweep, one of them of both parts
    shutil.copytree(outputs / "sweeps", later / "sweeps")
    for run in runs[3:]:
        shutil.copytree(run, later / "runs" / run.name)
    for run in runs[4:]:
        shutil.rmtree(run)
    write(collect([outputs]), "study", into)
    old = read("study", into)
    assert old is not None and len(old.runs) == 4
    write(joined(collect([later]), old), "study", into)
    first, second = read("study", whole), read("study", into)
    assert first is not None and second is not None
    hosts = [json.loads(machine)[0] for machine in second.runs["machine"]]
    assert hosts == [1, 1, 1, 0, 0, 0]  # of the same name, but nobody knows that now
    pd.testing.assert_frame_equal(first.runs.drop(columns="machine"), second.runs.drop(columns="machine"))
    by_run = second.curves.sort_values(["run", "epoch"], ignore_index=True)
    pd.testing.assert_frame_equal(first.curves.sort_values(["run", "epoch"], ignore_index=True), by_run)
    assert {run: hits.tolist() for run, hits in first.correct.items()} == {
        run: hits.tolist() for run, hits in second.correct.items()
    }


def test_files_that_are_not_checked_in_give_no_runs(tmp_path: Path) -> None:
    assert read("study", tmp_path) is None
    assert Selection.of_sweep(None, "norms") is None


def test_hosts_are_numbered() -> None:
    machines = ['["b", "EPYC", 1]', None, '["a", "H100", 2]', '["b", "EPYC", 2]']
    assert without_hosts(machines) == ['[0, "EPYC", 1]', None, '[1, "H100", 2]', '[0, "EPYC", 2]']


def test_a_part_replaces_only_what_is_between_its_comments() -> None:
    page = "a\n<!-- part, written by x -->\n\nold\n\n<!-- end of part -->\nb\n"
    changed = insert(page, "part", "new\n")
    assert changed == "a\n<!-- part, written by x -->\n\nnew\n\n<!-- end of part -->\nb\n"
    assert insert(changed, "part", "new\n") == changed
    with pytest.raises(ValueError, match="no part between"):
        insert(page, "other", "new\n")


def test_paragraphs_are_wrapped_and_tables_and_code_are_not() -> None:
    long, row = "word " * 40, f"| {'cell ' * 30}|"
    text = tidy(f"# Title\n{long}\n- item\n  of two lines\n\n\n    code  here\n{row}\n![a](b.svg)\nend\n")
    assert text.startswith("# Title\n\nword word")
    assert max(len(line) for line in text.splitlines() if line.startswith("word")) <= 120
    assert "\n- item of two lines\n\n    code  here\n" in text
    assert f"{row.rstrip()}\n\n![a](b.svg)\n\nend\n" in text


def test_every_trick_with_a_claim_has_a_name() -> None:
    tricks = read_tricks()
    assert all(trick.name for trick in tricks.values())
    assert "†" not in "".join(trick.claim for trick in tricks.values())  # figures that nobody checked


def test_the_total_of_plans_adds_their_times(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = tmp_path / "plans.txt"
    monkeypatch.setattr("sys.argv", ["total.py", str(plans)])
    lines = [
        "a: 10 to run; 6 to 7 s, 2 at a time",
        "b: 1 to run; 1 to 2 min",
        "c: 3 finished",
        "d: 1 to run; about 40 s",
    ]
    for text, total in (("\n".join(lines), "in total 2 to 3 min, "), (lines[2], "nothing left to run")):
        plans.write_text(text)
        runpy.run_path(str(DOCS.parent / "scripts" / "total.py"), run_name="__main__")
        assert capsys.readouterr().out.startswith(total)
