"""The table on a terminal: every width shows what was swept; a file gets every column."""

import io
import re
from pathlib import Path

import pandas as pd
import pytest
from records import make
from rich.console import Console

from sweeper.summary.table import lay_out, read_runs
from sweeper.summary.terminal import fit, print_table


def swept_table(axes: int) -> pd.DataFrame:
    """Averages of norm x dropout.rate, with more axes of long values."""
    result = {name: [0.5, 0.6, 0.7, 0.8] for name in ("best_val_acc", "best_val_acc_std", "test_acc", "test_acc_std")}
    counts = dict.fromkeys(("best_epoch", "convergence_epoch", "epochs_done", "train_seconds", "parameters"), [6] * 4)
    more = {f"group.axis_{index}": [f"a-value-of-many-letters-{index}", [8, 8]] * 2 for index in range(axes - 2)}
    settings = {"norm": ["none", "batch"] * 2, "dropout.rate": [0.0, 0.0, 0.25, 0.25]}
    return pd.DataFrame(settings | more | {"runs": [7] * 4} | result | counts | {"state": ["finished"] * 4})


def drawn(table: pd.DataFrame, width: int) -> tuple[str, list[str]]:
    file = io.StringIO()
    grid, left_out = fit(table, width)
    Console(file=file, width=width, force_terminal=True, color_system=None).print(grid)
    return file.getvalue(), left_out


@pytest.mark.parametrize("axes", [2, 10])
@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_width_hides_what_was_swept(width: int, axes: int) -> None:
    table = swept_table(axes)
    text, left_out = drawn(table, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width and "…" not in text
    assert all(f"0.{digit}000 ± 0.{digit}000" in text for digit in (5, 6, 7, 8))
    assert not {*left_out} & {*table.columns[:axes], "test_acc", "best_val_acc", "state"}
    if axes == 2:
        assert re.search(r"│ batch +│ 0.25 ", text) and (width < 200 or not left_out)
        return
    # A long value is broken over lines; joined, every setting of every row is there.
    rows = [lines[0:0]]
    first = next(index for index, line in enumerate(lines) if line[0] == "┡")
    for line in lines[first + 1 : -1]:
        rows[-1].append(line.split("│")[1].strip()) if line[0] == "│" else rows.append([])
    joined = ["".join(row).replace(" ", "") for row in rows]
    for row, norm, rate in zip(joined, table["norm"], ("0", "0", "0.25", "0.25"), strict=True):
        values = [f"group.axis_{index}={table[f'group.axis_{index}'][int(norm == 'batch')]}" for index in range(8)]
        assert row == "".join([f"norm={norm}", f"dropout.rate={rate}", *values]).replace(" ", "")


def test_a_narrow_table_leaves_out_what_matters_least_and_keeps_a_state_that_differs() -> None:
    text, left_out = drawn(swept_table(2), 80)
    assert left_out == ["parameters", "train_seconds", "epochs_done", "convergence_epoch"]
    assert "state" not in text and " best " in text
    mixed = swept_table(2).assign(state=["finished", "6 finished, 1 failed", "finished", "finished"])
    text, left_out = drawn(mixed, 80)
    assert "6 finished," in text and "1 failed" in text and "runs" in left_out and "state" not in left_out
    assert drawn(pd.DataFrame({"run_id": ["a-run-of-a-very-long-name"], "test_acc": [0.5]}), 26)[1] == []


@pytest.mark.parametrize("width, left_out", [(80, "parameters, train_seconds;"), (100, "")])
def test_the_caption_lists_what_a_narrow_terminal_leaves_out(
    width: int, left_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "a-run", [0.5])
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_table(*lay_out(*read_runs(tmp_path)))
    printed = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, printed.splitlines())) <= width and "0.5000" in printed and "a-run" in printed
    words = " ".join(printed.split())
    if left_out:
        assert f"Too wide, left out: {left_out} python -m sweeper summary --format csv prints them" in words
    else:
        assert "left out" not in words and "finished │" not in words
    print_table(*lay_out(*read_runs(tmp_path)), sweep="my sweep", selected=["--where", "optimizer.lr=1e-3 "])
    named = "python -m sweeper summary 'my sweep' --where 'optimizer.lr=1e-3 ' --format csv prints them"
    assert (named in " ".join(re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).split())) == bool(left_out)


@pytest.mark.parametrize("width", [None, "40"])
def test_a_file_gets_every_column_even_with_colors(
    width: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "a-run-of-a-long-name", [0.5])
    monkeypatch.setenv("FORCE_COLOR", "1")
    if width is not None:
        monkeypatch.setenv("COLUMNS", width)
    table, caption = lay_out(*read_runs(tmp_path))
    print_table(table, caption)
    print_table(table, caption, tmp_path / "table.txt")
    written, printed = (tmp_path / "table.txt").read_text(), capsys.readouterr().out
    assert "\x1b" not in written
    for text in (written, re.sub(r"\x1b\[[0-9;]*m", "", printed)):
        assert "a-run-of-a-long-name" in text and "parameters" in text and "left out" not in text
