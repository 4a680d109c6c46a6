"""Run ids: what can change a result counts, nothing else does; a config is resolved once and not changed."""

import copy
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from choices import CHOICES, STEPS, presets
from PIL import Image
from support import composed

from sweeper.choice import SLOTS, keyword_only
from sweeper.config import NOT_IDENTITY, Config, settings
from sweeper.errors import UserError
from sweeper.groups import ModelConfig
from sweeper.ranges import setting
from sweeper.runs import spec
from sweeper.runs.fingerprint import REGISTRIES, code_of
from sweeper.runs.provenance import describe
from sweeper.runs.spec import OF_DATA, effective_config, resolve
from sweeper.training.build import choose_all

FROZEN = "model=resnet18_pretrained model.freeze_backbone=true"


def effective(config: Config, fingerprint: str = "f00d") -> dict[str, Any]:
    return effective_config(config, choose_all(config), fingerprint)


def id_of(config: Config) -> str:
    return spec.run_id(effective(config))


@cache
def compose_once(overrides: str) -> Config:
    """Compose what is typed after `python train.py`; not to be changed."""
    return composed(*overrides.split())


@cache
def identify(overrides: str = "", fingerprint: str = "f00d") -> str:
    """Return the run id of what is typed after `python train.py`."""
    return spec.run_id(effective(compose_once(overrides), fingerprint))


@pytest.mark.parametrize(
    "first, second",
    [
        ("model=softmax", "model=softmax activation=selu norm=batch dropout=heavy"),
        ("model=softmax", "model=softmax norm=group norm.num_groups=2 activation=leaky_relu"),
        ("model=mlp dropout=light dropout.rate=0", "model=mlp dropout=none"),
        ("model=mlp dropout.rate=-0.0", "model=mlp dropout=none"),
        ("optimizer.betas=[-0.0,0.9]", "optimizer.betas=[0,0.9]"),
        ("model=mlp_deep", "model=mlp model.hidden=[1024,512,256]"),
        ("model=mlp", "model=mlp_deep model.hidden=[1024]"),
        ("dropout=light", "dropout.rate=0.1"),
        ("dropout=heavy dropout.rate=0.1", "dropout=light"),
        ("dropout=none dropout.rate=0.5", "dropout=heavy"),
        ("augmentation=cutout", "augmentation.flip=random augmentation.crop_padding=4 augmentation.cutout=8"),
        ("augmentation=cutout augmentation.cutout=null", "augmentation=flip_crop"),
        ("augmentation=flip augmentation.flip=none", "augmentation=none"),
        ("augmentation=flip_crop augmentation.crop_border=black", "augmentation=flip_crop"),
        ("model=resnet18 dropout=heavy", "model=resnet18"),
        ("activation=selu init=lecun_normal", "activation=selu"),
        ("experiment=p4_cnn", "model=cnn optimizer=adam patience=5"),
        ("data.mean=[0,0,0] data.std=[1,1,1]", "data.mean=[0.0,0.0,0.0] data.std=[1.0,1.0,1.0]"),
        ("data=image_folder", "data=image_folder data.resize=null"),
        ("data=image_folder data.resize=squeeze", "data=image_folder data.resize=null"),
        ("loss.label_smoothing=0", "loss.label_smoothing=0.0"),
        ("norm=batch norm.momentum=null", "norm=batch"),
        ("architecture=blur_pool architecture.blur_pool=false", "architecture=none"),
        ("courses=late_dropout courses.late_dropout=null", ""),
        ("architecture=blur_pool", "architecture.blur_pool=true"),
        ("scheduler.warmup_epochs=1", "scheduler.warmup_epochs=1.0"),
        ("optimizer.lr=1e-3", "optimizer.lr=0.001"),
        ("loss.class_weights=[1.0,2.0,0.5]", "loss.class_weights=[1,2,0.5]"),
        ("", "seed=0 epochs=30 batch_size=64"),
    ],
)
def test_equal_effective_configs_are_one_run(first: str, second: str) -> None:
    assert identify(first) == identify(second)


@pytest.mark.parametrize("group", [*CHOICES, *STEPS])
def test_two_presets_of_a_group_are_two_runs(group: str) -> None:
    overrides = [f"{group}={preset}" for preset in presets(group)]
    model = "model=mlp " if group in SLOTS else ""
    assert len({identify(model + override) for override in overrides}) == len(overrides)


