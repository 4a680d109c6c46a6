"""The command line of train.py: its help, completion, and the presets that a command's settings equal."""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from choices import presets
from processes import REPOSITORY, environment
from support import Train, composed_by_hydra

from sweeper.cli import folded_help, help_text, preset_labels


def test_help_lists_groups_settings_and_examples_without_torch() -> None:
    code = "import runpy, sys; sys.argv = ['train.py', '--help']; runpy.run_path('train.py', run_name='__main__')"
    spy = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {code}"
    done = subprocess.run([sys.executable, "-c", spy], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert f"model: {', '.join(presets('model'))}" in done.stdout
    assert done.stdout.count("\n  python train.py") == 4
    assert re.search(r"optimizer\.weight_decay +L2 penalty", done.stdout)
    assert done.stdout.splitlines()[-1] == "False"


def test_the_last_lines_of_help_fit_in_80_columns() -> None:
    *_, flags, completion = help_text().splitlines()
    assert flags == "Hydra's own flags: python train.py --hydra-help"
    assert completion == 'Tab completion: eval "$$(python train.py -sc install=bash)"'
    assert max(len(flags), len(completion)) <= 80


def test_help_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys, "stdout", terminal)
    with folded_help():
        print(
            f"model: {'some_model, ' * 9}\n  optimizer.lr    peak learning rate, after the warm-up, of all parameters"
        )
    assert terminal.getvalue().splitlines()[-3:] == [
        "  some_model,",
        "  optimizer.lr    peak learning rate, after the warm-up, of",
        f"{' ' * 18}all parameters",
    ]


@pytest.mark.parametrize(
    ("overrides", "group", "label"),
    [
        (["model=mlp_deep"], "model", "mlp_deep"),
        (["model=mlp", "model.hidden=[1024,512,256]"], "model", "mlp_deep"),
        (["model=mlp", "model.hidden=[7]"], "model", None),
        (["dropout=light"], "dropout", "light"),
        (["dropout=heavy", "dropout.rate=0.1"], "dropout", "light"),
        (["augmentation.flip=random"], "augmentation", "flip"),
        (["augmentation=flip", "augmentation.flip=none"], "augmentation", None),
        (["augmentation=flip", "augmentation.flip=null"], "augmentation", "none"),
        (["optimizer=sgd"], "optimizer", "sgd"),
        (["optimizer=sgd", "optimizer.lr=0.123"], "optimizer", None),
        (["experiment=p2_mlp"], "model", "mlp"),
    ],
)
def test_a_label_is_the_preset_that_equals_a_groups_settings(
    overrides: list[str], group: str, label: str | None
) -> None:
    typed = dict(override.split("=") for override in overrides if "." not in override.split("=")[0])
    labels = preset_labels(composed_by_hydra(*overrides), typed, [REPOSITORY / "conf"])
    assert labels.get(group) == label


@pytest.mark.skipif(shutil.which("bash") is None, reason="completion is tested in a bash")
def test_tab_completion_of_groups_and_names(tmp_path: Path) -> None:
    script = """
eval "$(python train.py -sc install=bash)"
COMP_LINE="python train.py model=cnn" COMP_POINT=25 COMP_CWORD=2
hydra_bash_completion
echo "${COMPREPLY[@]}"
"""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=REPOSITORY, env=environment(PATH=path), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["model=cnn", "model=cnn_pool"]


def test_the_recorded_command_of_a_sweeps_job_repeats_its_run(train: Train, tmp_path: Path) -> None:
    of_sweep = ("sweep.max_retries=0", "++sweep.name=mine", "sweep={order:seeds}")
    assert train("model=softmax", "epochs=1", "seed=0", *of_sweep, flags=("-m",)).returncode == 0
    (record,) = (tmp_path / "outputs" / "runs").glob("*/run.json")
    python, _, *arguments = shlex.split(json.loads(record.read_text())["command"])
    assert python == "python" and "sweep" not in " ".join(arguments)
    done = train(*arguments)
    assert done.returncode == 0 and "already finished" in done.stdout + done.stderr
