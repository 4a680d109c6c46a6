"""Wrong input ends in a sentence with the offending setting and the valid choices, before any work starts."""

import sys
from pathlib import Path

import pytest
from wrong_input import error_of

from sweeper.explain import explain_choice, explain_syntax

BAD = [
    ("model=zz", "unknown choice model=zz; choose from airbench, cnn, cnn_pool, "),
    ("model=cnnpool", "did you mean cnn_pool?"),
    ("experiment=p9", "unknown choice experiment=p9"),
    ("hydra/launcher=zz", "unknown choice hydra/launcher=zz"),
    ("modle=mlp", "unknown setting modle (did you mean model?); valid: activation, "),
    ("optimizer.learning_rate=1", "unknown setting optimizer.learning_rate (did you mean optimizer.lr?)"),
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
    ("data.root=nowhere", "data.root=nowhere: folder not found; expected train/<class>/*"),
    ("data.val_size=120", "data.val_size=120 must be at most 118: there are 120 training images"),
    ("data.mean=[0.5]", "data.mean=[0.5] needs a number for each of the images' 3 channels"),
    ("model=cnn_pool data.image_size=1", "images of 1x1 pixels are too small"),
    ("averaging=lookahead averaging.alpha=1", "averaging.alpha=1.0 is out of range: must be above 0 and below 1"),
    ("norm=group norm.num_groups=3", "norm.num_groups=3 does not divide a hidden layer's 16 channels"),
    ("model=resnet18_pretrained norm=group", "choose norm=batch, or train from scratch"),
    ("model=resnet18 model.weights=nowhere.pt", "model.weights=nowhere.pt: there is no such file"),
    ("model=resnet18 model.freeze_backbone=true", "model.freeze_backbone=true needs trained weights"),
    ("optimizer.betas=[0.9]", "optimizer.betas=[0.9] must be two numbers"),
    ("optimizer=momentum optimizer.momentum=0 optimizer.nesterov=true", "optimizer.nesterov=true needs"),
    ("model=mlp model.hidden=[]", "model.hidden=[] must have at least one value"),
    (
        "augmentation=flip augmentation={crop_padding:2}",
        "augmentation={crop_padding:2}: augmentation is given twice; write its settings as augmentation.SETTING=VALUE",
    ),
    ("model=mlp,cnn", "model=mlp,cnn has several values; use -m to sweep over them: python "),
    ("model=MLP", "unknown choice model=MLP (did you mean mlp?)"),
    ("learning_rate=0.1", "unknown setting learning_rate (did you mean optimizer.lr?)"),
    ("lr=0.1", "unknown setting lr (did you mean optimizer.lr?)"),
]

