"""Durations of sweeps: when the last run ends, and how estimates are written."""

import pytest

from sweeper.sweep.durations import format_duration, format_range, makespan


@pytest.mark.parametrize(
    ("seconds", "slots", "expected"),
    [
        ([], 3, 0.0),
        ([1.5], 4, 1.5),
        ([3, 2, 2, 1], 1, 8),
        ([3, 2, 2, 1], 2, 4),  # 3+1 and 2+2
        ([2, 2, 3], 2, 4),  # in the order given it would be 5
        ([1, 1, 1, 5], 2, 5),
        ([4, 3, 3, 2], 2, 6),  # 4+2 and 3+3
        ([3, 3, 2, 2, 2], 2, 7),  # 3+2+2 and 3+2, not the optimum
        ([2, 2, 2], 3, 2),
        ([2, 2, 2], 2, 4),
    ],
)
def test_makespan(seconds: list[float], slots: int, expected: float) -> None:
    given = list(seconds)
    assert makespan(seconds, slots) == expected
    assert makespan(seconds[::-1], slots) == expected
    assert seconds == given


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "about 1 s"),
        (0.4, "about 1 s"),
        (2.6, "about 3 s"),
        (89.4, "about 89 s"),
        (90, "about 2 min"),
        (150.1, "about 3 min"),
        (89 * 60, "about 89 min"),
        (90 * 60, "about 1.5 h"),
        (100 * 3600, "about 100.0 h"),
    ],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.1, 0.4, "about 1 s"),
        (12.4, 12.2, "about 12 s"),
        (20.0, 41.0, "20 to 41 s"),
        (30.0, 89.4, "30 to 89 s"),
        (30.0, 90.0, "1 to 2 min"),
        (600.0, 1500.0, "10 to 25 min"),
        (1800.0, 5400.0, "0.5 to 1.5 h"),
        (100 * 3600, 100 * 3600 + 20, "about 100.0 h"),
    ],
)
def test_format_range(low: float, high: float, text: str) -> None:
    assert format_range(low, high) == text
