"""Runs as the small files in docs/ that its pages are written from.

python -m benchmarks.pages.records NAME OUT...          `make docs-data NAME=exercises OUT=outputs/exercises`
python -m benchmarks.pages.records NAME OUT... --add    ADD=1: the runs that docs/NAME.csv has stay, so that a study
                                                        can be trained in parts, on several machines
python -m benchmarks.pages.records NAME OUT... --untimed    UNTIMED=1: without seconds and speeds, which other load on
                                                            the machine made worthless

docs/NAME.csv has a row for each run: settings, results, and the sweeps that it belongs to. docs/NAME-curves.csv has a
row for each epoch of each run. docs/NAME-correct.npz has which test images each run got right. Paths and names of hosts
are left out.
"""

import argparse
import io
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.errors import UserError
from sweeper.files import write_bytes, write_text
from sweeper.runs.directory import RunDirectory
from sweeper.runs.scores import SCORES
from sweeper.summary.columns import FINGERPRINT, RESULTS, ROOT
from sweeper.summary.export import as_csv
from sweeper.summary.other_images import Correctness
from sweeper.summary.study import ENDED
from sweeper.summary.table import read_runs
from sweeper.sweep.saved import ids_of, precision_of

DOCS = Path(__file__).parents[2] / "docs"
SWEEPS = "sweeps"  # the column with the names of a run's sweeps, each with its sweep.precision where it had one
DIGEST = 10  # last digits of a run's ID, its name in the curves
LEFT_OUT = ("stale", "folder", "error", "costs")  # today's code, paths, hosts
TIMES = ("convergence_seconds", "train_seconds", "images_per_second")
# Columns of text, some of whose cells look like numbers.
WORDS = ("run_id", "run", FINGERPRINT, "state", "code", "torch", "device_type", "val_curve", "machine", "presets")
# Of each epoch, with the digits that are kept; accuracies are of at most 50,000 images.
EPOCH = {
    **{f"val_{score}": 5 for score in SCORES.values()},
    "train_acc": 5,
    "train_pixel_acc": 5,
    "train_loss": 4,
    "val_loss": 4,
    "train_seconds": 3,
}


@dataclass(frozen=True)
class Records:
    """What the pages know about the runs of a study.

    Attributes:
        runs: a row for each run as `sweeper.summary.table.read_runs` returns it, and the column SWEEPS.
        curves: a row for each epoch of each run: `run` (the end of its ID), `epoch` and those of EPOCH; empty if there
            are none.
        correct: run ID -> test images that it got right (N,); empty if that was not kept.
    """

    runs: pd.DataFrame
    curves: pd.DataFrame
    correct: Mapping[str, NDArray[np.bool_]]

    @property
    def correctness(self) -> Correctness | None:
        """What intervals for other test images are computed from; None without it."""
        return Kept(self.correct) if self.correct else None


class Kept(Correctness):
    """Which test images runs got right, from a file in docs/ rather than from their predictions."""

    def __init__(self, correct: Mapping[str, NDArray[np.bool_]]) -> None:
        super().__init__(Path())
        # Runs on different datasets are never compared, so the number of images is enough to tell test sets apart.
        self.read = {run_id: (hits, len(hits)) for run_id, hits in correct.items()}

    def of(self, run_id: str) -> tuple[NDArray[np.bool_], int] | None:
        return self.read.get(run_id)


def collect(folders: Sequence[Path]) -> Records:
    """Read the runs of output folders that have ended; a run that several have is taken from the first.

    Raises:
        UserError: a folder has no runs, or two runs have the same end of their IDs.
    """
    frames, curves, correct = [], [], dict[str, NDArray[np.bool_]]()
    known: set[str] = set()
    for folder in folders:
        frame, _ = read_runs(folder)
        frame = frame[frame["state"].isin(ENDED)].reset_index(drop=True)
        names = sweeps_of(folder)
        frame[SWEEPS] = [" ".join(names[run_id]) or None for run_id in frame["run_id"]]
        frames.append(frame[~frame["run_id"].isin(known)])
        hits = Correctness(folder / "runs")
        for run_id in frames[-1]["run_id"]:
            curves += epochs_of(RunDirectory(folder / "runs" / run_id))
            if (found := hits.of(run_id)) is not None:
                correct[run_id] = found[0]
        known |= {*frame["run_id"]}
    runs = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    check_ends(runs)
    runs = runs.drop(columns=[name for name in LEFT_OUT if name in runs])
    runs["machine"] = without_hosts(runs["machine"].tolist())
    if ROOT in runs:
        runs[ROOT] = [None if pd.isna(root) else Path(root).name for root in runs[ROOT]]
    return Records(runs.sort_values("run_id").reset_index(drop=True), pd.DataFrame(curves), correct)


def check_ends(runs: pd.DataFrame) -> None:
    """Check that the last digits of the runs' IDs tell them apart.

    Raises:
        UserError: they do not.
    """
    ends = runs["run_id"].str[-DIGEST:]
    if ends.duplicated().any():
        raise UserError(f"two runs have IDs that end in {ends[ends.duplicated()].iloc[0]}")


