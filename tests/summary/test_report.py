"""The report: everything is on one page, and only its own script is executed."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from processes import REPOSITORY, environment
from records import finish
from reports import ALERT, HOSTILE, Page, check_harmless, exercises, hostile, make
from typer.core import TyperGroup
from typer.main import get_command

from sweeper.__main__ import app, main
from sweeper.errors import UserError
from sweeper.files import write_json
from sweeper.summary.columns import HIDDEN, MEASURES, RESULTS
from sweeper.summary.effect_options import EffectOptions
from sweeper.summary.report import render, write_report

OF_PIXELS = ("best_val_miou", "test_miou")  # columns of segmentation, in reports of its runs


@pytest.fixture(autouse=True, scope="module")
def quick_files() -> Iterator[None]:
    """Skip syncing: the files need not survive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


def report(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "sweeper", "report", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False)


def test_everything_is_on_the_page(tmp_path: Path) -> None:
    exercises(tmp_path)
    text = render(tmp_path)
    page = Page(text)
    check_harmless(page)
    assert "://" not in text
    text_of_page = " ".join(page.texts)
    for expected in (
        "digits, 80 training + 20 validation + 30 test images of 3 classes",
        "15: 1 diverged, 2 failed, 12 finished",
        "78.0 s (0:01:18) in total",
        "0.0005, 0.001, 0.01",
        "best_val_acc is optimistic",
        "Mean ± standard deviation over the runs that differ only in seed",
        "74.5 ± 0.7",
        "Does model or optimizer.lr change test accuracy? 15 runs on digits, 2 seeds: 12 finished, 2 failed,",
        "2 failed: RuntimeError: out of memory",
        'File "loop.py", line 1, in fit',
        "c0ffee, with uncommitted changes",
        "x86_64 (cpu)",
        "python train.py data=digits",
        "The last run ended 2027-01-15 09:00 UTC.",
    ):
        assert expected in text_of_page
    assert text.count('class="mean"') >= 4 and "model=mlp" in text_of_page
    steps = [text for _, text in page.of("pre")]
    assert steps[0] == "python -m sweeper effects" and steps[-1] == "python train.py data=digits"
    defined = " ".join(text for _, text in page.of("dt")) + " ".join(text for _, text in page.of("wbr"))
    assert all(part in defined for name in {*RESULTS} - {*HIDDEN, *MEASURES, *OF_PIXELS} for part in name.split("_"))


def test_a_lost_run_is_among_the_failures(tmp_path: Path) -> None:
    exercises(tmp_path)
    record = finish(tmp_path, "gone", [0.5])
    write_json(
        record.folder / "status.json",
        (record.status() or {}) | {"state": "running", "heartbeat": 1e9, "pid": 2**22 + 1},
    )
    assert "1 lost: process disappeared without reporting a status" in " ".join(Page(render(tmp_path)).texts)


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        exercises(tmp_path / folder)
    shutil.copytree(tmp_path / "first", tmp_path / "third")
    pages = {write_report(tmp_path / folder).read_bytes() for folder in ("first", "second", "third", "first")}
    assert len(pages) == 1


def test_a_sweep_has_its_own_runs_and_command_and_needs_no_torch(tmp_path: Path) -> None:
    exercises(tmp_path)
    job = {
        "action": "train",
        "reason": "new",
        "epoch": None,
        "changed": [],
        "epochs": 3,
        "seconds": None,
        "heartbeat": None,
        "overrides": ["model=mlp"],
    }
    jobs = [job | {"run_id": run_id} for run_id in ("mlp-0.001-s0", "cnn-0.001-s0", "later")]
    jobs += [job | {"run_id": "", "action": "excluded"}, job | {"run_id": "later", "action": "duplicate"}]
    folder = tmp_path / "sweeps/few"
    folder.mkdir(parents=True)
    command = "python train.py -m model=mlp,cnn"
    write_json(folder / "sweep.json", {"command": command, "created": 1.0, "concurrency": 1, "jobs": jobs})
    done = report("few", "--output-dir", str(tmp_path), "--output", str(tmp_path / "deep/few.html"))
    assert done.stdout.strip() == str(tmp_path / "deep/few.html") and done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "jinja2" in imported and not imported & {"torch", "torchvision", "hydra", "matplotlib"}
    text = (tmp_path / "deep/few.html").read_text(encoding="utf-8")
    assert f">{command}</pre>" in text and "Sweep few" in text and "mlp-0.01-s0" not in text
    assert "5, 1 excluded, 1 duplicate, 1 without a readable run yet" in text
    with pytest.raises(UserError, match=r"sweep none not found in .*; choose from few"):
        write_report(tmp_path, "none")


