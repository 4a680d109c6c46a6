"""Jobs of sweeps, and what Hydra composes from them, for the tests of composing and of remembering configs."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from sweeper.cli import register_schema
from sweeper.config import Config
from sweeper.sweep.compose import Composer
from sweeper.sweep.expand import Job

JOBS: list[Job] = [
    [],
    ["model=mlp"],
    ["model=mlp_deep", "optimizer=sgd", "activation=selu", "norm=layer", "dropout=heavy", "optimizer.lr=0.5"],
    ["data=digits", "augmentation=cutout", "scheduler=onecycle"],
    ["augmentation=flip", "augmentation.cutout=4", "mixing=none", "init=lecun_normal"],
    ["select=val_loss"],
    ["model=resnet18", "norm=none"],
    ["norm=group", "model=resnet18"],
    ["epochs=3", "seed=1", "output_dir=elsewhere"],
    ["optimizer=momentum", "optimizer.lr=0.1"],
    ["optimizer=momentum", "optimizer.lr=0.2"],
    ["optimizer.lr=0.1", "optimizer=momentum"],
    ["optimizer.nesterov=true", "optimizer=momentum", "optimizer.momentum=0"],
    ["optimizer.name=sgd"],
    ["experiment=p1_softmax"],
    ["experiment=p8_resnet18_scratch", "epochs=2"],
    ["epochs=2", "experiment=p8_resnet18_scratch", "model.stem=cifar"],
    ["model=softmax", "experiment=p2_mlp"],
    ["data.root='a b'"],
    ["data.root='x,y'"],
    ["data.root=a\\,b"],
    ["data.root='it\\'s'"],
    ["data.root="],
    ["epochs='3'"],
    ["seed=007"],
    ["optimizer.lr=1e-3", "optimizer.weight_decay=0"],
    ["optimizer.lr=inf"],
    ["model=mlp", "model.hidden=[8,4]"],
    ["model=mlp", "model.hidden=[]"],
    ["model=mlp", "model.hidden=null"],
    ["model=mlp", "batch_size=2"],
    ["data.mean.1=0.25"],
    ["sweep.exclude=[{model:mlp,epochs:null},{seed:1}]", "sweep.zip=[[model,optimizer]]"],
    ["sweep={name:x,dry_run:true}"],
    ["sweep.name=null", "patience=null", "data.val_size=null"],
    ["sweep.name=5"],
    ["sweep.name=${model.name}", "model=mlp"],
    ["epochs=${seed}", "seed=4"],
    ["epochs=int(3.7)"],
    ["++epochs=3"],
    ["++optimizer.lr=0.3", "optimizer=sgd"],
    ["~epochs"],
    ["~dropout"],
]
SIMPLE = [job for job in JOBS if not any(override.startswith(("+", "~")) for override in job)]
REMEMBERED = [job for job in JOBS if not any("${" in override for override in job)]

WRONG: list[Job] = [
    ["model=zz"],
    ["model=MLP", "epochs=many"],
    ["model=mlp,cnn"],
    ["mdel=mlp"],
    ["extra=1"],
    ["model.hiden=[3]"],
    ["sweep={nme:x}"],
    ["++extra=1"],
    ["+epochs=3"],
    ["+model=mlp"],
    ["~extra"],
    ["norm@elsewhere=batch"],
    ["epochs@elsewhere=3"],
    ["epochs=many"],
    ["epochs=1.5"],
    ["epochs=1,2"],
    ["epochs=null"],
    ["optimizer=sgd", "optimizer.lr=fast"],
    ["optimizer.lr.x=1"],
    ["optimizer.betas=3"],
    ["sweep.exclude={model:mlp}"],
    ["dropout=0.3"],
    ["optimizer=null"],
    ["epochs=${nothing}"],
    ["data.root=${oc.env:SWEEPER_TEST_UNSET}"],
]

GROUPS = [item.name for item in fields(Config) if "help" not in item.metadata and item.name != "sweep"]

Ask = Callable[[Job], Any]


class Asked(Exception):
    """Hydra was asked to compose a remembered config."""


def loader_of(conf: Path) -> Any:
    """Hydra's loader of a folder of YAML files."""
    register_schema()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
    GlobalHydra.instance().clear()
    return loader


def composer_of(loader: Any, *overrides: str) -> Composer:
    """The composer of a sweep whose command line begins with these overrides."""
    return Composer(loader, loader.load_configuration("config", ["data=digits", *overrides], RunMode.MULTIRUN))


def outcome(ask: Ask, job: Job) -> Any:
    """The composed config, or everything that may be reported to the user instead."""
    try:
        return ask(job)
    except Exception as error:
        inner = error.__cause__
        return type(error), str(error), type(inner), str(inner), getattr(inner or error, "full_key", None)


def refuse(*_: Any, **__: Any) -> None:
    raise Asked


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
