"""Settings that always change together, as with sweep.zip: one change, with the effect of all of them at once.

No two runs differ in one of them alone, so none has an effect of its own that these runs could show.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from sweeper.summary.columns import CODE_OF, MODEL, OWN, STEP_GROUPS, WITH, chooser_of, format_override, is_implied

Others = tuple[tuple[str, Any], ...]  # settings that change with an axis, and their values
Together = Mapping[str, Mapping[Any, Others]]  # for each such axis, those of each of its values


def groups_of(settings: pd.DataFrame, names: Sequence[str]) -> list[list[str]]:
    """Return the names in groups of those of which each value of one occurs with exactly one value of the others.

    Settings of two choices that vary beside the group are apart where they only change with these choices: each choice
    is compared at any of its own settings, but at equal settings of the other.
    """
    found: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        codes, _ = pd.factorize(settings[name].map(repr))
        found.setdefault(tuple(codes.tolist()), []).append(name)
    groups = []
    for group in found.values():
        owners = {name: owner_of(name, group, names) for name in group}
        several = [None] if None in owners.values() else dict.fromkeys(owners.values())
        if len(several) > 1:
            choices = [settings[owner].map(repr) for owner in several]
            several = [None] if (settings[group[0]].map(repr).groupby(choices).nunique() > 1).any() else several
        groups += [[name for name in group if owner is None or owners[name] == owner] for owner in several]
    return groups


def owner_of(name: str, group: Sequence[str], axes: Sequence[str]) -> str | None:
    """Return the choice, beside the group, whose own setting this is; None where that does not vary."""
    owner = chooser_of(name)
    return owner if owner in axes and owner not in group else None


def leader_of(group: Sequence[str], first: Collection[str], axes: Sequence[str]) -> str:
    """Return the name by which a group goes.

    It is no setting of a choice beside the group where there is another, since that choice is compared at any of its
    own settings; it is one of `first`, else the model, else a choice whose own settings vary as well, else the first
    by name.
    """

    def rank(name: str) -> tuple[bool, bool, bool, bool, str]:
        has_settings = any(axis.startswith(f"{name}.") for axis in axes)
        is_own = owner_of(name, group, axes) is not None
        return is_own, name not in first, name != MODEL, not has_settings, name

    return min(group, key=rank)


def merge_together(
    settings: pd.DataFrame, usable: list[int], axes: Sequence[str], given: Collection[str], tuned: Collection[str]
) -> tuple[pd.DataFrame, list[str], Together, dict[int, Others]]:
    """Drop all but one of the axes that always change together, with what their choices imply.

    Runs without a result that have these settings apart are dropped too: they are of another configuration.

    Args:
        settings: of the runs that ended.
        usable: rows of those that can be compared, which decide.
        axes: that vary.
        given: those whose baseline is given, by which a group goes then.
        tuned: axes that are not compared.

    Returns:
        The settings, the axes, what changes with them, and the settings of the rows that were dropped.
    """
    together: dict[str, dict[Any, Others]] = {}
    apart: dict[int, Others] = {}
    compared = settings.loc[usable]
    for group in groups_of(compared, [axis for axis in axes if axis not in tuned]):
        if len(group) < 2:
            continue
        leader = leader_of(group, given, axes)
        others = [axis for axis in group if axis != leader]
        rows = zip(compared[leader], compared[others].to_numpy(dtype=object), strict=True)
        together[leader] = {value: tuple(zip(others, map(as_cell, cells), strict=True)) for value, cells in rows}
        for row in settings.index.difference(usable):
            cells = [(name, as_cell(settings[name][row])) for name in (leader, *others)]
            if cells[0][1] in together[leader] and tuple(cells[1:]) != together[leader][cells[0][1]]:
                apart.setdefault(int(row), tuple(cells))
        for axis in others:
            settings = without(settings, usable, axis, leader)
    dropped = {name for of in together.values() for others in of.values() for name, _ in others}
    return settings.drop(index=[*apart]), [axis for axis in axes if axis not in dropped], together, apart


def as_cell(value: Any) -> Any:
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value


def without(settings: pd.DataFrame, usable: list[int], axis: str, leader: str) -> pd.DataFrame:
    """Drop an axis with what its choice implies; the code of its choice becomes that of the leader's.

    The order of a group's steps, which follows from which there are, is dropped where another group leads.
    """
    compared, group = settings.loc[usable], axis.partition(".")[0]
    names = [name for name in map(str, settings) if name != axis and chooser_of(name) == axis]
    dropped = [axis, f"{WITH}{axis}", *(implied := [name for name in names if is_implied(compared, name)])]
    dropped += [f"{CODE_OF}{name}" for name in OWN if name in implied]
    if axis != group in STEP_GROUPS and leader.partition(".")[0] != group:
        dropped.append(f"{CODE_OF}{group}")
    code = f"{CODE_OF}{axis}"
    codes = [name for name in map(str, settings) if name == code or name.startswith(f"{code}.")]
    return settings.drop(columns=dropped, errors="ignore").rename(
        columns={name: f"{CODE_OF}{leader}.{name.removeprefix(CODE_OF)}" for name in codes}
    )


def name_together(axis: str, value: Any, others: Others, *, is_short: bool = False) -> str:
    """Return such as `model=mlp + optimizer=sgd`, or `mlp + sgd` for short; the steps of a group name it once."""
    if is_short:
        return " + ".join(map(format_override, (value, *(cell for _, cell in others))))
    group = f"{axis.partition('.')[0]}." if "." in axis else None
    rest = [(name.removeprefix(group) if group else name, cell) for name, cell in others]
    return " + ".join(f"{name}={format_override(cell)}" for name, cell in ((axis, value), *rest))
