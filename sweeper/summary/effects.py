"""Which training trick helps, and by how much: finished runs that differ in one setting alone, compared in pairs."""

import io
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy import stats

from sweeper.errors import UserError, choices, nearest
from sweeper.record import flat_settings, write_text
from sweeper.summary.gather import MEASURES, READINGS, gather
from sweeper.summary.table import SLOTS, as_csv, is_implied, is_missing, show

CONF = Path(__file__).parents[2] / "conf"
LEVEL = 0.05  # of the tests; the intervals cover 1 - LEVEL
MANY = 100  # seeds beyond which no number is told
LISTED = 5  # values that a note names
DECIMALS = 10  # of a difference: equal ones become equal in floating point too
NEVER = ("seed", "data", "stale")  # what runs are paired by and not compared by
COMMAND = "python train.py -m activation=relu,selu seed=0,1,2"

Cells = dict[tuple[Any, ...], list[int]]


@dataclass(frozen=True)
class Measure:
    """A measure by which runs are compared.

    Attributes:
        title: of its table.
        higher, lower: what a value does that has more, or less, of it than the baseline.
        more, less: the same of an interaction.
        digits: format of a mean difference.
        reading: the setting that says how the measure was read off a curve; only runs read alike are compared.
        censored: whether it may be known as `>E` only, so that the sign test is used.
    """

    title: str
    higher: str
    lower: str
    more: str
    less: str
    digits: str
    reading: str | None = None
    censored: bool = False


EPOCHS = ("slower", "faster", "saves fewer epochs", "saves more epochs", "{:+.2f}")
JUDGED = {
    "test_acc": Measure("test_acc", "helps", "hurts", "gains more", "gains less", "{:+.4f}"),
    "convergence_epoch": Measure("convergence_epoch, in epochs", *EPOCHS, "convergence_fraction"),
    "epochs_to_target": Measure("epochs_to_target, in epochs", *EPOCHS, "target_acc", censored=True),
}


@dataclass(frozen=True)
class Change:
    """A value of an axis in place of the baseline's; None is a setting that is null."""

    axis: str
    value: Any
    baseline: Any


@dataclass(frozen=True)
class Difference:
    """What is known of value - baseline in one pair (interaction: of the difference of differences in a quadruple).

    Attributes:
        low, high: bounds; equal where everything was measured, infinite where a run is censored.
        censored: rows of runs that never reached their target.
    """

    low: float
    high: float
    seed: Any = None
    censored: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Comparison:
    """One change against the baseline, or two for their interaction, by one measure.

    Attributes:
        changes: one, or two; of two, the difference of the first one's effects with and without the second.
        pairs: pairs of runs, or quadruples.
        seeds: how many seeds they have.
        mean: of the differences value - baseline; None where a run is censored.
        spread: standard deviation of the differences, with n - 1; None for one pair or where a run is censored.
        interval: of the mean, 1 - LEVEL, Student's t, for this comparison alone; None as `spread`.
        higher, lower, tied: pairs in which the value has more of the measure, less, the same; in others it is unknown.
        censored: runs that never reached their target.
        p: two-sided; paired t-test, for epochs_to_target the sign test; None with fewer than two pairs of known order.
        corrected: p by Holm's method over all comparisons (or interactions) of the measure that have one.
        more_seeds: about how many would make a difference that is not significant so; above MANY: too many to tell.
    """

    measure: str
    changes: tuple[Change, ...]
    pairs: int
    seeds: int
    mean: float | None
    spread: float | None
    interval: tuple[float, float] | None
    higher: int
    lower: int
    tied: int
    censored: int
    p: float | None
    corrected: float | None = None
    more_seeds: int | None = None

    @property
    def words(self) -> str:
        """The result as a sentence's end."""
        if self.p is None:
            if self.pairs == 1:
                return "one pair: needs more seeds"
            known = self.higher + self.lower + self.tied
            return "one pair of known order: needs more seeds" if known else "in no pair is the order known"
        if self.corrected is not None and self.corrected < LEVEL:
            alike = f" (all {self.pairs} differences are equal)" if self.spread == 0 and self.p == 0 else ""
            return self.direction() + alike
        if self.higher == self.lower == 0:
            return "cannot be told apart: no difference in any pair"
        if self.more_seeds is None:
            return "cannot be told apart"
        needed = f"more than {MANY}" if self.more_seeds > MANY else f"about {self.more_seeds}"
        return f"cannot be told apart; {needed} more {'seed' if self.more_seeds == 1 else 'seeds'} would tell"

    def direction(self) -> str:
        """What the change does, taken for real."""
        measure = JUDGED[self.measure]
        up = self.higher > self.lower if measure.censored else (self.mean or 0) > 0
        if len(self.changes) == 1:
            return measure.higher if up else measure.lower
        other = self.changes[1]
        return f"{measure.more if up else measure.less} with {written(other.value)} than with {written(other.baseline)}"


