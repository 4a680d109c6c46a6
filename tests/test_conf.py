"""The presets in conf/ and the functions in the registries: each has the other, and their settings agree."""

import dataclasses

import pytest
from choices import CHOICES, CONF, EXPERIMENTS, GROUPS, STEPS, presets
from support import composed_by_hydra

from sweeper.choice import SLOTS, keyword_only
from sweeper.cli import help_text
from sweeper.config import Config, settings, validate
from sweeper.data.sources import COMMON
from sweeper.errors import UserError
from sweeper.models.layers import NORMS
from sweeper.runs.fingerprint import REGISTRIES
from sweeper.training.parameter_groups import GROUPING

NAMED = [(group, preset) for group in CHOICES for preset in presets(group)]


def used(group: str, name: str) -> list[str]:
    """Return the settings that a choice uses."""
    own = [key for key in keyword_only(CHOICES[group][name]) if key not in SLOTS]
    return sorted({*own, *{"data": COMMON, "optimizer": GROUPING}.get(group, ())})


def test_every_folder_is_a_group_of_the_schema() -> None:
    groups = {field.name for field in dataclasses.fields(Config) if "help" not in field.metadata} - {"sweep"}
    assert {path.name for path in CONF.iterdir() if path.is_dir()} - {"experiment", "hydra"} == set(GROUPS) == groups


@pytest.mark.parametrize("group", CHOICES)
def test_every_function_has_a_preset_and_every_preset_a_function(group: str) -> None:
    assert {preset["name"] for preset in presets(group).values()} == set(CHOICES[group])


@pytest.mark.parametrize(("group", "preset"), NAMED)
def test_a_preset_sets_exactly_what_its_function_uses(group: str, preset: str) -> None:
    content = presets(group)[preset]
    name = content.pop("name")
    assert sorted(content) == used(group, name)


@pytest.mark.parametrize("group", CHOICES)
def test_every_setting_is_used_by_a_choice(group: str) -> None:
    fields = {field.name for field in dataclasses.fields(getattr(Config(), group))} - {"name"}
    assert {key for name in CHOICES[group] for key in used(group, name)} == fields


@pytest.mark.parametrize("group", STEPS)
def test_every_step_is_on_in_a_preset_and_presets_set_nothing_else(group: str) -> None:
    keys = {key for step in STEPS[group].values() for key in keyword_only(step)}
    contents = presets(group)
    assert contents["none"] == {}
    assert {key for content in contents.values() for key in content} == keys
    assert all(value is not None for content in contents.values() for value in content.values())


def test_the_choice_of_configs_without_a_group_exists() -> None:
    defaults = {group: default for group, (_, default) in REGISTRIES.items() if default is not None}
    assert all(default in CHOICES[group] and default in presets(group) for group, default in defaults.items())
    composed_defaults = {group: getattr(composed_by_hydra(), group).name for group in defaults}
    assert composed_defaults == defaults  # a plain run is one of version 0.1


def test_norms_are_named_as_their_functions() -> None:
    """A network that loads weights compares its norm's function with the name in the run's config."""
    assert {name: function.__name__ for name, function in NORMS.items()} == {name: name for name in NORMS}


def test_no_targets_in_our_groups() -> None:
    files = [path for group in (*GROUPS, "experiment") for path in (CONF / group).glob("*.yaml")]
    assert [path for path in files if "_target_" in path.read_text()] == []


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_is_valid(experiment: str) -> None:
    validate(composed_by_hydra(f"experiment={experiment}"))


def test_every_setting_has_a_help_text() -> None:
    assert all(item.metadata["help"] for _, item, _ in settings(Config()))
    assert all(key in help_text() for key, _, _ in settings(Config()))


def test_help_has_the_defaults_that_no_choice_replaces() -> None:
    lines = {line.split()[0]: line for line in help_text().splitlines() if line.startswith("  ")}
    assert lines["epochs"].endswith(f" [default: {Config().epochs}]")
    assert lines["sweep.max_retries"].endswith(" [default: 1]") and lines["sweep.dry_run"].endswith(" [default: false]")
    assert "[default" not in lines["sweep.name"] + lines["optimizer.lr"] + lines["optimizer.name"]


@pytest.mark.parametrize("key", ["epochs", "seed", "optimizer.lr", "dropout.rate", "data.val_size"])
def test_a_value_that_is_not_finite_or_too_small_is_a_user_error(key: str) -> None:
    for value in ("nan", "-1e9") if key in ("optimizer.lr", "dropout.rate") else ("-1000000000",):
        with pytest.raises(UserError, match=f"^{key}="):
            validate(composed_by_hydra(f"{key}={value}"))


@pytest.mark.parametrize(
    ("overrides", "norm"),
    [
        (("model=resnet18",), "batch"),
        (("model=resnet18", "norm=group"), "group"),
        (("model=resnet18", "norm=none"), "none"),
        (("model=mlp",), "none"),
        (("experiment=p8_resnet18_scratch",), "batch"),
    ],
)
def test_a_resnet_has_batch_norm_unless_another_is_chosen(overrides: tuple[str, ...], norm: str) -> None:
    assert composed_by_hydra(*overrides).norm.name == norm
