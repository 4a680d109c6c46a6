"""The seeds of a sweep, round by round: all at once, or with sweep.precision until every effect is known well enough.

Which seeds come next follows from the finished runs alone, so that a sweep that was stopped resumes in its round.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from statistics import fmean

from hydra.core.override_parser.types import Override

from sweeper.config import SweepConfig
from sweeper.errors import UserError
from sweeper.files import number
from sweeper.runs.states import State, state_of
from sweeper.sweep.designs import contrasts, rows
from sweeper.sweep.durations import format_duration
from sweeper.sweep.expand import Axis, axes_of, factors_of, is_crossed, join
from sweeper.sweep.plan import Planned
from sweeper.sweep.precision import PILOT, half_width, rounding_of, seeds_for, seeds_to_add, spread_of

MAX_SEEDS = 20  # where sweep.max_seeds is null


@dataclass(frozen=True)
class Effect:
    """What is known of an effect on test_acc.

    Attributes:
        name: such as `norm=batch against norm=none`.
        differences: of each seed whose runs are finished, the mean over its pairs.
        diverged: number of seeds in which a run diverged.
        rounding: standard deviation of a difference that is due to the number of test images.
    """

    name: str
    differences: tuple[float, ...]
    diverged: int
    rounding: float

    @property
    def is_known(self) -> bool:
        """Whether it has an interval. Where a run diverged, the seeds in which none did would be a biased choice."""
        return not self.diverged and len(self.differences) > 1

    @property
    def spread(self) -> float:
        return spread_of(self.differences, self.rounding)

    @property
    def half_width(self) -> float:
        return half_width(self.spread, len(self.differences))


class Rounds:
    """The rounds of a sweep; a single one unless `sweep.precision` is set.

    Args:
        overrides: the command's.
        sweep: the sweep's settings.
        seed: of the run that is not swept.
        parse: Hydra's parser.

    Raises:
        UserError: a setting contradicts another one.
    """

    def __init__(
        self, overrides: Sequence[Override], sweep: SweepConfig, seed: int, parse: Callable[[str], Override]
    ) -> None:
        self.given, self.sweep, self.parse = overrides, sweep, parse
        self.factors: list[Axis] = []
        self.sequence: list[int] = []  # all that may be used
        self.seeds: list[int] = []  # of the rounds so far
        self.new: list[int] = []  # of the present round
        if sweep.precision is None:
            if sweep.max_seeds is not None:
                raise UserError(f"sweep.max_seeds={sweep.max_seeds} is used with sweep.precision only, which is null")
            return
        setting = f"sweep.precision={sweep.precision:g}"
        if any("seed" in keys for keys in (*sweep.exclude, *sweep.zip)):
            raise UserError(f"{setting} chooses the seeds, so that neither sweep.exclude nor sweep.zip may name seed")
        self.factors = factors_of(axes_of(overrides, sweep.zip), setting)
        self.sequence = seed_sequence(overrides, seed, sweep.max_seeds or MAX_SEEDS)
        self.add(PILOT)

    def add(self, number: int) -> None:
        self.new = self.sequence[len(self.seeds) : len(self.seeds) + number]
        self.seeds += self.new

    @property
    def overrides(self) -> list[Override]:
        """The overrides of the present round."""
        if not self.new:
            return list(self.given)
        others = [override for override in self.given if override.get_key_element().lstrip("+") != "seed"]
        return [*others, self.parse(f"seed={','.join(map(str, self.new))}")]

    def extend(self, plan: Sequence[Planned]) -> bool:
        """Begin the next round; return whether there is one.

        Args:
            plan: the runs of all rounds so far, which have ended.
        """
        limit = self.sweep.precision
        if limit is None or len(self.seeds) == len(self.sequence):
            return False
        wide = [effect for effect in self.effects(plan) if effect.is_known and effect.half_width > limit]
        if not wide:
            return False
        needed = seeds_for(max(effect.spread for effect in wide), limit, more_than=len(self.seeds))
        self.add(seeds_to_add(len(self.seeds), needed))
        return True

    def effects(self, plan: Sequence[Planned]) -> list[Effect]:
        """Return what is known of every effect of the design, for each dataset, from the seeds whose runs are finished.

        An effect none of whose pairs is two runs is left out: they are excluded, or duplicates.
        """
        sizes = [len(axis.values) for axis in self.factors]
        combinations = [
            tuple(join(axis.values[value] for axis, value in zip(self.factors, row, strict=True)))
            for row in rows(self.sweep.design, sizes)
        ]
        keys = {key for axis in self.factors for key in axis.keys}
        blocks: dict[tuple[str, ...], dict[int, dict[tuple[str, ...], Planned]]] = {}
        for planned in plan:
            combination = tuple(text for text in planned.overrides if key_of(text) in keys)
            data = tuple(text for text in planned.overrides if is_crossed(text) and key_of(text) != "seed")
            blocks.setdefault(data, {}).setdefault(planned.config.seed, {})[combination] = planned
        results = {planned.run_id: read_result(planned) for planned in plan if planned.run_id}
        found = []
        for data, seeds in blocks.items():
            for contrast in contrasts(self.sweep.design, sizes):
                values = self.factors[contrast.factor].values
                name = f"{' '.join(values[contrast.value])} against {' '.join(values[contrast.baseline])}"
                runs = [
                    [(cells[combinations[one]], cells[combinations[other]]) for one, other in contrast.pairs]
                    for cells in seeds.values()
                ]
                found.append(measure(f"{' '.join(data)}: {name}" if len(blocks) > 1 else name, runs, results))
        return [effect for effect in found if effect.differences or effect.diverged]

    def outlook(self, plan: Sequence[Planned], concurrency: int | None) -> str:
        """Describe how many seeds the precision needs in all, and their cost; empty without a precision.

        Args:
            plan: the runs of all rounds; those of the present one do not count as known.
            concurrency: runs at a time; None where that is unknown.
        """
        limit, most = self.sweep.precision, len(self.sequence)
        if limit is None:
            return ""
        new = [planned for planned in plan if planned.config.seed in self.new]
        seconds = [planned.seconds for planned in new if planned.seconds is not None]

        def cost(seeds: int) -> str:
            runs = seeds * sum(planned.has_own_run for planned in new) // len(self.new)
            time = f", {format_duration(runs * fmean(seconds) / (concurrency or 1))}" if seconds else ""
            return f"{runs:,} runs{time}"

        done = len(self.seeds) - len(self.new)
        effects = self.effects([planned for planned in plan if planned.config.seed not in self.new])
        known = [effect for effect in effects if effect.is_known]
        if not known:
            return f"sweep.precision={limit:g}: {len(self.new)} seeds first, at most {most} ({cost(most)})"
        widest = max(known, key=lambda effect: effect.half_width)
        needed = seeds_for(widest.spread, limit, more_than=done)
        text = f"sweep.precision={limit:g}: after {done} seeds the widest is {widest.name}, ±{widest.half_width:.2g}; "
        text += f"±{limit:g} needs about {needed:,} seeds in all ({cost(needed - done)} more)"
        if needed > most:
            text += f"; sweep.max_seeds={most} gives about ±{half_width(widest.spread, most):.2g}"
        return text

    def answer(self, plan: Sequence[Planned]) -> str:
        """Return the effects as mean ± half-width; empty without a precision."""
        limit = self.sweep.precision
        if limit is None:
            return ""
        lines = [f"  {format_effect(effect, limit)}" for effect in self.effects(plan)]
        return "\n".join([f"sweep.precision={limit:g} on test_acc, {len(self.seeds)} seeds:", *lines])


def key_of(override: str) -> str:
    return override.partition("=")[0]


def seed_sequence(overrides: Sequence[Override], seed: int, most: int) -> list[int]:
    """Return the seeds in the order in which they are used: those of the command, then 0, 1, 2 and so on.

    Args:
        overrides: the command's.
        seed: where they name none.
        most: number of seeds.

    Raises:
        UserError: the command has more seeds, or one that is no integer.
    """
    texts = [str(seed)]
    for override in overrides:
        if override.get_key_element().lstrip("+") == "seed":
            swept = override.is_discrete_sweep()
            texts = list(override.sweep_string_iterator()) if swept else [override.get_value_element_as_str()]
    if wrong := [text for text in texts if not text.isdecimal()]:
        raise UserError(f"seed={wrong[0]}: must be an integer from 0")
    listed = list(dict.fromkeys(map(int, texts)))
    if len(listed) > most:
        raise UserError(f"seed has {len(listed)} values, more than sweep.max_seeds={most}")
    others = (number for number in count() if number not in listed)
    return [*listed, *islice(others, most - len(listed))]


def read_result(planned: Planned) -> float | State:
    """Return a run's test accuracy, or its state where it is not finished."""
    state = state_of(planned.record)
    accuracy = number((planned.record.result() or {}).get("test_acc"))
    return accuracy if state is State.FINISHED and accuracy is not None else state


