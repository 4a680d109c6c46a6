"""Runs that equal commands have resolved before are found without torch, as `resolve` and `decide` would find them."""

import copy
import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from processes import REPOSITORY
from support import composed, record_end

from sweeper.config import Config
from sweeper.data import image_folders
from sweeper.errors import Diverged
from sweeper.runs import known as module
from sweeper.runs.job import Job
from sweeper.runs.known import FOLDER, KnownRuns, remember
from sweeper.runs.reuse import reuse_known
from sweeper.runs.run import run
from sweeper.runs.spec import RunSpec, resolve
from sweeper.runs.states import Action, decide

RESULT = {"best_val_acc": 0.75, "best_epoch": 1, "test_acc": 0.5}
compose = functools.cache(composed)


@pytest.fixture
def config(small: list[str], tmp_path: Path) -> Config:
    return replace(copy.deepcopy(compose(*small, "model=softmax", "norm=batch")), output_dir=str(tmp_path))


def finished(config: Config) -> RunSpec:
    """Resolve and remember a config, whose run is recorded as finished."""
    spec = resolve(config)
    remember(config, spec)
    assert not list(Path(config.output_dir).iterdir())  # a plan that is refused leaves nothing
    record_end(spec.record, spec.code, RESULT)
    remember(config, spec)
    return spec


def test_a_finished_run_is_found_as_it_was_resolved(config: Config) -> None:
    assert KnownRuns().to_skip(config) is None
    spec = finished(config)
    found = KnownRuns().to_skip(config)
    assert found is not None
    known, decision = found
    assert (known.run_id, known.effective, known.code) == (spec.run_id, spec.effective, spec.code)
    assert (known.record.folder, known.missing_slots, known.num_test) == (
        spec.record.folder,
        spec.missing_slots,
        spec.num_test,
    )
    assert known.missing_slots == ("activation", "norm", "dropout")
    assert decision == decide(spec.record, spec.code, "same_code")
    assert decision.action is Action.SKIP


@pytest.mark.parametrize(
    "change",
    [
        lambda config: replace(config, seed=7),
        lambda config: replace(config, threads=0),  # which `resolve` refuses
        lambda config: replace(config, sweep=replace(config.sweep, reuse="none")),
        lambda config: replace(config, data=replace(config.data, image_size=9)),
        lambda config: replace(config, model=replace(config.model, weights="imagenet")),
        lambda config: replace(config, loss=replace(config.loss, teacher="x")),
        lambda config: replace(config, data=replace(config.data, root="/nowhere")),
    ],
)
def test_another_command_is_resolved(change: Callable[[Config], Config], config: Config) -> None:
    finished(config)
    assert KnownRuns().to_skip(change(config)) is None


def test_what_does_not_change_a_run_is_not_resolved_again(config: Config) -> None:
    finished(config)
    assert KnownRuns().to_skip(replace(config, threads=2, device="cpu", checkpoint_minutes=1.0)) is not None


def test_a_run_that_did_not_finish_is_resolved(config: Config) -> None:
    spec = finished(config)
    spec.record.write_status(state="interrupted")
    assert KnownRuns().to_skip(config) is None


def test_after_a_change_of_the_program_runs_are_resolved_again(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = finished(config)
    monkeypatch.setattr(module, "code_of", lambda _: {"core": {"training/loop.fit": "another"}})
    assert KnownRuns().to_skip(config) is None  # stale
    monkeypatch.undo()
    monkeypatch.setattr(module, "program_digest", lambda: "another")
    assert KnownRuns().to_skip(config) is None
    remember(config, spec)
    assert KnownRuns().to_skip(config) is not None
    (folder,) = (Path(config.output_dir) / FOLDER).iterdir()
    assert folder.name == "another"  # what the program before resolved is gone


@pytest.mark.parametrize("content", ["", "{}", '{"schema": 2}', '{"schema": 2, "fingerprint": 3}'])
def test_a_damaged_file_is_no_knowledge(content: str, config: Config) -> None:
    spec = finished(config)
    (file,) = (spec.record.folder.parent.parent / FOLDER).glob("*/*")
    file.write_text(content)
    assert KnownRuns().to_skip(config) is None


def test_other_images_of_the_same_key_are_resolved(config: Config) -> None:
    spec = finished(config)
    (file,) = (spec.record.folder.parent.parent / FOLDER).glob("*/*")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"fingerprint": "another"}))
    assert KnownRuns().to_skip(config) is None


def test_other_files_are_resolved_and_remembered(config: Config, image_root: Path, tmp_path: Path) -> None:
    finished(config)
    root = tmp_path / "other"
    shutil.copytree(image_root, root)
    moved = replace(config, data=replace(config.data, root=str(root)))
    remember(moved, resolve(moved))
    assert KnownRuns().to_skip(moved) is not None
    next(root.glob("train/*/*")).touch()
    assert KnownRuns().to_skip(moved) is None
    remember(moved, resolve(moved))
    assert KnownRuns().to_skip(moved) is not None


def test_a_command_lists_the_images_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(config)  # decodes them
    listed: list[Path] = []
    scan = image_folders.listed

    def counted(root: Path, *sizes: Any) -> image_folders.Listing:
        listed.append(root)
        return scan(root, *sizes)

    monkeypatch.setattr(image_folders, "listed", counted)
    config, job = replace(config, epochs=1), Job("python train.py")
    for is_known in (False, True):
        assert (reuse_known(config, job) is not None) is is_known
        if not is_known:
            run(config, job)
        assert len(listed) == 1
        listed.clear()


def test_a_known_result_is_reported(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    spec = finished(config)
    assert reuse_known(config, Job("python train.py norm=batch")) == 0.75
    warning, result, following = (record.getMessage() for record in caplog.records)
    assert warning == "model=softmax has no norm slot; norm=... is ignored"
    assert result == f"{spec.run_id}: already finished, best val_acc 0.7500 in epoch 1, test_acc 0.5000"
    assert following.startswith(f"next: python -m sweeper errors {spec.run_id[-10:]} --output-dir ")
    record_end(spec.record, spec.code, None)
    with pytest.raises(Diverged, match=f"^{spec.run_id} already diverged"):
        reuse_known(config, Job("python train.py"))


def test_a_finished_run_needs_no_torch(config: Config, small: list[str], tmp_path: Path) -> None:
    finished(config)
    arguments = ["train.py", *small, "model=softmax", "norm=batch", f"output_dir={tmp_path}"]
    code = f"import runpy, sys; sys.argv = {arguments}; runpy.run_path('train.py', run_name='__main__')"
    spy = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {code}"
    done = subprocess.run([sys.executable, "-c", spy], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "already finished" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"