def test_a_report_is_beside_its_sweep_and_the_report_of_all_runs_links_to_it(tmp_path: Path) -> None:
    exercises(tmp_path)
    name = "a b&c"
    job: dict[str, Any] = {
        "run_id": "mlp-0.001-s0",
        "action": "train",
        "reason": "new",
        "epoch": None,
        "changed": [],
        "epochs": 3,
    }
    job |= {"seconds": None, "heartbeat": None, "overrides": []}
    for sweep in (name, "unwritten"):
        (tmp_path / "sweeps" / sweep).mkdir(parents=True)
        plan = {"command": "python train.py -m seed=0", "created": 1.0, "concurrency": 1, "jobs": [job]}
        write_json(tmp_path / "sweeps" / sweep / "sweep.json", plan)
    whole = write_report(tmp_path)
    assert whole == tmp_path / "report.html" and not [link for link in links_of(whole) if link.startswith("sweeps/")]
    before = whole.read_bytes()
    file = write_report(tmp_path, name)
    assert file == tmp_path / "sweeps" / name / "report.html" and whole.read_bytes() == before
    assert "../../runs/mlp-0.001-s0/" in links_of(file) and "../../report.html" in links_of(file)
    linked = [link for link in links_of(write_report(tmp_path)) if link.startswith("sweeps/")]
    assert linked == ["sweeps/a%20b%26c/report.html"] and (tmp_path / unquote(linked[0])).is_file()
    assert "runs/mlp-0.001-s0/" in links_of(whole)
    elsewhere = links_of(write_report(tmp_path, output=tmp_path / "elsewhere.html"))
    assert not [link for link in elsewhere if "/" in link]


def links_of(file: Path) -> list[str]:
    page = Page(file.read_text(encoding="utf-8"))
    check_harmless(page)
    return [str(attributes["href"]) for attributes, _ in page.of("a")]


def test_each_dataset_has_a_section(tmp_path: Path) -> None:
    for number, fingerprint in enumerate(("f00d", "f00d", "beef")):
        for seed in (0, 1):
            norm = {"name": ("none", "batch", "batch")[number]}
            data = {"name": "digits" if fingerprint == "f00d" else "photos", "fingerprint": fingerprint}
            make(tmp_path, f"run-{number}-{seed}", [0.5 + number / 10], data=data, norm=norm, seed=seed)
    page = Page(render(tmp_path))
    sections = [attributes["id"] for attributes, _ in page.of("section") if attributes.get("class") == "dataset"]
    titles = [text for attributes, text in page.of("h2") if str(attributes.get("id")).endswith("-title")]
    assert sections == ["d1", "d2"] and titles == ["digits", "photos"]
    columns = [text for attributes, text in page.of("button") if attributes.get("type") == "button"]
    assert columns.count("norm") == 1  # photos have one norm only
    texts = " ".join(" ".join(page.texts).split())
    assert "Does norm change test accuracy? 6 finished runs on digits, photos, 2 seeds." in texts
    assert "norm=batch : no clear difference" in texts and "the 2 finished runs differ only in seed and data" in texts


def rates(output_dir: Path, fingerprint: str = "f00d", norms: tuple[str, ...] = ("none", "batch")) -> None:
    """Make three seeds of norms at two learning rates, of which the second is better."""
    for norm in norms:
        for rate in (0.01, 0.1):
            for seed in range(3):
                acc = 0.5 + (norm == "batch") * 0.1 + rate + seed / 100
                changes: dict[str, Any] = {
                    "norm": {"name": norm},
                    "optimizer": {"name": "adam", "lr": rate},
                    "seed": seed,
                }
                data = {"name": fingerprint, "fingerprint": fingerprint}
                make(output_dir, f"{fingerprint}-{norm}-{rate}-{seed}", [acc], data=data, **changes)


def test_the_report_takes_the_options_of_effects_and_says_which(tmp_path: Path) -> None:
    commands = get_command(app)
    assert isinstance(commands, TyperGroup)
    of_effects, of_report = (
        {option.name for option in commands.commands[name].params} for name in ("effects", "report")
    )
    assert of_effects - of_report == {"format"}
    rates(tmp_path)
    assert "Compared with" not in render(tmp_path) and "norm=batch" in render(tmp_path)
    asked = EffectOptions(["norm=batch"], ["optimizer.lr"], ["test_acc"], anytime=True, diverged_as_chance=True)
    texts = " ".join(" ".join(Page(render(tmp_path, asked=asked)).texts).split())
    typed = "--baseline norm=batch --tune optimizer.lr --measure test_acc --anytime --diverged-as-chance"
    assert f"Compared with {typed} ." in texts and f"python -m sweeper effects {typed}" in texts
    assert f"python -m sweeper report {typed} from" in texts
    assert "compared with norm=batch (" in texts and "optimizer.lr chosen on validation images" in texts
    assert "p: anytime-valid" in texts and "epochs to a common" not in texts
    for wrong in (EffectOptions(["nrom=batch"]), EffectOptions(tune=["lr"]), EffectOptions(measure=["acc"])):
        with pytest.raises(UserError, match=r"did you mean|no such axis|unknown measure"):
            render(tmp_path, asked=wrong)


