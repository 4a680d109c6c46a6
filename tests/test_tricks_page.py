"""The catalog of tricks: every choice is on the page, and the page is what the code, conf/ and the costs say."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from choices import CHOICES, STEPS, presets
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from benchmarks import tricks_catalog, tricks_page
from benchmarks.tricks import measure, sides_of
from benchmarks.tricks_catalog import CONF, catalog
from benchmarks.tricks_page import DOCS, Cost, cost_of, page, read_costs, write_costs
from sweeper.cli import register_schema
from sweeper.data.cache import Dataset, Images
from sweeper.training.optimizers import OPTIMIZERS

PAGE = (DOCS / "tricks.md").read_text(encoding="utf-8")
TRICKS = {trick.name: trick for tricks in catalog().values() for trick in tricks}


@pytest.mark.parametrize("group", [group for group in (*CHOICES, *STEPS) if group != "data"])
def test_every_preset_is_on_the_page(group: str) -> None:
    assert [preset for preset in presets(group) if f"`{group}={preset}`" not in PAGE] == []


@pytest.mark.parametrize("group", STEPS)
def test_every_step_is_an_entry_of_the_page(group: str) -> None:
    headings = re.findall(rf"^### `{group}\.(\w+)=", PAGE, flags=re.MULTILINE)
    on = {key for values in presets(group).values() for key, value in values.items() if value is not None}
    assert len(headings) == len(STEPS[group])
    assert set(headings) <= on


def test_the_page_is_what_the_code_and_the_costs_say() -> None:
    assert page(*read_costs()) == PAGE, "run `python -m benchmarks.tricks --text`"


def test_every_cost_is_of_a_trick_on_the_page() -> None:
    costs, _ = read_costs()
    assert set(costs) <= set(TRICKS)
    assert all(0 < cost.low <= cost.high and cost.base_ms > 0 for cost in costs.values())


def test_a_changed_docstring_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OPTIMIZERS["lion"], "__doc__", "Step\n    boldly.\n\n    Not this.")
    monkeypatch.setattr(tricks_page, "catalog", catalog.__wrapped__)
    changed = page(*read_costs())
    assert "### `optimizer=lion`\n\nStep boldly.\n" in changed
    assert "Not this" not in changed


def test_a_choice_without_a_docstring_or_a_preset_without_its_line_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(OPTIMIZERS["lion"], "__doc__", None)
        with pytest.raises(ValueError, match="lion needs a docstring"):
            tricks_catalog.choices_of("optimizer")
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "none.yaml").write_text("name: none\n")
    monkeypatch.setattr(tricks_catalog, "CONF", tmp_path)
    with pytest.raises(ValueError, match="must begin with a line `# When:"):
        tricks_catalog.choices_of("views")


def test_a_cost_is_written_read_and_worded(tmp_path: Path) -> None:
    costs = {"optimizer=lion": Cost("model=cnn", 5.0, 1.5, 1.25, 2.0)}
    write_costs(costs, "some machine, 1 thread", tmp_path / "tricks.csv")
    assert read_costs(tmp_path / "tricks.csv") == (costs, "some machine, 1 thread")
    worded = "1.50x the time of a step (1.25 to 2.00), +2.50 ms per batch, with `model=cnn`."
    assert cost_of(TRICKS["optimizer=lion"], costs) == worded
    assert "not measured" in cost_of(TRICKS["optimizer=sgd"], costs)


@pytest.fixture
def dataset() -> Iterator[Dataset]:
    generator = torch.Generator().manual_seed(0)
    images = Images(torch.randint(256, (40, 3, 8, 8), dtype=torch.uint8, generator=generator), torch.arange(40) % 4)
    register_schema()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield Dataset(images, images, ["ant", "bee", "cat", "dog"])


def test_a_trick_is_measured_on_the_first_base_that_it_applies_to(dataset: Dataset) -> None:
    trick = TRICKS["architecture.weight_standardization=true"]  # which needs convolutions and a norm
    base, plain, tricked = sides_of(trick, dataset, steps=1, epochs=1)
    assert base == "model=cnn norm=batch"
    assert (plain.config.norm, plain.config.model) == (tricked.config.norm, tricked.config.model)
    assert (plain.config.architecture.weight_standardization, list(tricked.choices.architecture)) == (
        None,
        ["weight_standardization"],
    )


@pytest.mark.parametrize("name", ["averaging=ema", "views=mirror", "loss=distillation"])
def test_a_measured_cost_compares_both_runs(name: str, dataset: Dataset) -> None:
    cost = measure(TRICKS[name], dataset, steps=1, epochs=2)
    assert cost.base == "model=cnn"
    assert cost.base_ms > 0
    assert 0 < cost.low <= cost.high
    assert cost.ratio > 0
