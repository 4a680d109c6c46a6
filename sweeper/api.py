"""Recorded runs for Python and notebooks: `import sweeper; results = sweeper.results("outputs")`."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sweeper.errors import UserError, format_names, nearest
from sweeper.runs.directory import RunDirectory
from sweeper.runs.elsewhere import Elsewhere, check_device
from sweeper.runs.scores import task_of
from sweeper.summary.columns import HIDDEN, MEASURES
from sweeper.summary.differences import Differences, compare_runs
from sweeper.summary.effects import effects
from sweeper.summary.effects_rows import to_frame
from sweeper.summary.find import BEST, find_each, find_ensemble, find_finished, find_run
from sweeper.summary.measure_columns import PREFIXES, with_measures
from sweeper.summary.other_images import correctness_of
from sweeper.summary.study import Method
from sweeper.summary.table import read_runs
from sweeper.summary.table import where as select
from sweeper.summary.wrong_images import find_mistakes
from sweeper.sweep.saved import ids_of
from sweeper.trained.pixels import images_of

if TYPE_CHECKING:
    from sweeper.runs.network import TrainedNetwork

AnyPath = str | PathLike[str]
Texts = str | Sequence[str]  # one, or several


def results(output_dir: AnyPath = "outputs", sweep: str | None = None, where: Texts = ()) -> "Results":
    """Return the runs of a folder.

    Args:
        output_dir: the folder that has runs/.
        sweep: the name of a sweep; None for all runs.
        where: conditions `COLUMN=VALUE` that the runs meet, as of `python -m sweeper summary --where`.

    Raises:
        UserError: there are no such runs.
    """
    return Results(Path(output_dir), sweep, where)


def several(texts: Texts) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts)


class Results:
    """The runs of a folder, or of one sweep; read anew by each method.

    A run is named by its ID, the ID's last digits, `best` (the best run of the best configuration of the folder) or its
    directory.
    """

    def __init__(self, output_dir: Path, sweep: str | None = None, where: Texts = ()) -> None:
        self.output_dir, self.sweep, self.where = output_dir, sweep, several(where)
        self.read()

    def read(self, measures: Sequence[str] = ()) -> pd.DataFrame:
        """Return a row for each run, hidden columns included, with measures that are computed where asked for."""
        frame, _ = read_runs(self.output_dir, ids_of(self.output_dir, self.sweep))
        return select(with_measures(frame, self.output_dir / "runs", measures), self.where)

    def find(self, run: str) -> RunDirectory:
        """Return a finished run; `best` is the best one of the runs of this object."""
        return self.find_each([run], find_finished)[0]

    def find_all(self, runs: str) -> list[RunDirectory]:
        """Return finished runs, separated by commas."""
        return find_ensemble(runs, self.output_dir, *self.among(runs.split(",")))

    def find_each(self, runs: Sequence[str], find: Callable[..., RunDirectory]) -> list[RunDirectory]:
        return find_each(runs, self.output_dir, *self.among(runs), find)

    def among(self, runs: Sequence[str]) -> tuple[str | None, Sequence[str]]:
        return (self.sweep, self.where) if BEST in runs else (None, ())

    def runs(self, measures: Texts = ()) -> pd.DataFrame:
        """Return a row for each run, best validation accuracy first: `run_id`, settings, results, state.

        Args:
            measures: columns to add, such as `class_accs`.

        Raises:
            UserError: there is no such measure.
        """
        frame = self.read(several(measures)).drop(columns=list(HIDDEN))
        valid = (*MEASURES, *PREFIXES)
        for name in several(measures):
            if name not in valid and name not in frame:
                raise UserError(f"unknown measure {name}{nearest(name, valid)}; choose from {format_names(valid)}")
        return frame

    def curves(self) -> pd.DataFrame:
        """Return a row for each epoch of each run: `run_id`, `epoch`, and the metrics of metrics.jsonl."""
        records = [RunDirectory(self.output_dir / "runs" / str(run_id)) for run_id in self.read()["run_id"]]
        rows = [{"run_id": record.run_id, **row} for record in records for row in record.metrics()]
        return pd.DataFrame(rows if rows else None, columns=None if rows else ["run_id", "epoch"])

    def effects(
        self,
        baseline: Mapping[str, Any] | None = None,
        measures: Texts = (),
        *,
        tune: Texts = (),
        anytime: bool = False,
        diverged_as_chance: bool = False,
    ) -> pd.DataFrame:
        """Return a row for each change of a setting, see docs/statistics.md; none where nothing is comparable.

        Args:
            baseline: the value that an axis' other values are compared with, by axis.
            measures: by which runs are compared, such as `test_macro_f1`; none: the usual ones.
            tune: settings of which each configuration has its best value by validation accuracy.
            anytime: whether p and intervals hold when seeds are added after a look at results.
            diverged_as_chance: whether diverged runs count as chance accuracy.

        Raises:
            UserError: the baseline names an axis or a value that the finished runs do not have; a tuned setting does
                not vary.
        """
        tuned, measures = several(tune), several(measures)
        frame = self.read(measures)
        correctness = correctness_of(frame, self.output_dir / "runs")
        method = Method(tuned=tuned, measures=measures, is_anytime=anytime, is_chance=diverged_as_chance)
        return to_frame(effects(frame, baseline, method=method, correctness=correctness))

    def load(self, run: str = BEST, device: str = "auto") -> "TrainedNetwork":
        """Return a finished run's network in evaluation mode, with its `transform` and its `classes`.

        `network(network.transform("photo.jpg")[None])` are the logits (1, K) of a photo.

        Raises:
            UserError: there is no such finished run, or its network or the device is not available.
        """
        check_device(device)
        from sweeper.runs.network import load_network  # imports torch

        return load_network(self.find(run), device)

    def predict(self, run: str, images: AnyPath | Sequence[AnyPath], device: str = "auto") -> pd.DataFrame:
        """Return the probability of each class (columns) for image files (rows, by their paths).

        A file that cannot be read is left out, with a warning.

        Args:
            run: one, or several separated by commas, whose probabilities are averaged.
            images: files and folders.
            device: auto, cpu or cuda.

        Raises:
            UserError: a run or a path does not exist, runs have different classes or are of segmentation, or the device
                is not available.
        """
        check_device(device)
        records = self.find_all(run)
        for record in records:
            if task_of((record.run() or {}).get("effective")) == "segmentation":
                raise UserError(
                    f"{record.run_id} is of segmentation: it predicts a class for each pixel; write its masks with "
                    f"python -m sweeper predict {record.run_id} IMAGE"
                )
        from sweeper.runs.network import load_network
        from sweeper.trained.images import find_images
        from sweeper.trained.predict import predict

        given = [images] if isinstance(images, str | PathLike) else images
        networks = [load_network(record, device) for record in records]
        found = predict(networks, find_images([Path(path) for path in given]))
        for reason in found.unreadable.values():
            warnings.warn(reason, stacklevel=2)
        return found.probabilities

    def errors(
        self,
        run: str = BEST,
        true: str | int | None = None,
        predicted: str | int | None = None,
        data_root: AnyPath | None = None,
    ) -> pd.DataFrame:
        """Return the test images that a run predicts wrongly, most confident first.

        Columns: `image`, its index among the test images; `file`, below the dataset's root; `true`, `predicted`;
        `probability` of the predicted and `true_probability` of the true class.

        Args:
            run: a finished run.
            true, predicted: only images of this class, or predicted as this class.
            data_root: where the dataset is now; None for where it was.

        Raises:
            UserError: there is no such finished run, its images are missing or differ, or a class is unknown.
        """
        record = self.find(run)
        where = Elsewhere({} if data_root is None else {"root": str(data_root)})
        classes = [None if name is None else str(name) for name in (true, predicted)]
        return find_mistakes(record, images_of(record, where), *classes).frame

    def diff(self, first: str, second: str) -> Differences:
        """Return what differs between two runs.

        Raises:
            UserError: there is no such run, or both are the same.
        """
        return compare_runs(*self.find_each([first, second], find_run))
