"""TensorBoard events of a run, derived from its metrics; rewritten on resume, so that no step is duplicated."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.files import writing
from sweeper.runs.directory import flat_settings
from sweeper.runs.scores import score_in

SCALARS = {  # those that a row has
    "loss/train": "train_loss",
    "loss/val": "val_loss",
    "accuracy/train": "train_acc",
    "accuracy/val": "val_acc",
    "accuracy/val_balanced": "val_balanced_acc",
    "f1/val_macro": "val_macro_f1",
    "iou/val_mean": "val_miou",
    "accuracy/train_pixel": "train_pixel_acc",
    "accuracy/val_pixel": "val_pixel_acc",
    "lr": "lr",
    "images_per_second": "images_per_second",
}
ERRORS = "errors/most_confident"


class Events:
    """The event file of one run, as a context.

    Steps are epochs. The clock of a step is the run's creation plus its training seconds so far, so that TensorBoard's
    relative axis compares training time, without evaluations and interruptions.

    Args:
        folder: emptied first.
        created: when the run was created, in seconds since 1970.
        rows: the metrics of the epochs done.

    Raises:
        WriteError: the file cannot be written, here and in each method.
    """

    def __init__(self, folder: Path, created: float, rows: list[dict[str, Any]]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        shutil.rmtree(folder, ignore_errors=True)
        with writing(folder):
            self.writer = SummaryWriter(str(folder))
        self.folder, self.clock = folder, created
        for row in rows:
            self.write(row)

    def write(self, row: dict[str, Any]) -> None:
        self.clock += row["train_seconds"]
        with writing(self.folder):
            for tag, key in SCALARS.items():
                if key in row:
                    self.writer.add_scalar(tag, row[key], row["epoch"], walltime=self.clock)
            self.writer.flush()

    def write_hparams(self, effective: dict[str, Any], result: dict[str, Any]) -> None:
        """Write the effective config and the results, which have no curves, for the HParams tab, in this same file."""
        from torch.utils.tensorboard.summary import hparams

        file_writer: Any = self.writer._get_file_writer()
        score = score_in(result)
        names = (f"best_val_{score}", "best_epoch", f"test_{score}", "train_seconds")
        measures = {f"result/{key}": result[key] for key in names}
        with writing(self.folder):
            settings = {key: value for key, value in flat_settings(effective).items() if key != "data.fingerprint"}
            for summary in hparams(settings, measures):
                file_writer.add_summary(summary)
            for tag, value in measures.items():
                self.writer.add_scalar(tag, value, result["best_epoch"], walltime=self.clock)

    def write_errors(self, sheet: NDArray[np.uint8], epoch: int) -> None:
        """Write a picture (height, width, 3) of test images that the network of an epoch predicts wrongly."""
        with writing(self.folder):
            self.writer.add_image(ERRORS, sheet, epoch, walltime=self.clock, dataformats="HWC")

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_: object) -> None:
        with writing(self.folder):
            self.writer.close()