SLIPS = [  # of sweeps; those of `ALSO_OF_RUNS` are typed without -m as well
    ("sweep.name=-x", "sweep.name=-x is invalid: must be at most 100 letters"),
    (f"sweep.name={'漢' * 70}", "(200 bytes), the first a letter or digit"),
    ("sweep.name=None", "sweep.name=None: None is written null; write sweep.name=null"),
    ("patience=None", "patience=None: must be an integer; None is written null: patience=null"),
    ("target_acc=None", "summary, effects, curves and report; None is written null"),
    ("autocast=None", "autocast=None: None is written null; write autocast=null"),
    ("device=None", "device=None is invalid: must be one of auto, cpu, cuda"),
    ("loss.class_weights=None", "loss.class_weights=None: None is written null; write loss.class_weights=null"),
    ("output_dir=None", "output_dir=None: None is written null; it needs a value"),
    ("data.cache=None", "data.cache=None: None is written null; write data.cache=null"),
    ("output_dir=", "output_dir= is empty; it needs a value"),
    ("data.cache=", "data.cache= is empty; write data.cache=null"),
    ("output_dir='~/x'", "output_dir=~/x: ~ is not replaced here; write output_dir=/"),
    ("output_dir=/proc/x", "output_dir=/proc/x cannot be written: "),
    ("epochs", "a sweep's values are separated by commas; write epochs=VALUE"),
    ("epochs 3", "epochs 3: a setting is KEY=VALUE without blanks"),
    ("epochs==3", "write epochs=3"),
    ("epochs =3", "write epochs=3"),
    ("epochs= 3", "write epochs=3"),
    ("seed=0,1,", "write seed=0,1"),
    ("seed=range(0,3,0)", "seed=range(0,3,0): the step of a range must not be 0"),
    ("optimizer.lr=range(0,1,0.0)", "optimizer.lr=range(0,1,0.0): the step of a range must not be 0"),
    ("seed=range(0,3,0) sweep.precision=0.1 norm=none,batch", "seed=range(0,3,0): the step of a range must not be 0"),
    ("seed=0,,1", "write seed=0,1"),
    ("activation=relu, selu", "write activation=relu,selu"),
    ("epochs=1#2", "put in quotes"),
    ("--epochs 3", "--epochs: there is no such flag, and settings have no dashes; write epochs=3"),
    ("--epochs=3", "write epochs=3"),
    ("epochs=1e3", "epochs=1e3: must be an integer; epochs=1000 is one"),
    ("model.hidden=64", "[512,256]; write model.hidden=[64]"),
    ("dropout=0.3", "dropout is a group; choose from heavy, light, none, or set dropout.rate=0.3"),
    ("dropout=null", "dropout=null: dropout is a group; choose from heavy, light, none"),
    ("optimizer=0.1", "optimizer is a group; choose from adam, "),
    ("experiment=[p1_softmax,p2_mlp]", "is a list; choose a single name, or sweep: -m experiment=p1_softmax,p2_mlp"),
    ("model=[softmax,mlp]", "model=[softmax,mlp] is a list; choose a single name"),
    ("hydra.run.dir=mine", "hydra.run.dir=mine is not used here; runs are in output_dir/runs: set output_dir=FOLDER"),
    ("hydra.sweep.dir=mine", "hydra.sweep.dir=mine is not used here; "),
    ("hydra.sweep.subdir=${hydra:job.num}", "is not used here; "),
    ("hydra.output_subdir=.hydra", "hydra.output_subdir=.hydra is not used here; "),
    ("hydra.job.chdir=true", "hydra.job.chdir=True is not used here; paths are relative to the working directory"),
    ("hydra.launcher=parallel", "hydra.launcher=parallel: the choice of a group has a slash; write hydra/launcher="),
    ("hydra.sweeper=optuna", "write hydra/sweeper=optuna"),
    ("hydra.launcher.n_jobs=2", "hydra/launcher=basic has no n_jobs; it belongs to hydra/launcher=joblib, hydra/laun"),
    ("hydra.sweeper.n_trials=2", "hydra/sweeper=grid has no n_trials; it belongs to hydra/sweeper=optuna"),
    ("hydra/launcher=parallel hydra.launcher.njobs=2", "hydra/launcher=parallel has no njobs (did you mean n_jobs?)"),
    ("hydra.job.env_set.X=1", "where one can be added, write +hydra.job.env_set.X=1"),
    ("data.cache=${hydra:job.num}", "${hydra:job.num} differs from job to job and has no effect on a run; remove it"),
    ("output_dir=${nope}", "output_dir: Interpolation key 'nope' not found"),
    (
        "output_dir=out/${seed} seed=1,2",
        "output_dir is out/0, out/1, out/2 for runs of one sweep; choose one",
    ),
    (
        "data=digits,image_folder data.root=x",
        "sweep data=digits by itself, or write data.root into a preset",
    ),
]
ALSO_OF_RUNS = (
    "epochs=",
    "experiment=",
    "hydra.job.chdir",
    "hydra.run.dir",
    "output_dir=/",
    "output_dir=${",
    "data.cache=$",
)


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


@pytest.mark.parametrize(
    ("flags", "arguments", "sentence"),
    [(["-m"], *slip) for slip in SLIPS] + [([], *slip) for slip in SLIPS if slip[0].startswith(ALSO_OF_RUNS)],
)
def test_a_slip_is_told_what_to_write(
    flags: list[str], arguments: str, sentence: str, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = error_of([*flags, *small, "model=softmax", *arguments.split()], monkeypatch)
    assert message.startswith("error: ")
    assert sentence in message
    assert "\n" not in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("typed", "rest"),
    [
        ("dropout=null", ""),
        ("dropout=none,True", ""),
        ("dropout=0.1,0.3", ", or set dropout.rate=0.1,0.3"),
        ("dropout=none,0.3", ", or set dropout.rate=0.3"),
        ("dropout=none,", ""),
        ("dropout=none,,0.3", ", or set dropout.rate=0.3"),
    ],
)
def test_a_group_is_no_number_and_no_truth_value(typed: str, rest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "model=mlp", typed])
    assert explain_choice("") == f"{typed}: dropout is a group; choose from heavy, light, none{rest}"


