"""Effects where the terminal is too narrow for their tables: a few lines for each comparison, its result below."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from sweeper.summary.cost import format_cost
from sweeper.summary.effect_measures import METRICS
from sweeper.summary.effects_tables import recipe_of_table
from sweeper.summary.held import beside
from sweeper.summary.inference import Comparison
from sweeper.summary.intervals import Interval
from sweeper.summary.output import printable
from sweeper.summary.verdicts import verdict

GAP = "  "  # between the numbers of a line


def print_lines(title: str, comparisons: Sequence[Comparison], console: Console) -> None:
    """Print what the table of one metric's comparisons has, within the console's width."""
    console.print(Text(printable(title), style="italic"))
    recipe = recipe_of_table(comparisons)
    for comparison in comparisons:
        print_wrapped(name_sides(comparison) + beside(comparison.shown_held, recipe), 0, console, style="bold")
        digits = METRICS[comparison.metric].digits
        print_numbers(numbers_of(comparison, digits), console)
        print_wrapped(verdict(comparison), 2, console)
        for model in comparison.models:
            interval = "" if model.family is None else f" {format_interval(model.family, digits)}"
            print_wrapped(f"{model.name}: {digits.format(model.mean)}{interval}", 4, console, style="dim")


def name_sides(comparison: Comparison) -> str:
    """Return such as `norm=batch vs. none`, of an interaction with `; model=mlp rather than cnn`."""
    first, *crossed = comparison.changes
    sides = f"{first.name} vs. {first.base_text}"
    for change in crossed:
        sides += f", with {change.name} rather than {change.base_text}"
    return sides


def numbers_of(comparison: Comparison, digits: str) -> list[str]:
    """Return the numbers of a comparison, those that matter most first."""
    numbers = [digits.format(comparison.mean)]
    numbers += [] if comparison.family is None else [format_interval(comparison.family, digits)]
    numbers += [] if comparison.corrected is None else [f"p {format_p(comparison.corrected)}"]
    numbers.append(f"{comparison.seeds} {'seed' if comparison.seeds == 1 else 'seeds'}")
    numbers += [f"{comparison.models_up} of {len(comparison.models)} models up"] if comparison.models else []
    if comparison.cost is not None and comparison.cost.step_time is not None:
        numbers.append(f"cost {format_cost(comparison.cost)}")
    reached = comparison.reached is not None and len(comparison.changes) == 1
    return numbers + ([f"reached {comparison.reached.text}"] if reached and comparison.reached else [])


def print_numbers(numbers: Sequence[str], console: Console) -> None:
    """Print numbers in lines that break only between them."""
    lines = [f"  {numbers[0]}"]
    for number in numbers[1:]:
        longer = f"{lines[-1]}{GAP}{number}"
        if len(longer) <= console.width:
            lines[-1] = longer
        else:
            lines.append(f"  {number}")
    for line in lines:
        console.print(Text(printable(line)))


def print_wrapped(text: str, indent: int, console: Console, style: str = "") -> None:
    console.print(Padding(Text(printable(text), style=style, overflow="fold"), (0, 0, 0, indent)))


def format_interval(interval: Interval | None, digits: str) -> str:
    return "-" if interval is None else f"[{', '.join(map(digits.format, interval))}]"


def format_p(p: float | None) -> str:
    if p is None:
        return "-"
    return "<0.0001" if 0 < p < 0.0001 else f"{p:.4f}" if p else "0"
