"""Searches with Optuna: planned, told and concluded as always, their runs not trained."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf
from support import record_end

from sweeper.errors import UserError
from sweeper.runs.naming import name_of
from sweeper.sweep import estimate
from sweeper.sweep.compose import Composer
from sweeper.sweep.plan import Planned
from sweeper.sweep.saved import read_plan
from sweeper.sweep.search import RESULTS, run_search
from sweeper.sweep.study import Search

LR = "optimizer.lr=tag(log,interval(1e-4,1e-1))"
DATABASE = "sqlite:///study.db"
TPE = {"_target_": "optuna.samplers.TPESampler", "seed": 0}
Accuracy = Callable[[Planned], float | None]


class Searches:
    """Searches with softmax on the small images whose runs end at once.

    Attributes:
        accuracy: the validation accuracy of a run; None where it diverges.
        fails: whether a run fails.
        launches: the searched values and the seed of the runs of each launch.
        names: of all runs, in displays.
        stop_after: launches after which the search is interrupted.
        tables: the number of runs in each printed table.
    """

    def __init__(self, shared: Composer, small: list[str], folder: Path) -> None:
        self.compose = Composer(shared.loader, shared.master)
        self.compose.by_groups, self.compose.parse = shared.by_groups, shared.parse
        self.compose.interpolations = shared.interpolations
        self.fixed = [*small, "model=softmax", "epochs=1", "output_dir=."]
        self.folder = folder
        self.accuracy: Accuracy = lambda planned: 1 - float(planned.config.optimizer.lr or 0)
        self.fails: Callable[[Planned], bool] = lambda planned: False
        self.launches: list[list[tuple[float | None, int]]] = []
        self.names: list[str] = []
        self.stop_after: int | None = None
        self.tables: list[int] = []

    def __call__(self, *overrides: str, concurrency: int | None = 1, **settings: Any) -> None:
        parsed = [self.compose.parse(text) for text in [*self.fixed, *overrides]]
        self.launches, self.names, self.tables = [], [], []
        search = Search(OmegaConf.create(TPE), **{"n_trials": 4, **settings})
        run_search(parsed, self.compose, self.launch, concurrency, lambda _, ids: self.tables.append(len(ids)), search)

    def launch(self, runs: Sequence[Planned], folder: Path) -> list[Any]:
        if self.stop_after is not None and len(self.launches) == self.stop_after:
            raise KeyboardInterrupt
        self.launches.append([(run.config.optimizer.lr, run.config.seed) for run in runs])
        self.names += [name_of(run.run_id).text for run in runs]
        for planned in runs:
            assert planned.spec is not None
            record, accuracy = planned.record, self.accuracy(planned)
            record_end(
                record,
                planned.spec.code,
                None if accuracy is None else {"best_val_acc": accuracy, "best_epoch": 1, "test_acc": 0.5},
            )
            if self.fails(planned):
                record.write_status(state="failed", epoch=1)
        return []

    @property
    def saved(self) -> Path:
        (folder,) = (self.folder / "sweeps").iterdir()
        return folder

    @property
    def results(self) -> Any:
        return OmegaConf.load(self.saved / RESULTS)


@pytest.fixture
def search(
    composer: Composer,
    small: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Searches]:
    monkeypatch.setattr(estimate, "probe", lambda *_: 0.01)
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # SQLAlchemy closes its connections when they are collected
        yield Searches(composer, small, tmp_path)


def test_the_best_trial_is_the_best_run_and_the_same_search_finds_its_trials_again(
    search: Searches, caplog: pytest.LogCaptureFixture
) -> None:
    search(LR)
    tried = [launch[0][0] for launch in search.launches]
    assert len(tried) == len(set(tried)) == 4
    assert search.results.best_value == pytest.approx(1 - min(lr for lr in tried if lr is not None))
    assert "best of 4 trials: trial " in caplog.messages[-2]
    assert caplog.messages[-1] == f"next: python -m sweeper summary {search.saved.name} --output-dir ."
    assert len(read_plan(search.saved)["jobs"]) == 4
    search(LR, n_trials=6)
    assert len(search.launches) == 2
    assert search.tables == [6]


def test_a_stopped_search_resumes(search: Searches) -> None:
    search(LR)
    whole = search.launches
    for run in (search.folder / "runs").iterdir():
        (run / "status.json").unlink()
    search.stop_after = 2
    with pytest.raises(SystemExit):
        search(LR)
    search.stop_after = None
    done = search.launches
    search(LR)
    assert done + search.launches == whole


def test_trials_are_told_to_the_sampler(search: Searches) -> None:
    search(LR, n_trials=18)
    early, late = search.launches[:10], search.launches[10:]
    mean = [sum(lr or 0 for ((lr, _),) in part) / len(part) for part in (early, late)]
    assert mean[1] < mean[0] / 2  # random trials first, then those near the optimum, which is the smallest rate


def test_a_trial_has_the_mean_over_its_seeds(search: Searches, caplog: pytest.LogCaptureFixture) -> None:
    search.accuracy = lambda planned: 0.5 + 0.2 * planned.config.seed
    search(LR, "seed=range(0,2)", n_trials=2)
    assert [[seed for _, seed in launch] for launch in search.launches] == [[0, 1], [0, 1]]
    assert search.results.best_value == pytest.approx(0.6)
    assert "each trial is trained with all of seed=range(0,2) and has their mean; these are not searched" in caplog.text


def test_a_diverged_trial_fails_and_the_search_continues(search: Searches, caplog: pytest.LogCaptureFixture) -> None:
    search.accuracy = lambda planned: None if (planned.config.optimizer.lr or 0) > 0.006 else 0.5
    search(LR)
    assert "best of 4 trials; " in caplog.messages[-2]
    search.accuracy = lambda planned: None
    with pytest.raises(UserError, match=r"none of 4 trials has finished \(runs: 4 diverged\); search other values"):
        search("optimizer.lr=interval(1,2)")


def test_a_search_whose_runs_all_failed_does_not_advise_other_values(search: Searches) -> None:
    search.fails = lambda planned: True
    with pytest.raises(UserError, match=r"^none of 4 trials has finished \(runs: 4 failed\); their errors are above$"):
        search(LR)


def test_the_time_of_a_search_is_for_as_many_runs_at_a_time_as_it_trains(
    search: Searches, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(estimate, "probe", lambda *_: 100.0)
    times = {}
    for n_jobs in (1, 2, None):
        caplog.clear()
        search(LR, "seed=0,1", "sweep.dry_run=true", n_jobs=n_jobs, n_trials=20, concurrency=8)
        times[n_jobs] = next(line for line in caplog.text.splitlines() if line.startswith("at most"))
    assert times == {1: "at most about 53.3 h", 2: "at most about 26.7 h", None: "at most about 13.3 h"}


def test_values_that_lead_to_the_same_run_train_once(search: Searches) -> None:
    search("activation=relu,selu", n_trials=3)  # which softmax does not have
    assert len(search.launches) == 1
    assert search.tables == [1]


@pytest.mark.parametrize(
    ("overrides", "settings", "sentence"),
    [
        ([LR, "optimizer.betas=[2,3]"], {}, "optimizer.betas=2.0 is out of range: .*nothing was started"),
        (["dropout.rate=interval(0,2)"], {}, "dropout.rate=2.0 is out of range: .*nothing was started"),
        (["optimizer=sgd,zz"], {}, "zz"),
        ([LR], {"n_trials": 0}, r"hydra.sweeper.n_trials=0 is out of range: must be an integer of at least 1"),
        ([LR], {"n_jobs": 0}, r"hydra.sweeper.n_jobs=0 is out of range"),
        (
            [LR],
            {"study_name": "s"},
            r"hydra.sweeper.study_name=s names a study in a database: add hydra.sweeper.storage",
        ),
        ([LR], {"storage": "nosuch:///x"}, r"hydra.sweeper.storage=nosuch:///x: "),
        ([LR, "output_dir=out/${optimizer.lr}"], {}, "output_dir is .* for runs of one sweep"),
    ],
)
def test_wrong_settings_are_refused_before_a_run(
    overrides: list[str], settings: dict[str, Any], sentence: str, search: Searches
) -> None:
    with pytest.raises(Exception, match=sentence):
        search(*overrides, **settings)
    assert not search.launches
    assert not list(search.folder.iterdir())


def test_a_dry_run_trains_nothing_and_writes_nothing(search: Searches, caplog: pytest.LogCaptureFixture) -> None:
    search(LR, "sweep.dry_run=true", "sweep.name=mine", storage=DATABASE, concurrency=2)
    assert not search.launches
    assert not list(search.folder.iterdir())
    assert "search for the best val_acc, 4 trials, 2 at a time, TPESampler:" in caplog.text
    assert caplog.text.count("(new)") == 2


def test_a_dry_run_of_a_study_in_a_database_counts_its_trials_and_leaves_it(
    search: Searches, caplog: pytest.LogCaptureFixture
) -> None:
    search(LR, "sweep.name=mine", storage=DATABASE, n_trials=2)
    caplog.clear()
    before = (search.folder / "study.db").read_bytes()
    search(LR, "sweep.name=mine", "sweep.dry_run=true", storage=DATABASE, n_trials=3)
    assert "search for the best val_acc, 3 trials (2 ended before), TPESampler:" in caplog.text
    assert "trial 2: optimizer.lr=" in caplog.text
    caplog.clear()
    search(LR, "sweep.name=mine", "sweep.dry_run=true", storage=DATABASE, n_trials=1)
    assert "1 trial (2 ended before)" in caplog.text and "at most" not in caplog.text
    assert "no trial is left; raise hydra.sweeper.n_trials for more" in caplog.text
    assert not search.launches
    assert (search.folder / "study.db").read_bytes() == before
    with pytest.raises(UserError, match=r"choose another hydra\.sweeper\.study_name"):
        search(LR, "batch_size=8", "sweep.name=mine", "sweep.dry_run=true", storage=DATABASE)


def test_the_first_run_of_a_search_is_named_as_the_others(search: Searches) -> None:
    search(LR, n_trials=2)
    assert [name.partition("=")[0] for name in search.names] == ["optimizer.lr"] * 2


def test_a_swept_key_that_is_fixed_later_is_not_crossed_with_the_trials(
    search: Searches, caplog: pytest.LogCaptureFixture
) -> None:
    search(LR, "seed=0,1", "optimizer=adam,sgd", "optimizer=adam", "seed=3", "sweep.dry_run=true")
    assert "each trial is trained with" not in caplog.text
    assert "search for the best val_acc, 4 trials, TPESampler:" in caplog.text


def test_a_search_has_a_name_and_as_many_trials_at_a_time_as_the_launcher_has_runs(search: Searches) -> None:
    search(LR, "seed=0,1", "sweep.name=mine", concurrency=4)
    assert search.saved.name == "mine"
    assert [len(launch) for launch in search.launches] == [4, 4]


def test_a_database_keeps_the_study_and_resumes_its_trials(search: Searches) -> None:
    search.stop_after = 1
    with pytest.raises(SystemExit):
        search(LR, storage=DATABASE)
    search.stop_after = None
    search(LR, storage=DATABASE)
    first = search.launches
    assert len(first) == 3
    search(LR, storage=DATABASE)
    assert not search.launches
    assert search.tables == [4]
    search(LR, storage=DATABASE, n_trials=6)
    assert len(search.launches) == 2
    assert len({launch[0] for launch in first + search.launches}) == 5  # the sampler does not begin again
    study = optuna.load_study(study_name=search.saved.name, storage=DATABASE)
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.COMPLETE}


def test_a_trial_whose_run_failed_is_trained_again(search: Searches) -> None:
    search.fails = lambda planned: (planned.config.optimizer.lr or 0) > 0.006
    with pytest.raises(
        UserError, match=r"2 of 4 runs did not finish: .*\n.*rerun the same command to train them again"
    ):
        search(LR, "sweep.max_retries=0", storage=DATABASE)
    failed = [launch for launch in search.launches if (launch[0][0] or 0) > 0.006]
    search.fails = lambda planned: False
    search(LR, storage=DATABASE)
    assert search.launches == failed
    assert search.tables == [4]
    search(LR, storage=DATABASE)
    assert not search.launches


@pytest.mark.parametrize("added", ["grad_clip=1,2", "dropout.rate=interval(0,0.5)"])
def test_a_study_continues_with_one_more_searched_key(added: str, search: Searches) -> None:
    search.fixed = [text.replace("softmax", "mlp") for text in search.fixed]
    search(LR, n_trials=2, storage=DATABASE, study_name="s")
    search(LR, added, n_trials=4, storage=DATABASE, study_name="s")
    assert (len(search.launches), search.tables) == (2, [2])


def test_a_study_continues_in_another_output_folder(search: Searches) -> None:
    search(LR, n_trials=2, storage=DATABASE, study_name="s")
    search(LR, "output_dir=other", n_trials=3, storage=DATABASE, study_name="s")
    assert (len(search.launches), search.tables) == (1, [1])


def test_a_study_of_other_settings_is_refused(search: Searches) -> None:
    search(LR, storage=DATABASE, study_name="s", n_trials=1)
    with pytest.raises(
        UserError, match=r"study s in sqlite:///study.db is of .*; choose another hydra.sweeper.study_name"
    ):
        search(LR, "batch_size=8", storage=DATABASE, study_name="s")
    search("optimizer=adam,sgd", storage=DATABASE, study_name="t", n_trials=1)
    with pytest.raises(UserError, match="Optuna cannot search this: "):
        search("optimizer=adam,momentum", storage=DATABASE, study_name="t")
