"""Wrong input ends in a sentence with the offending setting and the valid choices, before any work starts."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import REPOSITORY, environment
from support import Train, composed, copy_program

from sweeper.cli import MOVED, preset_labels

BAD = [
    ("model=zz", "unknown choice model=zz; choose from cnn, cnn_pool, mlp"),
    ("model=cnnpool", "did you mean cnn_pool?"),
    ("experiment=p9", "unknown choice experiment=p9"),
    ("hydra/launcher=zz", "unknown choice hydra/launcher=zz"),
    ("modle=mlp", "unknown setting modle (did you mean model?); valid: activation, "),
    ("optimizer.learning_rate=1", "unknown setting optimizer.learning_rate; valid: optimizer.alpha, "),
    ("model.hiden=[3]", "unknown setting model.hiden (did you mean model.hidden?)"),
    ("+extra=1", "unknown setting extra"),
    ("epochs=many", "epochs=many: must be an integer"),
    ("optimizer.lr=fast", "optimizer.lr=fast: must be a number"),
    ("optimizer.betas=3", "optimizer.betas=3: must be a list of numbers, such as [0.9,0.999]"),
    ("model.hidden=5", "model.hidden=5: must be a list of integers, such as [512,256]"),
    ("model.hidden=[a]", "model.hidden=[a]: must be a list of integers, such as [512,256]"),
    ("sweep.zip=[seed]", "sweep.zip=[seed]: must be a list of lists of keys, such as [[model,optimizer]]"),
    (
        "sweep.exclude=[foo]",
        "sweep.exclude=[foo]: must be a list of combinations, such as [{model:cnn,activation:selu}]",
    ),
    ("sweep=3", "sweep=3: sweep is a group of settings: sweep.design, "),
    ("~loss", "loss is required: choose loss=NAME; a group cannot be removed with ~loss"),
    ("~loss.name", "~loss.name: a setting cannot be removed; set loss.name=VALUE"),
    ("+model=softmax", "+model=softmax: drop the +; model already has a value"),
    ("++model=softmax", "+model=softmax: drop the +; model already has a value"),
    ("+epochs=2", "+epochs=2: drop the +; epochs already has a value"),
    ("epochs=0", "epochs=0 is out of range: must be at least 1"),
    ("batch_size=1", "batch_size=1 is out of range"),
    ("seed=-1", "seed=-1 is out of range"),
    ("optimizer.lr=-1", "optimizer.lr=-1.0 is out of range: must be above 0"),
    ("optimizer.lr=null", "optimizer.lr=null: optimizer=adam requires a value"),
    ("dropout.rate=1", "dropout.rate=1.0 is out of range: must be at least 0 and below 1"),
    ("model.hidden=[0]", "model.hidden=0 is out of range"),
    (
        "sweep.name=../elsewhere",
        "sweep.name=../elsewhere is invalid: must be at most 100 letters, digits, dots, - and _",
    ),
    ("sweep.name=''", "sweep.name= is invalid"),
    ("device=tpu", "device=tpu is invalid: must be one of auto, cpu, cuda"),
    (
        "optimizer=sgd optimizer.momentum=0.9",
        "optimizer.momentum=0.9 is not used by optimizer=sgd, which uses bias_lr_factor, ",
    ),
    ("model=softmax model.hidden=[3]", "model.hidden=[3] is not used by model=softmax, which has no settings"),
    ("scheduler=onecycle scheduler.warmup_epochs=1", "scheduler.warmup_epochs=1.0 is not used by scheduler=onecycle"),
    ("data=digits data.root=x", "data.root=x is not used by data=digits"),
    ("data.root=nowhere", "data.root=nowhere: folder nowhere/train not found"),
    ("data.val_size=120", "data.val_size=120 must be at most 118: there are 120 training images"),
    ("data.mean=[0.5]", "data.mean=[0.5] needs a number for each of the images' 3 channels"),
    ("model=cnn_pool data.image_size=1", "images of 1x1 pixels are too small"),
    ("norm=group norm.num_groups=3", "norm.num_groups=3 does not divide a hidden layer's 16 channels"),
    ("model=resnet18_pretrained norm=group", "choose norm=batch, or train from scratch"),
    ("model=resnet18 model.weights=nowhere.pt", "model.weights=nowhere.pt: there is no such file"),
    ("model=resnet18 model.freeze_backbone=true", "model.freeze_backbone=true needs trained weights"),
    ("optimizer.betas=[0.9]", "optimizer.betas=[0.9] must be two numbers"),
    ("optimizer=momentum optimizer.momentum=0 optimizer.nesterov=true", "optimizer.nesterov=true needs"),
    ("model=mlp model.hidden=[]", "model.hidden=[] must have at least one value"),
    ("epochs", "missing EQUAL"),
    ("model=mlp,cnn", "model=mlp,cnn has several values; use -m to sweep over them: python "),
    ("lr=0.1", "unknown setting lr (did you mean optimizer.lr?)"),
    ("dropout=0.3", "Config group override must be a string"),
]


def error_of(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The sentence that train.py exits with, called in this process to save the import of torch."""
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
    message = error_of([*flags, *base, *arguments.split()], monkeypatch)
    assert message.startswith("error: ")
    assert sentence in message
    assert "\n" not in message
    assert not list(tmp_path.glob("outputs/runs/*"))


