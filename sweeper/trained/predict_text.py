"""Predictions as a table in the terminal, as CSV and as JSON."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from sweeper.display import print_sentence, stdout_console
from sweeper.errors import UserError, enumerate_words, format_names
from sweeper.summary.export import as_csv
from sweeper.summary.output import json_text, printable, write_output
from sweeper.trained.predict import Predictions
from sweeper.trained.predict_masks import TABLE, PredictedMasks

SUFFIXES = (".csv", ".json")
MAX_ROWS = 100


def check_output(output: Path | None) -> None:
    """Refuse a file of another type than CSV or JSON, before any work.

    Raises:
        UserError: it is of another type.
    """
    if output is not None and output.suffix.lower() not in SUFFIXES:
        raise UserError(f"--output {output}: unsupported file type; choose from {format_names(SUFFIXES)}")


def write_predictions(output: Path, found: Predictions, run_ids: Sequence[str], top: int) -> None:
    """Write the most probable classes of every readable file; JSON has the runs and the unreadable files too."""
    table = found.top(top)
    if output.suffix.lower() == ".csv":
        write_output(output, as_csv(table.reset_index()))
        return
    ranks = range(1, 1 + table.shape[1] // 2)
    images = [
        {
            "image": image,
            "predictions": [
                {"class": row[f"class_{rank}"], "probability": row[f"probability_{rank}"]} for rank in ranks
            ],
        }
        for image, row in zip(table.index, table.to_dict(orient="records"), strict=True)
    ]
    unreadable = [{"image": str(file), "reason": reason} for file, reason in found.unreadable.items()]
    write_output(output, json_text({"runs": list(run_ids), "images": images, "unreadable": unreadable}))


def print_predictions(found: Predictions, run_ids: Sequence[str], top: int) -> None:
    """Print the most probable classes of the first files, each with its probability, and the runs that predict."""
    table = found.top(top)
    grid = Table()
    grid.add_column("image", overflow="fold")
    ranks = range(1, 1 + table.shape[1] // 2)
    for rank in ranks:
        grid.add_column("class" if rank == 1 else ordinal(rank))
        grid.add_column("p", justify="right", no_wrap=True)
    for image, row in zip(table.index[:MAX_ROWS], table.head(MAX_ROWS).to_dict(orient="records"), strict=True):
        cells = [Text(printable(str(image)))]
        for rank in ranks:
            cells += [Text(printable(str(row[f"class_{rank}"]))), Text(f"{row[f'probability_{rank}']:.4f}")]
        grid.add_row(*cells)
    console = stdout_console()
    if not len(table):
        return
    console.print(grid)
    if len(table) > MAX_ROWS:
        print_sentence(f"The first {MAX_ROWS} of {len(table):,} images; --output FILE.csv has all")
    given = "probability given by" if len(run_ids) == 1 else "mean of the probabilities given by"
    print_sentence(f"p: {given} {enumerate_words(run_ids)}")


def ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, ..."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"


def check_folder(folder: Path) -> None:
    """Refuse a file where the folder of masks should be, before any work.

    Raises:
        UserError: it is a file, or named like one of the tables of classes.
    """
    if folder.suffix.lower() in SUFFIXES or (folder.exists() and not folder.is_dir()):
        raise UserError(f"--output {folder}: masks are written to a folder; name one")


def print_masks(found: PredictedMasks, run_ids: Sequence[str], top: int) -> None:
    """Print where the masks are, each with the classes that have most of its pixels, and the runs that predict."""
    grid = Table()
    for header in ("image", "mask"):
        grid.add_column(header, overflow="fold")
    grid.add_column("classes, with their fraction of the pixels")
    rows = zip(found.masks.items(), found.shares.to_numpy(), strict=True)
    for (image, mask), shares in list(rows)[:MAX_ROWS]:
        order = [index for index in (-shares).argsort(kind="stable")[:top] if shares[index] > 0]
        text = ", ".join(f"{found.shares.columns[index]} {shares[index]:.3f}" for index in order)
        grid.add_row(Text(printable(str(image))), Text(printable(str(mask))), Text(printable(text)))
    if found.masks:
        stdout_console().print(grid)
        folder = next(iter(found.masks.values())).parent
        if len(found.masks) > MAX_ROWS:
            print_sentence(f"The first {MAX_ROWS} of {len(found.masks):,} images; {folder / TABLE} has all")
        given = "predicted by" if len(run_ids) == 1 else "mean of the probabilities given by"
        print_sentence(f"masks and overlays, {given} {enumerate_words(run_ids)}: {folder}")


def show_unreadable(unreadable: Mapping[Path, str], num_files: int) -> None:
    """Name the files that cannot be read, and count them.

    Raises:
        UserError: there are some.
    """
    for reason in unreadable.values():
        print_sentence(printable(reason), sys.stderr)
    if unreadable:
        rest = "; the rest is predicted" if len(unreadable) < num_files else ""
        raise UserError(f"{len(unreadable):,} of {num_files:,} files cannot be read{rest}")
