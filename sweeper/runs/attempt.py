"""An attempt at a run: resume, train, evaluate, and keep the records accurate whatever happens."""

import errno
import logging
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import torch
from numpy.typing import NDArray

from sweeper.errors import Diverged, Stopped, WriteError, reason_of
from sweeper.runs import checkpoint
from sweeper.runs.console import Console
from sweeper.runs.directory import RunDirectory
from sweeper.runs.error_images import error_sheet, most_confident
from sweeper.runs.evaluate import evaluate_test_images, evaluate_views
from sweeper.runs.measures import measure
from sweeper.runs.naming import name_of
from sweeper.runs.predictions import write_masks, write_predictions
from sweeper.runs.sample_images import sample_images
from sweeper.runs.samples import write_samples
from sweeper.runs.signals import StopFlag
from sweeper.runs.spec import RunSpec
from sweeper.runs.states import State
from sweeper.runs.teacher import describe_network
from sweeper.runs.tensorboard import Events
from sweeper.runs.train_log import log_to
from sweeper.training.build import TrainingComponents
from sweeper.training.device import describe_device
from sweeper.training.loop import fit
from sweeper.training.metrics import METRICS, Evaluation
from sweeper.training.segmentation import PixelEvaluation
from sweeper.training.state import LoopState, Row, TrainState

log = logging.getLogger(__name__)

HEARTBEAT = 10.0  # seconds
FULL, LARGE = "free some space", "raise the limit (ulimit -f)"
REMEDIES = {errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EFBIG: LARGE}