@pytest.mark.parametrize(
    ("arguments", "override", "typed", "corrected"),
    [
        ("seed=0 1 2", "1", "seed=0 1 2", "seed=0,1,2"),
        ("-m optimizer.lr=1e-3 1e-2 epochs=1", "1e-2", "optimizer.lr=1e-3 1e-2", "optimizer.lr=1e-3,1e-2"),
        ("model=mlp softmax -m", "softmax", "model=mlp softmax", "model=mlp,softmax"),
        ("norm=none batch", "batch", "norm=none batch", "norm=none,batch"),
        ("-m activation=relu selu gelu", "selu", "activation=relu selu gelu", "activation=relu,selu,gelu"),
        ("model.weights=a.pt b.pt", "b.pt", "model.weights=a.pt b.pt", "model.weights=a.pt,b.pt"),
        ("model.weights=null b.pt", "b.pt", "model.weights=null b.pt", "model.weights=null,b.pt"),
        ("model.weights=a.pt model.pt", "model.pt", "model.weights=a.pt model.pt", "model.weights=a.pt,model.pt"),
        ("seed=0 1 model softmax", "1", "seed=0 1", "seed=0,1"),
        ("--config-dir=my foo seed=0", "foo", "foo", "foo=VALUE"),
        ("seed=0 optimzer.lr 3", "optimzer.lr", "optimzer.lr 3", "optimzer.lr=3"),
        ("seed=0 model softmax", "model", "model softmax", "model=softmax"),
        ("seed=0 modle softmax", "modle", "modle softmax", "modle=softmax"),
        ("seed=0 learning_rate 3", "learning_rate", "learning_rate 3", "learning_rate=3"),
        ("seed=0 optimizer.rate 3", "optimizer.rate", "optimizer.rate 3", "optimizer.rate=3"),
        ("seed=0 epochs", "epochs", "epochs", "epochs=VALUE"),
    ],
)
def test_words_without_an_equals_sign_are_values_or_a_setting(
    arguments: str, override: str, typed: str, corrected: str
) -> None:
    sentence = explain_syntax(override, arguments.split())
    assert sentence.startswith(f"{typed}: a setting is KEY=VALUE")
    assert sentence.endswith(f"; write {corrected}")


def test_nothing_starts_when_a_job_of_a_sweep_is_wrong(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = error_of(["-m", *small, "model=softmax", "epochs=1,2,0"], monkeypatch)
    assert "epochs=0 is out of range" in message
    assert "nothing was started" in message
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("content", ["epochs: 1\n", "\ufeff# @package _global_\nepochs: 1\n"])
@pytest.mark.parametrize("flags", [[], ["-m"]], ids=["run", "sweep"])
def test_the_file_of_an_experiment_needs_its_first_line(
    flags: list[str], content: str, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(content, encoding="utf-8")
    message = error_of([*flags, "--config-dir=my", *small, "experiment=mine"], monkeypatch)
    assert message.startswith("error: experiment=mine: the first line of an experiment's file must be # @package _glob")
    assert "\n" not in message
    assert not (tmp_path / "outputs").exists()


def test_a_setting_of_the_sweep_in_a_swept_experiment_is_refused(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, sweep in (("a", "{}"), ("b", "{dry_run: true}")):
        file = tmp_path / "my" / "experiment" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# @package _global_\nepochs: 1\nsweep: {sweep}\n")
    message = error_of(["-m", "--config-dir=my", *small, "experiment=a,b"], monkeypatch)
    assert message.startswith("error: sweep.dry_run=true would hold for these runs only, but a sweep has one value (fa")
    assert "experiment=b; nothing was started)" in message
    assert not (tmp_path / "outputs").exists()
