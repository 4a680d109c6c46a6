"""The seeds of a sweep in rounds: a single round, or with sweep.precision until every effect is precise enough.

The next seeds depend only on the finished runs, so a sweep that was stopped resumes in its round.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import count, islice
from statistics import fmean
from typing import Any

from hydra.core.override_parser.types import Override

from sweeper.config import SweepConfig
from sweeper.errors import UserError
from sweeper.runs.scores import score_of
from sweeper.sweep.durations import format_duration
from sweeper.sweep.expand import Axis, axes_of, factors_of
from sweeper.sweep.known_effects import effects_of, format_effect
from sweeper.sweep.plan import Planned
from sweeper.sweep.precision import MAX_SEEDS, PILOT, half_width, seeds_for, seeds_to_add


class Rounds:
    """The rounds of a sweep; a single one unless `sweep.precision` is set.

    Args:
        overrides: the command's.
        sweep: the sweep's settings.
        seed: of the run that is not swept.
        parse: Hydra's parser.

    Raises:
        UserError: settings contradict each other.
    """

    def __init__(
        self, overrides: Sequence[Override], sweep: SweepConfig, seed: int, parse: Callable[[str], Override]
    ) -> None:
        self.given, self.sweep, self.parse = overrides, sweep, parse
        self.factors: list[Axis] = []
        self.sequence: list[int] = []  # all seeds that may be used
        self.seeds: list[int] = []  # of the rounds so far
        self.new: list[int] = []  # of the present round
        if sweep.precision is None:
            if sweep.max_seeds is not None:
                raise UserError(f"sweep.max_seeds={sweep.max_seeds} has no effect without sweep.precision")
            return
        setting = f"sweep.precision={sweep.precision:g}"
        if any("seed" in keys for keys in (*sweep.exclude, *sweep.zip)):
            raise UserError(f"{setting} chooses the seeds; sweep.exclude and sweep.zip must not name seed")
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

    def runs_so_far(self, jobs: Sequence[Mapping[str, Any]]) -> set[str]:
        """Return the runs of a saved plan, without those of seeds that a later round may have."""
        later = {f"seed={seed}" for seed in self.sequence[len(self.seeds) :]}
        return {job["run_id"] for job in jobs if later.isdisjoint(job["overrides"])} - {""}  # which is excluded

    def extend(self, plan: Sequence[Planned]) -> bool:
        """Begin the next round; return whether there is one.

        Args:
            plan: the runs of all rounds so far, which have ended.
        """
        limit = self.sweep.precision
        if limit is None or len(self.seeds) == len(self.sequence):
            return False
        wide = [
            effect
            for effect in effects_of(plan, self.factors, self.sweep.design)
            if effect.is_known and effect.half_width > limit
        ]
        if not wide:
            return False
        needed = seeds_for(max(effect.spread for effect in wide), limit, more_than=len(self.seeds))
        self.add(seeds_to_add(len(self.seeds), needed))
        return True

    def outlook(self, plan: Sequence[Planned], concurrency: int | None) -> str:
        """Describe the total seeds that the precision needs, and their cost; empty without a precision.

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
        earlier = [planned for planned in plan if planned.config.seed not in self.new]
        known = [effect for effect in effects_of(earlier, self.factors, self.sweep.design) if effect.is_known]
        if not known:
            return f"sweep.precision={limit:g}: starting with {len(self.new)} seeds, at most {most} ({cost(most)})"
        widest = max(known, key=lambda effect: effect.half_width)
        needed = seeds_for(widest.spread, limit, more_than=done)
        text = f"sweep.precision={limit:g}: after {done} seeds the widest interval is ±{widest.half_width:.3g} "
        text += f"({widest.name}); ±{limit:g} needs about {needed:,} seeds in total ({cost(needed - done)} more)"
        if needed > most:
            text += f"; sweep.max_seeds={most} gives about ±{half_width(widest.spread, most):.3g}"
        return text

    def answer(self, plan: Sequence[Planned]) -> str:
        """Return the effects as mean ± half-width; empty without a precision, or where no pair has ended."""
        limit = self.sweep.precision
        if limit is None:
            return ""
        lines = [f"  {format_effect(effect, limit)}" for effect in effects_of(plan, self.factors, self.sweep.design)]
        if not lines:
            return ""
        spec = next((planned.spec for planned in plan if planned.spec is not None), None)
        test = f"test_{score_of(None if spec is None else spec.effective)}"
        return "\n".join([f"sweep.precision={limit:g} on {test}, {len(self.seeds)} seeds:", *lines])


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
