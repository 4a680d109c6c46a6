"""The names of runs in displays: what was swept, then the end of the ID."""

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from sweeper.errors import UserError
from sweeper.runs.naming import NamedTask, RunName, check_planned, name_of, named, positioned, short_name


def test_a_run_is_named_by_what_was_swept_and_the_end_of_its_id() -> None:
    assert short_name("norm=none dropout=light", "mlp-relu-adam-digits-s0-8a1e845871") == (
        "norm=none dropout=light 8a1e845871"
    )
    assert short_name("", "mlp-8a1e845871") == "mlp-8a1e845871"


def test_names_hold_within_their_sweep_only() -> None:
    names = positioned({"a-0123456789": "seed=0 0123456789"}, ["a-0123456789", "b"])
    with named(names):
        assert name_of("a-0123456789").titled == "1 of 2  seed=0 0123456789"
        assert name_of("b") == RunName("b", "2 of 2")
        assert name_of("c") == RunName("c")
    assert name_of("a-0123456789").titled == "a-0123456789"


def test_details_are_logged_in_a_single_run_and_where_asked_for() -> None:
    assert RunName("a").detail(False) == RunName("a", "1 of 2").detail(True) == logging.INFO
    assert RunName("a", "1 of 2").detail(False) == RunName("a", "1 of 2", in_table=True).level == logging.DEBUG


def test_a_task_in_another_process_has_the_names_of_this_one() -> None:
    task = NamedTask(check_planned, {"a": RunName("a")})
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(task, "a").result() is None
        with pytest.raises(UserError, match="this is now the run b, which the sweep has not planned"):
            pool.submit(task, "b").result()
    assert check_planned("b") is None  # type: ignore[func-returns-value]  # a single run