def counts(key: str) -> bool:
    """Whether a setting is part of a run's identity, by NOT_IDENTITY and OF_DATA."""
    group, _, name = key.rpartition(".")
    return (group or name) not in NOT_IDENTITY and not (group == "data" and name in OF_DATA)


def uses(group: str, preset: str, name: str) -> bool:
    """Whether a preset's choice uses a setting of its group."""
    values = presets(group)[preset]
    if group in STEPS:  # some settings have a meaning beside others of their step only
        keys = next(keys for keys in map(keyword_only, STEPS[group].values()) if name in keys)
        return len(keys) == 1 or any(key in values for key in keys)
    return name in values or (group in CHOICES and name in keyword_only(CHOICES[group][values["name"]]))


def commands(key: str) -> Iterator[str]:
    """Command lines of runs that use a setting."""
    group, _, name = key.rpartition(".")
    names = presets(group) if group in CHOICES or group in STEPS else {}
    model = "model=mlp " if group in SLOTS else ""
    yield from (f"{model}{group}={preset}" for preset in names if uses(group, preset, name))
    if not names:
        yield ""


def another(value: Any, annotation: str) -> Any:
    """Return another value of a setting, of its type."""
    if isinstance(value, bool) or (value is None and "bool" in annotation):
        return not value
    if isinstance(value, list) or (value is None and "list" in annotation):
        inner = annotation.partition("[")[2]
        return [another(value[0], inner), *value[1:]] if value else [another(None, inner)]
    if isinstance(value, str) or "str" in annotation:
        return "another"
    return (value or 0) + 1 if "int" in annotation else (value or 1) / 2


def changed(config: Config, key: str) -> Config:
    """Return a config that differs in one setting."""
    config = copy.deepcopy(config)
    group, _, name = key.rpartition(".")
    holder = getattr(config, group) if group else config
    annotation = next(str(item.type) for found, item, _ in settings(config) if found == key)
    setattr(holder, name, another(getattr(holder, name), annotation))
    return config


@pytest.mark.parametrize("key", [key for key, _, _ in settings(Config()) if not key.endswith(".name")])
def test_every_setting_that_can_change_the_result_is_part_of_the_id(key: str) -> None:
    bases = [compose_once(command) for command in commands(key)]
    assert bases, f"no preset's choice uses {key}"
    for config in bases:
        assert (id_of(config) != id_of(changed(config, key))) == counts(key)


@pytest.mark.parametrize("group", CHOICES)
def test_the_name_of_a_groups_function_is_part_of_the_id(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    functions: Any = CHOICES[group]
    for preset in presets(group):
        config = copy.deepcopy(compose_once(f"{'model=mlp ' if group in SLOTS else ''}{group}={preset}"))
        before, holder = id_of(config), getattr(config, group)
        monkeypatch.setitem(functions, "another", functions[holder.name])
        holder.name = "another"
        assert id_of(config) != before


def test_the_sweeps_name_is_not_part_of_the_id() -> None:
    assert identify("sweep.name=mine") == identify()


def test_groups_that_do_nothing_and_slots_that_are_missing_are_left_out() -> None:
    found = effective(composed("model=softmax"))
    optional = {group for group, (_, idle) in REGISTRIES.items() if idle is not None}
    assert optional >= {"mixing", "averaging", "views", "init"}
    assert not found.keys() & {*optional, *SLOTS}
    assert found["augmentation"] == {}
    assert None not in {**found, **{key: value for key, value in found.items() if not isinstance(value, dict)}}.values()


@dataclass
class WiderModelConfig(ModelConfig):
    width: int | None = setting("a new setting, which no choice uses yet")


@dataclass
class LongerConfig(Config):
    warm_restarts: int | None = setting("a new setting")


@dataclass
class MoreConfig(LongerConfig):
    model: ModelConfig = setting("", WiderModelConfig)


@pytest.mark.parametrize("preset", presets("model"))
def test_a_new_optional_setting_leaves_the_ids_of_runs_without_it(preset: str) -> None:
    config = composed(f"model={preset}")
    values = vars(config) | {"model": WiderModelConfig(**asdict(config.model))}
    assert id_of(MoreConfig(**values)) == id_of(config)
    assert id_of(MoreConfig(**values, warm_restarts=2)) != id_of(config)
    with pytest.raises(UserError, match=r"model\.width=2 is not used"):
        id_of(MoreConfig(**values | {"model": WiderModelConfig(**asdict(config.model), width=2)}))


def test_images_and_weights_enter_the_id_by_content_and_not_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        ("model=mlp_deep init=lecun_normal", "mlp-relu-lecun_normal-adam-cifar10-s0"),
        ("model=resnet18 scheduler=step augmentation=flip", "resnet18-relu-batch-adam-step-flip-cifar10-s0"),
        ("augmentation=cutout", "cnn_pool-relu-adam-flip_crop_cutout-cifar10-s0"),
        (
            "architecture.squeeze_excitation=4 architecture.blur_pool=true courses=late_dropout",
            "cnn_pool-relu-adam-blur_squeeze-late-cifar10-s0",
        ),
        (f"data=digits seed={2**63 - 1}", f"cnn_pool-relu-adam-digits-s{2**63 - 1}"),
    ],
)
def test_a_run_id_is_readable(command: str, slug: str) -> None:
    assert re.fullmatch(re.escape(slug) + "-[0-9a-f]{10}", identify(command))


