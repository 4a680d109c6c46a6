"""The report's section on classes: the confusion matrix of the best configuration, summed over its seeds."""

from collections.abc import Sequence
from typing import Any, TypeGuard

from sweeper.runs.directory import RunDirectory
from sweeper.runs.scores import score_in
from sweeper.summary.report_question import nested

MAX_CLASSES = 100  # of a confusion matrix that is shown
MAX_COUNTS = 24  # classes of a matrix whose cells show their counts


def confusion(runs: Sequence[RunDirectory]) -> dict[str, Any] | None:
    """Return the sum of the runs' confusion matrices, and each class's accuracy; None where no run has one.

    Of segmentation, labeled pixels are counted and IoU takes the place of accuracy.
    Runs whose matrix has another size than the first are left out. A large matrix has no rows.
    """
    matrices = {
        record.run_id: matrix for record in runs if is_matrix(matrix := (record.result() or {}).get("confusion"))
    }
    if not matrices:
        return None
    first, size = next(iter(matrices.items()))
    size_of = len(size)
    summed = [matrix for matrix in matrices.values() if len(matrix) == size_of]
    rows = [[sum(counts) for counts in zip(*lines, strict=True)] for lines in zip(*summed, strict=True)]
    record = next(record for record in runs if record.run_id == first)
    known = nested(record.run(), "dataset", "classes")
    classes = known if isinstance(known, list) and len(known) == size_of else range(size_of)
    names = list(map(str, classes))
    is_pixelwise = score_in(record.result() or {}) == "miou"
    return {
        "counted": "pixels" if is_pixelwise else "images",
        "seeds": len(summed),
        "classes": names,
        "rows": rows if size_of <= MAX_CLASSES else [],
        "with_counts": size_of <= MAX_COUNTS,
        "accuracies": sorted(
            accuracies(names, rows, is_pixelwise=is_pixelwise), key=lambda one: (one["share"], one["name"])
        ),
    }


def accuracies(
    names: Sequence[str], rows: Sequence[Sequence[int]], *, is_pixelwise: bool = False
) -> list[dict[str, Any]]:
    """Return each class's accuracy (recall), of pixels its IoU, its images, and what it is most often taken for."""
    found = []
    for index, (name, counts) in enumerate(zip(names, rows, strict=True)):
        images = sum(counts)
        if images:
            wrong = [(count, -other) for other, count in enumerate(counts) if other != index and count]
            most, other = max(wrong, default=(0, 0))
            taken = f"{names[-other]} ({most:,})" if most else "-"
            others = sum(row[index] for row in rows) - counts[index] if is_pixelwise else 0
            share = counts[index] / (images + others)
            found.append(
                {"name": name, "share": share, "percent": f"{100 * share:.1f}", "images": images, "taken": taken}
            )
    return found


def is_matrix(rows: Any) -> TypeGuard[list[list[int]]]:
    """Return whether these are as many rows of counts as each has columns."""
    return (
        isinstance(rows, list)
        and len(rows) > 0
        and all(isinstance(row, list) and len(row) == len(rows) for row in rows)
        and all(isinstance(count, int) and 0 <= count < 1e15 for row in rows for count in row)
    )
