"""Runs in trackers: on a real MLflow server of this machine, and as W&B's offline runs."""

import json
import struct
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from records import finish, make

from sweeper.__main__ import app
from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.trained.push import Item, Report, Sent, push, require_package

ACCS = [0.4, 0.6, 0.5]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """An output folder with two finished runs, one that diverged and two with damaged records."""
    for seed, accs in enumerate([ACCS, ACCS[:2]]):
        run = {"created": 1000.0, "command": f"python train.py seed={seed}"}
        record = finish(tmp_path, f"mlp-s{seed}-00000000{seed:02}", accs, seed=seed, run=run)
        record.best.write_bytes(b"weights")
    make(tmp_path, "mlp-s2-0000000002", ACCS, "diverged", seed=2)
    make(tmp_path, "mlp-s3-0000000003", ACCS, "finished", seed=3)
    finish(tmp_path, "mlp-s4-0000000004", ACCS, seed=4).write_metrics([{"epoch": "1"}])
    return tmp_path


def retrain(outputs: Path) -> None:
    """Replace a run's record as training it again does."""
    record = RunDirectory(outputs / "runs" / "mlp-s0-0000000000")
    record.write_result((record.result() or {}) | {"test_acc": 0.9})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of MLflow's server, with its file store."""
    pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # without the migrations of a database
        patch.setenv("_MLFLOW_SERVER_FILE_STORE", str(folder / "store"))
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", "mlflow-artifacts:/")
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", str(folder / "artifacts"))
        patch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
        with warnings.catch_warnings(action="ignore"):
            import mlflow.server
            import starlette.middleware.wsgi  # which a search imports  # noqa: F401
            from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):  # type: ignore[misc]  # it is not looked at, see pyproject.toml
            def log_request(self, *_: object) -> None:
                pass

        serving = make_server("127.0.0.1", 0, mlflow.server.app, threaded=True, request_handler=Quiet)
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()
        serving.server_close()


class Mlflow:
    """Pushes to an experiment of the server, and what is there."""

    def __init__(self, uri: str, outputs: Path, experiment: str, capsys: pytest.CaptureFixture[str]) -> None:
        from mlflow import MlflowClient

        self.uri, self.outputs, self.experiment, self.capsys = uri, outputs, experiment, capsys
        self.client = MlflowClient(uri)

    def push(self, *options: str) -> str:
        where = ["--uri", self.uri, "--experiment", self.experiment, "--output-dir", str(self.outputs)]
        app(["push", "mlflow", *where, *options], standalone_mode=False)
        return self.capsys.readouterr().out

    def runs(self) -> dict[str, Any]:
        experiment = self.client.get_experiment_by_name(self.experiment)
        runs = self.client.search_runs([experiment.experiment_id])
        names = [run.info.run_name for run in runs]
        assert len(set(names)) == len(names)
        return dict(zip(names, runs, strict=True))

    def files(self, run: Any) -> list[str]:
        return sorted(file.path for file in self.client.list_artifacts(run.info.run_id))


