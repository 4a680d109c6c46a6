"""Planning of a sweep before its first run starts. torch is imported only where a run is to be trained."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from sweeper.config import Config, validate
from sweeper.display import progress
from sweeper.errors import UnusedSetting, UserError, format_names
from sweeper.files import number
from sweeper.runs.known import KnownRuns
from sweeper.runs.states import Action, Decision, Reason, decide
from sweeper.sweep.compose import Composed
from sweeper.sweep.exclude import check_exclusions, excluding_rule, format_value
from sweeper.sweep.expand import Job
from sweeper.sweep.notation import is_crossed
from sweeper.sweep.plan import Planned

if TYPE_CHECKING:
    from sweeper.data.cache import Cached
    from sweeper.runs.spec import RunSpec


class Planner:
    """Plans the jobs of a sweep; what jobs share, such as the images, is listed, prepared and checked once.

    Args:
        compose: makes the config of a job.
        concurrency: runs at a time, which share the cores, for the estimates.
        base: the config of what is not swept, whose settings of the sweep all jobs share.
    """

    def __init__(self, compose: Callable[[Job], Composed], concurrency: int = 1, base: Config | None = None) -> None:
        self.compose, self.base = compose, base
        self.known_runs, self.trainable = KnownRuns(), Trainable(concurrency)

    def plan(self, jobs: Sequence[Job]) -> list[Planned]:
        """Compose and check every job and decide its action.

        Raises:
            UserError: a job cannot run or changes a setting of the sweep, or an exclusion matches no combination or
                all of them.
        """
        combinations = []
        for job in jobs:
            with error_context(job, jobs):
                combinations.append(self.compose(job))
        if self.base is not None:
            check_shared(jobs, [composed.config for composed in combinations], self.base)
        check_exclusions(combinations)
        for job, composed in zip(jobs, combinations, strict=True):
            if excluding_rule(composed) is None:
                with error_context(job, jobs):
                    validate(composed.config)
                    if not self.known_runs.is_decoded(composed.config.data):
                        self.trainable.check_before_decoding(composed.config)
        seen: set[str] = set()
        plan: list[Planned] = []
        with progress("planning", len(jobs)) as advance:
            for job, composed in zip(jobs, combinations, strict=True):
                with error_context(job, jobs):
                    plan.append(self.decide(job, composed, seen))
                advance(1)
        check_design(plan)
        if not seen:
            raise UserError(f"sweep.exclude: all {len(jobs)} combinations are excluded")
        self.trainable.estimate([planned for planned in plan if planned.is_to_run])
        return plan

    def decide(self, job: Job, composed: Composed, seen: set[str]) -> Planned:
        """Resolve the run of a job and decide its action.

        Args:
            seen: the runs of earlier jobs, to which its own is added.
        """
        config = composed.config
        if (excluding := excluding_rule(composed)) is not None:
            rule = ",".join(f"{key}={format_value(value)}" for key, value in excluding.items())
            return Planned(job, config, None, Decision(Action.EXCLUDED, Reason.NEW), f"excluded ({rule})")
        found = self.known_runs.to_skip(config)
        spec = self.trainable.resolve(config) if found is None else found[0]
        if spec.run_id in seen:
            return Planned(job, config, spec, Decision(Action.DUPLICATE, Reason.NEW), f"duplicate of {spec.run_id}")
        seen.add(spec.run_id)
        heartbeat = number((spec.record.status() or {}).get("heartbeat"))
        decision = decide(spec.record, spec.code, config.sweep.reuse) if found is None else found[1]
        planned = Planned(job, config, spec, decision, heartbeat=heartbeat)
        if planned.is_to_run:
            self.trainable.check(planned)
        return planned


def check_shared(jobs: Sequence[Job], configs: Sequence[Config], base: Config) -> None:
    """Check that all jobs have the sweep's own settings and its output folder, where its plan and its table are.

    Raises:
        UserError: one has others, such as those of a swept experiment, of which a sweep heeds few.
    """
    folders = {base.output_dir, *(config.output_dir for config in configs)}
    if len(folders) > 1:
        raise UserError(
            f"output_dir is {format_names(folders)} for runs of one sweep; choose one folder for all, such as "
            f"output_dir=outputs: runs do not mix, and python -m sweeper summary --where KEY=VALUE selects some"
        )
    shared = asdict(base.sweep)
    for job, config in zip(jobs, configs, strict=True):
        with error_context(job, jobs):
            for key, value in asdict(config.sweep).items():
                if value != shared[key]:
                    raise UserError(
                        f"sweep.{key}={format_value(value)} would hold for these runs only, but a sweep has one value "
                        f"({format_value(shared[key])}); add sweep.{key}=VALUE to the command"
                    )


def check_design(plan: Sequence[Planned]) -> None:
    """Check that a plan has every run that its design compares others with.

    Raises:
        UserError: two combinations are the same run, a screened trick has no effect for a model, or a combination that
            is needed is excluded.
    """
    design = plan[0].config.sweep.design
    if design == "product":
        return
    common = set.intersection(*(set(planned.overrides) for planned in plan))
    references: dict[tuple[str, ...], Planned] = {}  # the first combination of each seed and dataset, see `expand`
    for planned in plan:
        block = tuple(filter(is_crossed, planned.overrides))
        reference = references.setdefault(block, planned)
        if planned.decision.action is Action.DUPLICATE:
            other = next(other for other in plan if other.run_id == planned.run_id)
            one, another = (
                " ".join(text for text in texts if text not in common)
                for texts, common in ((planned.overrides, other.overrides), (other.overrides, planned.overrides))
            )
            raise UserError(
                f"sweep.design={design}: {one} and {another} are the same run, {planned.run_id}; "
                "remove values without effect"
            )
        if planned.spec is None and (design == "screen" or planned is reference):
            needed = "every combination" if design == "screen" else "the combination that the others are compared with"
            raise UserError(f"sweep.exclude: sweep.design={design} needs {needed}: {' '.join(planned.overrides)}")
        if (
            planned.spec is not None and design == "screen"
        ):  # its rows differ in many factors, so duplicates need not reveal this
            slots = planned.spec.missing_slots
            idle = [text for text in planned.overrides if text not in common and re.split("[.=]", text)[0] in slots]
            if idle:
                model = planned.config.model.name
                raise UserError(
                    f"sweep.design=screen: {idle[0]} has no effect with model={model}, which has no such slot"
                )


@contextmanager
def error_context(job: Job, jobs: Sequence[Job]) -> Iterator[None]:
    """Add the job to the message of an error in it, and what to write where only other jobs use a setting."""
    try:
        yield
    except UserError as error:
        instead = ""
        group = error.choice.partition("=")[0] if isinstance(error, UnusedSetting) else ""
        if isinstance(error, UnusedSetting) and any(
            text.startswith(f"{group}=") and text not in job for other in jobs for text in other
        ):
            preset = f"a preset of your own, DIR/{group}/NAME.yaml, and add --config-dir DIR {group}=NAME"
            instead = f"; sweep {error.choice} by itself, or write {error.key} into {preset}"
        raise UserError(f"{error}{instead} (in {' '.join(job)}; nothing was started)") from error


class Trainable:
    """Resolves, checks and estimates runs that may be trained; a shared dataset is prepared once.

    Args:
        concurrency: runs at a time, which share the cores.
    """

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.prepared: dict[str, Cached] = {}
        self.possible: set[str] = set()  # configs that images were not needed to refuse
        self.parameters: dict[str, int] = {}
        self.checked: dict[str, int] = {}  # parameters of networks by config

    def resolve(self, config: Config) -> "RunSpec":
        """Resolve a config, and remember what it resolves to."""
        from sweeper.runs.known import remember
        from sweeper.runs.spec import resolve

        key = repr(config.data)
        spec = resolve(config, cached=self.prepared.get(key))
        self.prepared[key] = spec.cached
        remember(config, spec)
        return spec

    def check_before_decoding(self, config: Config) -> None:
        """Refuse a config that no images make right; once for all seeds.

        Raises:
            UserError: it is wrong.
        """
        from sweeper.runs.early import check_before_decoding

        if repr(replace(config, seed=0)) not in self.possible:
            check_before_decoding(config)
            self.possible.add(repr(replace(config, seed=0)))

    def check(self, planned: Planned) -> None:
        """Check that the network of a run can be built.

        Raises:
            UserError: it cannot.
        """
        from sweeper.runs.spec import RunSpec
        from sweeper.training.build import check

        spec = planned.spec
        assert isinstance(spec, RunSpec)
        but_seed = repr(replace(spec.config, seed=0))  # draws no weights here
        if but_seed not in self.checked:
            model = check(spec.config, spec.choices, spec.cached)
            self.checked[but_seed] = sum(parameter.numel() for parameter in model.parameters())
        self.parameters[spec.run_id] = self.checked[but_seed]

    def estimate(self, to_run: Sequence[Planned]) -> None:
        """Estimate how long each run takes."""
        if not to_run:
            return
        from sweeper.runs.spec import RunSpec
        from sweeper.sweep.estimate import Estimator

        estimator = Estimator(to_run[0].record.folder.parent, self.concurrency)
        with progress("estimating", len(to_run)) as advance:
            for planned in to_run:
                assert isinstance(planned.spec, RunSpec)
                done = len(planned.record.metrics()) if planned.decision.action is Action.RESUME else 0
                found = estimator.estimate(planned.spec, self.parameters[planned.run_id], done)
                if found is not None:
                    planned.seconds, planned.range = found.seconds, (found.low, found.high)
                advance(1)