@dataclass(frozen=True)
class Effects:
    """What the finished runs say.

    Attributes:
        baseline: for each axis the value that its others are compared with.
        runs: how many finished runs there are.
        left_out: for each reason, how many runs do not count.
        comparisons: each value of each axis, by each measure.
        interactions: each two of them that were crossed, by each measure.
        notes: sentences on what could not be compared.
        nothing: the sentence that says why there are no comparisons, and what would give some; None where there are.
    """

    baseline: dict[str, Any] = field(default_factory=dict)
    runs: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    interactions: list[Comparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    nothing: str | None = None

    def to_frame(self) -> pd.DataFrame:
        """A row for each comparison, then for each interaction."""
        return pd.DataFrame([as_row(one) for one in (*self.comparisons, *self.interactions)], columns=list(COLUMNS))


COLUMNS = (
    *("measure", "axis", "value", "baseline", "with_axis", "with_value", "with_baseline"),
    *("pairs", "seeds", "mean", "spread", "low", "high", "higher", "lower", "tied", "censored"),
    *("p", "p_holm", "more_seeds", "result"),
)


def as_row(one: Comparison) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for prefix, change in zip(("", "with_"), one.changes, strict=False):
        for name in ("axis", "value", "baseline"):
            cell = getattr(change, name)
            row[prefix + name] = "null" if cell is None else cell
    low, high = one.interval or (None, None)
    row |= {name: getattr(one, name) for name in COLUMNS if hasattr(one, name) and name != "baseline"}
    more = one.more_seeds if one.more_seeds is not None and one.more_seeds <= MANY else None
    return row | {"low": low, "high": high, "p_holm": one.corrected, "more_seeds": more, "result": one.words}


def effects(
    frame: pd.DataFrame,
    baseline: Mapping[str, Any] | None = None,
    *,
    defaults: Mapping[str, Any] | None = None,
    unreadable: Sequence[str] = (),
) -> Effects:
    """Compare every value of every setting that varies with its baseline value, and every two such that were crossed.

    Args:
        frame: a row for each run, as `sweeper.summary.table.read_runs` gives it, in any order.
        baseline: values to compare with, by axis, as they are or as text; what is left out is taken from `defaults`
            where it occurs, or is what most runs have.
        defaults: the values of the baseline run; None for those of conf/.
        unreadable: folders that are no runs.

    Raises:
        UserError: the baseline names an axis or a value that the finished runs do not have.
    """
    states = Counter[str]() if frame.empty else Counter(str(state) for state in frame["state"])
    runs = states.pop("finished", 0)
    left_out = dict(sorted(states.items())) | ({"unreadable": len(unreadable)} if unreadable else {})
    if runs < 2:
        what = "one run is finished" if runs else "no run is finished" if left_out else "there are no runs"
        return nothing(what, "a trick and seeds", runs, left_out)
    finished = frame[frame["state"] == "finished"].sort_values("run_id").reset_index(drop=True)
    settings = settings_of(finished)
    axes = axes_of(settings)
    if not axes:
        return nothing(f"the {runs} finished runs differ in no setting but seed and data", "a trick", runs, left_out)
    base = choose_baselines(settings, axes, baseline or {}, config_defaults() if defaults is None else defaults)
    settings = without_slots(settings, base)
    settings = settings.drop(columns=[name for name in map(str, settings) if is_implied(settings, name)])

    comparisons: list[Comparison] = []
    interactions: list[Comparison] = []
    for measure in JUDGED:
        comparisons += corrected(compare(finished, settings, base, measure, [(axis,) for axis in axes]))
        crossed = compare(finished, settings, base, measure, list(combinations(axes, 2)))
        interactions += corrected([one for one in crossed if one.pairs >= 2])
    partnerless = lonely(settings, base, comparisons)
    if not comparisons:
        what = f"no two finished runs differ in one setting alone, {', and '.join(partnerless)}"
        return nothing(what, "one trick at a time", runs, left_out)
    return Effects(base, runs, left_out, comparisons, interactions, [*remarks(finished), *partnerless])


def nothing(what: str, sweep_over: str, runs: int, left_out: dict[str, int]) -> Effects:
    """No comparisons, the reason why and the command that would give some."""
    also = f" ({listed(left_out)})" if left_out else ""
    sentence = f"nothing to compare: {what}{also}; sweep over {sweep_over}: {COMMAND}"
    return Effects(runs=runs, left_out=left_out, nothing=sentence)


def settings_of(finished: pd.DataFrame) -> pd.DataFrame:
    """The runs' settings, what is missing as None; the dataset by its fingerprint, no dropout as rate 0."""
    settings = finished.drop(columns=["run_id", *READINGS, *MEASURES], errors="ignore").astype(object)
    settings = settings.where(settings.notna(), None)
    if "stale" in finished:
        settings["stale"] = finished["stale"].eq(True)
    if "dropout.rate" in settings:
        settings["dropout.rate"] = [0.0 if rate is None else rate for rate in settings["dropout.rate"]]
    if "data.fingerprint" in settings:
        fingerprints = settings.pop("data.fingerprint")
        settings["data"] = fingerprints.where(fingerprints.notna(), settings.get("data"))
    return settings[sorted(map(str, settings.columns))]


def axes_of(settings: pd.DataFrame) -> list[str]:
    """What varies, less what follows from a group's choice (of data: from the dataset)."""
    return sorted(
        name
        for name in map(str, settings)
        if name not in NEVER and settings[name].nunique(dropna=name in SLOTS) > 1 and not is_implied(settings, name)
    )


def values_of(settings: pd.DataFrame, axis: str) -> list[Any]:
    """An axis' value in every run that could have another: its group's choice has several, its model has the slot."""
    column, group = settings[axis], axis.partition(".")[0]
    if group != axis and group in settings:
        choice = settings[group].map(written)
        several = column.map(written).groupby(choice).nunique() > 1
        column = column[choice.map(several)]
    return [value for value in column if value is not None or axis not in SLOTS]


def choose_baselines(
    settings: pd.DataFrame, axes: Sequence[str], given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """For each axis the value that the others are compared with; see `effects`."""
    for axis in given:
        if axis not in axes:
            raise UserError(f"there is no axis {axis}{nearest(axis, axes)}; the finished runs vary {choices(axes)}")
    chosen = {}
    for axis in axes:
        values = values_of(settings, axis)
        if axis in given:
            chosen[axis] = find(axis, given[axis], values)
        elif axis in defaults and defaults[axis] in values:
            chosen[axis] = defaults[axis]
        else:
            chosen[axis] = most_common(values)
    return chosen


def most_common(values: Sequence[Any]) -> Any:
    """The value that occurs most, the smallest of several."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], rank(value)))


def rank(value: Any) -> tuple[int, float, str]:
    """The order of values: null, numbers, texts."""
    if value is None:
        return 0, 0, ""
    return (1, value, "") if isinstance(value, int | float) else (2, 0, str(value))


def find(axis: str, given: Any, values: Sequence[Any]) -> Any:
    """The value that a text or a value means.

    Raises:
        UserError: there is none.
    """
    exact = [value for value in values if written(value) == written(given)]
    alike = [value for value in values if means(written(given), value)]
    if not exact and not alike:
        texts = {written(value) for value in values}
        raise UserError(
            f"{axis}={written(given)} does not occur{nearest(written(given), texts)}; it is {choices(texts)}"
        )
    return (exact or alike)[0]


def means(text: str, value: Any) -> bool:
    """Whether a text is a value written in another way, such as 1e-3 or [64,64]."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return "".join(text.split()).lower() == "".join(written(value).split()).lower()


def written(value: Any) -> str:
    """A value as one writes it on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if is_missing(value) else show("", value)


def config_defaults() -> dict[str, Any]:
    """The choices in the defaults list of conf/config.yaml, and their settings; empty where the file is not there."""
    file = CONF / "config.yaml"
    entries = OmegaConf.to_container(OmegaConf.load(file)) if file.is_file() else {}
    found: dict[str, Any] = {}
    for entry in entries.get("defaults", []) if isinstance(entries, dict) else []:
        for group, choice in entry.items() if isinstance(entry, dict) else ():
            chosen = CONF / str(group) / f"{choice}.yaml"
            if chosen.is_file() and isinstance(content := OmegaConf.to_container(OmegaConf.load(chosen)), dict):
                found |= flat_settings({str(group): content})
    return found


def without_slots(settings: pd.DataFrame, baseline: Mapping[str, Any]) -> pd.DataFrame:
    """A model without a slot counts as one with the baseline in it, so that it has partners among the others."""
    settings = settings.copy()
    for slot in (slot for slot in SLOTS if slot in settings):
        lacking = settings[slot].isna()
        if not lacking.any() or lacking.all():
            continue
        usual = baseline.get(slot, most_common([value for value in settings[slot] if value is not None]))
        filled = settings[settings[slot] == usual]
        for name in [name for name in map(str, settings) if name == slot or name.startswith(f"{slot}.")]:
            values = list(filled[name])
            value = baseline[name] if name in baseline and baseline[name] in values else most_common(values)
            settings[name] = [value if lacks else own for lacks, own in zip(lacking, settings[name], strict=True)]
    return settings


def others(settings: pd.DataFrame, axes: Sequence[str]) -> list[str]:
    """What pairs have to agree in: everything but the axes and the settings of their own."""
    own = tuple(f"{axis}." for axis in axes)
    return [name for name in map(str, settings) if name not in axes and not name.startswith(own)]


def strata(settings: pd.DataFrame, axes: Sequence[str]) -> Iterator[Cells]:
    """Runs that agree in everything else, by their values of the axes: lists of row labels."""
    found: dict[tuple[Any, ...], Cells] = {}
    keys = settings[others(settings, axes)].to_numpy(dtype=object)
    values = settings[list(axes)].to_numpy(dtype=object)
    for row, key, cell in zip(settings.index, map(tuple, keys), map(tuple, values), strict=True):
        found.setdefault(key, {}).setdefault(cell, []).append(int(row))
    yield from found.values()


def compare(
    finished: pd.DataFrame,
    settings: pd.DataFrame,
    baseline: Mapping[str, Any],
    measure: str,
    plans: list[tuple[str, ...]],
) -> list[Comparison]:
    """Every value of one axis, or every two values of two, that has pairs, in order of axis and value."""
    judged = JUDGED[measure]
    bounds = [bounds_of(value) for value in finished[measure]]
    known = settings[[not math.isnan(low) for low, _ in bounds]]
    seeds = list(settings["seed"]) if "seed" in settings else [None] * len(settings)
    if judged.reading is not None and judged.reading in finished:
        reading = finished[judged.reading].astype(object)
        known = known.assign(**{judged.reading: reading.where(reading.notna(), None)})
    found = []
    for axes in plans:
        base = tuple(baseline[axis] for axis in axes)
        differences: dict[tuple[Any, ...], list[Difference]] = {}
        for cells in strata(known, axes):
            for values in cells:
                difference = contrast(cells, values, base, bounds, seeds)
                if difference is not None:
                    differences.setdefault(values, []).append(difference)
        for values in sorted(differences, key=lambda values: [rank(value) for value in values]):
            changes = tuple(Change(*parts) for parts in zip(axes, values, base, strict=True))
            found.append(judge(measure, changes, differences[values]))
    return found


def bounds_of(value: Any) -> tuple[float, float]:
    """What is known of a measure: equal where measured; at least E + 1 for `>E`; NaN where it is missing."""
    if isinstance(value, str):
        beyond = re.fullmatch(r">(\d{1,9})", value)
        return (int(beyond[1]) + 1.0, math.inf) if beyond else (math.nan, math.nan)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    return (number, number) if math.isfinite(number) else (math.nan, math.nan)


def contrast(
    cells: Cells,
    values: tuple[Any, ...],
    base: tuple[Any, ...],
    bounds: Sequence[tuple[float, float]],
    seeds: list[Any],
) -> Difference | None:
    """Value - baseline within a stratum (two axes: the difference of differences); None where a cell is empty.

    Several runs in a cell differ in the axis' own settings alone: they are one observation, their mean.
    """
    if any(value == other for value, other in zip(values, base, strict=True)):
        return None
    low = high = 0.0
    censored: list[int] = []
    for corner in product(*zip(values, base, strict=True)):
        if corner not in cells:
            return None
        rows = cells[corner]
        least, most = (sum(bounds[row][side] for row in rows) / len(rows) for side in (0, 1))
        negative = sum(one == other for one, other in zip(corner, base, strict=True)) % 2
        low, high = (low - most, high - least) if negative else (low + least, high + most)
        censored += [row for row in rows if math.isinf(bounds[row][1])]
    return Difference(round(low, DECIMALS), round(high, DECIMALS), seeds[rows[0]], frozenset(censored))


def judge(measure: str, changes: tuple[Change, ...], differences: Sequence[Difference]) -> Comparison:
    """The statistics of one comparison, its p not yet corrected."""
    pairs = len(differences)
    higher = sum(one.low > 0 for one in differences)
    lower = sum(one.high < 0 for one in differences)
    tied = sum(one.low == one.high == 0 for one in differences)
    censored = len(frozenset[int]().union(*(one.censored for one in differences)))
    mean = spread = interval = p = None
    if not censored:
        mean, spread, interval, p = paired_t([one.low for one in differences])
    if JUDGED[measure].censored:
        p = sign_test(higher, lower) if higher + lower + tied >= 2 else None
    seeds = len({one.seed for one in differences})
    return Comparison(measure, changes, pairs, seeds, mean, spread, interval, higher, lower, tied, censored, p)


def paired_t(
    differences: Sequence[float],
) -> tuple[float, float | None, tuple[float, float] | None, float | None]:
    """Mean, standard deviation, interval and two-sided p of paired differences; one has a mean only.

    Differences that are all equal have no spread: p is its limit 0, or 1 where they are zero.
    """
    values = np.array(differences)
    number = len(values)
    mean = float(values.mean())
    if number == 1:
        return mean, None, None, None
    if np.ptp(values) == 0:
        mean = float(values[0])
        return mean, 0.0, (mean, mean), float(mean == 0)
    spread = float(values.std(ddof=1))
    error = spread / math.sqrt(number)
    half = float(stats.t.ppf(1 - LEVEL / 2, number - 1)) * error
    return mean, spread, (mean - half, mean + half), float(2 * stats.t.sf(abs(mean) / error, number - 1))


def sign_test(higher: int, lower: int) -> float:
    """Exact and two-sided; ties say nothing."""
    return float(stats.binomtest(higher, higher + lower).pvalue) if higher + lower else 1.0


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The family with its p values corrected, and the seeds that would tell what they do not."""
    tested = [one.p for one in comparisons if one.p is not None]
    adjusted = iter(holm(tested))
    done = []
    for one in comparisons:
        p = None if one.p is None else next(adjusted)
        more = seeds_to_tell(one, LEVEL / len(tested)) if p is not None and p >= LEVEL else None
        done.append(replace(one, corrected=p, more_seeds=more))
    return done


def holm(ps: Sequence[float]) -> list[float]:
    """p values for the family-wise error rate: the step-down method of Holm (1979)."""
    number = len(ps)
    order = np.argsort(ps, kind="stable")
    adjusted = np.empty(number)
    adjusted[order] = np.minimum(1, np.maximum.accumulate((number - np.arange(number)) * np.array(ps)[order]))
    return [float(p) for p in adjusted]


def seeds_to_tell(one: Comparison, level: float) -> int:
    """About how many more seeds would make p smaller than a level, if mean and spread stay as they are.

    Returns:
        At most MANY + 1, which stands for more.
    """
    decided = one.higher + one.lower
    observed = decided if JUDGED[one.measure].censored else one.pairs
    if not decided:
        return MANY + 1
    numbers = observed + np.arange(1, math.ceil(MANY * observed / one.seeds) + 1)
    if JUDGED[one.measure].censored:
        fewer = numbers - np.round(max(one.higher, one.lower) / decided * numbers)
        p = 2 * stats.binom.cdf(fewer, numbers, 0.5)
    else:
        p = 2 * stats.t.sf(abs(one.mean or 0) / (one.spread or 1) * np.sqrt(numbers), numbers - 1)
    enough = np.flatnonzero(p < level)
    return math.ceil((int(enough[0]) + 1) * one.seeds / observed) if len(enough) else MANY + 1


def remarks(finished: pd.DataFrame) -> list[str]:
    """What keeps finished runs out of some comparisons."""
    lines = []
    for measure in ("test_acc", "convergence_epoch"):
        lacking = sum(math.isnan(bounds_of(value)[0]) for value in finished[measure])
        lines += [f"{lacking} finished {plural(lacking, 'run')} without {measure}"] if lacking else []
    for measure, judged in JUDGED.items():
        if judged.reading in finished and finished[judged.reading].dropna().nunique() > 1:
            lines.append(f"{measure} is compared between runs of equal {judged.reading}")
    if "stale" in finished and (stale := int(finished["stale"].eq(True).sum())):
        lines.append(f"{stale} of the finished runs are stale, trained by other code; they are paired with such only")
    return lines


def lonely(settings: pd.DataFrame, baseline: Mapping[str, Any], comparisons: Iterable[Comparison]) -> list[str]:
    """For every value that nothing could be paired with: what else its nearest runs of the baseline value differ in."""
    compared = {(one.changes[0].axis, one.changes[0].value) for one in comparisons}
    codes = settings.apply(lambda column: pd.Series(pd.factorize(column, use_na_sentinel=False)[0], settings.index))
    found: dict[tuple[str, str], list[str]] = {}
    for axis, base in baseline.items():
        compulsory = others(settings, [axis])
        for value in sorted(set(values_of(settings, axis)) - {base}, key=rank):
            if (axis, value) not in compared:
                runs, partners = (
                    codes.loc[[own == one for own in settings[axis]], compulsory] for one in (value, base)
                )
                differing = ", ".join(np.array(compulsory)[nearest_differ_in(runs.to_numpy(), partners.to_numpy())])
                found.setdefault((axis, differing), []).append(written(value))
    lines = []
    for (axis, differing), values in found.items():
        told = ", ".join(values[:LISTED]) + (f" and {len(values) - LISTED} more" if len(values) > LISTED else "")
        why = f"the nearest runs of {axis}={written(baseline[axis])} differ in {differing} as well"
        lines.append(f"{axis}={told} has no partner: {why if differing else 'results are missing'}")
    return lines


def nearest_differ_in(runs: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """The fewest columns in which a row of the one differs from one of the other, as a mask."""
    fewest = np.ones(runs.shape[1], bool)
    for run in runs:
        differing = run != partners
        closest = differing[differing.sum(axis=1).argmin()]
        fewest = min(fewest, closest, key=np.count_nonzero)
    return fewest


def plural(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


def listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in counts.items())


def caption(found: Effects) -> list[str]:
    """What was compared with what, what was left out, and what the columns mean; no line where nothing was."""
    if found.nothing is not None:
        return []
    lines = ["Baseline: " + ", ".join(f"{axis}={written(value)}" for axis, value in found.baseline.items())]
    left = f"; {sum(found.left_out.values())} left out: {listed(found.left_out)}" if found.left_out else ""
    lines += [f"{found.runs} finished runs{left}", *found.notes]
    lines += [
        "A pair: two runs equal in everything else, seed included; mean: of change - against over the pairs, "
        f"{1 - LEVEL:.0%} interval by Student's t, each for itself",
        f"p: paired t-test (epochs_to_target: sign test), two-sided, corrected over its table; below {LEVEL} counts",
    ]
    if found.interactions:
        lines.append("Interactions: the mean with `with` less that with `rather than`, in quadruples of runs")
    return lines


def draw(comparisons: Sequence[Comparison]) -> Table:
    """The table of one measure's comparisons, or interactions."""
    measure = JUDGED[comparisons[0].measure]
    crossed = len(comparisons[0].changes) > 1
    table = Table(title=Text(measure.title + (": interactions" if crossed else "")), title_justify="left")
    orders = ("higher", "lower") if crossed else (measure.higher, measure.lower)
    signs = (*orders, "tied", "unknown", "censored") if measure.censored else ()
    for header in ("change", "against", *(("with", "rather than") if crossed else ())):
        table.add_column(header, overflow="fold")
    for header in ("quadruples" if crossed else "pairs", "mean", f"{1 - LEVEL:.0%} interval", *signs, "p (Holm)"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("result", overflow="fold")
    for one in comparisons:
        names = [text for change in one.changes for text in (f"{change.axis}={written(change.value)}", change.baseline)]
        interval = "-" if one.interval is None else f"[{', '.join(map(measure.digits.format, one.interval))}]"
        mean = "-" if one.mean is None else measure.digits.format(one.mean)
        unknown = one.pairs - one.higher - one.lower - one.tied
        counts = (one.higher, one.lower, one.tied, unknown, one.censored) if measure.censored else ()
        row = [*names, one.pairs, mean, interval, *counts, shown_p(one.corrected), one.words]
        table.add_row(*(plain(cell if isinstance(cell, str) else written(cell)) for cell in row))
    return table


def plain(text: str) -> Text:
    """Text on one line that no terminal obeys."""
    return Text("".join(one if one.isprintable() else " " for one in text))


def shown_p(p: float | None) -> str:
    if p is None:
        return "-"
    return "<0.0001" if 0 < p < 0.0001 else f"{p:.4f}" if p else "0"


def print_effects(found: Effects, console: Console) -> None:
    """A table for each measure, those of interactions after all others, and the caption; or why there is none."""
    if found.nothing is not None:
        console.print(plain(found.nothing), soft_wrap=True)
        return
    for family in (found.comparisons, found.interactions):
        for measure in JUDGED:
            judged = [one for one in family if one.measure == measure]
            if judged:
                console.print(draw(judged))
    for line in caption(found):
        console.print(Text(plain(line).plain, style="dim italic"), soft_wrap=not console.is_terminal)


def as_table(found: Effects) -> str:
    """The tables at full width."""
    file = io.StringIO()
    print_effects(found, Console(file=file, width=100_000, force_terminal=False, color_system=None))
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def rows_as_csv(found: Effects) -> str:
    """The rows of `Effects.to_frame` as CSV; half a surrogate pair, which no file may hold, as a question mark."""
    return as_csv(found.to_frame()).encode(errors="replace").decode()


def as_json(found: Effects) -> str:
    """Everything, with the rows of `Effects.to_frame`; what is missing as null."""
    content = {name: getattr(found, name) for name in ("nothing", "baseline", "runs", "left_out", "notes")}
    for name in ("comparisons", "interactions"):
        rows = [as_row(one) for one in getattr(found, name)]
        content[name] = [{column: row.get(column) for column in COLUMNS} for row in rows]
    return json.dumps(content, indent=1) + "\n"


FORMATS = {"table": as_table, "csv": rows_as_csv, "json": as_json}


def report(
    output_dir: Path, only: set[str] | None, baseline: Sequence[str], format: str = "table", output: Path | None = None
) -> None:
    """Print the effects of the runs in a folder, or write them to a file.

    Args:
        output_dir: the folder that has runs/.
        only: ids of the runs that are wanted; None for all.
        baseline: texts AXIS=VALUE.
        format: one of FORMATS.
        output: the file; None for standard output.

    Raises:
        UserError: there is no such format, axis or value, or the file is a folder or a device.
    """
    if format not in FORMATS:
        raise UserError(f"there is no --format {format}; choose from {choices(FORMATS)}")
    if output is not None and output.exists() and not output.is_file():
        raise UserError(f"{output} is no file that could be replaced")
    parts = (text.partition("=") for text in baseline)
    frame, unreadable = gather(output_dir / "runs", only)
    found = effects(frame, {axis: value for axis, _, value in parts}, unreadable=unreadable)
    if found.nothing is not None and (output is not None or format != "table"):
        print(plain(found.nothing), file=sys.stderr)
    console = Console()
    if output is not None:
        write_text(output, FORMATS[format](found))
    elif format == "table" and console.is_terminal:
        print_effects(found, console)
    else:
        print(FORMATS[format](found), end="")