def test_a_dataset_without_the_given_axis_says_so(tmp_path: Path) -> None:
    rates(tmp_path)
    rates(tmp_path, "beef", ("none",))
    texts = " ".join(" ".join(Page(render(tmp_path, asked=EffectOptions(["norm=batch"]))).texts).split())
    assert "Compared without the given baseline and --tune: --baseline: unknown axis norm" in texts
    assert "compared with norm=batch" in texts
    with pytest.raises(UserError, match="unknown axis nrom"):
        render(tmp_path, asked=EffectOptions(["nrom=batch"]))


def test_no_runs_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["sweeper", "report", "--output-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert re.fullmatch(f"error: there are no runs in {tmp_path}/runs; train one: .*", str(ended.value.code))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "runs",
    [
        [("one", [0.5], "finished")],
        [("one", [], "failed")],
        [("one", [], "failed"), ("two", [0.2], "diverged"), ("three", [], "interrupted")],
        [("nan", [math.nan, 0.5], "failed"), ("none", [], "finished"), ("good", [0.5, 0.5], "finished")],
    ],
)
def test_few_and_bad_runs_have_a_page(runs: list[tuple[str, list[float], str]], tmp_path: Path) -> None:
    for index, (name, accs, state) in enumerate(runs):
        make(tmp_path, name, accs, state, optimizer={"name": "adam", "lr": math.nan if index else None})
    page = Page(render(tmp_path))
    check_harmless(page)
    assert all(any(name in text for text in page.texts) for name, *_ in runs)
    for attributes, text in page.of("script"):
        if attributes.get("type") is not None:
            json.loads(text, parse_constant=pytest.fail)


def test_warnings_of_the_caption_are_on_the_page(tmp_path: Path) -> None:
    for seed in (0, 1):
        record = make(tmp_path, f"run-{seed}", [0.5], data={"name": "digits", "val_size": 0}, seed=seed)
        run = record.run() or {}
        run["code"]["core"]["training/loop.fit"] = "before"
        write_json(record.folder / "run.json", run)
    (tmp_path / "runs/notes").mkdir()
    texts = " ".join(Page(render(tmp_path)).texts)
    assert "Runs with data.val_size=0 selected their best epoch on test images" in texts
    assert "2 stale: trained with different code" in texts
    assert "stale; changed: training/loop.fit" in texts
    assert "(not readable as runs): notes" in texts


NONSENSE: list[Any] = [None, [], [[]], 7, [[1, 2]], [[1, "2"], [3, 4]], [[1, -2], [3, 4]]]


@pytest.mark.parametrize(
    "confusion, expected",
    [
        *((nonsense, "") for nonsense in NONSENSE),
        ([[1, 2], [3, 4]], "true \\ predicted 0 1 0 1 2 1 3 4"),
        (
            [[5, 0, 0], [0, 0, 0], [2, 0, 2]],
            "true \\ predicted ant bee cat ant 5 0 0 bee 0 0 0 cat 2 0 2",
        ),
        ([[1] * 101] * 101, "101 classes are too many to show"),
    ],
)
def test_any_confusion_matrix_has_a_page(confusion: Any, expected: str, tmp_path: Path) -> None:
    make(tmp_path, "a-run", [0.5]).write_result({"confusion": confusion})
    texts = " ".join(" ".join(Page(render(tmp_path)).texts).split())
    assert ("Confusion matrix" in texts) == bool(expected) and expected in texts


def test_no_text_of_a_record_is_interpreted(tmp_path: Path) -> None:
    hostile(tmp_path)
    text = render(tmp_path)
    page = Page(text)
    check_harmless(page)
    assert "49" not in "".join(page.texts[:20]) and "{{ 7 * 7 }}" in text
    assert sum(HOSTILE.partition("\n")[0] in text for text in page.texts) > 10
    assert ALERT not in text and "<img" not in text


def make_runs(output_dir: Path, runs: int) -> None:
    """Make runs of 100 epochs: four fifths of them five seeds each of learning rates, the others widths."""
    for number in range(runs):
        accs = [0.5 + 0.4 * (1 - 1 / epoch) + number / 10_000 for epoch in range(1, 101)]
        is_seed = number < runs * 4 // 5
        changes: dict[str, Any] = {
            "optimizer": {"name": "adam", "lr": (1 + number // 5) / 1000},
            "seed": number % 5 if is_seed else 0,
            "width": 0 if is_seed else number,
        }
        make(output_dir, f"run-{number}", accs, **changes)


def test_500_runs_are_a_small_page_in_at_most_ten_times_the_time_of_50(tmp_path: Path) -> None:
    sizes, seconds = {}, {}
    for runs in (50, 500):
        make_runs(tmp_path / str(runs), runs)
    for runs in (50, 50, 500):  # the first imports and compiles
        folder = tmp_path / str(runs)
        started = time.process_time()
        sizes[runs] = write_report(folder).stat().st_size
        seconds[runs] = time.process_time() - started
    assert seconds[500] < 10 * seconds[50]
    assert sizes[500] < 5_000_000
