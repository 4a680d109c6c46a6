"""Expansion of a sweep's overrides to its jobs: the product of all swept values, zipped keys together."""

import itertools
from collections.abc import Iterable, Sequence

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from sweeper.errors import UserError, format_names

Job = list[str]  # the overrides of one combination


def expand(overrides: Iterable[Override], zips: Sequence[Sequence[str]] = ()) -> list[Job]:
    """Return every combination of the swept values, in Hydra's order: the last key advances fastest.

    Where a key is given twice, its last values count. The keys of a zip take their first values together, then their
    second values, at the position of the first key.

    Raises:
        UserError: a key of a zip is not swept, or its keys have different numbers of values.
        HydraException: an override sweeps over an interval, which has no list of values.
    """
    values: dict[str, list[str]] = {}
    swept: list[str] = []
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            values[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            values[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
            swept.append(key)
        else:
            raise HydraException(f"{override.input_line} is not a list of values; use {key}=1,2,3 or {key}=range(1,4)")
    axes: dict[str, list[tuple[str, ...]]] = {key: [(value,) for value in texts] for key, texts in values.items()}
    named = [key for keys in zips for key in keys]
    if len(set(named)) < len(named) or not all(zips):
        raise UserError(f"sweep.zip={[list(keys) for keys in zips]}: a key occurs twice, or a list is empty")
    for keys in zips:
        if unknown := [key for key in keys if key not in swept]:
            raise UserError(f"sweep.zip: {format_names(unknown)} is not swept; swept parameters: {format_names(swept)}")
        if len({len(values[key]) for key in keys}) != 1:
            counts = ", ".join(f"{key} has {len(values[key])}" for key in keys)
            raise UserError(f"sweep.zip: keys need the same number of values; {counts}")
        axes[keys[0]] = list(zip(*(values[key] for key in keys), strict=True))
        for key in keys[1:]:
            del axes[key]
    return [[value for part in job for value in part] for job in itertools.product(*axes.values())]
