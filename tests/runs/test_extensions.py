"""Choices from outside of the package: their settings and their part in identity."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from extended import TRICKS
from support import composed_by_hydra

from sweeper.choice import choose_steps
from sweeper.cli import load_extensions, preset_labels
from sweeper.config import Config, as_recorded, from_plain, to_config
from sweeper.errors import UserError
from sweeper.explain import explain
from sweeper.groups import LossConfig
from sweeper.runs.extensions import LOADED, load, loaded_files, used
from sweeper.runs.fingerprint import STEPS, code_of
from sweeper.runs.spec import effective_config, resolve, run_id
from sweeper.training.build import choose_all

pytestmark = pytest.mark.usefixtures("nothing_stays")


@cache
def plain() -> dict[str, Any]:
    return as_recorded(composed_by_hydra("model=mlp"))


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
    config = composed_by_hydra("extend=[my_tricks.py]", "model=my_net", "activation=my_act", "model.depth=3")
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
        composed_by_hydra("extend=[my_tricks.py]", "model=my_net", override)
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


def test_a_step_without_a_required_setting_needs_its_first() -> None:
    def step(*, first: int = 1, second: int = 2) -> None: ...

    class Group:
        first: int | None = None
        second: int | None = None

    group = Group()
    assert choose_steps("group", group, {"step": step}) == {}
    group.first = 1
    assert choose_steps("group", group, {"step": step})["step"].keywords == {"first": 1}


def test_false_and_none_are_values_of_settings_that_do_not_turn_a_step_on() -> None:
    def step(*, dim: float, hard: bool, clip: bool = True, mode: str = "soft") -> None: ...

    def chosen(**values: Any) -> dict[str, Any]:
        group = SimpleNamespace(**values)
        return {name: chosen.keywords for name, chosen in choose_steps("group", group, {"step": step}).items()}

    assert chosen(dim=0.2, hard=False, clip=False, mode="none") == {
        "step": {"dim": 0.2, "hard": False, "clip": False, "mode": "none"}
    }
    assert chosen(dim=0.2, hard=True, clip=None, mode="soft") == {"step": {"dim": 0.2, "hard": True}}
    assert chosen(dim=None, hard=False, clip=False, mode="none") == {}
    for values, missing in (({"dim": 0.2}, "hard"), ({"dim": "none", "hard": True}, "dim")):
        with pytest.raises(UserError, match=rf"^group\.{missing}=null: the step step requires a value"):
            chosen(**values)
