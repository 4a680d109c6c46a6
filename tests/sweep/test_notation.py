"""What distinguishes the combinations of a sweep, as displays write it."""

import pytest

from sweeper.sweep.notation import swept_overrides

DEFAULT = ["model=mlp", "norm=none", "dropout=none"]
BATCH = ["model=mlp", "norm=batch", "dropout=none"]
LIGHT = ["model=mlp", "norm=none", "dropout=light"]


def test_overrides_that_all_jobs_have_are_left_out() -> None:
    assert swept_overrides([DEFAULT, BATCH]) == ["norm=none", "norm=batch"]
    assert swept_overrides([DEFAULT]) == [""]
    assert swept_overrides([DEFAULT], searched=["norm"]) == ["norm=none"]
    assert swept_overrides([]) == swept_overrides([], "one_at_a_time") == []


@pytest.mark.parametrize(("design", "reference"), [("one_at_a_time", "baseline"), ("leave_one_out", "full recipe")])
def test_a_design_of_single_changes_names_the_change(design: str, reference: str) -> None:
    jobs = [[*job, f"seed={seed}"] for job in (DEFAULT, BATCH, LIGHT) for seed in (0, 1)]
    names = [f"{change} seed={seed}" for change in (reference, "norm=batch", "dropout=light") for seed in (0, 1)]
    assert swept_overrides(jobs, design) == names
    assert swept_overrides([[*job, "seed=0"] for job in (DEFAULT, BATCH)], design) == [reference, "norm=batch"]
