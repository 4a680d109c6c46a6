"""What a user types wrong ends in one sentence that names the thing and the valid choices, before any work starts."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import REPOSITORY, Train, environment

BAD = [
    ("model=zz", "there is no model=zz; choose from cnn, cnn_pool, mlp"),
    ("model=cnnpool", "did you mean cnn_pool?"),
    ("experiment=p9", "there is no experiment=p9"),
    ("hydra/launcher=zz", "there is no hydra/launcher=zz"),
    ("modle=mlp", "there is no setting modle (did you mean model?)"),
    ("optimizer.learning_rate=1", "there is no setting optimizer.learning_rate; optimizer has optimizer.betas, "),
    ("model.hiden=[3]", "there is no setting model.hiden (did you mean model.hidden?)"),
    ("+extra=1", "there is no setting extra"),
    ("epochs=many", "epochs takes int"),
    ("optimizer.lr=fast", "optimizer.lr takes float"),
    ("optimizer.betas=3", "optimizer.betas takes list[float]"),
    ("epochs=0", "epochs=0 is out of range: it must be at least 1"),
    ("batch_size=1", "batch_size=1 is out of range"),
    ("seed=-1", "seed=-1 is out of range"),
    ("optimizer.lr=-1", "optimizer.lr=-1.0 is out of range: it must be above 0"),
    ("optimizer.lr=null", "optimizer.lr=null: optimizer=adam needs a value"),
    ("dropout.rate=1", "dropout.rate=1.0 is out of range: it must be at least 0 and below 1"),
    ("model.hidden=[0]", "model.hidden=0 is out of range"),
    ("sweep.name=../elsewhere", "sweep.name=../elsewhere is out of range: it must be letters, digits"),
    ("device=tpu", "it must be one of auto, cpu, cuda"),
    (
        "optimizer=sgd optimizer.momentum=0.9",
        "optimizer.momentum=0.9 is not used by optimizer=sgd, which uses lr, weight",
    ),
    ("model=softmax model.hidden=[3]", "model.hidden=[3] is not used by model=softmax, which has no settings"),
    ("scheduler=onecycle scheduler.warmup_epochs=1", "scheduler.warmup_epochs=1.0 is not used by scheduler=onecycle"),
    ("data=digits data.root=x", "data.root=x is not used by data=digits"),
    ("data.root=nowhere", "there is no folder nowhere/train"),
    ("data.val_size=120", "data.val_size=120 must be at most 118: there are 120 training images"),
    ("data.mean=[0.5]", "data.mean=[0.5] needs a number for each of the images' 3 channels"),
    ("model=cnn_pool data.image_size=1", "images of 1x1 pixels are too small"),
    ("norm=group norm.num_groups=3", "norm.num_groups=3 does not divide a hidden layer's 16 channels"),
    ("model=resnet18_pretrained norm=group", "choose norm=batch, or train from scratch"),
    ("model=resnet18 model.weights=nowhere.pt", "model.weights=nowhere.pt: there is no such file"),
    ("model=resnet18 model.freeze_backbone=true", "model.freeze_backbone=true needs trained weights"),
    ("optimizer.betas=[0.9]", "optimizer.betas=[0.9] must be two numbers"),
    ("optimizer=momentum optimizer.momentum=0 optimizer.nesterov=true", "optimizer.nesterov=true needs"),
    ("model=mlp model.hidden=[]", "model.hidden=[] needs at least one number"),
    ("epochs", "missing EQUAL"),
    ("model=mlp,cnn", "model=mlp,cnn names several values, which needs -m: python "),
    ("lr=0.1", "there is no setting lr; there is optimizer.lr"),
    ("dropout=0.3", "Config group override must be a string"),
]


def complaint(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The sentence that train.py exits with, run in this process to save the import of torch."""
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as exit_info:
        runpy.run_path(str(REPOSITORY / "train.py"), run_name="__main__")
    assert isinstance(exit_info.value.code, str)  # Python prints it to stderr and exits with 1
    return exit_info.value.code


@pytest.mark.parametrize(("arguments", "sentence"), BAD)
@pytest.mark.parametrize("flags", [[], ["-m"]], ids=["run", "sweep"])
def test_bad_input_ends_in_a_sentence_and_leaves_nothing(
    arguments: str, sentence: str, flags: list[str], small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if flags and arguments == "model=mlp,cnn":
        return
    monkeypatch.chdir(tmp_path)
    base = [override for override in small if not (arguments.startswith("data=") and override.startswith("data"))]
    message = complaint([*flags, *base, *arguments.split()], monkeypatch)
    assert message.startswith("error: ")
    assert sentence in message
    assert "\n" not in message
    assert not list(tmp_path.glob("outputs/runs/*"))


def test_nothing_starts_when_one_job_of_a_sweep_is_wrong(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = complaint(["-m", *small, "model=softmax", "epochs=1,2,0"], monkeypatch)
    assert "epochs=0 is out of range" in message
    assert "nothing was started" in message
    assert not (tmp_path / "outputs").exists()


def test_an_error_is_one_line_on_stderr_and_a_traceback_when_asked_for(train: Train) -> None:
    short, full = train("epochs=0"), train("epochs=0", HYDRA_FULL_ERROR="1")
    assert short.returncode == full.returncode == 1
    assert "Traceback" not in short.stderr + short.stdout
    assert short.stderr == "error: epochs=0 is out of range: it must be at least 1\n"
    assert "Traceback" in full.stderr


def test_help_lists_groups_settings_and_examples_without_torch() -> None:
    code = "import runpy, sys; sys.argv = ['train.py', '--help']; runpy.run_path('train.py', run_name='__main__')"
    spy = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {code}"
    done = subprocess.run([sys.executable, "-c", spy], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "model: cnn, cnn_pool, mlp, mlp_deep, resnet18, resnet18_pretrained, softmax" in done.stdout
    assert done.stdout.count("\n  python train.py") == 4
    assert "optimizer.weight_decay      L2 penalty" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


MEANT = [
    (["seed=0,1", "epochs=2"], "seed=0,1 names several values, which needs -m: {} seed=0,1 epochs=2"),
    (["sweep.dry_run=true"], "sweep.dry_run is for sweeps, which need -m: {} sweep.dry_run=true"),
    (["sweep.exclude=[{seed:0}]"], "sweep.exclude is for sweeps, which need -m: {} "),
    (["activation=[relu,selu]"], "activation=[relu,selu] is a list: name one, or several with -m as activation=relu,"),
    (["hydra.sweeper.nope=1"], "error: Key 'nope' "),
]


@pytest.mark.parametrize(("arguments", "sentence"), MEANT)
def test_what_was_meant_as_a_sweep_is_said(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = f"python {REPOSITORY / 'train.py'} -m"
    assert sentence.format(typed) in complaint(arguments, monkeypatch)
    assert not list(tmp_path.glob("outputs/*"))  # Hydra makes the folder before anything is asked of it


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
