"""A search with Optuna, whose trials are planned, trained, retried and recorded as the combinations of a sweep are."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf
from optuna.trial import TrialState

from sweeper.config import NOT_IDENTITY, Config
from sweeper.errors import UserError
from sweeper.files import write_text
from sweeper.runs.provenance import next_command
from sweeper.runs.scores import best_val_of, score_of
from sweeper.runs.states import STATES, Action, Decision, Reason, State
from sweeper.sweep.compose import Composer
from sweeper.sweep.durations import format_duration
from sweeper.sweep.execute import (
    Launch,
    PrintTable,
    check_sweep_settings,
    clean_stop,
    conclude,
    derived_name,
    launch_all,
    recorded_state,
    resuming_command,
)
from sweeper.sweep.expand import Job, expand
from sweeper.sweep.plan import Planned, save_plan
from sweeper.sweep.planner import Planner
from sweeper.sweep.search_space import Space, as_text, describe_space, ends_of, space_of
from sweeper.sweep.study import Search, ask, ended_trials, open_study, unfinished_trials

log = logging.getLogger(__name__)

RESULTS = "optimization_results.yaml"  # in the sweep's folder, as Hydra's own Optuna plugin writes it
UNRELATED = (*NOT_IDENTITY, "data.root", "data.cache")


@dataclass
class Tried:
    """A trial and its runs, one for each seed and dataset; none where its settings were refused."""

    trial: optuna.Trial
    runs: list[Planned]

    def __str__(self) -> str:
        params = " ".join(f"{key}={as_text(value)}" for key, value in self.trial.params.items())
        return f"trial {self.trial.number}: {params} ({', '.join(dict.fromkeys(run.text for run in self.runs))})"

    @property
    def value(self) -> float | None:
        """The mean of the runs' best validation accuracies, or mIoUs; None where one has not finished."""
        results = [planned.record.result() for planned in self.runs if recorded_state(planned) is State.FINISHED]
        accuracies = [best_val_of(result) for result in results if result is not None]
        return fmean(accuracies) if accuracies and len(accuracies) == len(self.runs) else None

    @property
    def is_over(self) -> bool:
        """Whether another attempt would give the same; not where a run failed or was stopped."""
        return all(is_done(planned) for planned in self.runs)


