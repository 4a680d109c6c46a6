"""The Optuna study of a search: in memory, where the finished runs lead to the same trials again, or in a database."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from optuna.trial import TrialState
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import make_url

from sweeper.errors import UserError
from sweeper.sweep.search_space import Space

OWNER = "sweep"  # of a trial: the folder of the sweep that asked for it
SHARED = "overrides"  # of a study: the overrides that all of its trials share


@dataclass(frozen=True)
class Search:
    """The settings of hydra/sweeper=optuna, see conf/hydra/sweeper/optuna.yaml."""

    sampler: DictConfig
    n_trials: int = 20
    n_jobs: int | None = None
    storage: str | None = None
    study_name: str | None = None

    def validate(self) -> None:
        """Check the settings.

        Raises:
            UserError: a number is out of its range, or a study in memory has a name.
        """
        for key, value in (("n_trials", self.n_trials), ("n_jobs", self.n_jobs)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UserError(f"hydra.sweeper.{key}={value} is out of range: must be an integer of at least 1")
        if self.study_name is not None and self.storage is None:
            raise UserError(
                f"hydra.sweeper.study_name={self.study_name} names a study in a database: add "
                "hydra.sweeper.storage=sqlite:///FILE, or name the sweep with sweep.name=NAME"
            )


def open_study(search: Search, name: str, shared: Sequence[str], *, read_only: bool = False) -> optuna.Study:
    """Return the study of a search, which is created unless the database has it.

    The seed of the sampler is advanced by the trials that the study has, whose suggestions would else be repeated.

    Args:
        search: the settings.
        name: of the study, unless the settings have one.
        shared: the overrides of every trial.
        read_only: return a copy of the study in memory; the database is not written.

    Raises:
        UserError: the database cannot be used, or it has a study of this name with other overrides; the sampler is
            not possible.
    """
    optuna.logging.disable_default_handler()  # which writes with colors, even to a file
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    storage, name = search.storage, search.study_name or name
    try:
        copied = copy_study(storage, name) if storage is not None and read_only else None
        study = copied or optuna.create_study(
            storage=None if read_only else storage, study_name=name, direction="maximize", load_if_exists=True
        )
    except Exception as error:  # of Optuna, SQLAlchemy, or the driver of the database
        raise UserError(f"hydra.sweeper.storage={storage}: {type(error).__name__}: {first_line(error)}") from error
    recorded = study.user_attrs.get(SHARED)
    if study.direction != optuna.study.StudyDirection.MAXIMIZE or (study.trials and recorded != list(shared)):
        trained = "another program" if recorded is None else " ".join(recorded) or "no fixed settings"
        raise UserError(
            f"study {study.study_name} in {storage} is of {trained}; choose another hydra.sweeper.study_name=NAME"
        )
    study.set_user_attr(SHARED, list(shared))
    sampler = OmegaConf.to_container(search.sampler)
    assert isinstance(sampler, dict)
    if isinstance(sampler.get("seed"), int):
        sampler["seed"] += len(study.trials)
    try:
        study.sampler = instantiate(sampler)
    except Exception as error:  # of Hydra or the sampler
        raise UserError(f"hydra.sweeper.sampler: {first_line(error)}") from error
    return study


def copy_study(storage: str, name: str) -> optuna.Study | None:
    """Return a copy in memory of a study in a database, which is not written; None where it has no such study.

    Raises:
        Exception: of Optuna, SQLAlchemy, or the driver of the database, which cannot be read.
    """
    url = make_url(storage)
    if url.drivername.startswith("sqlite") and url.database and not Path(url.database).exists():
        return None  # connecting would create the file
    engine = create_engine(url)
    has_studies = inspect(engine).has_table("studies")
    engine.dispose()
    if not has_studies or name not in optuna.get_all_study_names(storage):
        return None
    saved = optuna.load_study(study_name=name, storage=storage)
    study = optuna.create_study(study_name=name, directions=saved.directions)
    for key, value in saved.user_attrs.items():
        study.set_user_attr(key, value)
    study.add_trials(saved.get_trials(deepcopy=False))
    return study


def ask(study: optuna.Study, space: Space, owner: str) -> optuna.Trial:
    """Return the next trial.

    Args:
        owner: the sweep's folder, which resumes the trial.

    Raises:
        UserError: the study has searched another space, or the sampler cannot search this one.
    """
    try:
        trial = study.ask(space)
    except (ValueError, ImportError) as error:
        raise UserError(f"Optuna cannot search this: {first_line(error)}") from error
    trial.set_user_attr(OWNER, owner)
    return trial


def unfinished_trials(study: optuna.Study, owner: str) -> list[optuna.Trial]:
    """Return the trials in the database that a sweep asked for before it was stopped."""
    running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    return [optuna.Trial(study, frozen._trial_id) for frozen in running if frozen.user_attrs.get(OWNER) == owner]


def ended_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE, TrialState.FAIL])


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