@pytest.fixture
def mlflow(server: str, outputs: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Mlflow:
    return Mlflow(server, outputs, request.node.name, capsys)


def test_mlflow_gets_settings_curves_results_and_files_once(mlflow: Mlflow) -> None:
    left_out = "left out: 2 damaged, 1 diverged"
    assert mlflow.push() == f"sent: 2 runs and the report; {left_out}\n"
    runs = mlflow.runs()
    assert sorted(runs) == ["mlp-s0-0000000000", "mlp-s1-0000000001", "report of all runs"]
    run = runs["mlp-s0-0000000000"]
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("FINISHED", 1_000_000, 1_006_000)
    assert {name: run.data.params[name] for name in ("model", "model.hidden", "optimizer.lr", "seed")} == {
        "model": "mlp",
        "model.hidden": "[1024]",
        "optimizer.lr": "0.001",
        "seed": "0",
    }
    assert run.data.tags["sweeper.command"] == "python train.py seed=0"
    history = mlflow.client.get_metric_history(run.info.run_id, "val_acc")
    assert [(point.step, point.value, point.timestamp) for point in history] == [
        (1, 0.4, 1_002_000),
        (2, 0.6, 1_004_000),
        (3, 0.5, 1_006_000),
    ]
    (test_acc,) = mlflow.client.get_metric_history(run.info.run_id, "test_acc")
    assert (test_acc.step, test_acc.value) == (2, 0.5)
    assert mlflow.files(run) == ["result.json", "run.json"]
    assert mlflow.files(runs["report of all runs"]) == ["report.html"]
    assert mlflow.push() == f"sent: 0 runs; already there: 2 runs; {left_out}\n"
    assert {name: run.info.run_id for name, run in mlflow.runs().items()} == {
        name: run.info.run_id for name, run in runs.items()
    }


def test_weights_are_added_to_what_mlflow_has_and_a_run_trained_again_replaces_it(mlflow: Mlflow) -> None:
    chosen = ("--where", "seed=0")
    assert mlflow.push(*chosen) == "sent: 1 run and the report\n"
    before = mlflow.runs()["mlp-s0-0000000000"]
    assert mlflow.push(*chosen, "--weights") == "sent: 1 run\n"
    run = mlflow.runs()["mlp-s0-0000000000"]
    assert run.info.run_id == before.info.run_id and mlflow.files(run) == ["best.pt", "result.json", "run.json"]
    for options in ((), ("--weights",)):
        assert mlflow.push(*chosen, *options) == "sent: 0 runs; already there: 1 run\n"
    retrain(mlflow.outputs)
    assert mlflow.push(*chosen) == "sent: 1 run and the report\n"
    assert mlflow.runs()["mlp-s0-0000000000"].data.metrics["test_acc"] == 0.9
    assert sorted(mlflow.runs()) == ["mlp-s0-0000000000", "report of all runs, seed=0"]


def test_a_partly_sent_run_is_sent_again(mlflow: Mlflow) -> None:
    mlflow.push("--where", "seed=0")
    half = mlflow.runs()["mlp-s0-0000000000"].info.run_id
    mlflow.client.delete_tag(half, "sweeper.digest")  # as where the push ended before
    assert mlflow.push("--where", "seed=0") == "sent: 1 run\n"
    assert mlflow.runs()["mlp-s0-0000000000"].info.run_id != half


def test_a_server_that_does_not_answer_is_named_at_once(server: str, outputs: Path) -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match=r"^no MLflow server answers at http://127\.0\.0\.1:9: start one with"):
        app(["push", "mlflow", "--uri", "http://127.0.0.1:9", "--output-dir", str(outputs)], standalone_mode=False)
    assert time.monotonic() - start < 10  # MLflow itself tries for minutes


def test_what_mlflow_refuses_is_one_sentence(mlflow: Mlflow) -> None:
    mlflow.push("--where", "seed=0")
    mlflow.client.delete_experiment(mlflow.client.get_experiment_by_name(mlflow.experiment).experiment_id)
    with pytest.raises(UserError, match=rf"^experiment {mlflow.experiment} is deleted at {mlflow.uri}"):
        mlflow.push()
    with pytest.raises(UserError, match=r"^MLflow at ftp:/x: .*unsupported URI"):
        mlflow.push("--uri", "ftp:/x")


@pytest.fixture(scope="module")
def wandb() -> Iterator[Any]:
    module = pytest.importorskip("wandb")
    yield module
    module.teardown()


