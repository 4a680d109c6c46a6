"""Effects as rows of CSV and JSON, in full precision."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from sweeper.summary.effect_measures import METRICS
from sweeper.summary.effects import Effects
from sweeper.summary.export import as_csv
from sweeper.summary.held import format_recipe
from sweeper.summary.inference import LEVEL, Comparison
from sweeper.summary.intervals import t_interval, within
from sweeper.summary.output import json_text
from sweeper.summary.parts import Part
from sweeper.summary.sentences import answers
from sweeper.summary.verdicts import verdict

# A row with a `model` has the pairs of that model alone; its interval low_family to high_family holds for all of them.
COLUMNS = (
    *("measure", "exploratory", "data", "axis", "value", "baseline", "together"),
    *("with_axis", "with_value", "with_baseline", "with_together"),
    *("model", "models", "models_up", "pairs", "seeds", "mean", "spread", "low", "high", "level"),
    *(
        "low_family",
        "high_family",
        "low_new_model",
        "high_new_model",
        "low_images",
        "high_images",
        "higher",
        "lower",
        "tied",
    ),
    *(
        "value_reached",
        "baseline_reached",
        "value_diverged",
        "baseline_diverged",
        "value_failed",
        "baseline_failed",
        "value_limited",
        "baseline_limited",
    ),
    *(
        "step_time_ratio",
        "low_step_time",
        "high_step_time",
        "cost_measured",
        "parameters_ratio",
        "memory_ratio",
        "held",
        "left_out",
        "anytime",
        "precision",
        "p",
        "p_holm",
        "result",
    ),
)


def change_cells(comparison: Comparison) -> dict[str, Any]:
    """Return what identifies a comparison."""
    row: dict[str, Any] = {"measure": comparison.metric, "data": comparison.data}
    row["exploratory"] = METRICS[comparison.metric].is_exploratory or len(comparison.changes) > 1
    for prefix, change in zip(("", "with_"), comparison.changes, strict=False):
        for name in ("axis", "value", "baseline"):
            cell = getattr(change, name)
            row[prefix + name] = "null" if cell is None else cell
        if change.others:
            row[f"{prefix}together"] = f"{change.name} vs. {change.base_name}"
    return row


def as_row(comparison: Comparison) -> dict[str, Any]:
    row = change_cells(comparison)
    for name in ("pairs", "seeds", "mean", "spread", "level", "higher", "lower", "tied", "p"):
        row[name] = getattr(comparison, name)
    row |= {"models": len(comparison.models) or None, "models_up": comparison.models_up if comparison.models else None}
    ends = {"": comparison.interval, "_family": comparison.family, "_new_model": comparison.new_model}
    ends["_images"] = comparison.other_images
    for suffix, interval in ends.items():
        row[f"low{suffix}"], row[f"high{suffix}"] = interval or (None, None)
    for name in ("reached", "diverged", "failed", "limited"):
        if (tally := getattr(comparison, name)) is not None:
            row |= {f"value_{name}": tally.value, f"baseline_{name}": tally.baseline}
    if comparison.cost is not None:
        cost = comparison.cost
        row |= {"step_time_ratio": cost.step_time, "cost_measured": cost.is_measured if cost.step_time else None}
        row["low_step_time"], row["high_step_time"] = cost.interval or (None, None)
        row |= {"parameters_ratio": cost.parameters, "memory_ratio": cost.memory}
    row |= {
        "held": format_recipe(dict(comparison.held)) or None,
        "left_out": "; ".join(comparison.left_out) or None,
        "anytime": comparison.is_anytime,
        "precision": comparison.precision,
    }
    return row | {"p_holm": comparison.corrected, "result": verdict(comparison)}


def model_row(comparison: Comparison, model: Part) -> dict[str, Any]:
    row = change_cells(comparison)
    row |= {"model": model.name, "seeds": len(model.means), "mean": model.mean, "spread": model.spread}
    if not comparison.is_anytime:
        interval = within(t_interval(model.mean, model.spread, len(model.means), LEVEL), comparison.bound)
        row["low"], row["high"] = interval or (None, None)
    row["low_family"], row["high_family"] = model.family or (None, None)
    return row


def to_frame(found: Effects) -> pd.DataFrame:
    """Return a row for each comparison, then for each interaction, each followed by the rows of its models."""
    rows = []
    for comparison in (*found.comparisons, *found.interactions):
        rows += [as_row(comparison), *(model_row(comparison, model) for model in comparison.models)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def as_json(found: Effects) -> str:
    """Return everything, with the rows of `to_frame`, those of models as `by_model`; missing values are null."""
    names = ("nothing", "baseline", "baselines", "runs", "left_out", "notes")
    content: dict[str, Any] = {name: getattr(found, name) for name in names}
    content["answers"] = [asdict(answer) for answer in answers(found)]
    for name in ("comparisons", "interactions"):
        content[name] = [json_row(comparison) for comparison in getattr(found, name)]
    return json_text(content)


def json_row(comparison: Comparison) -> dict[str, Any]:
    row, names = as_row(comparison), ("model", "seeds", "mean", "spread", "low", "high", "low_family", "high_family")
    models = [model_row(comparison, model) for model in comparison.models]
    by_model = [{name: model.get(name) for name in names} for model in models]
    return {column: row.get(column) for column in COLUMNS if column != "model"} | {"by_model": by_model}


def to_csv(found: Effects) -> str:
    return as_csv(to_frame(found))