@pytest.mark.parametrize("name", ["../../etc", "a b/c", "\0\n", "ö*?<>|:", "x" * 20])
def test_a_run_id_is_safe_as_a_folder_name(name: str) -> None:
    groups = ("model", "activation", "optimizer", "scheduler", "data")
    values: dict[str, Any] = {group: {"name": name} for group in groups}
    values["augmentation"] = {name: 1}
    found = spec.run_id({**values, "seed": 0})
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,200}-[0-9a-f]{10}", found)
    assert found == spec.run_id({"seed": 0, **dict(reversed(values.items()))})


def test_resolving_changes_no_config_and_settles_everything(small: list[str], tmp_path: Path) -> None:
    config = composed(*small, "model=mlp_deep", "data.val_size=null", f"output_dir={tmp_path}")
    before = copy.deepcopy(config)
    resolved = resolve(config, labels={"model": "mlp_deep"})
    assert config == before
    data = replace(config.data, val_size=12)
    assert resolved.config == replace(config, data=data, select="val_acc")  # null: the first metric of the task
    assert resolved.effective == effective(resolved.config, resolved.cached.fingerprint)
    assert resolved.run_id == spec.run_id(resolved.effective)
    assert resolved.code == code_of(resolved.effective)
    assert (resolved.effective["model"]["name"], resolved.labels) == ("mlp", {"model": "mlp_deep"})
    assert resolved.record.folder == tmp_path / "runs" / resolved.run_id
    assert not list(tmp_path.iterdir())
    assert resolve(config, cached=resolved.cached).run_id == resolved.run_id
    assert resolve(resolved.config).run_id == resolved.run_id


def test_a_dataset_without_validation_images_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for file in ("ant/0", "ant/1", "bee/0", "bee/1", "bee/2"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / f"{file}.png")
    config = composed("data=image_folder", f"data.root={tmp_path}", f"data.cache={tmp_path}/.cache", "model=softmax")
    assert resolve(config).config.data.val_size == 0
    assert "3 training images are too few to hold a tenth out" in caplog.text