class Searcher:
    """The trials of a search, from the overrides of its command.

    Args:
        overrides: the command's.
        compose: makes the config of a job.
        search: the settings of the search.
        concurrency: how many runs the launcher trains at a time.

    Raises:
        UserError: a setting or the space is wrong.
    """

    def __init__(self, overrides: Sequence[Override], compose: Composer, search: Search, concurrency: int = 1) -> None:
        search.validate()
        self.overrides, self.compose, self.search = overrides, compose, search
        self.last = {override.get_key_element(): override for override in overrides}  # where a key is given twice
        (fixed,) = expand(override for override in overrides if not override.is_sweep_override())
        self.base: Config = compose(fixed).config
        check_sweep_settings(overrides, self.base)
        self.space: Space = space_of(overrides)
        self.first = {key: ends_of(distribution)[0] for key, distribution in self.space.items()}
        name = self.base.sweep.name or f"optuna-{derived_name(overrides)}"
        self.folder = Path(self.base.output_dir) / "sweeps" / name
        self.planner = Planner(compose, concurrency, self.base)
        self.plan: list[Planned] = []
        self.seen: set[str] = set()

    def open_study(self) -> None:
        """Open the study; a dry run has a copy of it, so that a database is not written.

        Raises:
            UserError: see `sweeper.sweep.study.open_study`.
        """
        shared = [
            str(override.input_line)
            for key, override in self.last.items()
            if key not in (*self.space, *UNRELATED) and not key.startswith("sweep.")
        ]
        self.study = open_study(self.search, self.folder.name, sorted(shared), read_only=self.base.sweep.dry_run)
        self.owner = str(self.folder.resolve())
        self.unfinished = self.own_unfinished()

    def own_unfinished(self) -> list[optuna.Trial]:
        """Return the unfinished trials of this search, without those of another space."""
        return [trial for trial in unfinished_trials(self.study, self.owner) if self.is_of_space(trial.params)]

    def is_of_space(self, params: Mapping[str, Any]) -> bool:
        return params.keys() == self.space.keys()

    def jobs_of(self, params: Mapping[str, Any]) -> list[Job]:
        """Return the jobs of a trial, one for each seed and dataset."""
        values = {key: self.compose.parse(f"{key}={as_text(value)}") for key, value in params.items()}
        return expand(values.get(override.get_key_element(), override) for override in self.overrides)

    def plan_ends(self) -> list[Planned]:
        """Plan every listed value and the ends of every interval, the other keys at their first, to check them.

        Raises:
            UserError: one of them cannot run.
        """
        ends = [self.first | {key: end} for key, distribution in self.space.items() for end in ends_of(distribution)]
        jobs = [job for params in ends for job in self.jobs_of(params)]
        return self.planner.plan(jobs)

    def next_trials(self, number: int) -> list[Tried]:
        """Plan the next trials, first those that were not finished; none at the end.

        Settings that are refused together, though each was valid with others, end their own trial.
        """
        trials, self.unfinished = self.unfinished[:number], self.unfinished[number:]
        left = min(number - len(trials), self.search.n_trials - len(self.study.trials))
        trials += [ask(self.study, self.space, self.owner) for _ in range(left)]
        tried = []
        for trial in trials:
            try:
                tried.append(Tried(trial, self.planned(trial.params)))
            except UserError as error:
                log.warning("trial %d cannot run: %s", trial.number, error)
                tried.append(Tried(trial, []))
        return tried

    def planned(self, params: Mapping[str, Any]) -> list[Planned]:
        """Plan the runs of a trial."""
        return self.add(self.planner.plan(self.jobs_of(params)))

    def add(self, new: Iterable[Planned]) -> list[Planned]:
        """Add runs to the plan; those that an earlier trial has are duplicates."""
        runs = []
        for planned in new:
            if planned.run_id in self.seen:
                decision, text = Decision(Action.DUPLICATE, Reason.NEW), f"duplicate of {planned.run_id}"
                runs.append(replace(planned, decision=decision, detail=text))
            else:
                runs.append(planned)
            self.seen.add(planned.run_id)
        self.plan += runs
        return runs

    def plan_earlier(self) -> None:
        """Add the runs of the trials that ended before, so that the table has them.

        Trials of another space, and runs that have not ended in this output folder, are left out: nothing trains them.
        """
        for params in (frozen.params for frozen in ended_trials(self.study) if self.is_of_space(frozen.params)):
            with suppress(UserError):  # it was refused
                self.add(filter(is_done, self.planner.plan(self.jobs_of(params))))

    def tell(self, tried: Tried) -> None:
        """Give the study the value of a trial, or that it failed; nothing where the same command would try it again."""
        if not tried.is_over:
            return
        state = TrialState.FAIL if tried.value is None else TrialState.COMPLETE
        self.study.tell(tried.trial.number, tried.value, state=state, skip_if_finished=True)

    def compare(self, tried: Tried) -> str:
        """Return the value of a trial that has ended, and whether it is the best one."""
        if tried.value is None:
            return f"trial {tried.trial.number} failed"
        best = self.study.best_trial
        rank = "the best so far" if best.number == tried.trial.number else f"the best is trial {best.number}"
        return f"trial {tried.trial.number}: {self.score} {tried.value:.4f}; {rank}"

    @property
    def score(self) -> str:
        """The metric that is searched for, of the task of the runs."""
        spec = next((planned.spec for planned in self.plan if planned.spec is not None), None)
        return f"val_{score_of(None if spec is None else spec.effective)}"

    def describe(self, at_a_time: int, concurrency: int | None, ends: Sequence[Planned]) -> str:
        """Return what is searched, how, and about how long it takes by the runs at the ends of the space."""
        search, ended = self.search, len(ended_trials(self.study))
        sampler = type(self.study.sampler).__name__
        batch = f", {at_a_time} at a time" if at_a_time > 1 else ""
        trials = f"{search.n_trials} trial{'s' * (search.n_trials > 1)}"
        before = f" ({ended} ended before)" if ended else ""
        lines = [
            f"sweep {self.folder.name}",
            f"search for the best {self.score}, {trials}{before}{batch}, {sampler}:",
        ]
        lines.append(describe_space(self.space))
        swept = {key: override for key, override in self.last.items() if override.is_sweep_override()}
        crossed = [str(override.input_line) for key, override in swept.items() if key not in self.space]
        if crossed:
            lines.append(
                f"each trial is trained with all of {' '.join(crossed)} and has their mean; these are not searched"
            )
        known = [planned.seconds for planned in ends if planned.seconds is not None]
        if known and search.n_trials > ended:
            left, of_trial = search.n_trials - ended, len(self.jobs_of(self.first))
            together = min(concurrency or 1, at_a_time * of_trial, left * of_trial)
            lines.append(f"at most {format_duration(left * of_trial * fmean(known) / together)}")
        return "\n".join(lines)

    def save_plan(self, concurrency: int | None) -> None:
        save_plan(self.folder, self.plan, resuming_command(self.base), concurrency, searched=self.space)

    def answer(self) -> str:
        """Return the best trial, and write it beside the plan.

        Raises:
            UserError: no trial has finished.
        """
        ended, unfinished = ended_trials(self.study), len(self.own_unfinished())
        failed, number = unfinished + sum(frozen.state is TrialState.FAIL for frozen in ended), unfinished + len(ended)
        if failed == number:
            states = Counter(str(recorded_state(planned)) for planned in self.plan if planned.has_own_run)
            runs = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
            other = "search other values, such as smaller learning rates"
            advice = other if State.DIVERGED in states else "their errors are above"
            raise UserError(f"none of {number} trials has finished (runs: {runs}); {advice}")
        best = self.study.best_trial
        content = {"name": "optuna", "best_params": best.params, "best_value": best.value}
        write_text(self.folder / RESULTS, OmegaConf.to_yaml(OmegaConf.create(content)))
        params = " ".join(f"{key}={as_text(value)}" for key, value in best.params.items())
        but = f"; {failed} failed" if failed else ""
        return f"best of {number} trials{but}: trial {best.number}, {self.score} {best.value:.4f}, with {params}"


