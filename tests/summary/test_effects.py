"""Effects: what is compared, what is not, and why."""

import json
from typing import Any

import pandas as pd
import pytest
from paired import found, runs, table

from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.effects import effects
from sweeper.summary.effects_caption import caption
from sweeper.summary.effects_rows import as_json, to_csv
from sweeper.summary.effects_text import as_table
from sweeper.summary.gather import Skipped


def test_captions_describe_how_curves_were_read() -> None:
    frame = table(*runs("activation", {"relu": ["0.1 0.2", "0.2 0.3"], "selu": ["0.1 0.3", "0.2"]}, "val_curve"))
    frame["epochs_to_target"] = [1, 2, 1, 2]
    lines = caption(effects(frame, defaults={}, options=ConvergenceOptions(fraction=0.9, target_acc=0.75)))
    assert any(line.startswith("epochs to a common val_acc: the first epoch at 90% of the lower") for line in lines)
    assert any(line.startswith("epochs_to_target: the first epoch with val_acc of at least 0.75, or") for line in lines)
    lines = caption(effects(frame.assign(val_curve=None, test_acc=1.0, epochs_to_target=None), defaults={}))
    assert not any("common" in line or "epochs_to_target" in line for line in lines)


def test_runs_of_version_01_are_counted_and_named() -> None:
    frame, skipped = table(*runs("activation", {"relu": [1, 2], "selu": [2, 4]})), Skipped(old=["a", "b"])
    result = effects(frame, defaults={}, skipped=skipped)
    assert result.left_out == {"of version 0.1": 2}
    assert "2 runs of version 0.1 (schema 1) are not shown: a, b" in result.notes
    nothing = effects(table(), skipped=skipped).nothing or ""
    assert nothing.startswith(
        "nothing to compare: there are no runs; 2 runs of version 0.1 (schema 1) are not shown: a, b. Sweep over"
    )


def test_notes_name_the_limits_of_the_numbers() -> None:
    frame = table(
        *runs("optimizer__lr", {0.1: [1, 2], 0.01: [3, 5]}, optimizer="sgd", data__val_size=0),
        *runs("optimizer__lr", {0.1: [10, 11], 0.01: [20, 20]}, optimizer="adam", data__val_size=0),
    )
    text = as_table(found(frame))
    assert "optimizer: runs that differ only in optimizer.lr are averaged and count as one" in text
    assert "Runs with data.val_size=0 selected their best epoch on test images: their test_acc is optimistic" in text


# Nothing to compare.


@pytest.mark.parametrize(
    "rows, what",
    [
        ([], "nothing to compare: there are no runs. Sweep over a trick and seeds, for example: "),
        (
            [{"state": "failed"}, {"state": "running"}],
            "nothing to compare: no run is finished (1 failed, 1 running). Sweep over ",
        ),
        ([{}, {"state": "failed"}], "nothing to compare: one run is finished (1 failed). Sweep over "),
        (
            [{"seed": 0}, {"seed": 1}],
            "nothing to compare: the 2 finished runs differ only in seed and data. Sweep over a trick, ",
        ),
        ([{"data.fingerprint": "a"}, {"data.fingerprint": "b"}], "the 2 finished runs differ only in seed and data"),
        (
            [{"model": "mlp"}, {"model": "cnn", "seed": 1}],
            "the nearest runs of model=cnn also differ in seed. Sweep over one trick at a time, ",
        ),
        (
            [{"model": "mlp"}, {"model": "cnn"}],
            "no comparable pairs. model=mlp has no matching pair: results are missing. Sweep over one trick ",
        ),
    ],
)
def test_nothing_to_compare_is_explained(rows: list[dict[str, Any]], what: str) -> None:
    result = found(table(*rows))
    assert result.nothing is not None and what in result.nothing and result.comparisons == []
    assert result.nothing.startswith(("nothing to compare: ", "no comparable pairs. "))
    assert "python train.py -m " in result.nothing
    assert as_table(result) == f"{result.nothing}\n"
    assert caption(result) == []
    assert json.loads(as_json(result))["nothing"] == result.nothing
    assert len(to_csv(result).splitlines()) == 1


def test_a_frame_without_columns_has_nothing_to_compare() -> None:
    assert effects(pd.DataFrame()).nothing == found(table()).nothing
