"""TensorBoard's folder: a link for each run, under the name that log and tables use."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from watching import job, make, save

from sweeper.errors import UserError
from sweeper.runs.tensorboard import Events
from sweeper.sweep.boards import make_board, update_board

ROW = {"epoch": 1, "train_loss": 1.0, "val_loss": 1.0, "train_acc": 0.5, "val_acc": 0.5, "val_balanced_acc": 0.5}
ROW |= {"val_macro_f1": 0.5, "lr": 0.1, "images_per_second": 9.0, "train_seconds": 1.0}


def test_a_sweep_has_its_runs_alone_by_their_names(tmp_path: Path) -> None:
    for name in ("a-0123456789", "b-0123456789", "other"):
        record = make(tmp_path, name, "finished")
        with Events(record.folder / "tensorboard", 1.0, [ROW]):
            pass
    save(tmp_path, [job("a-0123456789", "data.root=x/y"), job("late", "data.root=z")])
    board = make_board(tmp_path, "a-sweep")
    runs = EventMultiplexer().AddRunsFromDirectory(str(board)).Reload().Runs()
    assert set(runs) == {"data.root=x_y 0123456789"}
    every = EventMultiplexer().AddRunsFromDirectory(str(make_board(tmp_path, None))).Runs()
    assert set(every) == {"a-0123456789", "b-0123456789", "other"}
    with Events(tmp_path / "runs" / "late" / "tensorboard", 1.0, [ROW]):  # which starts later
        update_board(board, tmp_path, "a-sweep")
    assert len(EventMultiplexer().AddRunsFromDirectory(str(board)).Runs()) == 2


def test_without_runs_there_is_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no runs in"):
        make_board(tmp_path, None)
    with pytest.raises(UserError, match="no sweeps in"):
        make_board(tmp_path, "nope")