def joined(new: Records, old: Records) -> Records:
    """Return the runs of both; one that both have is that of `new`. Machines of one are not those of the other.

    Raises:
        UserError: two runs have the same end of their IDs.
    """
    kept = old.runs[~old.runs["run_id"].isin(new.runs["run_id"])]
    kept = kept.drop(columns=[name for name in LEFT_OUT if name in kept])
    hosts = {json.loads(machine)[0] for machine in new.runs["machine"].dropna()}
    kept["machine"] = without_hosts(kept["machine"].tolist(), len(hosts))
    runs = pd.concat([new.runs, kept], ignore_index=True)
    check_ends(runs)
    settings = [name for name in runs if name not in RESULTS and name != SWEEPS]
    runs = runs[[*settings, *(name for name in RESULTS if name in runs), SWEEPS]]
    curves = old.curves
    if len(curves):
        curves = curves[curves["run"].isin(kept["run_id"].str[-DIGEST:])]
    correct = {run_id: hits for run_id, hits in old.correct.items() if run_id in set(kept["run_id"])}
    return Records(
        runs.sort_values("run_id").reset_index(drop=True),
        pd.concat([new.curves, curves], ignore_index=True),
        {**new.correct, **correct},
    )


def untimed(records: Records) -> Records:
    """Return the runs without their seconds and speeds."""
    empty = dict.fromkeys([name for name in TIMES if name in records.runs])
    curves = records.curves.drop(columns="train_seconds", errors="ignore")
    return Records(records.runs.assign(**empty), curves, records.correct)


def sweeps_of(folder: Path) -> dict[str, list[str]]:
    """Return the sweeps of each run of an output folder by its ID."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted((folder / "sweeps").glob("*/sweep.json")):
        name, precision = file.parent.name, precision_of(folder, file.parent.name)
        for run_id in sorted(ids_of(folder, name) or ()):
            found[run_id].append(name if precision is None else f"{name}={precision:g}")
    return found


def epochs_of(record: RunDirectory) -> list[dict[str, Any]]:
    """Return the rows of a run's curve."""
    return [
        {"run": record.run_id[-DIGEST:], "epoch": row["epoch"]}
        | {name: round(float(row[name]), digits) for name, digits in EPOCH.items() if row.get(name) is not None}
        for row in record.metrics()
    ]


def without_hosts(machines: Sequence[Any], first: int = 0) -> list[str | None]:
    """Return the machines (host, device, threads as JSON) with numbers for the names of hosts, from `first` on."""
    facts = [json.loads(machine) if isinstance(machine, str) else None for machine in machines]
    hosts = list(dict.fromkeys(fact[0] for fact in facts if fact))
    return [json.dumps([first + hosts.index(fact[0]), *fact[1:]]) if fact else None for fact in facts]


def write(records: Records, name: str, folder: Path = DOCS) -> list[Path]:
    """Write what `read` reads; return the files."""
    paths = [folder / f"{name}.csv"]
    write_text(paths[0], as_csv(records.runs))
    if len(records.curves):
        paths.append(folder / f"{name}-curves.csv")
        write_text(paths[-1], records.curves.to_csv(index=False))
    if records.correct:
        paths.append(folder / f"{name}-correct.npz")
        content = io.BytesIO()
        runs = sorted(records.correct)
        hits = [records.correct[run_id] for run_id in runs]
        np.savez_compressed(
            content, runs=np.array(runs), images=np.array(list(map(len, hits))), bits=np.packbits(np.concatenate(hits))
        )
        write_bytes(paths[-1], content.getvalue())
    return paths


def read(name: str, folder: Path = DOCS) -> Records | None:
    """Read the runs of a study; None where they are not checked in."""
    if not (folder / f"{name}.csv").is_file():
        return None
    runs = read_table(folder / f"{name}.csv")
    settings = [column for column in runs if column not in RESULTS]
    runs = runs.reindex(columns=[*settings, *RESULTS]).assign(stale=False)
    file = folder / f"{name}-curves.csv"
    curves = read_table(file) if file.is_file() else pd.DataFrame()
    correct = {}
    if (folder / f"{name}-correct.npz").is_file():
        with np.load(folder / f"{name}-correct.npz") as arrays:
            images = arrays["images"]
            bits = np.unpackbits(arrays["bits"], count=int(images.sum())).astype(bool)
            correct = dict(zip(map(str, arrays["runs"]), np.split(bits, images.cumsum()[:-1]), strict=True))
    return Records(runs, curves, correct)


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file in which only empty cells are missing, and whole numbers stay whole in columns with gaps."""
    table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(WORDS, str))
    whole = pd.read_csv(path, keep_default_na=False, dtype=str)
    for column in table.select_dtypes("float"):
        texts = whole[column]
        if column not in RESULTS and (texts == "").any() and texts[texts != ""].str.fullmatch(r"-?\d+").all():
            table[column] = pd.Series([int(text) if text else None for text in texts], dtype=object)
    return table


def main() -> None:
    """Write the files of a study from output folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the study, such as exercises")
    parser.add_argument("outputs", type=Path, nargs="+", help="output folders, as of `make exercises`")
    parser.add_argument("--add", action="store_true", help="keep the runs that the files have")
    parser.add_argument("--untimed", action="store_true", help="leave out the runs' seconds and speeds")
    parser.add_argument("--into", type=Path, default=DOCS, help="folder of the files")
    options = parser.parse_args()
    try:
        records = collect(options.outputs)
        records = untimed(records) if options.untimed else records
        old = read(options.name, options.into) if options.add else None
        for path in write(joined(records, old) if old else records, options.name, options.into):
            print(f"{path}: {path.stat().st_size / 1000:,.0f} kB")
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