def is_done(planned: Planned) -> bool:
    return STATES[recorded_state(planned)].is_done


def run_search(
    overrides: list[Override],
    compose: Composer,
    launch: Launch,
    concurrency: int | None,
    print_table: PrintTable,
    search: Search,
    on_planned: Callable[[Path], None] = lambda folder: None,
) -> Sequence[JobReturn]:
    """Search the swept values for the best validation accuracy, and print the table of the trials' runs.

    A trial is trained with every seed and dataset of the command and has the mean of their accuracies; it fails where
    a run diverges. Finished runs are reused. A search that is started again has the same trials, since its
    sampler is seeded; with a database it resumes the trials that were not finished, those of failed runs included.

    Args:
        overrides, compose, launch, concurrency, print_table, on_planned: see `sweeper.sweep.execute.run_sweep`.
        search: the settings of the search.

    Raises:
        UserError: a setting is wrong, in which case nothing was started; no trial finished, or runs failed.
        SystemExit: a signal stopped the search; the same command resumes it.
    """
    searcher = Searcher(overrides, compose, search, concurrency or 1)
    base, folder = searcher.base, searcher.folder
    ends = searcher.plan_ends()
    searcher.open_study()
    at_a_time = search.n_jobs or max(1, (concurrency or 1) // len(searcher.jobs_of(searcher.first)))
    log.info(searcher.describe(at_a_time, concurrency, ends))
    searcher.plan_earlier()
    returns: list[JobReturn] = []
    while tried := searcher.next_trials(at_a_time):
        to_run = [planned for item in tried for planned in item.runs if planned.is_to_run]
        if to_run or base.sweep.dry_run:
            log.info("\n".join(map(str, tried)))
        if base.sweep.dry_run:
            log.info("later trials follow from the results of these")
            return []
        if to_run:
            searcher.save_plan(concurrency)
            on_planned(folder)
            with clean_stop(searcher.plan, base, folder):
                returns += launch_all(to_run, base, launch, folder) or []
        for item in tried:
            searcher.tell(item)
        if to_run:
            log.info("\n".join(map(searcher.compare, tried)))
    if base.sweep.dry_run:
        log.info("no trial is left; raise hydra.sweeper.n_trials for more")
        return []
    if searcher.plan:
        searcher.save_plan(concurrency)
    answer = searcher.answer()
    conclude(searcher.plan, base, print_table, answer, expected=(State.FINISHED, State.DIVERGED))
    log.info(next_command(f"summary {folder.name}", Path(base.output_dir)))
    return returns