def test_nothing_starts_when_a_job_of_a_sweep_is_wrong(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = error_of(["-m", *small, "model=softmax", "epochs=1,2,0"], monkeypatch)
    assert "epochs=0 is out of range" in message
    assert "nothing was started" in message
    assert not (tmp_path / "outputs").exists()


def test_an_error_is_a_line_on_stderr_and_a_traceback_on_request(train: Train) -> None:
    short, full = train("epochs=0"), train("epochs=0", HYDRA_FULL_ERROR="1")
    assert short.returncode == full.returncode == 1
    assert "Traceback" not in short.stderr + short.stdout
    assert short.stderr == "error: epochs=0 is out of range: must be at least 1\n"
    assert "Traceback" in full.stderr


@pytest.mark.parametrize("flags", [[], ["-m"]], ids=["run", "sweep"])
def test_an_error_while_the_program_is_imported_names_its_line(flags: list[str], tmp_path: Path) -> None:
    copy_program(tmp_path)
    broken = tmp_path / "sweeper" / "training" / "losses.py"
    broken.write_text(f"{broken.read_text()}\n1 / 0\n")
    arguments = [sys.executable, "train.py", *flags, "model=softmax", "data=digits"]
    done = subprocess.run(arguments, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "error: ZeroDivisionError: division by zero; set HYDRA_FULL_ERROR=1 for the traceback"
    assert f'  File "{broken}", line {len(broken.read_text().splitlines())}, in <module>' in lines
    assert "    1 / 0" in lines
    assert "Error executing job" not in done.stderr + done.stdout


def test_help_lists_groups_settings_and_examples_without_torch() -> None:
    code = "import runpy, sys; sys.argv = ['train.py', '--help']; runpy.run_path('train.py', run_name='__main__')"
    spy = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {code}"
    done = subprocess.run([sys.executable, "-c", spy], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    models = "airbench, cnn, cnn_pool, mlp, mlp_deep, resnet18, resnet18_pretrained, softmax, timm, torchvision"
    assert f"model: {models}" in done.stdout
    assert done.stdout.count("\n  python train.py") == 4
    assert re.search(r"optimizer\.weight_decay +L2 penalty", done.stdout)
    assert done.stdout.splitlines()[-1] == "False"


MEANT_AS_SWEEPS = [
    (["seed=0,1", "epochs=2"], "seed=0,1 has several values; use -m to sweep over them: {} seed=0,1 epochs=2"),
    (["sweep.dry_run=true"], "sweep.dry_run=true applies to sweeps only; add -m: {} sweep.dry_run=true"),
    (["sweep.exclude=[{seed:0}]"], "sweep.exclude=[{{seed:0}}] applies to sweeps only; add -m: {} "),
    (["sweep.design=screen"], "sweep.design=screen applies to sweeps only; add -m: {} sweep.design=screen"),
    (["sweep.precision=0.01"], "sweep.precision=0.01 applies to sweeps only; add -m: {} "),
    (
        ["activation=[relu,selu]"],
        "activation=[relu,selu] is a list; choose a single name, or sweep: -m activation=relu,selu",
    ),
    (["hydra.sweeper.nope=1"], "error: Key 'nope' "),
]


@pytest.mark.parametrize(("arguments", "sentence"), MEANT_AS_SWEEPS)
def test_a_single_run_with_overrides_of_a_sweep_is_refused(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = f"python {REPOSITORY / 'train.py'} -m"
    assert sentence.format(typed) in error_of(arguments, monkeypatch)
    assert not list(tmp_path.glob("outputs/*"))  # Hydra makes the folder first


@pytest.mark.parametrize("override", ["sweep.precision=0.01", "sweep.dry_run=true"])
def test_a_setting_of_the_grid_sweeper_is_refused_by_another(
    override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = error_of(["-m", "hydra/sweeper=basic", "model=softmax", "seed=0,1", override], monkeypatch)
    assert message == f"error: {override.partition('=')[0]} is not used by hydra/sweeper=basic; use hydra/sweeper=grid"
    assert not list(tmp_path.glob("outputs/runs"))


@pytest.mark.parametrize("key", MOVED)
@pytest.mark.parametrize("flags", [[], ["-m"]], ids=["run", "sweep"])
def test_a_setting_of_version_0_1_is_reported_with_its_replacement(
    key: str, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = error_of([*flags, f"{key}=0.5"], monkeypatch)
    assert message.startswith(f"error: {key} is no longer a setting; use {MOVED[key]}")
    assert "\n" not in message


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
    labels = preset_labels(composed(*overrides), typed, [REPOSITORY / "conf"])
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
