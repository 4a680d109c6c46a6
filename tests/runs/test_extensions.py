"""Choices from outside of the package: their contract, their settings, their part in identity and code."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from choices import presets
from extended import undone
from support import composed

from sweeper import ranges
from sweeper.choice import choose_steps
from sweeper.cli import load_extensions, preset_labels
from sweeper.config import Config, as_recorded, from_plain, to_config
from sweeper.data.cache import prepare
from sweeper.errors import UserError
from sweeper.explain import explain
from sweeper.groups import DataConfig, LossConfig
from sweeper.launch.snapshot import copies, snapshot
from sweeper.runs.directory import RunDirectory
from sweeper.runs.extension_contract import SHARED, Registered, check_positional
from sweeper.runs.extensions import LOADED, load, load_recorded, loaded_files, loaded_texts, registry_of, used
from sweeper.runs.fingerprint import EXTENDABLE, STEPS, changed_definitions, changes_since, code_of
from sweeper.runs.spec import effective_config, resolve, run_id
from sweeper.training.build import choose_all

TRICKS = '''"""My tricks."""

import torch
from torch import nn
from sweeper.data.draws import needs_draws
from sweeper.models.layers import given

SCALE = 1.0


class Act(nn.Module):
    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, inputs):
        return torch.where(inputs > 0, inputs, self.slope * inputs) * SCALE


def my_act(*, slope: float = 0.1) -> nn.Module:
    """Leaky."""
    return Act(slope)


def other(*, slope: float = 0.1) -> nn.Module:
    return nn.ReLU()


def my_net(input_shape, num_classes, *, activation, depth: int = 2, sizes: list[int] | None = None) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes), *(activation() for _ in range(depth)))


@needs_draws(1)
def tint(images, draws, mean, *, tint: float = 0.5, tint_color: str = "red"):
    return images


if SCALE > 2:
    torch.set_num_threads(1)

if __name__ == "__main__":
    print("tried")

ACTIVATIONS = {"my_act": my_act, "other": other}
MODELS = {"my_net": my_net}
AUGMENTATIONS = {"tint": tint}
'''


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with undone():
        yield


@pytest.fixture
def tricks() -> None:
    Path("my_tricks.py").write_text(TRICKS)
    load(["my_tricks.py"])


@cache
def plain() -> dict[str, Any]:
    return as_recorded(composed("model=mlp"))


def configured(**settings: Any) -> Config:
    """Return the config of a multilayer perceptron with other settings, such as model__depth."""
    config = from_plain(plain())
    for key, value in settings.items():
        group, _, name = key.partition("__")
        setattr(getattr(config, group), name, value)
    return config


def effective(**settings: Any) -> dict[str, Any]:
    config = configured(**settings)
    return effective_config(config, choose_all(config), "f00d")


MY_NET = {"model__name": "my_net", "model__hidden": None, "model__depth": 2}
MY_ACT = {"activation__name": "my_act", "activation__slope": 0.1}


@pytest.mark.usefixtures("tricks")
def test_choices_and_settings_are_composed_as_those_of_the_package() -> None:
    load_extensions(["extend=my_tricks.py"])
    config = composed("extend=[my_tricks.py]", "model=my_net", "activation=my_act", "model.depth=3")
    assert (config.model.name, config.activation.name) == ("my_net", "my_act")
    values = as_recorded(config)
    assert values["model"]["depth"] == 3 and values["activation"]["slope"] == 0.1
    assert "sizes" not in values["model"] and "tint" not in values["augmentation"]  # null, and of an extension
    assert choose_all(config).model.keywords == {"depth": 3, "sizes": None}
    assert as_recorded(to_config(values)) == values


@pytest.mark.usefixtures("tricks")
@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("model.depht=3", "unknown setting model.depht (did you mean model.depth?); valid: "),
        ("model.depth=deep", "model.depth=deep: must be an integer"),
        ("model.sizes=[a]", "model.sizes=[a]: must be a list of integers, such as [512,256]"),
        (
            "activation=my_actt",
            "unknown choice activation=my_actt (did you mean my_act?); choose from gelu, leaky_relu, my_act",
        ),
    ],
)
def test_a_wrong_setting_is_refused_as_one_of_the_package(override: str, sentence: str) -> None:
    load_extensions(["extend=my_tricks.py"])
    with pytest.raises(Exception) as raised:
        composed("extend=[my_tricks.py]", "model=my_net", override)
    assert explain(raised.value).startswith(sentence)


@pytest.mark.usefixtures("tricks")
def test_a_setting_of_another_choice_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.depth=3 is not used by model=softmax"):
        choose_all(configured(model__name="softmax", model__hidden=None, model__depth=3))


def test_identity_has_names_and_settings_and_not_the_path() -> None:
    without = effective()
    Path("my_tricks.py").write_text(TRICKS)
    load(["my_tricks.py"])
    mine = effective(**MY_NET, **MY_ACT)
    assert mine["model"] == {"name": "my_net", "depth": 2} and mine["activation"] == {"name": "my_act", "slope": 0.1}
    assert run_id(mine).startswith("my_net-my_act-adam-") and "my_tricks" not in json.dumps(mine)
    assert effective() == without


@pytest.mark.usefixtures("tricks")
def test_a_run_records_the_files_that_it_uses() -> None:
    Path("more.py").write_text(
        "from my_tricks import Act\ndef more():\n    return Act(0.2)\nACTIVATIONS = {'more': more}\n"
    )
    Path("unused.py").write_text("def unused():\n    return None\nACTIVATIONS = {'unused': unused}\n")
    load(["more.py", "unused.py"])

    def files(**settings: Any) -> list[str]:
        config = configured(**settings)
        steps = {group: getattr(choose_all(config), group) for group in STEPS}
        return [extension.given for extension in used(config, steps)]

    assert files() == []
    assert files(**MY_ACT) == ["my_tricks.py"]
    assert files(activation__name="more") == ["my_tricks.py", "more.py"]  # which imports from it
    assert files(augmentation__tint=0.3) == ["my_tricks.py"]
    taught = replace(configured(), loss=LossConfig("distillation", teacher="a-run"))
    assert len(used(taught, dict.fromkeys(STEPS, ()))) == 3  # the teacher's network may be of any
    with pytest.raises(UserError, match=r"extend=later\.py is set in a file; type it: python train\.py extend=later"):
        resolve(replace(configured(), extend=["later.py"]))


@pytest.mark.usefixtures("tricks")
def test_a_step_is_turned_on_by_its_first_setting() -> None:
    def steps(**settings: Any) -> dict[str, Any]:
        (choice,) = LOADED["my_tricks"].choices[-1:]
        assert choice.preset == {"tint": 0.5, "tint_color": "red"}
        found: dict[str, Any] = effective(**settings)["augmentation"]
        return found

    assert steps(augmentation__tint=0.5, augmentation__tint_color="red") == {"tint": 0.5}
    assert steps(augmentation__tint=0.5) == {"tint": 0.5} and steps(augmentation__tint=None) == {}
    assert steps(augmentation__tint=0.5, augmentation__tint_color="blue") == {"tint": 0.5, "tint_color": "blue"}
    with pytest.raises(UserError, match=r"augmentation\.tint=null: the step tint requires a value"):
        steps(augmentation__tint_color="blue")
    code = code_of(effective(augmentation__tint=0.5, augmentation__flip="random"), loaded_files())
    mine = {name for name in code["augmentation.tint"] if not name.startswith("data/")}
    assert mine == {"my_tricks.tint", "my_tricks.(top level)", "my_tricks.SCALE"}
    assert [*code["augmentation"]] == ["data/augmentation.STEPS"]  # the order of two steps


@pytest.mark.usefixtures("tricks")
def test_a_preset_of_an_extension_is_a_label() -> None:
    load_extensions(["extend=my_tricks.py"])
    config = configured(augmentation__tint=0.5, augmentation__tint_color="red", **MY_ACT | {"activation__slope": 0.3})
    labels = preset_labels(config, {"augmentation": "tint", "activation": "my_act"}, [])
    assert labels == {"augmentation": "tint"}  # activation.slope is not the preset's


EDITS = {
    "another choice": ("return nn.ReLU()", "return nn.ReLU6()", []),
    "the choice": ("return Act(slope)", "return Act(2 * slope)", ["my_tricks.my_act"]),
    "what it uses": ("SCALE = 1.0", "SCALE = 1.5", ["my_tricks.SCALE"]),
    "a class": ("self.slope = slope", "self.slope = -slope", ["my_tricks.Act"]),
    "a docstring": ('"""Leaky."""', '"""Leaky ReLU."""', []),
    "a new choice": ("ACTIVATIONS = {", 'ACTIVATIONS = {"third": other, ', []),
    "the registry's annotation": ("ACTIVATIONS = {", "ACTIVATIONS: dict = {", []),
    "a statement": ("torch.set_num_threads(1)", "torch.set_num_threads(2)", ["my_tricks.(top level)"]),
    "defined twice": (
        "def other(",
        "def my_act():\n    pass\n\n\ndef other(",
        ["my_tricks.(top level)", "my_tricks.my_act"],
    ),
    "what it does by itself": ('print("tried")', 'print("done")', []),
    "an attribute": ("\nMODELS", "\nmy_act.mark = 1\nMODELS", ["my_tricks.(top level)"]),
    "another name": ('{"my_act": my_act', '{"my_act": other', ["my_tricks.Act", "my_tricks.my_act", "my_tricks.other"]),
    "removed": (
        '"my_act": my_act, ',
        "",
        ["my_tricks.(top level)", "my_tricks.Act", "my_tricks.SCALE", "my_tricks.my_act"],
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_and_a_move_change_the_code_of_the_runs_that_use_it(edit: str) -> None:
    old, new, expected = EDITS[edit]
    assert TRICKS.count(old) == 1
    for folder, text in (("here", TRICKS), ("there", TRICKS.replace(old, new))):
        Path(folder).mkdir()
        Path(folder, "my_tricks.py").write_text(text)
    run = {"activation": {"name": "my_act"}, "model": {"name": "mlp"}}
    before, after = (code_of(run, (str(Path(folder, "my_tricks.py").absolute()),)) for folder in ("here", "there"))
    assert before["activation"] and before["model"] == code_of(run)["model"]
    assert changed_definitions(before, after) == expected


def test_names_are_followed_from_file_to_file_and_into_the_package() -> None:
    Path("layers_of_mine.py").write_text("def double(x):\n    return 2 * x\n\n\ndef half(x):\n    return x / 2\n")
    Path("act.py").write_text(
        "import layers_of_mine as mine\nfrom layers_of_mine import half as divided\nfrom sweeper.models import layers\n"
        "def one():\n    return mine.double(layers.relu())\ndef two():\n    return divided(1)\n"
        "ACTIVATIONS = {'one': one, 'two': two}\n"
    )
    files = tuple(str(Path(name).absolute()) for name in ("layers_of_mine.py", "act.py"))
    one, two = (set(code_of({"activation": {"name": name}}, files)["activation"]) for name in ("one", "two"))
    assert one == {"act.one", "layers_of_mine.double", "models/layers.relu"} and two == {
        "act.two",
        "layers_of_mine.half",
    }
    load(files)
    assert "layers_of_mine" in LOADED["act"].imported


ACT = "def a({}):\n    return None\nACTIVATIONS = {{'a': a}}\n"
BAD = {
    "x = 1\ndef f(:\n": ", line 2 is not valid Python: invalid syntax",
    "\nimport nothing_there\n": ", line 2: ModuleNotFoundError: No module named 'nothing_there'",
    "\nimport beside\n": ", line 2: ModuleNotFoundError: No module named 'beside'; name that file first: ",
    "def g():\n    raise ValueError('no\\nway')\n\ng()\n": ", line 2: ValueError: no way",
    "import sys\nsys.exit(3)\n": ", line 2: SystemExit: 3",
    "\nACTIVATIONS = [1]\n": ", line 2: ACTIVATIONS must be a dict that is written out, such as ACTIVATIONS = {",
    "\nACTIVATIONS = dict(a=print)\n": ", line 2: ACTIVATIONS must be a dict that is written out",
    "ACTIVATIONS = {}\nfor name in 'ab':\n    ACTIVATIONS[name] = print\n": ", line 1: ACTIVATIONS must be a dict that",
    "\nACTIVATIONS = {\n    'a': int}\n": ", line 3: ACTIVATIONS[a] is a type; it must be a function",
    "def f():\n    pass\nACTIVATIONS = {'a-b': f}\n": ", line 3: ACTIVATIONS[a-b]: name it by an identifier",
    ACT.format("slope"): ", line 1: a has the arguments (slope); a function in ACTIVATIONS has (*, SETTINGS)",
    ACT.format(
        "slope: float = 0.1"
    ): ", line 1: a has the arguments (slope: float = 0.1); a function in ACTIVATIONS has",
    ACT.format("**settings"): ", line 1: a has the arguments (**settings); a function in ACTIVATIONS has (*, SETTINGS)",
    ACT.format("*, slope=0.1"): ", line 1: a: the setting slope has no annotation; write slope: float, or another of",
    ACT.format(
        "*, slope: dict"
    ): ", line 1: a: the setting slope is annotated with dict; choose from bool, float, int,",
    ACT.format("*, slope: 'Nope' = 1"): ", line 1: a: an annotation has no meaning: name 'Nope' is not defined",
    ACT.format("*, slope: float = 'x'"): ", line 1: a: the default slope='x' is not of its type, float",
    ACT.format("*, slope: int = True"): ", line 1: a: the default slope=True is not of its type, int",
    ACT.format("*, slope: list[int] = [0.5]"): ", line 1: a: the default slope=[0.5] is not of its type, list[int]",
    ACT.format("*, negative_slope: str"): ", line 1: a: the setting negative_slope is annotated with str, but "
    "activation.negative_slope is of type float",
    ACT.format("*, norm: float"): ", line 1: a: the setting norm cannot have this name",
    "def relu():\n    pass\nACTIVATIONS = {'relu': relu}\n": ", line 3: ACTIVATIONS[relu]: there is another activation",
    "def f(i, n):\n    pass\nMODELS = {'mlp_deep': f}\n": ", line 3: MODELS[mlp_deep]: there is another model=mlp_deep",
    "def f(*, a: int = 1):\n    pass\ndef g(*, a: float = 1):\n    pass\nACTIVATIONS = {'f': f, 'g': g}\n": ", line 3: "
    "g: f has a setting a as well, of type int",
    "def f():\n    pass\nACTIVATION = {'f': f}\n": ", line 3: ACTIVATION is no registry (did you mean ACTIVATIONS?)",
    "x = 1\n": " has none of the dicts ACTIVATIONS, ARCHITECTURES, AUGMENTATIONS, AVERAGINGS, COURSES, DATASETS, ",
    "\nfrom sweeper.models.layers import *\n": ", line 2: from sweeper.models.layers import *: name what is imported",
    "\nimport sweeper.models\n": ", line 2: import sweeper.models: write from sweeper.models import NAME",
    "def f(images, draws, mean, *, gray: float = 0.2):\n    pass\nAUGMENTATIONS = {'f': f}\n": ", line 1: f lacks the "
    "decorator that sets num_draws, such as @needs_draws(1)",
    "def f(model, layers, *, blur_pool: bool):\n    pass\nARCHITECTURES = {'f': f}\n": ", line 1: f: blur_pool belongs "
    "to another step of architecture",
    "def f(model, layers):\n    pass\nARCHITECTURES = {'f': f}\n": ", line 1: f: nothing turns this step on",
}


@pytest.mark.parametrize("source", BAD)
def test_a_file_that_does_not_fit_is_refused_with_its_line(source: str) -> None:
    Path("bad.py").write_text(source)
    Path("beside.py").touch()
    before = {path: dict(registry_of(path)) for path in EXTENDABLE.values()}
    with pytest.raises(UserError) as raised:
        load(["bad.py"])
    assert str(raised.value).startswith(f"extend=bad.py{BAD[source]}") and "\n" not in str(raised.value)
    assert {path: dict(registry_of(path)) for path in EXTENDABLE.values()} == before and not LOADED


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("missing.py", "extend=missing.py is missing: there is no file /"),
        ("folder", "extend=folder is a folder; name its files: extend=[FILE.py,FILE.py]"),
        ("a-b.py", "extend=a-b.py: it must be a Python file whose name is an identifier"),
        ("a.txt", "extend=a.txt: it must be a Python file"),
        ("latin.py", "extend=latin.py cannot be read: 'utf-8' codec can't decode"),
        *(
            (f"{name}.py", f"extend={name}.py: there is another module of the name {name}")
            for name in ("models", "random")
        ),
        *(
            (f"{name}.py", f"extend={name}.py: there is another module of the name {name}")
            for name in ("torch", "timm")
        ),
    ],
)
def test_a_path_that_does_not_fit_is_refused(file: str, sentence: str) -> None:
    Path("folder").mkdir()
    for name in ("a-b.py", "a.txt", "models.py", "random.py", "torch.py", "timm.py"):
        Path(name).write_text(ACT.format(""))
    Path("latin.py").write_bytes("x = 'ü'".encode("latin-1"))
    with pytest.raises(UserError) as raised:
        load([file])
    assert str(raised.value).startswith(sentence)


def test_a_file_may_have_the_name_of_its_folder_and_a_choice_that_of_another_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))  # as python train.py does with its folder
    Path("own_ideas").mkdir()
    text = "def dropout():\n    return 1\nACTIVATIONS = {'dropout': dropout}\n"
    Path("own_ideas/own_ideas.py").write_text(text)
    Path("later.py").write_text("def mine(kind, *, rate: float = 0.1):\n    return 2\nDROPOUTS = {'mine': mine}\n")
    load(["own_ideas/own_ideas.py", "later.py"])
    assert [*LOADED] == ["own_ideas", "later"]


@pytest.mark.usefixtures("tricks")
def test_two_files_of_one_name_are_refused_and_one_file_is_loaded_once() -> None:
    Path("copy").mkdir()
    Path("copy/my_tricks.py").write_text(TRICKS)
    load(["my_tricks.py", "copy/my_tricks.py", "../" + str(Path.cwd().name) + "/my_tricks.py"])  # the same text
    assert [*LOADED] == ["my_tricks"]
    Path("third").mkdir()
    Path("third/my_tricks.py").write_text(TRICKS + "\n")
    with pytest.raises(UserError, match=r"extend=third/my_tricks\.py: another my_tricks\.py is loaded, my_tricks\.py"):
        load(["third/my_tricks.py"])


@pytest.mark.usefixtures("tricks")
def test_another_process_loads_the_text_that_was_planned_with(tmp_path: Path) -> None:
    texts, code = loaded_texts(), code_of({"activation": {"name": "my_act"}}, loaded_files())
    copy = snapshot(tmp_path, tmp_path / "slurm", texts)
    assert (copy / "extend" / "my_tricks.py").read_text() == TRICKS
    (copied,) = copies(texts, copy)
    Path("my_tricks.py").write_text(TRICKS.replace("SCALE = 1.0", "SCALE = 3.0"))
    for given in (texts, [copied]):
        with undone():
            LOADED.clear()
            ranges.GROWN.clear()
            for path in EXTENDABLE.values():
                for choice in ("my_act", "other", "my_net", "tint"):
                    registry_of(path).pop(choice, None)
            load((), given)
            load(["my_tricks.py"])  # as train.py does: already loaded
            assert (
                code_of({"activation": {"name": "my_act"}}, (LOADED["my_tricks"].file,))["activation"]
                == code["activation"]
            )


def test_a_reader_compares_a_file_that_is_there_and_leaves_out_one_that_is_gone() -> None:
    texts = {"same": TRICKS, "edited": TRICKS.replace("SCALE = 1.0", "SCALE = 3.0")}
    files = {folder: str(Path(folder, "my_tricks.py").absolute()) for folder in (*texts, "gone")}
    for folder, text in texts.items():
        Path(folder).mkdir()
        Path(files[folder]).write_text(text)
    run = {"activation": {"name": "my_act"}, "model": {"name": "mlp"}, "optimizer": {"name": "adam"}}
    recorded: dict[str, Any] = {
        "effective": run,
        "code": code_of(run, (files["same"],)),
        "config": {"extend": [files["same"]]},
    }
    assert changes_since(recorded) == []
    assert changes_since(recorded | {"config": {"extend": [files["edited"]]}}) == ["my_tricks.SCALE"]
    gone = recorded | {"config": {"extend": [files["gone"]]}}
    assert changes_since(gone) == []
    assert changes_since(gone | {"code": recorded["code"] | {"optimizer": {"training/optimizers.adam": "0"}}}) != []


def test_a_recorded_run_loads_its_files_or_says_which_is_missing(tmp_path: Path) -> None:
    record = RunDirectory(tmp_path / "runs" / "a-run")
    record.create({"config": {"extend": ["w/my_tricks.py"]}}, {})
    with pytest.raises(
        UserError, match=r"a-run uses w/my_tricks\.py, and there is no file .*; put it back, or give extend="
    ):
        load_recorded(record)
    Path("my_tricks.py").write_text(TRICKS)
    load(["my_tricks.py"])  # as of extend=FILE
    assert load_recorded(record) == (str(tmp_path / "my_tricks.py"),)


def test_the_images_of_a_dataset_are_decoded_again_where_its_code_changed(tmp_path: Path) -> None:
    source = (
        "import numpy as np\nfrom sweeper.data.source import Source\nVALUE = {}\n"
        "def mine(*, image_size: int = 4):\n"
        "    def decode(allocate):\n"
        "        for split in ('train', 'test'):\n"
        "            allocate(f'{{split}}_images', (4, 3, image_size, image_size), 'uint8')[:] = VALUE\n"
        "            allocate(f'{{split}}_labels', (4,), 'int64')[:] = [0, 1, 0, 1]\n"
        "        return ['a', 'b']\n"
        "    return {}\nDATASETS = {{'mine': mine}}\n"
    )
    prints = []
    for value, returned in ((1, "Source('fixed', decode)"), (2, "Source('fixed', decode)"), (3, "3")):
        with undone():
            Path(f"v{value}").mkdir()
            Path(f"v{value}/stripes.py").write_text(source.format(value, returned))
            load([f"v{value}/stripes.py"])
            data = DataConfig("mine", cache=str(tmp_path), image_size=4)
            if value < 3:
                prints.append(prepare(data).fingerprint)
                continue
            with pytest.raises(UserError, match=r"extend=v3/stripes\.py, line 4: mine must return a Source"):
                prepare(data)
    assert prints[0] != prints[1]


@pytest.mark.parametrize("variable", EXTENDABLE)
def test_the_choices_of_the_package_keep_the_contract(variable: str) -> None:
    path = EXTENDABLE[variable]
    functions = list(registry_of(path).values())
    for function in functions:
        if function.__name__ != "own":  # an activation and a norm at once
            check_positional(Registered("f.py", "f.py", 1, path, variable, "", "name", function), functions)


@pytest.mark.parametrize("group", SHARED)
def test_shared_settings_are_those_of_the_presets(group: str) -> None:
    keys = {key for preset in presets(group).values() for key in SHARED[group] if key in preset}
    assert keys == SHARED[group].keys()
    for key, value in SHARED[group].items():
        values = [preset[key] for preset in presets(group).values()]
        assert (value in values and max(values, key=values.count) == value) or key == "val_size"


def test_a_step_without_a_required_setting_needs_its_first() -> None:
    def step(*, first: int = 1, second: int = 2) -> None: ...

    class Group:
        first: int | None = None
        second: int | None = None

    group = Group()
    assert choose_steps("group", group, {"step": step}) == {}
    group.first = 1
    assert choose_steps("group", group, {"step": step})["step"].keywords == {"first": 1}
