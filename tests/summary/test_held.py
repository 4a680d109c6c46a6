"""What a change is made to, where that is not the baseline: named once for a table, or for each comparison."""

import io

from paired import found, of_axis, runs, table
from rich.console import Console

from sweeper.summary.effects import Effects
from sweeper.summary.effects_lines import print_lines
from sweeper.summary.effects_rows import to_frame
from sweeper.summary.effects_text import as_table, families
from sweeper.summary.report_answer import findings
from sweeper.summary.report_forest import effect_tables, forest
from sweeper.summary.sentences import answers

OFF = {"norm": "none", "loss": "plain", "mixing": "none"}
ON = {"norm": "batch", "loss": "smooth", "mixing": "mixup"}
OTHERS = "each with the other settings of loss=smooth, mixing=mixup, norm=batch"


def leave_one_out(**only: str) -> Effects:
    """The full recipe, and without each of its tricks; a baseline run if only it is given."""
    rows = [ON, *({**ON, name: OFF[name]} for name in ON)] + ([OFF | only] if only else [])
    made = [
        run
        for number, row in enumerate(rows)
        for run in runs("norm", {row["norm"]: [0.5 + number / 50, 0.51, 0.52]}, **{**row, "norm": row["norm"]})
    ]
    return found(table(*made), OFF)


def test_the_heading_names_the_recipe_that_all_changes_are_made_to() -> None:
    result = leave_one_out()
    (answer,) = answers(result)
    assert answer.heading.startswith(f"Test accuracy compared with loss=plain, mixing=none, norm=none, {OTHERS} (")
    assert all("with" not in text for text in answer.sentences)
    assert of_axis(result, "norm").held == (("loss", ("smooth",)), ("mixing", ("mixup",)))
    assert f"\ntest_acc, {OTHERS}\n" in as_table(result) and "none with" not in as_table(result)
    assert (findings(result) or {})["heading"] == answer.heading
    rows = to_frame(result).set_index("axis")["held"]
    assert rows["norm"] == "loss=smooth, mixing=mixup"


def test_each_change_names_its_own_settings_where_they_differ() -> None:
    made = [
        *runs("norm", {"none": [0.5, 0.51, 0.52], "batch": [0.6, 0.62, 0.61]}, loss="smooth", mixing="none"),
        *runs("loss", {"plain": [0.5, 0.52, 0.51]}, norm="none", mixing="none"),
        *runs("mixing", {"mixup": [0.4, 0.41, 0.43]}, norm="none", loss="plain"),
    ]
    result = found(table(*made), OFF)
    (answer,) = answers(result)
    assert "other settings" not in answer.heading
    assert [text.partition(":")[0] for text in sorted(answer.sentences)] == [
        *("loss=smooth", "mixing=mixup", "norm=batch with loss=smooth")
    ]
    assert "│ norm=batch   │ none with loss=smooth │" in as_table(result)
    assert "norm=batch with loss=smooth" in [item["name"] for item in (findings(result) or {})["items"]]
    (plotted,) = [row for row in (forest(result) or {})["rows"] if row["name"] == "norm=batch"]
    assert plotted["baseline"] == "norm=none with loss=smooth"
    assert ("norm=batch", "none with loss=smooth") in [row["changes"][0] for row in effect_tables(result)[0]["rows"]]
    file = io.StringIO()
    print_lines(*families(result)[0], Console(file=file, width=60))
    assert "norm=batch vs. none with loss=smooth " in file.getvalue()


def test_pairs_with_the_baselines_settings_hold_nothing() -> None:
    made = runs("norm", {"none": [0.5, 0.51], "batch": [0.6, 0.62]}, loss="plain")
    made += runs("norm", {"none": [0.5, 0.51], "batch": [0.6, 0.62]}, loss="smooth")
    result = found(table(*made), {"norm": "none", "loss": "plain"})
    assert of_axis(result, "norm").held == () and "other settings" not in as_table(result)


def test_values_that_lack_the_baselines_are_named() -> None:
    made = [
        *runs("norm", {"none": [0.5, 0.51], "batch": [0.6, 0.62]}, loss="smooth"),
        *runs("norm", {"none": [0.5, 0.51], "batch": [0.6, 0.62]}, loss="focal"),
        *runs("norm", {"none": [0.5, 0.51]}, loss="plain"),
    ]
    assert of_axis(found(table(*made), {"norm": "none", "loss": "plain"}), "norm").held == (
        ("loss", ("focal", "smooth")),
    )


NORMS = {"none": [0.5, 0.51], "batch": [0.6, 0.62]}


def test_a_setting_that_the_choice_does_not_use_is_not_held() -> None:
    """Two presets of one averaging share its name and differ in alpha, which averaging=none does not have."""
    made = [
        *runs("norm", NORMS, averaging="none", averaging__alpha=None),
        *runs("averaging.alpha", {0.5: [0.5, 0.51], 0.9: [0.6, 0.62]}, norm="none", averaging="lookahead"),
    ]
    result = found(table(*made), {"norm": "none", "averaging": "none"})
    assert of_axis(result, "norm").held == ()
    assert of_axis(result, "averaging.alpha").held == (("averaging", ("lookahead",)),)
    both = [*made, *runs("norm", NORMS, averaging="lookahead", averaging__alpha=0.9)]
    result = found(table(*both), {"norm": "none", "averaging": "none", "averaging.alpha": 0.5})
    assert of_axis(result, "norm").held == ()  # half of the pairs are at averaging=none, as the baseline


def test_what_another_choice_uses_is_not_held() -> None:
    made = [
        *runs("activation", {"relu": [0.5, 0.51], "selu": [0.6, 0.62]}, norm="none", norm__eps=None),
        *runs("norm.eps", {1e-3: [0.5, 0.51], None: [0.5, 0.52]}, activation="relu", norm="batch"),
    ]
    result = found(table(*made), {"activation": "relu", "norm": "batch", "norm.eps": 1e-3})
    assert of_axis(result, "activation").held == (("norm", ("none",)),)


def test_a_setting_that_the_choice_leaves_at_its_default_is_held() -> None:
    made = [
        *runs("activation", {"relu": [0.5, 0.51], "selu": [0.6, 0.62]}, norm="batch", norm__eps=None),
        *runs("norm.eps", {1e-3: [0.5, 0.51, 0.52, 0.53, 0.54]}, activation="relu", norm="batch"),
        *runs("norm", {"none": [0.5]}, activation="relu", norm__eps=None),
    ]
    result = found(table(*made), {"activation": "relu", "norm.eps": 1e-3})
    assert of_axis(result, "activation").held == (("norm.eps", (None,)),)


def test_the_values_of_all_choices_are_held() -> None:
    """Adam has one rate, so that its rate follows from it; but it is not the baseline's."""
    adam = runs("norm", NORMS, optimizer="adam", optimizer__lr=0.001)
    sgd = runs("norm", NORMS, optimizer="sgd", optimizer__lr=0.05)
    usual = runs("optimizer.lr", {0.1: [0.5, 0.52, 0.51]}, optimizer="sgd", norm="none")
    lower = runs("optimizer.lr", {0.05: [0.5, 0.51]}, optimizer="sgd", norm="none")
    baseline = {"norm": "none", "optimizer": "sgd", "optimizer.lr": 0.1}
    mixed = found(table(*adam, *sgd, *usual), baseline)
    assert of_axis(mixed, "norm").held == (("optimizer.lr", (0.001, 0.05)),)
    alone = found(table(*adam, *lower, *usual), baseline)
    assert of_axis(alone, "norm").held == (("optimizer", ("adam",)), ("optimizer.lr", (0.001,)))