@dataclass
class Attempt:
    """An attempt by a process that owns the run and has created its record.

    Attributes:
        described: the content of run.json.
        number: attempts so far, including this one.
    """

    spec: RunSpec
    described: dict[str, Any]
    number: int
    components: TrainingComponents = field(init=False)
    record: RunDirectory = field(init=False)

    def __post_init__(self) -> None:
        self.record = self.spec.record
        self.name = name_of(self.record.run_id)

    @property
    def state(self) -> TrainState:
        return self.components.state

    @property
    def loop(self) -> LoopState:
        return self.components.state.loop if hasattr(self, "components") else LoopState()

    def run(self, build: Callable[[], TrainingComponents]) -> dict[str, Any]:
        """Build, train to the end and evaluate.

        Returns:
            The content of result.json.

        Raises:
            UserError: a checkpoint is refused, or the images have changed meanwhile.
            Diverged: the loss is not finite.
            WriteError: a checkpoint or a record cannot be written; another attempt resumes from the last checkpoint.
            SystemExit: a signal stopped the attempt, even if it ended otherwise at that moment.
        """
        with log_to(self.record.folder / "train.log"), StopFlag() as stop:
            try:
                result = self.train_and_evaluate(build, stop)
            except Exception as error:
                if stop.signum is None:
                    raise
                log.error("failed: %s: %s", self.name.text, reason_of(error, self.record.run_id))
                sys.exit(128 + stop.signum)
        for path in (self.record.last, self.record.best):
            checkpoint.previous(path).unlink(missing_ok=True)
        if stop.signum is not None:  # too late for this run, but the process must not start another
            sys.exit(128 + stop.signum)
        return result

    def train_and_evaluate(self, build: Callable[[], TrainingComponents], stop: StopFlag) -> dict[str, Any]:
        """Train to the end and evaluate, as `run` says, and record how it ends."""
        self.write_status(State.RUNNING)
        try:
            self.components = build()
            self.resume()
            self.write_status(State.RUNNING)
            self.train(stop)
            result = self.evaluate_best()
        except (Stopped, KeyboardInterrupt):
            self.write_status(State.INTERRUPTED)
            log.log(
                self.name.level,
                "%s: interrupted at epoch %d, step %d; rerun the same command to resume",
                *(self.name.text, self.loop.epoch, self.loop.step_in_epoch),
            )
            sys.exit(128 + (stop.signum or signal.SIGINT))
        except Diverged as error:
            log.debug("diverged: %s", error)  # to train.log; the caller reports it to the user
            self.record.write_metrics(self.loop.history)  # synced: nothing resumes from the checkpoint
            self.write_status(State.DIVERGED, str(error))
            raise Diverged(f"{self.record.run_id} diverged: {error}") from error
        except WriteError as error:
            reason = f"stopped at epoch {self.loop.epoch}: {error}"
            self.write_failure(reason)
            raise WriteError(
                f"{self.record.run_id} {reason}; {remedy(error)} and rerun the same command to resume"
            ) from error
        except BaseException:
            self.write_failure(traceback.format_exc())
            raise
        self.write_status(State.FINISHED)
        return result

    def write_status(self, state: State, error: str | None = None) -> None:
        loop = self.loop
        self.record.write_status(
            state=state.value, attempt=self.number, epoch=loop.epoch, step=loop.step_in_epoch, error=error
        )

    def write_failure(self, reason: str) -> None:
        """Record that the attempt failed, where that can be written at all: else the run counts as lost."""
        log.debug("failed", exc_info=True)
        with suppress(WriteError):
            self.write_status(State.FAILED, reason)

    def resume(self) -> None:
        """Resume from the newest valid checkpoint, with metrics and best.pt reconciled; else start from scratch."""
        for path in (self.record.last, checkpoint.previous(self.record.last)):
            try:
                saved = checkpoint.load(path, self.record.run_id)
            except FileNotFoundError:
                continue
            except checkpoint.Damaged as error:
                log.warning("%s; falling back to the previous checkpoint", error)
                path.unlink()  # so that the next save does not keep the damaged file
                continue
            loop = LoopState(**saved["state"]["loop"])
            best = self.components.recipe.best(loop.history)
            is_missing = best is not None and not self.find_best(best["epoch"])
            if is_missing and (best is None or best["epoch"] != loop.epoch - 1 or loop.step_in_epoch > 0):
                log.warning("%s does not match %s; restarting from scratch", self.record.best, path)
                break
            checkpoint.restore(saved, self.state)
            if (
                is_missing and best is not None
            ):  # killed between the two saves: last.pt has the weights of the best epoch
                self.save_best(best)
            self.record.write_metrics(loop.history, sync=False)
            where = (self.name.text, loop.epoch, loop.step_in_epoch)
            log.log(self.name.level, "%s: resuming at epoch %d, step %d", *where)
            self.warn_if_not_reproducible()
            return
        for left_over in self.record.checkpoints.glob("*"):
            left_over.unlink()
        self.record.write_metrics([], sync=False)
        num_images, num_parameters = len(self.components.train_loader.indices), self.described["parameters"]
        log.log(
            self.name.detail(self.spec.config.verbose),
            "%s: %s training images, %s parameters",
            *(self.name.text, f"{num_images:,}", f"{num_parameters:,}"),
        )

    def find_best(self, epoch: int) -> bool:
        """Make best.pt the checkpoint of this epoch, if it or the previous one is.

        After falling back to the previous checkpoint, best.pt may be an epoch ahead.
        """
        for path in (self.record.best, checkpoint.previous(self.record.best)):
            try:
                saved = checkpoint.load(path, self.record.run_id)
            except (FileNotFoundError, checkpoint.Damaged):
                continue
            if saved["epoch"] == epoch:
                path.replace(self.record.best)
                return True
        return False

    def warn_if_not_reproducible(self) -> None:
        """Warn if the resumed run may differ from an uninterrupted run."""
        described, compile = self.described, self.spec.config.compile
        now = {"threads": torch.get_num_threads(), "torch": version("torch"), "host": socket.gethostname()}
        before = {"threads": described["threads"], "torch": described["versions"]["torch"], "host": described["host"]}
        now["compile"], before["compile"] = compile, described["config"].get("compile", False)
        device = next(self.state.model.parameters()).device
        now["device"], before["device"] = describe_device(device)["device"], described["device"]
        for name, value in now.items():
            if before[name] != value:
                log.warning(
                    "%s: began with %s=%s, resuming with %s: not bit-exact",
                    *(self.name.text, name, before[name], value),
                )

    def save(self) -> None:
        checkpoint.save(self.record.last, checkpoint.capture(self.record.run_id, self.state))

    def save_best(self, best: Row) -> None:
        norm = self.spec.effective.get("norm", {"name": "none"})
        content = {"format": checkpoint.FORMAT, "run_id": self.record.run_id, "norm": norm}
        content["network"] = describe_network(self.spec.config, self.spec.cached)
        val = f"val_{self.components.recipe.task.score}"
        content |= {"model": self.state.eval_model().state_dict(), "epoch": best["epoch"], val: best[val]}
        checkpoint.save(self.record.best, content)

    def open_events(self, rows: list[Row]) -> Events:
        return Events(self.record.folder / "tensorboard", self.described["created"], rows)

    def train(self, stop: StopFlag) -> None:
        """Fit; save a checkpoint after every epoch, at every signal and every few minutes."""
        config, loop = self.spec.config, self.loop
        last_save = last_beat = time.monotonic()
        events: list[Events] = []  # opened at the first row: importing TensorBoard can wait until training runs

        def after_step() -> None:
            nonlocal last_save, last_beat
            now = time.monotonic()
            if stop.signum is not None or now - last_save > 60 * config.checkpoint_minutes:
                self.save()
                last_save = now
            if stop.signum is not None:
                raise Stopped
            if now - last_beat > HEARTBEAT:
                last_beat = now
                with suppress(WriteError):  # if it lasts, the next checkpoint reports it
                    self.write_status(State.RUNNING)
            console.step(loop)

        def after_epoch(row: Row) -> None:
            nonlocal last_save
            self.save()
            last_save = time.monotonic()
            if self.components.recipe.best(loop.history) is row:
                self.save_best(row)
            self.record.write_metrics(loop.history, sync=False)  # the checkpoint also has them
            self.write_status(State.RUNNING)
            if not events:
                events.append(closing.enter_context(self.open_events(loop.history[:-1])))
            events[0].write(row)
            console.epoch(row)

        train_loader = self.components.train_loader
        with ExitStack() as closing:
            console = closing.enter_context(
                Console(self.name, config.epochs, len(train_loader), verbose=config.verbose)
            )
            fit(
                self.state,
                self.components.recipe,
                train_loader,
                self.components.val_loader,
                epochs=config.epochs,
                patience=config.patience,
                after_step=after_step,
                after_epoch=after_epoch,
            )

    def evaluate_best(self) -> dict[str, Any]:
        """Evaluate the best epoch's weights on the test images, once, and write the result."""
        rows = self.loop.history
        best = self.components.recipe.best(rows)
        assert best is not None
        model = self.state.eval_model()
        checkpoint.load_weights(checkpoint.load(self.record.best, self.record.run_id), model)
        test, task = evaluate_test_images(self.components, model), self.components.recipe.task
        result = {
            "select": self.spec.config.select,
            f"best_val_{task.score}": best[f"val_{task.score}"],
            "best_epoch": best["epoch"],
            **{f"test_{name}": METRICS[name].compute(test) for name in task.metrics},
            **self.measure_logits(test),
            **evaluate_views(self.components, model, self.spec.choices.views),
            "epochs": len(rows),
            "train_seconds": sum(row["train_seconds"] for row in rows),
            "eval_seconds": sum(row["eval_seconds"] for row in rows),
            "confusion": test.confusion.tolist(),
        }
        self.record.write_metrics(rows)
        self.write_predictions(test)
        write_samples(self.record.samples, sample_images(self.components.train_loader))
        self.record.write_result(result)
        with self.open_events(rows) as events:
            events.write_hparams(self.spec.effective, result)
            if isinstance(test, Evaluation):
                self.show_errors(events, test, best["epoch"])
        return result

    def measure_logits(self, test: Evaluation | PixelEvaluation) -> dict[str, float]:
        """Return the measures of the test images' logits, where these are kept."""
        return measure(test.logits.numpy(), self.test_targets()) if isinstance(test, Evaluation) else {}

    def write_predictions(self, test: Evaluation | PixelEvaluation) -> None:
        if isinstance(test, Evaluation):
            write_predictions(self.record.predictions, test.logits.numpy(), self.test_targets())
        else:
            write_masks(self.record.predictions, test.predicted.numpy(), self.test_targets())

    def test_targets(self) -> NDArray[Any]:
        return self.components.test_images.labels.cpu().numpy()

    def show_errors(self, events: Events, test: Evaluation, epoch: int) -> None:
        logits, labels = test.logits.numpy(), self.test_targets()
        shown = most_confident(logits, labels)
        if len(shown):
            images = self.components.test_images.images[torch.from_numpy(shown)].cpu().numpy()
            classes = self.spec.cached.classes
            events.write_errors(error_sheet(images, logits[shown], labels[shown], classes), epoch)


def remedy(error: WriteError) -> str:
    """Return what to do about a file that cannot be written, by the error of the system."""
    number = error.__cause__.errno if isinstance(error.__cause__, OSError) else None
    return REMEDIES.get(number or 0, "make it writable")
