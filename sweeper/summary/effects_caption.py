"""The text below the tables of effects: what was compared, and what the columns mean."""

from collections.abc import Iterable, Sequence

from sweeper.errors import format_names
from sweeper.runs.fingerprint import REGISTRIES
from sweeper.summary.columns import OWN, format_override
from sweeper.summary.cost import CAPTION, MEASURED_CAPTION, SINGLE, UNCERTAIN, UNSTEADY, format_ratio
from sweeper.summary.effect_measures import MAIN, METRICS
from sweeper.summary.effects import Effects, format_counts
from sweeper.summary.effects_plans import plans
from sweeper.summary.effects_tables import name_change, on_data, tables
from sweeper.summary.inference import LEVEL, Comparison
from sweeper.summary.verdicts import are_opposed

MAX_LINES = 10  # of one kind
FIXED = (
    "p: paired t-test over seeds, two-sided, Holm-corrected within each table, valid for a number of seeds fixed in "
    "advance; if you added seeds after looking at results, use --anytime"
)
ANYTIME = (
    "p: anytime-valid, over seeds in ascending order, two-sided, Holm-corrected within each table; it stays valid "
    "however often you add seeds after looking at results, and needs more seeds"
)

BUDGETS = ("data.", "epochs", "patience")


def caption(found: Effects) -> list[str]:
    """Return the baseline, what was left out, and what the columns mean; no line where nothing was compared."""
    if found.nothing is not None:
        return []
    every = [*found.comparisons, *found.interactions]
    lines = baselines(found)
    left = f"; {sum(found.left_out.values())} left out: {format_counts(found.left_out)}" if found.left_out else ""
    lines += [f"{found.runs} finished runs{left}", *found.notes, *incomplete(every), *dependent(found.comparisons)]
    lines += limited(found.comparisons)
    lines += [
        "mean: change minus baseline, over pairs of runs that are equal in everything else, including the seed; pairs "
        "with the same seed are not independent, so their mean is one observation",
        *choices(every),
        *inferred(found),
    ]
    if any(comparison.is_cut for comparison in every):
        lines.append(
            "intervals end where no larger difference is possible, at ±1 or the epoch budget (interactions: twice "
            "that); few seeds that disagree would give wider ones"
        )
    if any(comparison.models for comparison in every):
        lines.append("models: how many have a mean above 0; the intervals of the models hold simultaneously")
    if any(METRICS[comparison.metric].is_exploratory for comparison in every) or found.interactions:
        but = f" but that of {found.main}" if found.method.fixed_width else ""
        lines.append(
            f"Each table{but} contains a false positive with probability at most {LEVEL:.0%}; several tables together, "
            f"or a table with its lines of models, more often. {found.main} decides; exploratory tables only "
            "suggest what to test next"
        )
    if found.interactions:
        lines.append(
            "Interactions: the effect under `with` minus the effect under `rather than`, over quadruples of runs"
        )
    lines += meanings(found) + new_models(found.comparisons) + other_images(found.comparisons)
    return lines + costs(found.comparisons) + plans(found)


def choices(comparisons: Iterable[Comparison]) -> list[str]:
    """Say how choices that have settings of their own are compared; nothing where there are none."""
    axes = sorted({change.axis for comparison in comparisons for change in comparison.changes})
    named = [axis for axis in axes if axis in REGISTRIES and axis not in (*OWN, "select")]
    if not named:
        return []
    return [
        f"A choice of {' or '.join(named)} includes its own settings, such as an optimizer's lr, as its runs have them"
    ]


def baselines(found: Effects) -> list[str]:
    """Return the baseline, of each dataset where they differ."""
    of_data = {f" on {name}": baseline for name, baseline in found.baselines.items()}
    of_data = {"": found.baseline} if found.is_one_baseline else of_data
    changes = [change for comparison in found.comparisons for change in comparison.changes]
    named = {(change.axis, change.baseline): change.base_name for change in changes}
    texts = {
        name: ", ".join(
            named.get((axis, value), f"{axis}={format_override(value)}") for axis, value in baseline.items()
        )
        for name, baseline in of_data.items()
    }
    return [f"Baseline{name}: {text}" for name, text in texts.items()]


def inferred(found: Effects) -> list[str]:
    """Explain p and interval, and for which numbers of seeds they are valid."""
    lines = [
        ANYTIME if found.method.is_anytime else FIXED,
        f"interval: at the Holm-adjusted level of p, so it excludes 0 exactly where p is below {LEVEL}; coverage is at "
        f"least {1 - LEVEL:.0%}",
    ]
    if (precision := found.method.fixed_width) is None:
        return lines
    number = max(len(table) for table in tables([it for it in found.comparisons if it.metric in MAIN]) or [[]])
    return [
        f"{found.main}: sweep.precision={precision:g} chose the number of seeds by their spread; the "
        "interval is the mean "
        f"±{precision:g}, or ± the half-width reached, with at least 95% coverage each; there is no p, since a t-test "
        "is not valid after such a stop",
        *([several_intervals(found.main, number)] if number > 1 else []),
        "other tables, and the lines of models: since the number of seeds depends on the spread, coverage may be only "
        "90 to 95%, and p too small; --anytime is valid for any number of seeds",
        *lines,
    ]


def several_intervals(measure: str, number: int) -> str:
    """Say what intervals of 95% each mean together."""
    return (
        f"{measure}: of {number} changes without any effect, {LEVEL:.0%} each, about {number * LEVEL:.1f} would have "
        "an interval without 0: one that just excludes 0 among many is weak evidence"
    )


