"""Tests of my_scheduler: python -m pytest test_my_scheduler.py."""

from my_scheduler import my_scheduler


def test_the_rate_halves_when_decay_times_epochs_is_one() -> None:
    factor = my_scheduler(10, 100, decay=0.25)
    assert [factor(step, ()) for step in (0, 40, 120)] == [1.0, 0.5, 0.25]
