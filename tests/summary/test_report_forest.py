"""The report's forest plot: everything on one axis, sorted, and legible where one change ruins training."""

import pytest
from paired import found, runs, table

from sweeper.summary.report_forest import MARGIN, WIDTH, forest, short_p
from sweeper.summary.report_scale import Scale, around_zero, ticks

ACCS = {"none": [0.5, 0.52, 0.51], "batch": [0.55, 0.572, 0.561], "layer": [0.49, 0.52, 0.515]}


def place(text: str, scale: Scale) -> float:
    """Return the value at a position of the plot."""
    return scale.low + (float(text) - scale.start) / (scale.end - scale.start) * (scale.high - scale.low)


def test_rows_are_sorted_and_drawn_on_one_axis() -> None:
    result = found(table(*runs("norm", ACCS)), {"norm": "none"})
    plot = forest(result)
    assert plot is not None
    first, second = plot["rows"]
    assert (first["name"], first["baseline"], first["kind"]) == ("norm=batch", "norm=none", "up")
    assert (second["name"], second["kind"], second["mean"]) == ("norm=layer", "open", "-0.2")
    one = next(one for one in result.comparisons if one.changes[0].value == "batch")
    assert one.family is not None
    seeds = [
        value for comparison in result.comparisons if comparison.metric == "test_acc" for value in comparison.means
    ]
    means = [comparison.mean for comparison in result.comparisons if comparison.metric == "test_acc"]
    ends = [
        end for comparison in result.comparisons if comparison.metric == "test_acc" for end in comparison.family or ()
    ]
    scale = Scale(*around_zero(means, seeds, ends), MARGIN, WIDTH - MARGIN)
    step = (scale.high - scale.low) / WIDTH  # positions have one digit
    assert place(first["middle"], scale) == pytest.approx(one.mean, abs=step)
    assert [place(end, scale) for end in first["ends"]] == pytest.approx(one.family, abs=step)
    assert [place(dot, scale) for dot in first["dots"]] == pytest.approx(one.means, abs=step)
    assert place(plot["zero"], scale) == pytest.approx(0, abs=step)
    for position, text in plot["ticks"]:
        assert place(position, scale) == pytest.approx(float(text) / 100, abs=step)
    assert first["interval"] == "+4.74 to +5.46" and not first["clipped"]


def test_the_lines_of_models_are_below_their_change() -> None:
    rows = [
        run
        for model in ("cnn", "mlp")
        for run in runs("norm", {"none": [0.5, 0.51, 0.49], "batch": [0.53, 0.541, 0.52]}, model=model)
    ]
    plot = forest(found(table(*rows), {"norm": "none", "model": "cnn"}))
    assert plot is not None
    names = [(row["name"], row["is_part"]) for row in plot["rows"]]
    assert names == [("norm=batch", False), ("cnn", True), ("mlp", True), ("model=mlp", False)]


def test_a_change_that_ruins_training_does_not_flatten_the_others() -> None:
    accs = {"none": [0.5, 0.52], "batch": [0.52, 0.542], "layer": [0.51, 0.529], "own": [0.1, 0.05]}
    plot = forest(found(table(*runs("norm", accs)), {"norm": "none"}))
    assert plot is not None and plot["clipped"]
    *others, ruined = plot["rows"]
    assert ruined["name"] == "norm=own" and ruined["middle"] is None and ruined["beyond"][0] and ruined["dots"] == []
    assert float(others[0]["middle"]) - float(plot["zero"]) > WIDTH / 20


def test_without_pairs_there_is_no_plot() -> None:
    assert forest(found(table(*runs("norm", {"none": [0.5]})))) is None


@pytest.mark.parametrize("p, text", [(None, ""), (0.0004, "< 0.001"), (0.01234, "0.012"), (0.5, "0.5"), (1.0, "1")])
def test_p_has_two_digits(p: float | None, text: str) -> None:
    assert short_p(p) == text


@pytest.mark.parametrize(
    "low, high, most, expected",
    [
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-4.3, 5.1, 6, [-4, -2, 0, 2, 4]),
        (0.0012, 0.0019, 4, [0.0012, 0.0014, 0.0016, 0.0018]),
        (96.8, 99.3, 6, [97, 97.5, 98, 98.5, 99]),
        (3, 3, 6, [3]),
    ],
)
def test_ticks_are_round(low: float, high: float, most: int, expected: list[float]) -> None:
    assert ticks(low, high, most) == expected


def test_a_scale_keeps_what_is_beyond_at_its_ends() -> None:
    scale = Scale(-1, 1, 0, 100)
    assert [scale.place(value) for value in (-2, -1, 0, 0.5, 9)] == [0, 0, 50, 75, 100]
    assert scale.at(0.123) == "56.1" and scale.is_inside(1) and not scale.is_inside(1.01)


def test_a_plot_of_differences_has_zero_and_no_wide_interval() -> None:
    low, high = around_zero([0.01, 0.02], [0.03], [-5.0, 5.0])
    assert low < 0 and high > 0.03 and max(-low, high) < 0.1
    assert around_zero([], [], []) == (-1.0, 1.0)
    assert around_zero([0.0, 0.0, 0.0], [], [-0.1, 0.1])[1] > 0.09
