"""Expansion of a sweep's overrides to its jobs: the rows of its design, crossed with seeds and datasets."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from sweeper.errors import UserError, format_names
from sweeper.sweep.designs import rows
from sweeper.sweep.notation import is_crossed

BOOLEANS = {"True": "true", "False": "false"}  # as Hydra writes them, and as they are typed
Job = list[str]  # the overrides of one combination


@dataclass(frozen=True)
class Axis:
    """Keys that vary together: a single key unless zipped.

    Attributes:
        values: the overrides of each value, one for each key.
    """

    keys: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    is_swept: bool

    @property
    def is_factor(self) -> bool:
        return self.is_swept and not is_crossed(self.keys[0])


def expand(overrides: Iterable[Override], zips: Sequence[Sequence[str]] = (), design: str = "product") -> list[Job]:
    """Return the combinations of the swept values that a design has.

    The product is in Hydra's order: the last key varies fastest. In other designs, each row is followed by itself
    with the next seed or dataset.

    Raises:
        UserError: see `axes_of` and `factors_of`; or a design has a value twice.
        HydraException: an override sweeps over an interval, which has no list of values.
    """
    axes = axes_of(overrides, zips)
    if design == "product" or not all(axis.values for axis in axes):
        return [join(job) for job in itertools.product(*(axis.values for axis in axes))]
    factors = factors_of(axes, f"sweep.design={design}")
    if wrong := [axis for axis in factors if design == "screen" and len(axis.values) != 2]:
        counts = ", ".join(f"{','.join(axis.keys)} has {len(axis.values)}" for axis in wrong)
        raise UserError(f"sweep.design=screen: each swept key needs two values, off and on; {counts}")
    for axis in axes:
        if again := [" ".join(texts) for index, texts in enumerate(axis.values) if texts in axis.values[:index]]:
            raise UserError(f"sweep.design={design}: {again[0]} is given twice; give each value once")
    jobs: list[Sequence[tuple[str, ...]]] = []
    for row in rows(design, [len(axis.values) for axis in factors]):
        chosen = {axis.keys: axis.values[number] for axis, number in zip(factors, row, strict=True)}
        jobs += itertools.product(*([chosen[axis.keys]] if axis.keys in chosen else axis.values for axis in axes))
    return [join(job) for job in jobs]


def factors_of(axes: Sequence[Axis], setting: str) -> list[Axis]:
    """Return the axes whose effects are estimated; seed and data are crossed with them.

    Raises:
        UserError: there is none, or one is zipped with seed or data; the message begins with the setting.
    """
    factors = [axis for axis in axes if axis.is_factor]
    if not factors:
        raise UserError(f"{setting}: nothing is swept but seed and data; sweep over a trick, such as norm=none,batch")
    for axis in axes:
        if len({is_crossed(key) for key in axis.keys}) > 1:
            names = format_names(axis.keys)
            raise UserError(
                f"{setting} runs every combination with each seed and dataset; sweep.zip cannot join {names}"
            )
    return factors


def join(parts: Iterable[tuple[str, ...]]) -> Job:
    return [override for part in parts for override in part]


def axes_of(overrides: Iterable[Override], zips: Sequence[Sequence[str]] = ()) -> list[Axis]:
    """Return the axes of a sweep; a key that is not swept is an axis with one value.

    Where a key is given twice, its last values count. The keys of a zip take their first values together, then their
    second values, at the position of the first key.

    Raises:
        UserError: a key of a zip is not swept, or its keys have different numbers of values.
        HydraException: an override sweeps over an interval, which has no list of values.
    """
    values: dict[str, list[str]] = {}
    swept: dict[str, bool] = {}
    for override in overrides:
        key = override.get_key_element()
        swept[key] = override.is_sweep_override()
        if not override.is_sweep_override():
            texts = [override.get_value_element_as_str()]
        elif override.is_discrete_sweep():
            texts = list(override.sweep_string_iterator())
        else:
            raise HydraException(f"{override.input_line} is not a list of values; use {key}=1,2,3 or {key}=range(1,4)")
        values[key] = [f"{key}={BOOLEANS.get(text, text)}" for text in texts]
    axes = {key: Axis((key,), tuple((text,) for text in texts), swept[key]) for key, texts in values.items()}
    named = [key for keys in zips for key in keys]
    if len(set(named)) < len(named) or not all(zips):
        raise UserError(f"sweep.zip={[list(keys) for keys in zips]}: a key occurs twice, or a list is empty")
    for keys in zips:
        if unknown := [key for key in keys if not swept.get(key)]:
            valid = format_names(key for key in swept if swept[key])
            raise UserError(f"sweep.zip: {format_names(unknown)} is not swept; swept parameters: {valid}")
        if len({len(values[key]) for key in keys}) != 1:
            counts = ", ".join(f"{key} has {len(values[key])}" for key in keys)
            raise UserError(f"sweep.zip: keys need the same number of values; {counts}")
        axes[keys[0]] = Axis(tuple(keys), tuple(zip(*(values[key] for key in keys), strict=True)), True)
        for key in keys[1:]:
            del axes[key]
    return list(axes.values())
