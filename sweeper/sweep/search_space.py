"""The space that Optuna searches, from the swept values of a command."""

from collections.abc import Sequence

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweeper.config import Config, settings
from sweeper.errors import UserError, format_names
from sweeper.sweep.notation import is_crossed

Space = dict[str, BaseDistribution]
EXAMPLE = "'optimizer.lr=tag(log,interval(1e-4,1e-1))'"


def space_of(overrides: Sequence[Override]) -> Space:
    """Return the distribution of each swept key but seed and data, with whose every value each trial is trained.

    Where a key is given twice, its last values count.

    Raises:
        UserError: there is nothing to search, or a distribution is not possible.
    """
    last = {override.get_key_element(): override for override in overrides}
    searched = {key: override for key, override in last.items() if override.is_sweep_override() and not is_crossed(key)}
    if not searched:
        raise UserError(
            f"nothing to search: add a key with several values or an interval, such as {EXAMPLE}; seed and data are "
            "not searched, since their best value would be luck: each trial is trained with all of theirs"
        )
    return {key: distribution_of(override) for key, override in searched.items()}


def distribution_of(override: Override) -> BaseDistribution:
    """Return the distribution of a swept override: the values of a list or a range, or all numbers of an interval.

    A range has the values that it has in a sweep, so its end is not one of them.

    Raises:
        UserError: the override cannot be searched.
    """
    key, value, typed = override.get_key_element().lstrip("+"), override.value(), str(override.input_line)
    tags = getattr(value, "tags", None) or set()
    if tags - {"log"}:
        raise UserError(f"{typed}: tag {format_names(tags - {'log'})} has no effect; the only tag is log")
    try:
        if isinstance(value, IntervalSweep):
            assert value.start is not None and value.end is not None  # Hydra's parser sets both
            return interval(key, value.start, value.end, log="log" in tags)
        texts = list(dict.fromkeys(override.sweep_string_iterator()))
        if not isinstance(value, RangeSweep) or len(texts) < 2:
            if "log" in tags:
                raise UserError(f"{typed}: tag log is for an interval or a range of numbers")
            return CategoricalDistribution(texts)
        return steps(sorted(map(float, texts)), abs(value.step), log="log" in tags)
    except ValueError as error:
        raise UserError(f"{typed}: {error}") from error


def interval(key: str, low: float, high: float, *, log: bool) -> BaseDistribution:
    """Return the distribution of the numbers from low to high, integers where the setting is one.

    Raises:
        UserError: the setting is no number.
        ValueError: there are no such numbers.
    """
    types = {name: str(item.type).removesuffix(" | None") for name, item, _ in settings(Config())}
    if types.get(key, types.get(f"{key}.name", "float")) not in ("int", "float"):
        raise UserError(f"{key} is not a number, so it has no interval; list its values: {key}=VALUE,VALUE")
    if types.get(key) != "int" and not isinstance(low, int):  # it is one in int(interval(1,9))
        return FloatDistribution(low, high, log=log)
    if low != int(low) or high != int(high):
        raise ValueError("the ends must be integers")
    return IntDistribution(int(low), int(high), log=log)


def steps(numbers: Sequence[float], step: float, *, log: bool) -> BaseDistribution:
    """Return the distribution of a range's numbers, in ascending order.

    Raises:
        ValueError: log is asked for, and the numbers are no integers in steps of 1.
    """
    low, high = numbers[0], numbers[-1]
    if all(number == int(number) for number in (low, high, step)):
        return IntDistribution(int(low), int(high), step=int(step), log=log)
    if log:
        raise ValueError("tag log needs integers in steps of 1; use an interval")
    return FloatDistribution(low, high, step=step)


def as_text(value: object) -> str:
    """Return a suggested value as it is typed, a number with eight digits: without the rounding errors of a range."""
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def describe_space(space: Space) -> str:
    """Return a line for each key: its values, or its ends."""
    lines = []
    for key, distribution in space.items():
        if isinstance(distribution, CategoricalDistribution):
            lines.append(f"  {key}: {', '.join(map(str, distribution.choices))}")
        elif isinstance(distribution, IntDistribution | FloatDistribution):
            step = f" in steps of {distribution.step:g}" if distribution.step not in (None, 1) else ""
            log = ", logarithmic" if distribution.log else ""
            lines.append(f"  {key}: {distribution.low:g} to {distribution.high:g}{step}{log}")
    return "\n".join(lines)


def ends_of(distribution: BaseDistribution) -> list[str]:
    """Return the values that are checked before a search: all of a list, the ends of numbers."""
    if isinstance(distribution, CategoricalDistribution):
        return [str(choice) for choice in distribution.choices]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [as_text(distribution.low), as_text(distribution.high)]