def measure(
    name: str, seeds: Sequence[Sequence[tuple[Planned, Planned]]], results: Mapping[str, float | State]
) -> Effect:
    """Return what is known of an effect.

    Args:
        seeds: of each seed the pairs, the run with the value first.
        results: of every run, see `read_result`.
    """
    differences: list[float] = []
    diverged = 0
    rounding = 0.0
    for pairs in seeds:
        compared = [(one, other) for one, other in pairs if "" != one.run_id != other.run_id != ""]
        found = [(results[one.run_id], results[other.run_id]) for one, other in compared]
        known = [one - other for one, other in found if isinstance(one, float) and isinstance(other, float)]
        diverged += any(State.DIVERGED in pair for pair in found)
        if known and len(known) == len(found):
            assert compared[0][0].spec is not None
            rounding = rounding_of(1 / compared[0][0].spec.cached.num_test, len(compared))
            differences.append(fmean(known))
    return Effect(name, tuple(differences), diverged, rounding)


def format_effect(effect: Effect, precision: float) -> str:
    """Return an effect as a line, its interval that of the precision where it was reached."""
    if not effect.is_known:
        finished = f"finished in {len(effect.differences)}, diverged in {effect.diverged} seeds"
        return f"{effect.name}: no interval ({finished})"
    mean, reached = fmean(effect.differences), effect.half_width <= precision
    width = precision if reached else effect.half_width
    result = "helps" if mean > width else "hurts" if mean < -width else "not significant"
    return f"{effect.name}: {mean:+.4f} ± {width:.4f}, {result}{'' if reached else '; precision not reached'}"
