"""The report's plot of effect against cost: a point for each change, and a line for the Pareto front."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.summary.cost import format_ratio
from sweeper.summary.effect_measures import MAIN
from sweeper.summary.effects import Effects
from sweeper.summary.effects_tables import name_change, tables
from sweeper.summary.intervals import Interval
from sweeper.summary.learning_curves import cut
from sweeper.summary.report_scale import Scale, around_zero, ticks
from sweeper.summary.sentences import digits_for, points

WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 40, 428, 28, 252  # of the plot, in the picture
LINE, CHARACTER, DOT = 14, 6.8, 6  # height of a label, width of a character, half the width of a point
AROUND = (  # places of a label around its point
    (9, 4, "start"),
    (-9, 4, "end"),
    (0, -10, "middle"),
    (0, 19, "middle"),
    (6, -9, "start"),
    (-6, -9, "end"),
    (6, 18, "start"),
    (-6, 18, "end"),
)
Box = tuple[float, float, float, float]  # left, top, right, bottom
NAME_LENGTH = 30
RATIOS = (0.02, 0.05, 0.1, 0.2, 0.5, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10, 20, 50, 100)  # that may have a tick
BASELINE = "baseline"


@dataclass(frozen=True)
class Label:
    """The place of a text, as SVG has it.

    Attributes:
        x, y: of its baseline's anchor.
        anchor: start, middle or end.
    """

    x: float
    y: float
    anchor: str

    def box(self, width: float) -> Box:
        """Return the box of a text of this width."""
        left = self.x - width * {"start": 0, "middle": 0.5, "end": 1}[self.anchor]
        return left, self.y - LINE + 3, left + width, self.y + 3


@dataclass(frozen=True)
class Point:
    """A change, or the baseline: its effect on what decides, its ratio of seconds a step, and their intervals."""

    name: str
    effect: float
    step_time: float
    interval: Interval | None = None
    times: Interval | None = None


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


def cost_picture(found: Effects) -> dict[str, Any] | None:
    """Return the picture of a dataset on which the cost of several changes is known; else None."""
    main = [comparison for comparison in found.comparisons if comparison.metric in MAIN]
    changes = [
        Point(name_change(comparison), comparison.mean, cost.step_time, comparison.family, cost.interval)
        for comparison in next(iter(tables(main)), [])
        if (cost := comparison.cost) is not None and cost.step_time is not None
    ]
    return picture([Point(BASELINE, 0.0, 1.0), *changes]) if len(changes) > 1 else None


def picture(shown: Sequence[Point]) -> dict[str, Any]:
    """Return the positions of points and labels, of the line through the front, and the ticks; cost on a log scale."""
    front, ranges = pareto_front(shown), [end for point in shown for end in point.times or ()]
    logs = [math.log(time) for time in (*(point.step_time for point in shown), *ranges)]
    margin = 0.08 * (max(logs) - min(logs)) or 0.1
    across = Scale(min(logs) - margin, max(logs) + margin, LEFT, RIGHT)
    ends = [end for point in shown for end in point.interval or ()]
    up = Scale(*around_zero([point.effect for point in shown], [], ends), BOTTOM, TOP)

    def x(point: Point) -> float:
        return at(point.step_time)

    def at(ratio: float) -> float:
        return across.place(math.log(ratio))

    names = [
        cut(point.name, NAME_LENGTH) + ("" if up.is_inside(point.effect) else f" ({effect_text(point)})")
        for point in shown
    ]
    labels = label_places([(x(point), up.place(point.effect)) for point in shown], names)
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "plot": {"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
        "points": [
            {
                "x": f"{x(point):.1f}",
                "y": up.at(point.effect),
                "name": name,
                "label": {"x": f"{label.x:.1f}", "y": f"{label.y:.1f}", "anchor": label.anchor},
                "text": f"{point.name}: {effect_text(point)} points, {cost_text(point)} a step",
                "ends": None if point.interval is None else (up.at(point.interval[0]), up.at(point.interval[1])),
                "times": None if point.times is None else [f"{at(end):.1f}" for end in point.times],
                "is_best": point in front,
            }
            for point, name, label in zip(shown, names, labels, strict=True)
        ],
        "front": " ".join(f"{x(point):.1f},{up.at(point.effect)}" for point in front),
        "x_ticks": [(f"{at(ratio):.1f}", text) for ratio, text in cost_ticks(across)],
        "y_ticks": [(up.at(tick / 100), f"{tick:+g}" if tick else "0") for tick in ticks(100 * up.low, 100 * up.high)],
    }


def cost_text(point: Point) -> str:
    return format_ratio(point.step_time, interval=point.times)


def effect_text(point: Point) -> str:
    return points(point.effect, digits_for(point.effect))


def cost_ticks(across: Scale) -> list[tuple[float, str]]:
    """Return the ratios that have a tick, with their text: round ones, or the ends where there are too few."""
    inside = [ratio for ratio in RATIOS if across.is_inside(math.log(ratio))]
    if len(inside) < 2:
        inside = sorted({1.0, *(round(math.exp(end), 2) for end in (across.low, across.high))})
        inside = [ratio for ratio in inside if across.is_inside(math.log(ratio))]
    while len(inside) > 8:
        inside = [ratio for index, ratio in enumerate(inside) if index % 2 == 0 or ratio == 1]
    return [(ratio, format_ratio(ratio)) for ratio in inside]


def label_places(points: Sequence[tuple[float, float]], names: Sequence[str]) -> list[Label]:
    """Return a place for each point's name: beside, above or below it, the first that covers least.

    Args:
        points: their positions.
        names: of the points.
    """
    taken = [(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in points]
    places = []
    for (x, y), name in zip(points, names, strict=True):
        width = CHARACTER * len(name)
        found = [Label(x + dx, y + dy, anchor) for dx, dy, anchor in AROUND]
        boxes = [label.box(width) for label in found]
        costs = [sum(overlap(box, other) for other in taken) + outside(box) for box in boxes]
        best = costs.index(min(costs))
        places.append(found[best])
        taken.append(boxes[best])
    return places


def overlap(box: Box, other: Box) -> float:
    """Return the area that two boxes share."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def outside(box: Box) -> float:
    """Return a cost for what is beyond the picture or below the plot, in the units of `overlap`."""
    beyond = max(0, -box[0]) + max(0, box[2] - WIDTH) + max(0, -box[1]) + max(0, box[3] - BOTTOM - LINE / 2)
    return 100 * beyond
