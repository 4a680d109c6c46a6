"""One attempt at a run: go on from where it stands, train, measure, and keep its records true whatever happens."""

import logging
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import torch

from sweeper.config import Config
from sweeper.errors import Diverged, Stopped
from sweeper.runs import checkpoint
from sweeper.runs.console import Console, log_to
from sweeper.runs.directory import RunDirectory, convergence
from sweeper.runs.signals import StopFlag
from sweeper.runs.tensorboard import Events
from sweeper.training.build import Built
from sweeper.training.loop import Progress, Row, confusion, evaluate, fit

log = logging.getLogger(__name__)

HEARTBEAT = 10.0  # seconds


@dataclass
class Attempt:
    """The caller owns the run and has created its record.

    Attributes:
        run: what run.json says.
        number: how many attempts there were, with this one.
    """

    config: Config
    record: RunDirectory
    run: dict[str, Any]
    number: int
    progress: Progress = field(default_factory=Progress)
    built: Built = field(init=False)

    def live(self, build: Callable[[], Built]) -> dict[str, Any]:
        """Build, train to the end and measure.

        Returns:
            What result.json says.

        Raises:
            UserError: a checkpoint must not be loaded, or the images have changed meanwhile.
            Diverged: the loss is not finite any more.
            SystemExit: a signal stopped the attempt; another one goes on from there.
        """
        with log_to(self.record.folder / "train.log"), StopFlag() as stop:
            self.write_status("running")
            try:
                self.built = build()
                self.progress = self.resume()
                self.write_status("running")
                self.train(stop)
                result = self.measure()
            except (Stopped, KeyboardInterrupt):
                self.write_status("interrupted")
                epoch = self.progress.epoch
                log.info("%s: interrupted in epoch %d; the same command goes on", self.record.run_id, epoch)
                sys.exit(128 + (stop.signum or signal.SIGINT))
            except Diverged as error:
                log.debug("diverged: %s", error)  # in train.log; who started the run tells the user
                self.record.write_metrics(self.progress.rows)  # synced: nothing goes on from the checkpoint
                self.write_status("diverged", str(error))
                raise Diverged(f"{self.record.run_id} diverged: {error}") from error
            except BaseException:
                log.debug("failed", exc_info=True)
                self.write_status("failed", traceback.format_exc())
                raise
            self.write_status("finished")
        for path in (self.record.last, self.record.best):
            checkpoint.previous(path).unlink(missing_ok=True)
        if stop.signum is not None:  # it came too late for this run, but whoever runs the next one must know
            sys.exit(128 + stop.signum)
        return result

    def write_status(self, state: str, error: str | None = None) -> None:
        epoch, step = self.progress.epoch, self.progress.batch
        self.record.write_status(state=state, attempt=self.number, epoch=epoch, step=step, error=error)

    def resume(self) -> Progress:
        """Go on from the newest whole checkpoint, with metrics and best.pt brought into line; without one, begin."""
        for path in (self.record.last, checkpoint.previous(self.record.last)):
            try:
                saved = checkpoint.load(path, self.record.run_id)
            except FileNotFoundError:
                continue
            except checkpoint.Damaged as error:
                log.warning("%s; going on from the one before it", error)
                path.unlink()  # lest the next save keeps it as the previous one
                continue
            if not self.best_matches(saved):
                log.warning("%s is not that of %s; starting again", self.record.best, path)
                break
            progress = checkpoint.restore(saved, self.built.training.model, self.built.training.optimizer)
            self.record.write_metrics(progress.rows, sync=False)
            log.info("%s: going on in epoch %d after step %d", self.record.run_id, progress.epoch, progress.batch)
            self.warn_of_other_conditions()
            return progress
        for left_over in self.record.checkpoints.glob("*"):
            left_over.unlink()
        self.record.write_metrics([], sync=False)
        num_images, num_parameters = len(self.built.train.indices), self.run["parameters"]
        log.info(
            "%s: starting, %s training images, %s parameters",
            self.record.run_id,
            f"{num_images:,}",
            f"{num_parameters:,}",
        )
        return Progress()

    def best_matches(self, saved: checkpoint.Checkpoint) -> bool:
        """Whether best.pt holds the checkpoint's best epoch; brought about where it can be.

        A kill between the two saves leaves best.pt an epoch behind, whose weights last.pt has. Going on from the
        checkpoint before leaves it an epoch ahead, and the one before it is the right one.
        """
        best = Progress(**saved["progress"]).best
        if best is None:
            return True
        for path in (self.record.best, checkpoint.previous(self.record.best)):
            try:
                kept = checkpoint.load(path, self.record.run_id)
            except (FileNotFoundError, checkpoint.Damaged):
                continue
            if kept["epoch"] == best["epoch"]:
                path.replace(self.record.best)
                return True
        if best["epoch"] != saved["progress"]["epoch"] - 1 or saved["progress"]["batch"] > 0:
            return False
        self.save_best(best, saved["model"])
        return True

    def warn_of_other_conditions(self) -> None:
        """Say where bit-exact resumption cannot be hoped for."""
        now = {"threads": torch.get_num_threads(), "torch": version("torch"), "host": socket.gethostname()}
        before = {"threads": self.run["threads"], "torch": self.run["versions"]["torch"], "host": self.run["host"]}
        now["compile"], before["compile"] = self.config.compile, self.run["config"].get("compile", False)
        for name, value in now.items():
            if before[name] != value:
                log.warning(
                    "%s: began with %s %s and goes on with %s: the last digits may differ from an uninterrupted run's",
                    *(self.record.run_id, name, before[name], value),
                )

    def save(self) -> None:
        training = self.built.training
        state = checkpoint.capture(self.record.run_id, training.model, training.optimizer, self.progress)
        checkpoint.save(self.record.last, state)

    def save_best(self, best: Row, model_state: dict[str, Any]) -> None:
        norm = self.run["effective"].get("norm", {"name": "none"})
        content = {"format": checkpoint.FORMAT, "run_id": self.record.run_id, "model": model_state, "norm": norm}
        checkpoint.save(self.record.best, content | {"epoch": best["epoch"], "val_acc": best["val_acc"]})

    def open_events(self, rows: list[Row]) -> Events:
        return Events(self.record.folder / "tensorboard", self.run["created"], rows)

    def train(self, stop: StopFlag) -> None:
        """Fit, with a checkpoint after every epoch, at every signal and every few minutes."""
        last_save = last_beat = time.monotonic()
        events: list[Events] = []  # opened at the first row: importing TensorBoard can wait until training runs

        def after_step() -> None:
            nonlocal last_save, last_beat
            now = time.monotonic()
            if stop.signum is not None or now - last_save > 60 * self.config.checkpoint_minutes:
                self.save()
                last_save = now
            if stop.signum is not None:
                raise Stopped
            if now - last_beat > HEARTBEAT:
                last_beat = now
                self.write_status("running")
            console.step(self.progress)

        def after_epoch(row: Row) -> None:
            nonlocal last_save
            self.save()
            last_save = time.monotonic()
            if self.progress.best is row:
                self.save_best(row, self.built.training.model.state_dict())
            self.record.write_metrics(self.progress.rows, sync=False)  # the checkpoint has them, too
            self.write_status("running")
            if not events:
                events.append(closing.enter_context(self.open_events(self.progress.rows[:-1])))
            events[0].write(row)
            console.epoch(row)

        with Console(self.record.run_id, self.config.epochs, len(self.built.train)) as console, ExitStack() as closing:
            fit(
                self.built.training,
                self.built.train,
                self.built.val_batches,
                self.progress,
                epochs=self.config.epochs,
                patience=self.config.patience,
                after_step=after_step,
                after_epoch=after_epoch,
            )

    def measure(self) -> dict[str, Any]:
        """Look at the test images, once, with the weights of the best epoch, and write the result."""
        best, rows, built = self.progress.best, self.progress.rows, self.built
        assert best is not None
        checkpoint.load_model(checkpoint.load(self.record.best, self.record.run_id), built.training.model)
        test_loss, test_acc, predictions = evaluate(built.training, built.test_batches())
        result = {
            "best_val_acc": best["val_acc"],
            "best_epoch": best["epoch"],
            "test_acc": test_acc,
            "test_loss": test_loss,
            **convergence(rows, self.config.convergence_fraction, self.config.target_acc),
            "epochs": len(rows),
            "train_seconds": sum(row["train_seconds"] for row in rows),
            "eval_seconds": sum(row["eval_seconds"] for row in rows),
            "confusion": confusion(built.test.labels, predictions, len(self.run["dataset"]["classes"])).tolist(),
        }
        self.record.write_metrics(rows)
        self.record.write_result(result)
        with self.open_events(rows) as events:
            events.write_hparams(self.run["effective"], result)
        return result
