"""The files of `python -m sweeper errors`: a picture of the most confident mistakes, and a CSV of all."""

import re
from collections.abc import Sequence
from pathlib import Path

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.elsewhere import Elsewhere
from sweeper.runs.scores import task_of
from sweeper.summary.export import as_csv
from sweeper.summary.output import write_output
from sweeper.summary.worst_masks import find_worst
from sweeper.summary.wrong_images import find_mistakes
from sweeper.trained.pixels import images_of

SUFFIXES = (".png", ".csv")
MOST_SCENES = 24  # in a picture


def write_mistakes(
    record: RunDirectory,
    where: Elsewhere,
    folder: Path,
    output: Path | None = None,
    *,
    true: str | None = None,
    predicted: str | None = None,
    top: int,
) -> list[str]:
    """Write the wrong test images of a run; of segmentation, those of the lowest mean intersection over union.

    Args:
        record: of a finished run.
        where: the images where they are not the recorded ones.
        folder: gets RUN.png and RUN.csv, with the chosen classes in their names.
        output: one file instead, its type by its suffix.
        true, predicted: names of classes; only images of this true class, or predicted as this class.
        top: number of images in the picture.

    Returns:
        The lines to print: a sentence, then the files.

    Raises:
        UserError: the images or the predictions are missing, a class is unknown, or the output is of another type.
    """
    chosen = {"true": true, "predicted": predicted}
    parts = [f"{kind}-" + re.sub(r"\W+", "_", name) for kind, name in chosen.items() if name is not None]
    name = "-".join([record.run_id, *parts])
    files = [output] if output else [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    if files[0].suffix.lower() not in SUFFIXES:
        raise UserError(f"--output {output}: unsupported file type; choose from {', '.join(SUFFIXES)}")
    if task_of((record.run() or {}).get("effective")) == "segmentation":
        return write_worst(record, where, files, true, predicted, top)
    mistakes = find_mistakes(record, images_of(record, where), true, predicted)
    if mistakes.frame.empty:
        return [str(mistakes)]
    for file in files:
        if file.suffix.lower() == ".csv":
            write_output(file, as_csv(mistakes.frame))
        else:
            from sweeper.summary.contact_sheet import write_contact_sheet  # imports matplotlib

            write_contact_sheet(file, mistakes, top)
    return [str(mistakes), *map(str, files)]


def write_worst(
    record: RunDirectory, where: Elsewhere, files: Sequence[Path], true: str | None, predicted: str | None, top: int
) -> list[str]:
    """Write the test images that a run of segmentation predicts worst, see `write_mistakes`.

    Raises:
        UserError: there are no predictions or images, or a class is unknown or given as predicted.
    """
    if predicted is not None:
        raise UserError(f"--predicted {predicted} is for classes of images; {record.run_id} predicts masks: use --true")
    worst = find_worst(record, images_of(record, where), true)
    frame = worst.frame
    line = f"{len(frame):,} test images by {worst.by}, lowest first"
    if frame.empty:
        return [line]
    for file in files:
        if file.suffix.lower() == ".csv":
            write_output(file, as_csv(frame))
        else:
            from sweeper.summary.mask_sheet import write_mask_sheet  # imports matplotlib

            write_mask_sheet(file, worst, min(top, MOST_SCENES))
    return [line, *map(str, files)]
