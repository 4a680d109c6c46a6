"""The report's plot of effect against cost: a point for each change, and a line for the Pareto front."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.summary.cost import format_ratio
from sweeper.summary.effect_measures import MAIN, METRICS
from sweeper.summary.effects import Effects
from sweeper.summary.effects_caption import name_change, tables
from sweeper.summary.effects_text import title_of

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 70, 610, 30, 270  # of the plot, in the picture
BASELINE = "baseline"


@dataclass(frozen=True)
class Point:
    """A change, or the baseline: its effect on test_acc, and the ratio of seconds per training step."""

    name: str
    effect: float
    step_time: float


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats, cheapest first: as good at lower cost, or better at no higher cost."""
    return [
        point
        for point in sorted(points, key=lambda point: (point.step_time, -point.effect))
        if not any(
            other.effect >= point.effect
            and other.step_time <= point.step_time
            and (other.effect, other.step_time) != (point.effect, point.step_time)
            for other in points
        )
    ]


def cost_pictures(found: Effects) -> list[dict[str, Any]]:
    """Return a picture for each dataset on which the cost of several changes is known; coordinates as text."""
    several = len({comparison.data for comparison in found.comparisons}) > 1
    pictures = []
    for table in tables([comparison for comparison in found.comparisons if comparison.metric in MAIN]):
        changes = [
            Point(name_change(comparison), comparison.mean, comparison.cost.step_time)
            for comparison in table
            if comparison.cost is not None and comparison.cost.step_time is not None
        ]
        if len(changes) > 1:
            pictures.append({"title": title_of(table, several)} | picture([Point(BASELINE, 0.0, 1.0), *changes]))
    return pictures


def picture(points: Sequence[Point]) -> dict[str, Any]:
    """Return the positions of points, of the line through the front, and of the ticks; cost is on a log scale."""
    costs, effects = [math.log(point.step_time) for point in points], [point.effect for point in points]
    digits, front = METRICS[MAIN[0]].digits.format, pareto_front(points)

    def place(value: float, values: Sequence[float], start: int, end: int) -> float:
        low, high = min(values), max(values)
        return (start + end) / 2 if low == high else start + (value - low) / (high - low) * (end - start)

    def x(point: Point) -> float:
        return place(math.log(point.step_time), costs, LEFT, RIGHT)

    def y(point: Point) -> float:
        return place(point.effect, effects, BOTTOM, TOP)

    return {
        "width": WIDTH,
        "height": HEIGHT,
        "plot": {"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
        "points": [
            {
                "x": f"{x(point):.1f}",
                "y": f"{y(point):.1f}",
                "name": point.name,
                "text": f"{point.name}: {digits(point.effect)}, {format_ratio(point.step_time)}",
                "is_best": point in front,
                "is_right": x(point) > (LEFT + RIGHT) / 2,
            }
            for point in points
        ],
        "front": " ".join(f"{x(point):.1f},{y(point):.1f}" for point in front),
        "x_ticks": [
            (f"{place(value, costs, LEFT, RIGHT):.1f}", format_ratio(math.exp(value)))
            for value in sorted({min(costs), 0.0, max(costs)})
        ],
        "y_ticks": [
            (f"{place(value, effects, BOTTOM, TOP):.1f}", digits(value))
            for value in sorted({min(effects), 0.0, max(effects)})
        ],
    }
