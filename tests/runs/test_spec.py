"""Identity: what counts changes the run id, what does not leaves it; and which code counts."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from support import REPOSITORY

from sweeper.cli import register_schema
from sweeper.config import Config, settings, to_config
from sweeper.runs import fingerprint as training_code
from sweeper.runs import spec as identity
from sweeper.training.build import choose_all

PACKAGE = REPOSITORY / "sweeper"


@cache
def identify(overrides: str = "", fingerprint: str = "f00d") -> str:
    """The run id of what is typed after `python train.py`."""
    register_schema()
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config = to_config(compose("config", overrides.split()))
    return identity.run_id(identity.effective_config(config, choose_all(config), fingerprint))


@pytest.mark.parametrize(
    "first, second",
    [
        ("model=softmax", "model=softmax activation=selu norm=batch dropout=heavy"),
        ("model=softmax", "model=softmax norm=group norm.num_groups=2 activation=leaky_relu"),
        ("model=mlp dropout=light dropout.rate=0", "model=mlp dropout=none"),
        ("dropout=heavy dropout.rate=0.1", "dropout=light"),
        ("dropout=none dropout.rate=0.5", "dropout=heavy"),
        ("model=resnet18 dropout=heavy", "model=resnet18"),
        ("experiment=p4_cnn", "model=cnn optimizer=adam patience=5"),
        ("data.mean=[0,0,0] data.std=[1,1,1]", "data.mean=[0.0,0.0,0.0] data.std=[1.0,1.0,1.0]"),
        ("label_smoothing=0", "label_smoothing=0.0"),
        ("scheduler.warmup_epochs=1", "scheduler.warmup_epochs=1.0"),
        ("optimizer.lr=1e-3", "optimizer.lr=0.001"),
        ("", "seed=0 epochs=30 batch_size=64"),
    ],
)
def test_equal_effective_configs_are_one_run(first: str, second: str) -> None:
    assert identify(first) == identify(second)


# Settings that do not count, each with two command lines that differ in it alone.
WITHOUT_EFFECT = {
    "target_acc": ("", "target_acc=0.5"),
    "convergence_fraction": ("", "convergence_fraction=0.9"),
    "checkpoint_minutes": ("", "checkpoint_minutes=1"),
    "device": ("device=auto", "device=cpu"),
    "threads": ("", "threads=1"),
    "compile": ("", "compile=true"),
    "output_dir": ("", "output_dir=elsewhere"),
    "sweep.reuse": ("", "sweep.reuse=none"),
    "sweep.name": ("", "sweep.name=mine"),
    "sweep.exclude": ("", "sweep.exclude=[{model:cnn}]"),
    "sweep.zip": ("", "sweep.zip=[[model,seed]]"),
    "sweep.dry_run": ("", "sweep.dry_run=true"),
    "sweep.max_retries": ("", "sweep.max_retries=3"),
    "sweep.fail_fast": ("", "sweep.fail_fast=true"),
    "sweep.wait": ("", "sweep.wait=false"),
    "data.root": ("", "data.root=elsewhere"),
    "data.cache": ("", "data.cache=elsewhere"),
    "data.url": ("", "data.url=elsewhere"),
    "data.sha256": ("", "data.sha256=f00d"),
    "dropout.name": ("dropout=light", "dropout=light dropout.name=heavy"),
}

# The same of all others.
WITH_EFFECT = {
    "epochs": ("", "epochs=2"),
    "batch_size": ("", "batch_size=2"),
    "seed": ("", "seed=1"),
    "label_smoothing": ("", "label_smoothing=0.1"),
    "grad_clip": ("", "grad_clip=1"),
    "autocast": ("", "autocast=bfloat16"),
    "patience": ("", "patience=1"),
    "data.name": ("data=image_folder", "data=image_folder data.name=digits data.root=null data.channels=null"),
    "data.image_size": ("", "data.image_size=16"),
    "data.channels": ("data=image_folder", "data=image_folder data.channels=1"),
    "data.val_size": ("", "data.val_size=0"),
    "data.mean": ("", "data.mean=[0,0,0]"),
    "data.std": ("", "data.std=[1,1,1]"),
    "model.name": ("model=cnn", "model=cnn_pool"),
    "model.hidden": ("model=mlp", "model=mlp model.hidden=[1024,1]"),
    "model.channels": ("", "model.channels=[16]"),
    "model.kernel_size": ("", "model.kernel_size=3"),
    "model.weights": ("model=resnet18", "model=resnet18 model.weights=imagenet"),
    "model.stem": ("model=resnet18", "model=resnet18 model.stem=imagenet"),
    "model.freeze_backbone": ("model=resnet18", "model=resnet18 model.freeze_backbone=true"),
    "optimizer.name": ("optimizer=adam", "optimizer=adam optimizer.name=adamw"),
    "optimizer.lr": ("", "optimizer.lr=1"),
    "optimizer.momentum": ("optimizer=momentum", "optimizer=momentum optimizer.momentum=0"),
    "optimizer.nesterov": ("optimizer=momentum", "optimizer=momentum optimizer.nesterov=true"),
    "optimizer.betas": ("", "optimizer.betas=[0.9,0.99]"),
    "optimizer.weight_decay": ("", "optimizer.weight_decay=0.1"),
    "scheduler.name": ("scheduler=constant", "scheduler=exponential"),
    "scheduler.warmup_epochs": ("", "scheduler.warmup_epochs=1"),
    "scheduler.step_size": ("scheduler=step", "scheduler=step scheduler.step_size=1"),
    "scheduler.milestones": ("scheduler=multistep", "scheduler=multistep scheduler.milestones=[1]"),
    "scheduler.gamma": ("scheduler=step", "scheduler=step scheduler.gamma=0.5"),
    "scheduler.min_factor": ("scheduler=cosine", "scheduler=cosine scheduler.min_factor=0.5"),
    "scheduler.pct_start": ("scheduler=onecycle", "scheduler=onecycle scheduler.pct_start=0"),
    "scheduler.div_factor": ("scheduler=onecycle", "scheduler=onecycle scheduler.div_factor=2"),
    "scheduler.final_div_factor": ("scheduler=onecycle", "scheduler=onecycle scheduler.final_div_factor=2"),
    "scheduler.factor": ("scheduler=plateau", "scheduler=plateau scheduler.factor=0.5"),
    "scheduler.patience": ("scheduler=plateau", "scheduler=plateau scheduler.patience=0"),
    "activation.name": ("activation=relu", "activation=gelu"),
    "activation.negative_slope": ("activation=leaky_relu", "activation=leaky_relu activation.negative_slope=0"),
    "norm.name": ("norm=none", "norm=layer"),
    "norm.num_groups": ("norm=group", "norm=group norm.num_groups=1"),
    "dropout.rate": ("dropout=light", "dropout=light dropout.rate=0.2"),
    "augmentation.name": ("augmentation=none", "augmentation=flip"),
    "augmentation.padding": ("augmentation=flip_crop", "augmentation=flip_crop augmentation.padding=1"),
    "augmentation.size": ("augmentation=cutout", "augmentation=cutout augmentation.size=1"),
}


@pytest.mark.parametrize("key", [key for key, _, _ in settings(Config())])
def test_every_setting_counts_but_those_that_cannot_change_the_result(key: str) -> None:
    top, of_data = identity.NOT_IDENTITY
    group, _, name = key.rpartition(".")
    ignored = key == "dropout.name" or (group or name) in top or (group == "data" and name in of_data)
    first, second = (WITHOUT_EFFECT if ignored else WITH_EFFECT)[key]
    assert (identify(first) == identify(second)) == ignored


def test_content_of_images_and_weights_counts_and_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert identify(fingerprint="f00d") != identify(fingerprint="beef")
    for name, content in (("a.pt", b"one"), ("b.pt", b"one"), ("c.pt", b"two")):
        (tmp_path / name).write_bytes(content)
    command = "model=resnet18_pretrained model.weights="
    ids = [identify(f"{command}{tmp_path / name}") for name in ("a.pt", "b.pt", "c.pt")]
    assert ids[0] == ids[1] and len({*ids, identify(f"{command}imagenet")}) == 3
    (tmp_path / "imagenet").touch()  # model.weights=imagenet never means this file
    monkeypatch.chdir(tmp_path)
    assert identify.__wrapped__(f"{command}imagenet") == identify(f"{command}imagenet")


@pytest.mark.parametrize(
    "command, slug",
    [
        ("", "cnn_pool-relu-adam-cifar10-s0"),
        ("model=softmax activation=selu seed=12", "softmax-adam-cifar10-s12"),
        ("model=mlp dropout=light dropout.rate=1e-05", "mlp-relu-adam-dropout1e_05-cifar10-s0"),
        ("model=resnet18 scheduler=step augmentation=flip", "resnet18-relu-batch-adam-step-flip-cifar10-s0"),
        (f"data=digits seed={2**63 - 1}", f"cnn_pool-relu-adam-digits-s{2**63 - 1}"),
    ],
)
def test_run_id_is_readable(command: str, slug: str) -> None:
    assert re.fullmatch(re.escape(slug) + "-[0-9a-f]{10}", identify(command))


@pytest.mark.parametrize("name", ["../../etc", "a b/c", "\0\n", "ö*?<>|:", "x" * 20])
def test_run_id_is_safe_as_a_folder_name(name: str) -> None:
    groups = ("model", "activation", "optimizer", "scheduler", "augmentation", "data")
    effective = {group: {"name": name} for group in groups}
    found = identity.run_id({**effective, "seed": 0})
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,200}-[0-9a-f]{10}", found)
    assert found == identity.run_id({"seed": 0, **dict(reversed(effective.items()))})


SOURCE = "class A:\n    x = 1\n\n    def f(self, a=(1, 2)):\n        return 'a' + a\n"


@pytest.mark.parametrize(
    "old, new, equal",
    [
        ("x = 1", "x = 1  # why", True),
        ("x = 1\n\n", "x = (\n        1\n    )\n", True),
        ("class A:", "'''Of A.'''\n\nclass A:\n    '''A.'''\n", True),
        ("a=(1, 2)):", "a=(1, 2)):\n        '''Returns.'''", True),
        ("'a'", '"a"', True),
        ("x = 1", "x = 2", False),
        ("x = 1", "x: int = 1", False),
        ("a=(1, 2)", "a=(1, 3)", False),
        ("'a'", "'b'", False),
        ("'a' + a", "a + 'a'", False),
        ("return", "print('x')\n        return", False),
    ],
)
def test_syntax_hash(old: str, new: str, equal: bool) -> None:
    assert SOURCE.count(old) == 1
    assert (training_code.syntax_hash(SOURCE) == training_code.syntax_hash(SOURCE.replace(old, new))) == equal


def imported(module: str, found: set[str]) -> set[str]:
    """The module's file and every one of the package that it imports, directly or not, as paths in the package."""
    path = next(path for path in (f"{module}.py", f"{module}/__init__.py") if (PACKAGE / path).is_file())
    if path not in found:
        found.add(path)
        for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "sweeper":
                imported(node.names[0].name, found)
            elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("sweeper."):
                imported(str(node.module).removeprefix("sweeper.").replace(".", "/"), found)
    return found


def test_code_fingerprint_covers_what_decides_a_result() -> None:
    of_settings = {"choice.py", "config.py", "errors.py", "identity.py"}
    assert imported("build", set()) | imported("loop", set()) == {*training_code.TRAINING_CODE, *of_settings}
    hashes = {name: training_code.syntax_hash((PACKAGE / name).read_text()) for name in training_code.TRAINING_CODE}
    assert training_code.code_fingerprint() == hashes
