"""The code that a run depends on: a change names its definitions, and an added trick changes none of it."""

import os
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support import composed

from sweeper.runs import fingerprint
from sweeper.runs.fingerprint import changed_definitions, closure, code_of
from sweeper.runs.spec import effective_config
from sweeper.training.build import choose_all


@pytest.mark.parametrize("group", fingerprint.REGISTRIES)
def test_the_fingerprint_reads_the_registries_that_choose(group: str) -> None:
    path, _, variable = fingerprint.REGISTRIES[group][0].partition(".")
    module = sys.modules[f"sweeper.{path.replace('/', '.')}"]
    assert list(fingerprint.modules()[path].registries[variable]) == list(getattr(module, variable))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package for the fingerprint to read, beside what is kept of the original."""
    copy = tmp_path / "sweeper"
    shutil.copytree(fingerprint.PACKAGE, copy, ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(fingerprint, "PACKAGE", copy)
    forget()
    yield copy
    monkeypatch.undo()
    forget()


def forget() -> None:
    cached: list[Any] = [fingerprint.modules, fingerprint.references, fingerprint.core]
    for function in (*cached, fingerprint.chosen_code, fingerprint.step_settings):
        function.cache_clear()


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) >= 1
    file.write_text(text.replace(old, new, 1))


@cache
def effective(*overrides: str) -> dict[str, Any]:
    config = composed(*overrides)
    return effective_config(config, choose_all(config), "f00d")


RUNS = {
    "adam": ("model=mlp", "optimizer=adam", "augmentation=flip"),
    "sgd": ("model=cnn", "optimizer=sgd", "norm=batch", "augmentation=flip_crop"),
    "softmax": ("model=softmax", "optimizer=adamw", "scheduler=cosine"),
    "decay": ("model=mlp_deep", "optimizer=momentum", "scheduler=exponential"),
}


def changed(package: Path) -> dict[str, list[str]]:
    """The definitions that changed, by run, since the original package."""
    now = {name: code_of(effective(*overrides)) for name, overrides in RUNS.items()}
    return {name: names for name in RUNS if (names := changed_definitions(ORIGINAL[name], now[name]))}


ORIGINAL = {name: code_of(effective(*overrides)) for name, overrides in RUNS.items()}
ACTIVATION = 'def mish() -> nn.Module:\n    return nn.Mish()\n\n\nACTIVATIONS: Registry = {\n    "mish": mish,'
MINE = (
    "class Mine(SGD):\n    pass\n\n\ndef mine(parameters: NamedParameters, *, lr: float) -> Optimizer:\n"
    '    return Mine(single_group(parameters), lr=lr)\n\n\nOPTIMIZERS: Registry = {"mine": mine, '
)
READER = 'def voc(*, root: str) -> Source:\n    return digits(image_size=1)\n\n\nDATASETS: Registry = {"voc": voc, '
ADDITIONS = {
    "activation": ("models/layers.py", "ACTIVATIONS: Registry = {", ACTIVATION),
    "optimizer class": ("training/optimizers.py", "OPTIMIZERS: Registry = {", MINE),
    "dataset reader": ("data/sources.py", "DATASETS: Registry = {", READER),
    "model": ("models/__init__.py", "MODELS: Registry = {", 'MODELS: Registry = {"mine": mine, '),
    "config field": ("groups.py", "class LossConfig:", "class LossConfig:\n    epsilon: float | None = None\n"),
    "comment": ("training/loop.py", "    state.model.train()", "    # why\n    state.model.train()"),
    "docstring": ("training/loop.py", '"""Train until', '"""Fit until'),
    "layout": ("training/loop.py", "loop.next_epoch(row)", "loop.next_epoch(\n            row\n        )"),
    "decoding": ("data/downloads.py", "DOWNLOAD_TIMEOUT = 30", "DOWNLOAD_TIMEOUT = 60"),
    "half a file": ("models/mlp.py", '"""Fully', '"""Fully'),  # beside it, see below
    "reader's field": ("data/source.py", "    key: str\n", "    key: str\n    more: int = 0\n"),
    "metric": ("training/metrics.py", "METRICS: Registry = {", 'METRICS: Registry = {"mine": Metric(acc), '),
}


@pytest.mark.parametrize("addition", ADDITIONS)
def test_what_is_added_makes_no_run_stale(addition: str, package: Path) -> None:
    file, old, new = ADDITIONS[addition]
    edit(package / file, old, new)
    if addition == "model":
        (package / "models/mine.py").write_text("def mine():\n    return None\n")
        edit(package / file, "from sweeper.models.mlp", "from sweeper.models.mine import mine\nfrom sweeper.models.mlp")
    if addition == "half a file":
        (package / "models/wip.py").write_text("def mish(:")
    assert changed(package) == {}


CHANGES = {
    "Adam": (
        "training/optimizers.py",
        "return Adam(single_group(parameters), lr=lr",
        "return Adam(single_group(parameters), lr=2 * lr",
        {"adam": ["training/optimizers.adam"]},
    ),
    "all optimizers": (
        "training/optimizers.py",
        '"lr_factor": 1.0',
        '"lr_factor": 2.0',
        {run: ["training/optimizers.single_group"] for run in RUNS},
    ),
    "the class behind Adam": (
        "training/optimizers.py",
        '    """torch.optim.Adam."""\n',
        "    x = 1\n",
        {"adam": ["training/optimizers.Adam"]},
    ),
    "the loop": (
        "training/loop.py",
        "loop.step_in_epoch += 1",
        "loop.step_in_epoch += 2",
        {run: ["training/loop.train_epoch"] for run in RUNS},
    ),
    "a method that the loop calls": (
        "training/state.py",
        "self.history.append(row)",
        "self.history.insert(0, row)",
        {run: ["training/state.LoopState"] for run in RUNS},
    ),
    "a constant": (
        "data/batches.py",
        "CHUNK = 256",
        "CHUNK = 512",
        {run: ["data/batches.CHUNK"] for run in RUNS},
    ),
    "a helper of models": (
        "models/cnn.py",
        "sides = [side // 2 for side in sides]",
        "sides = [side // 3 for side in sides]",
        {"sgd": ["models/cnn.classifier"]},
    ),
    "an augmentation step": (
        "data/augmentation.py",
        "draws[:, 0, None, None, None] < 0.5",
        "draws[:, 0, None, None, None] < 0.4",
        {run: ["data/augmentation.flip"] for run in ("adam", "sgd")},
    ),
    "a schedule": (
        "training/schedules.py",
        "math.pi * done)) / 2\n\n    return with_warmup",
        "math.pi * done)) / 3\n\n    return with_warmup",
        {"softmax": ["training/schedules.cosine"]},
    ),
    "a schedule whose name is another's parameter": (
        "training/schedules.py",
        "every = step_size * steps_per_epoch",
        "every = 2 * step_size * steps_per_epoch",
        {},
    ),
    "an entry of a registry": (
        "training/metrics.py",
        '"acc": Metric(acc)',
        '"acc": Metric(acc, higher_is_better=False)',
        {run: ["training/metrics.METRICS[acc]"] for run in RUNS},
    ),
    "the order of steps": (
        "data/augmentation.py",
        '"flip": flip,\n    "crop": crop,',
        '"crop": crop,\n    "flip": flip,',
        {"sgd": ["data/augmentation.STEPS"]},
    ),
    "an unused step before the others": (
        "data/augmentation.py",
        "STEPS: Registry = {",
        'def x(images, draws, mean, *, x):\n    return images\n\n\nSTEPS: Registry = {"x": x,',
        {},
    ),
    "how views are averaged": (
        "training/views.py",
        "weights / weights.sum()",
        "weights",
        {run: ["training/views.AveragedViews"] for run in RUNS},
    ),
    "the selected metric": (
        "training/metrics.py",
        "return int(confusion.diagonal().sum()) / int(confusion.sum())",
        "return 0.0",
        {run: ["training/metrics.acc"] for run in RUNS},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_names_the_definition_and_concerns_the_runs_that_use_it(change: str, package: Path) -> None:
    file, old, new, expected = CHANGES[change]
    edit(package / file, old, new)
    assert changed(package) == expected


def test_a_change_of_equal_size_and_time_is_found(package: Path) -> None:
    file = package / "data/batches.py"
    before = file.stat()
    edit(file, "CHUNK = 256", "CHUNK = 512")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert changed(package) == {run: ["data/batches.CHUNK"] for run in RUNS}
    forget()
    edit(file, "CHUNK = 512", "CHUNK = 256")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert changed(package) == {}


def test_a_removed_choice_is_a_change(package: Path) -> None:
    edit(package / "training/optimizers.py", '    "adam": adam,\n', "")
    assert "training/optimizers.adam" in changed(package)["adam"]


@pytest.mark.parametrize("recorded", [None, 3, "code", {"core": 1}, {"loop.py": "hash"}, {"core": {"a": ["b"]}}])
def test_foreign_code_is_a_change(recorded: Any) -> None:
    assert changed_definitions(recorded, ORIGINAL["adam"])


def test_every_choice_has_code() -> None:
    for registry, _ in fingerprint.REGISTRIES.values():
        module, _, variable = registry.partition(".")
        for name in fingerprint.modules()[module].registries[variable]:
            assert fingerprint.chosen_code(registry, name), name


def test_names_are_followed_as_python_resolves_them(package: Path) -> None:
    (package / "training/resolved.py").write_text(
        "from sweeper.data import batches\n"
        "from sweeper.models import mlp as renamed\n"
        "from sweeper.data.batches import CHUNK as SIZE\n"
        "def root(quoted: 'Batches', shadow):\n"
        "    shadow, other = 1, lambda: SIZE\n"
        "    return shadow + other() + batches.derived_seed(0), renamed\n"
        "def shadow(): pass\n"
        "Batches = list\n"
    )
    forget()
    found = set(closure(["training/resolved.root"]))
    assert {"training/resolved.root", "training/resolved.Batches", "data/batches.CHUNK", "models/mlp.mlp"} <= found
    assert "data/batches.derived_seed" in found
    assert "training/resolved.shadow" not in found
