"""What a table of runs leaves out where the terminal is narrow: results of little interest, never a swept setting."""

from collections.abc import Sequence

import pandas as pd

from sweeper.summary.columns import format_override, is_deviation, is_missing, is_result

CONFIGURATION = "configuration"
LEAST_SHARE = 3  # the column that holds all settings has at least 1 / 3 of the width
COUNTS = ("runs", "stale")
EXPENDABLE = (  # left out in this order
    *("parameters", "train_seconds", "convergence_seconds", "epochs_done"),
    *("convergence_epoch", "best_epoch", "stale", "runs", "epochs_to_target"),
)
MAIN = ("test_acc", "test_miou", "best_val_acc", "best_val_miou", "state", "run_id")  # left out last, from the end


def is_setting(name: str) -> bool:
    """Return whether a column of a table tells configurations apart."""
    return not is_result(name) and not is_deviation(name) and name not in ("run_id", *COUNTS)


def expendable(table: pd.DataFrame) -> list[str]:
    """Return the results that a narrow table leaves out, the least important first; one is always kept."""
    results = [name for name in map(str, table.columns) if not is_setting(name) and not is_deviation(name)]
    first = ["state"] if says_nothing(table) else []
    others = [name for name in reversed(results) if name not in (*EXPENDABLE, *MAIN)]
    order = [*first, *EXPENDABLE, *others, *reversed(MAIN)]
    return [name for name in dict.fromkeys(order) if name in results][: max(len(results) - 1, 0)]


def says_nothing(table: pd.DataFrame) -> bool:
    """Return whether the state of every row is `finished`, which the caption says."""
    return "state" in table and bool(table["state"].eq("finished").all())


def merge_settings(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with all settings in one column, as they are typed: `model=mlp norm=batch`.

    A setting that a row does not have, such as the norm of a model without one, is not among its settings.
    """
    settings = [name for name in map(str, table.columns) if is_setting(name)]
    texts = [name_settings(settings, row) for row in table[settings].itertuples(index=False, name=None)]
    merged = table.drop(columns=settings)
    merged.insert(int("run_id" in merged), CONFIGURATION, texts)
    return merged


def name_settings(names: Sequence[str], values: Sequence[object]) -> str:
    pairs = zip(names, values, strict=True)
    return " ".join(f"{name}={format_override(value)}" for name, value in pairs if not is_missing(value)) or "-"
