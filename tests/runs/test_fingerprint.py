"""The code that a run depends on: neither fewer definitions (runs are traced) nor more (tricks are added)."""

import ast
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from choices import needs
from processes import REPOSITORY
from support import composed

from sweeper.data.cache import Dataset, Images
from sweeper.runs import fingerprint
from sweeper.runs.fingerprint import changed_definitions, closure, code_of
from sweeper.runs.spec import effective_config
from sweeper.runs.syntax import hash_of
from sweeper.training.build import build, choose_all
from sweeper.training.loop import evaluate, fit

CONF = REPOSITORY / "conf"
GROUPS = sorted({*fingerprint.REGISTRIES, *fingerprint.STEPS} - {"select"})
PRESETS = [f"{group}={file.stem}" for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]
SMALL = ("data.val_size=12", "batch_size=8", "epochs=1", "data.image_size=16")
SPECIAL = {
    "model=mlp": ("model.hidden=[8]",),
    "model=mlp_deep": ("model.hidden=[8,8]",),
    "model=unet": ("model.widths=[4,8]",),
    "model=fcn32s": ("model.arch=mobilenet_v3_small",),
    "model=fcn16s": ("model.arch=mobilenet_v3_small",),
    "model=fcn8s": ("model.arch=mobilenet_v3_small",),
    "model=resnet18_pretrained": ("model.weights=WEIGHTS", "model.freeze_backbone=true"),
}
# Executed without being part of a run's code, and why.
EXCEPTIONS = {
    "choice": "fills in settings, which are part of the effective config",
    "training/metrics.acc": "recorded every epoch; of the metrics, the selected one decides the result",
    "training/metrics.loss": "as acc",
    "training/metrics.balanced_acc": "as acc",
    "training/metrics.macro_f1": "as acc",
    "data/mixing.none": "does nothing, as the other choices of this name",
    "training/averaging.none": "as above",
    "data/views.none": "as above",
    "training/metrics.miou": "as acc",
    "data/draws.needs_draws": "marks a step with its number of draws when the module is imported",
}


@cache
def images() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    train, test = (
        Images(torch.randint(256, (size, 3, 16, 16), dtype=torch.uint8, generator=generator), torch.arange(size) % 3)
        for size in (36, 9)
    )
    return Dataset(train, test, ["ant", "bee", "cat"])


def with_masks(dataset: Dataset) -> Dataset:
    """The same images, each pixel of the class of its image."""
    train, test = (
        Images(part.images, part.labels[:, None, None].expand(-1, 16, 16).to(torch.uint8))
        for part in (dataset.train, dataset.test)
    )
    return Dataset(train, test, dataset.classes)


def executed(run: Callable[[], object]) -> set[str]:
    """The definitions of the package whose code a call executes, such as `training/loop.fit`."""
    found = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(fingerprint.PACKAGE)):
            module = fingerprint.key_of(Path(code.co_filename))
            found.add(f"{module}.{code.co_qualname.partition('.')[0]}")

    sys.settrace(note)
    try:
        run()
    finally:
        sys.settrace(None)
    return {name for name in found if not name.endswith((".<module>", ".<lambda>", ".<genexpr>"))}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torchvision.models import resnet18

    file = tmp_path_factory.mktemp("weights") / "weights.pt"
    torch.save(resnet18(weights=None).state_dict(), file)
    return file


@pytest.mark.parametrize("preset", PRESETS)
def test_every_executed_definition_is_in_the_code_of_the_run(preset: str, weights: Path) -> None:
    needed = needs(preset, {}) or {}
    if preset.startswith("model=") and "task" not in needed:
        needed = {}
    model = () if preset.startswith("model=") or "model" in needed else ("model=mlp", "model.hidden=[16]")
    special = [override.replace("WEIGHTS", str(weights)) for override in SPECIAL.get(preset, ())]
    others = [f"{key}={value}" for key, value in needed.items()]
    config = composed(*model, *SMALL, preset, *others, *special)
    choices = choose_all(config)

    def train() -> None:
        teacher = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3))
        given = teacher if "teacher" in choices.loss.keywords else None
        dataset = with_masks(images()) if choices.task().targets == "masks" else images()
        built = build(config, choices, dataset, torch.device("cpu"), teacher=given)
        fit(built.state, built.recipe, built.train_loader, built.val_loader, epochs=config.epochs)
        evaluate(built.state.eval_model(), built.test_loader(), 3, task=built.recipe.task)
        list(choices.views(next(built.test_loader())[0]))

    code = code_of(effective_config(config, choices, "f00d"))
    reached = {name for group in code.values() for name in group}
    missing = {name for name in executed(train) - reached if not {name, name.partition(".")[0]} & EXCEPTIONS.keys()}
    assert not missing


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


SOURCE = "class A:\n    x = 1\n\n    def f(self, a=(1, 2)):\n        return 'a' + a\n"


@pytest.mark.parametrize(
    "old, new, equal",
    [
        ("x = 1", "x = 1  # why", True),
        ("x = 1\n\n", "x = (\n        1\n    )\n", True),
        ("class A:", "class A:\n    '''A.'''\n", True),
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
def test_layout_comments_and_docstrings_do_not_change_the_fingerprint(old: str, new: str, equal: bool) -> None:

    assert SOURCE.count(old) == 1
    before, after = (hash_of(ast.parse(text).body[0]) for text in (SOURCE, SOURCE.replace(old, new)))
    assert (before == after) == equal


def test_every_choice_has_code() -> None:
    for registry, _ in fingerprint.REGISTRIES.values():
        module, _, variable = registry.partition(".")
        for name in fingerprint.modules()[module].registries[variable]:
            assert fingerprint.chosen_code(registry, name), name


def test_a_hash_is_the_same_on_every_version_of_python() -> None:
    source = "@a\ndef f(x: int = 1, *, y=None) -> None:\n    return f'{x:>{y}}' + [z for z in x if z][0]\n"
    assert hash_of(ast.parse(source).body[0]) == "7869da53d0dd3caf"


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