def test_splits_of_a_folder_are_identified_by_their_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However they were asked for; validation images of its own are no number of images."""
    root = tmp_path / "images"
    for number in range(20):
        for name in ("ant", "bee"):
            (root / "train" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number, len(name), 0)).save(root / "train" / name / f"{number}.png")

    def resolved(*overrides: str) -> spec.RunSpec:
        data = ("data=image_folder", f"data.root={root}", f"data.cache={tmp_path}/cache")
        return resolve(composed(*data, "model=softmax", *overrides))

    fifth = resolved()
    assert resolved("data.test_size=8").run_id == resolved("data.test_size=0.2").run_id == fifth.run_id
    assert resolved("data.test_size=10").run_id != fifth.run_id
    assert (fifth.config.data.val_size, fifth.num_train, fifth.cached.num_test) == (3, 29, 8)
    some = resolved("data.train_size=4")
    assert some.effective == {**fifth.effective, "data": {**fifth.effective["data"], "train_size": 4}}
    assert some.num_train == 4 and some.run_id != fifth.run_id
    assert resolved("data.train_size=29").run_id == fifth.run_id != resolved("data.train_size=28").run_id
    shutil.copytree(root / "train", root / "val")
    (root / "train").rename(root / "test")
    shutil.copytree(root / "val", root / "train")
    own = resolved()
    assert "val_size" not in own.effective["data"] and own.num_train == 40
    assert resolved("data.train_size=40").run_id == own.run_id
    counts = describe(own, command="", device={}, parameters=1, trained=1)["dataset"]
    assert (counts["train"], counts["val"], counts["test"]) == (40, 40, 40)
    assert resolve(own.config).run_id == own.run_id
    assert resolved("data.val_size=4").run_id != own.run_id


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            "data.test_size=2.5",
            "data.test_size=2.5 is out of range: must be a whole number of at least 1, or a fraction",
        ),
        ("data.test_size=2", "data.test_size=2 has no effect, since"),
        ("data.train_size=97", "data.train_size=97 must be at most 96: there are 120 training images, 24 of them held"),
        ("optimizer.lr=-1", "optimizer.lr=-1.0 is out of range"),
        ("loss=focal loss.label_smoothing=0.1", "loss.label_smoothing=0.1 is not used by loss=focal"),
        ("optimizer.name=none", "optimizer.name=none is unknown; choose from"),
        ("norm=batch norm.num_groups=2", "norm.num_groups=2 is not used by norm=batch"),
        ("data.val_size=120", "data.val_size=120"),
        ("data.mean=[0,0]", "data.mean"),
        ("output_dir='gr\udcf6\udcdfe'", r"output_dir=gr\udcf6\udcdfe is not valid UTF-8"),
        ("data.mean=[125.3,123.0,113.9]", "data.mean=125.3 is out of range: must be from 0 to 1, since pixels are"),
        ("data.std=[63,62.1,66.7]", "data.std=63.0 is out of range: must be above 0 and at most 1, since pixels are"),
        (
            "norm=ghost_batch",
            "norm.ghost_size=16 does not split the 16 images of a step (batch_size=16); choose at most 8, or",
        ),
        (
            "norm=ghost_batch batch_size=64 selective_backprop=0.4",
            "norm.ghost_size=16 does not split the 26 images of a step (batch_size=64, selective_backprop=0.4); choose",
        ),
        (
            "norm=ghost_batch batch_size=256 norm.ghost_size=49",
            "norm.ghost_size=49 does not split the 96 images of a step (96 training images); choose at most 48",
        ),
        (
            "norm=ghost_batch batch_size=3 norm.ghost_size=2",
            "norm.ghost_size=2 does not split the 3 images of a step (batch_size=3); choose norm=batch",
        ),
        ("batch_size=2 selective_backprop=0.5", "selective_backprop=0.5 selects the whole batch of 2"),
        ("selective_backprop=1", "selective_backprop=1.0 is out of range: must be above 0 and below 1"),
        ("courses.early_dropout=1.5", "courses.early_dropout=1.5 is out of range: must be above 0 and at most 1"),
        ("architecture.stochastic_depth=0", "architecture.stochastic_depth=0.0 is out of range"),
        ("epochs=2 scheduler.warmup_epochs=2.5", "scheduler.warmup_epochs=2.5 is longer than the training of epochs=2"),
        ("epochs=4 averaging=swa", "averaging.start=0.75 leaves only the last of epochs=4 to average"),
        (
            "loss=binary_cross_entropy loss.target_threshold=0.2",
            "loss.target_threshold=0.2 has no effect with mixing=none",
        ),
        ("loss=distillation loss.alpha=0", "loss.alpha=0.0 is out of range: must be above 0 and at most 1"),
        ("loss=distillation loss.alpha=1 loss.label_smoothing=0.1", "loss.alpha=1.0 leaves the targets out"),
        ("loss=distillation loss.alpha=1 loss.class_weights=balanced", "loss.alpha=1.0 leaves the targets out"),
        (f"{FROZEN} norm.momentum=0.2", "norm.momentum=0.2 has no effect with model.freeze_backbone=true"),
        (f"{FROZEN} norm=ghost_batch norm.ghost_size=4", "norm.ghost_size=4 has no effect with model.freeze_backbone"),
    ],
)
def test_a_config_that_cannot_run_is_refused(overrides: str, sentence: str, small: list[str]) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}"):
        resolve(composed(*small, *overrides.split()))


@pytest.mark.parametrize(
    "overrides",
    [
        "epochs=2 scheduler.warmup_epochs=2",
        "epochs=4 averaging=swa averaging.start=0.74",
        "mixing=cutmix loss=binary_cross_entropy loss.target_threshold=0.2",
        "norm=ghost_batch batch_size=64 selective_backprop=0.49",
        "norm=ghost_batch batch_size=256 norm.ghost_size=48",
    ],
)
def test_a_config_that_can_just_run_is_accepted(overrides: str, small: list[str]) -> None:
    assert resolve(composed(*small, *overrides.split())).run_id