def records_of(file: Path) -> list[Any]:
    """Return the records of an offline run: a log in LevelDB's format, with a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, position, record, found = file.read_bytes(), 7, b"", []
    while position + 7 <= len(content):
        if (rest := 32768 - position % 32768) < 7:
            position += rest
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(Record.FromString(record))
            record = b""
    return found


def values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_wandb_gets_offline_runs_with_the_same_ids_without_login(
    wandb: Any,
    outputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(outputs / "home"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)

    def push(*options: str) -> str:
        app(["push", "wandb", "--output-dir", str(outputs), *options], standalone_mode=False)
        sent, upload = capsys.readouterr().out.splitlines()
        assert upload == f"to upload: wandb sync {outputs / 'wandb'}"
        return str(sent)

    def folders() -> dict[str, Path]:
        found = list((outputs / "wandb").glob("offline-run-*"))
        by_id = {folder.name.rpartition("-")[2]: folder for folder in found}
        assert len(by_id) == len(found)
        return by_id

    assert push() == "sent: 2 runs and the report; left out: 2 damaged, 1 diverged"
    first = folders()
    assert len(first) == 3 and {"0000000000", "0000000001"} < set(first)
    records = records_of(first["0000000000"] / "run-0000000000.wandb")
    (run,) = (record.run for record in records if record.HasField("run"))
    assert (run.run_id, run.display_name, run.project) == ("0000000000", "mlp-s0-0000000000", "sweeper")
    config = values(item for record in records for item in record.config.update)
    assert config["optimizer.lr"] == 0.001 and config["command"] == "python train.py seed=0"
    rows = [values(record.history.item) for record in records if record.HasField("history")]
    assert [(row["_step"], row["val_acc"]) for row in rows] == list(enumerate(ACCS, start=1))
    summary = values(item for record in records for item in record.summary.update)
    assert summary["test_acc"] == 0.5 and summary["best_epoch"] == 2
    assert {item.path for record in records for item in record.files.files} == {"run.json", "result.json"}
    assert push().startswith("sent: 0 runs; already there: 2 runs")
    assert folders() == first
    retrain(outputs)
    (first["0000000001"] / "sweeper.json").unlink()  # as where the push ended before
    assert push("--weights", "--where", "model=mlp").startswith("sent: 2 runs and the report")
    now = folders()
    assert set(first) < set(now) and len(now) == 4
    assert (now["0000000000"] / "files" / "best.pt").read_bytes() == b"weights"
    records = records_of(now["0000000000"] / "run-0000000000.wandb")
    assert values(item for record in records for item in record.summary.update)["test_acc"] == 0.9
    with pytest.raises(UserError, match=r"^W&B: Invalid project name 'a/b'"):
        push("--project", "a/b")


class Slow:
    """A tracker that refuses to be sent anything twice, and that answers two pushes at once if both ask."""

    def __init__(self) -> None:
        self.has: dict[str, Sent] = {}
        self.both = threading.Barrier(2)

    def sent(self) -> dict[str, Sent]:
        there = dict(self.has)
        with suppress(threading.BrokenBarrierError):
            self.both.wait(0.3)
        return there

    def send(self, item: Item | Report) -> None:
        assert item.key not in self.has
        self.has[item.key] = Sent(item.digest)

    send_report = send


def test_two_pushes_at_once_send_everything_once(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeper.trained.push.make_report", lambda *_: Report("report-1", "report", "digest", "page"))
    tracker = Slow()
    with ThreadPoolExecutor(2) as pool:
        pushes = [pool.submit(push, outputs, None, [], lambda: tracker, weights=False) for _ in range(2)]
        lines = sorted(done.result().partition(";")[0] for done in pushes)
    assert lines == ["sent: 0 runs", "sent: 2 runs and the report"]
    assert len(tracker.has) == 3


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tracker_of_nobody").mkdir()  # as W&B's own folder of runs, which is no package
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("tracker_of_nobody", "tracker_of_noone"):
        with pytest.raises(UserError, match=rf"^push mlflow needs {name}: pip install -e '\.\[tracking\]'"):
            require_package("mlflow", name)


def test_a_selection_without_finished_runs_and_missing_weights_are_refused_first(outputs: Path) -> None:
    def push(*options: str) -> None:
        where = ["--uri", "http://127.0.0.1:9", "--output-dir", str(outputs)]
        app(["push", "mlflow", *where, *options], standalone_mode=False)

    with pytest.raises(UserError, match=r"^no run of this selection is finished; left out: 1 diverged$"):
        push("--where", "seed=2")
    with pytest.raises(UserError, match="no sweeps in"):
        push("nothing")
    (outputs / "runs" / "mlp-s1-0000000001" / "checkpoints" / "best.pt").unlink()
    with pytest.raises(UserError, match=r"best\.pt is missing: push without --weights"):
        push("--weights")
