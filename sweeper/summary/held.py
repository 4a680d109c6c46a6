"""Settings that both sides of a comparison share and that are not those of the baseline, as in leave_one_out.

An effect is that of a change to some configuration. Where the other settings of its pairs are not the baseline's, the
configuration is named: once for a table if all of its comparisons change the same one, else for each comparison.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sweeper.summary.columns import chooser_of, format_override
from sweeper.summary.pairing import Change

Held = tuple[tuple[str, tuple[Any, ...]], ...]  # axes, and their values in all pairs, which lack the baseline's value
Recipe = Mapping[str, tuple[Any, ...]]


def held_by(
    cells: Sequence[tuple[Any, ...]],
    names: Sequence[str],
    baseline: Mapping[str, Any],
    users: Mapping[str, Collection[Any]],
) -> Held:
    """Return the axes that have the baseline's value in none of the cells, with the values that they have.

    A cell whose choice does not use a setting holds none of its values; where the choice is the baseline's, it has
    the baseline's value.

    Args:
        cells: of a comparison's pairs.
        names: of the settings in a cell.
        baseline: of every axis.
        users: for settings of a group's choice, such as optimizer.momentum, the choices that use them.
    """
    found, rows = [], [dict(zip(names, cell, strict=True)) for cell in cells]
    for name in (name for name in names if name in baseline):
        group = chooser_of(name)
        choices = [row.get(group) for row in rows]
        is_used = [group not in names or name not in users or choice in users[name] for choice in choices]
        held = dict.fromkeys(row[name] for row, used in zip(rows, is_used, strict=True) if used)
        as_baseline = any(
            not used and choice == baseline.get(group) for used, choice in zip(is_used, choices, strict=True)
        )
        if held and baseline[name] not in held and not as_baseline:
            found.append((name, tuple(held)))
    return tuple(found)


def recipe_of(table: Sequence[tuple[Sequence[Change], Held]]) -> Recipe | None:
    """Return the settings that every comparison of a table changes, empty for the baseline's; None if they differ.

    Args:
        table: the changes of each comparison, and what it holds.
    """
    recipe = {axis: values for _, held in table for axis, values in held}
    for changes, held in table:
        own = tuple(name for change in changes for name in (change.axis, change.axis_name))
        others = {
            axis: values
            for axis, values in recipe.items()
            if axis not in own and not axis.startswith(tuple(f"{name}." for name in own))
        }
        if dict(held) != others:
            return None
    return recipe


def beside(held: Held, recipe: Recipe | None) -> str:
    """Return such as ` with norm=batch`; empty where the recipe of the table says it, or nothing is held."""
    return f" with {format_recipe(dict(held))}" if held and recipe is None else ""


def heading_of(recipe: Recipe | None) -> str:
    """Return the end of a heading that names a recipe; empty for the baseline's, or none."""
    return f", each with the other settings of {format_recipe(recipe)}" if recipe else ""


def format_recipe(recipe: Recipe) -> str:
    """Return settings as they are typed: norm=batch, activation=gelu,selu."""
    return ", ".join(f"{axis}={','.join(map(format_override, values))}" for axis, values in sorted(recipe.items()))