def shorten(lines: Sequence[str]) -> list[str]:
    rest = [f"and {len(lines) - MAX_LINES} more, see --format json"] if len(lines) > MAX_LINES else []
    return [*lines[:MAX_LINES], *rest]


def incomplete(every: Sequence[Comparison]) -> list[str]:
    """Name the seeds and models that were left out so that every seed has every model, per measure if they differ."""
    found: dict[str, dict[str, list[str]]] = {}
    for comparison in every:
        name = f"{name_change(comparison)}{on_data(comparison, every)}"
        text = "; ".join(comparison.left_out)
        found.setdefault(name, {}).setdefault(text, []).append(METRICS[comparison.metric].title)
    return shorten(
        [
            f"{name}{f' by {format_names(measures)}' if len(texts) > 1 else ''}: left out {text}"
            for name, texts in found.items()
            for text, measures in texts.items()
            if text
        ]
    )


def dependent(comparisons: Sequence[Comparison]) -> list[str]:
    """Name the numeric settings, such as the learning rate, over which a change's mean changes sign, and the remedy.

    What a budget allows, such as epochs or training images, is not tuned: its best value is the largest.
    """
    lines = [
        f"{name_change(comparison)}: its mean changes sign over {comparison.axis}; use "
        + (
            f"--where {comparison.axis}=VALUE to compare at one value"
            if str(comparison.axis).startswith(BUDGETS)
            else f"--tune {comparison.axis} to compare each configuration at its best"
        )
        for comparison in comparisons
        if comparison.metric in MAIN
        and (comparison.is_significant or are_opposed(comparison))
        and has_numbers(comparison)
    ]
    return shorten(list(dict.fromkeys(lines)))


def has_numbers(comparison: Comparison) -> bool:
    """Return whether the parts of a comparison belong to a numeric setting."""
    return bool(comparison.parts) and all(is_number(part.name.rpartition("=")[2]) for part in comparison.parts)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def limited(comparisons: Sequence[Comparison]) -> list[str]:
    """Count the runs with early stopping that were ended by the epoch limit."""
    found = [
        f"{name_change(comparison)}{on_data(comparison, comparisons)} {comparison.limited.text}"
        for comparison in comparisons
        if comparison.limited is not None and not comparison.limited.is_empty
    ]
    return [f"Ended by the epoch limit, not by early stopping: {'; '.join(shorten(found))}"] if found else []


def meanings(found: Effects) -> list[str]:
    """Explain the measures that are shown besides test_acc."""
    shown = {comparison.metric for comparison in found.comparisons}
    options, target = found.options, found.options.target_acc
    texts = {"percent": options.percent, "target": "the target" if target is None else f"{target:g}"}
    return [metric.meaning.format(**texts) for name, metric in METRICS.items() if name in shown and metric.meaning]


def new_models(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the prediction intervals for a new model, for changes with three or more models."""
    digits = METRICS[MAIN[0]].digits.format
    lines = []
    for table in tables([comparison for comparison in comparisons if comparison.metric in MAIN]):
        found = [
            f"{name_change(comparison)} {digits(interval[0])} to {digits(interval[1])}"
            for comparison in table
            if (interval := comparison.new_model) is not None
        ]
        if found:
            where = on_data(table[0], comparisons)
            lines.append(
                f"{table[0].metric}{where} on a new model like these, {1 - LEVEL:.0%} prediction intervals (each): "
                f"{', '.join(found)}"
            )
    return lines


def other_images(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the intervals for other test images, of the comparisons in which they are wider by more than a tenth."""
    digits = METRICS["test_acc"].digits.format
    found = [
        f"{name_change(comparison)}{on_data(comparison, comparisons)} [{', '.join(map(digits, interval))}]"
        for comparison in comparisons
        if (interval := comparison.other_images) is not None
    ]
    return [f"test_acc for other test images: {', '.join(shorten(found))}"] if found else []


def costs(comparisons: Sequence[Comparison]) -> list[str]:
    """Explain the column `cost`, and name the changes of the number of parameters and of memory."""
    known = [
        (f"{name_change(comparison)}{on_data(comparison, comparisons)}", comparison.cost)
        for comparison in comparisons
        if comparison.cost is not None
    ]
    timed = [(name, cost.is_measured) for name, cost in known if cost.step_time is not None]
    measured = [name for name, is_measured in timed if is_measured]
    lines = []
    if timed:
        lines = [MEASURED_CAPTION if len(measured) == len(timed) else CAPTION]
        lines += (
            [f"measured by `python -m sweeper cost`: {', '.join(shorten(measured))}"]
            if 0 < len(measured) < len(timed)
            else []
        )
        lines += [UNCERTAIN] if any(cost.interval is not None and not cost.is_clear for _, cost in known) else []
    for reason, names in (
        (SINGLE, [name for name, cost in known if cost.is_single]),
        (UNSTEADY, [name for name, cost in known if not cost.is_steady]),
    ):
        lines += [f"{reason}: {', '.join(shorten(names))}"] if names else []
    for title, ratios in (
        ("Parameters", [(name, cost.parameters) for name, cost in known]),
        ("Peak memory", [(name, cost.memory) for name, cost in known]),
    ):
        changed = [f"{name} {format_ratio(ratio, digits=1)}" for name, ratio in ratios if ratio not in (None, 1)]
        lines += [f"{title}: {', '.join(shorten(changed))}"] if changed else []
    return lines
