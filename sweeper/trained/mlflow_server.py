"""Runs in an experiment of an MLflow server: one MLflow run for each run, found again by its tags."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sweeper.errors import UserError
from sweeper.summary.columns import format_override
from sweeper.trained.push import Content, Item, Report, Sent, require_package

if TYPE_CHECKING:
    from mlflow.entities import Run

KEY, DIGEST, WEIGHTS = "sweeper.run_id", "sweeper.digest", "sweeper.weights"  # tags
DEFAULT_URI = "http://127.0.0.1:5000"  # where `mlflow server` listens
MAX_PARAMS, MAX_METRICS, MAX_RUNS = 100, 1000, 1000  # of a request
FIRST_TIMEOUT, RETRIES = 10, 3  # seconds for the first answer; of later requests, which a busy server may refuse
MAX_REASON = 200  # characters
T = TypeVar("T")


class MlflowTracker:
    """An experiment of an MLflow server.

    An MLflow run gets the tag DIGEST last: one without it was sent only partly, and is deleted before it is sent again.

    Args:
        uri: of the server; None for MLFLOW_TRACKING_URI, or else DEFAULT_URI.
        experiment: its name; created where it does not exist.

    Raises:
        UserError: MLflow is not installed, or the server does not answer or refuses; in each method as well.
    """

    def __init__(self, uri: str | None, experiment: str) -> None:
        require_package("mlflow", "mlflow")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(RETRIES))
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        from mlflow.tracking.client import MlflowClient

        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
        with (
            self.explained(),
            environment(MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", MLFLOW_HTTP_REQUEST_TIMEOUT=str(FIRST_TIMEOUT)),
        ):
            self.client = MlflowClient(self.uri)
            found = self.client.get_experiment_by_name(experiment)
        if found is not None and found.lifecycle_stage != "active":
            raise UserError(f"experiment {experiment} is deleted at {self.uri}; restore it, or choose another name")
        with self.explained():
            self.experiment = found.experiment_id if found else self.client.create_experiment(experiment)
        self.runs: dict[str, list[Run]] = {}

    def sent(self) -> Mapping[str, Sent]:
        self.runs, token = {}, None
        while True:
            with self.explained():
                page = self.client.search_runs(
                    [self.experiment], f"tags.`{KEY}` LIKE '%'", max_results=MAX_RUNS, page_token=token
                )
            for run in page:
                self.runs.setdefault(run.data.tags[KEY], []).append(run)
            token = page.token
            if not token:
                break
        tags = {key: run.data.tags for key, runs in self.runs.items() for run in runs if DIGEST in run.data.tags}
        return {key: Sent(found[DIGEST], WEIGHTS in found) for key, found in tags.items()}

    def send(self, item: Item) -> None:
        for run in self.runs.get(item.key, []):
            if item.weights and run.data.tags.get(DIGEST) == item.digest:
                self.add_weights(run.info.run_id, item.weights)
                return
        content = item.read()
        with self.explained():
            run_id = self.create(item.key, item.key, content.started, {"sweeper.command": content.command})
            self.log(run_id, content)
            for file in content.files:
                self.client.log_artifact(run_id, str(file))
            if item.weights:
                self.add_weights(run_id, item.weights)
            self.client.set_terminated(run_id, end_time=milliseconds(clock(content)[-1]))
            self.client.set_tag(run_id, DIGEST, item.digest)

    def log(self, run_id: str, content: Content) -> None:
        """Log settings as parameters, epochs as steps, and results at the step of the best epoch."""
        from mlflow.entities import Metric, Param

        params = [Param(name, format_override(value)) for name, value in content.settings.items()]
        metrics = [
            Metric(name, value, milliseconds(time), int(row["epoch"]))
            for row, time in zip(content.rows, clock(content), strict=True)
            for name, value in row.items()
            if name != "epoch"
        ]
        end, best = milliseconds(clock(content)[-1]), int(content.results.get("best_epoch", len(content.rows)))
        metrics += [Metric(name, value, end, best) for name, value in content.results.items()]
        for some_params in chunks(params, MAX_PARAMS):
            self.client.log_batch(run_id, params=some_params)
        for some_metrics in chunks(metrics, MAX_METRICS):
            self.client.log_batch(run_id, metrics=some_metrics)

    def add_weights(self, run_id: str, file: Path) -> None:
        with self.explained():
            self.client.log_artifact(run_id, str(file))
            self.client.set_tag(run_id, WEIGHTS, "true")

    def send_report(self, report: Report) -> None:
        with self.explained(), tempfile.TemporaryDirectory() as folder:
            run_id = self.create(report.key, report.name, None, {})
            file = Path(folder) / "report.html"
            file.write_text(report.page, encoding="utf-8")
            self.client.log_artifact(run_id, str(file))
            self.client.set_terminated(run_id)
            self.client.set_tag(run_id, DIGEST, report.digest)

    def create(self, key: str, name: str, started: float | None, tags: dict[str, str]) -> str:
        """Create an MLflow run in place of those with the same key; return its ID."""
        for run in self.runs.get(key, []):
            self.client.delete_run(run.info.run_id)
        time = None if started is None else milliseconds(started)
        run = self.client.create_run(self.experiment, start_time=time, tags={KEY: key, **tags}, run_name=name)
        return str(run.info.run_id)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn an error of MLflow or of the network into a sentence."""
        from mlflow.exceptions import MlflowException
        from requests import RequestException

        try:
            yield
        except UserError:
            raise
        except (MlflowException, RequestException, OSError, ImportError) as error:
            if isinstance(error.__context__, RequestException) or isinstance(error, RequestException):
                advice = "start one with `mlflow server`, or name another with --uri"
                raise UserError(f"no MLflow server answers at {self.uri}: {advice}") from error
            reason = " ".join(str(error).split())
            raise UserError(f"MLflow at {self.uri}: {reason[:MAX_REASON]}") from error


def clock(content: Content) -> list[float]:
    """Return when each epoch ended, in seconds since 1970, as if the run had trained without interruption."""
    times, time = list[float](), content.started
    for row in content.rows:
        time += row.get("train_seconds", 0.0) + row.get("eval_seconds", 0.0)
        times.append(time)
    return times


def milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (values[start : start + size] for start in range(0, len(values), size))


@contextmanager
def environment(**changes: str) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
