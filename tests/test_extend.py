"""Files with choices of one's own, in real processes."""

import json
from pathlib import Path

import pytest
from extended import undone
from support import Train, runs

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.extensions import load
from sweeper.runs.network import load_network

TRICKS = """from torch import nn


def my_act(*, slope: float = 0.1) -> nn.Module:
    return nn.LeakyReLU(slope)


def other() -> nn.Module:
    return nn.ReLU()


ACTIVATIONS = {"my_act": my_act, "other": other}
"""


def test_a_sweep_over_a_choice_of_a_file_in_parallel(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, moved = tmp_path / "my_tricks.py", tmp_path / "w" / "my_tricks.py"
    file.write_text(TRICKS)
    sweep = ("-m", "model=mlp", "model.hidden=[8]", "activation=relu,my_act", "epochs=1", "hydra/launcher=parallel")
    done = train(*sweep, "extend=my_tricks.py")
    assert done.returncode == 0, done.stderr
    records = {run.name.split("-")[1]: json.loads((run / "run.json").read_text()) for run in runs(tmp_path)}
    assert {name: run["config"]["extend"] for name, run in records.items()} == {"relu": [], "my_act": ["my_tricks.py"]}
    assert "slope" not in records["relu"]["config"]["activation"]
    assert records["my_act"]["code"]["activation"].keys() == {"my_tricks.my_act"}
    assert all(" 'extend=[my_tricks.py]'" in run["command"] for run in records.values())

    moved.parent.mkdir()
    moved.write_text(TRICKS.replace("nn.ReLU()", "nn.ReLU6()"))
    file.unlink()
    done = train(*sweep, "extend=w/my_tricks.py", "sweep.dry_run=true")
    assert "2 combinations: 2 finished" in done.stderr + done.stdout
    record = RunDirectory(tmp_path / "outputs" / "runs" / records["my_act"]["run_id"])
    monkeypatch.chdir(tmp_path)
    with undone():
        with pytest.raises(
            UserError, match=r"uses my_tricks\.py, and there is no file .*; put it back, or give extend="
        ):
            load_network(record)
        load(["w/my_tricks.py"])
        assert load_network(record).config.activation.name == "my_act"


def test_a_bad_file_ends_the_command_before_it_writes_anything(train: Train, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(TRICKS.replace("slope: float", "slope"))
    done = train("extend=bad.py", "model=softmax")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: extend=bad.py, line 4: my_act: the setting slope has no annotation; write slope:"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["bad.py"]
