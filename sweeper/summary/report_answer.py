"""The report's first section: what was asked, what was found and how sure it is, and what to do next."""

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from sweeper.errors import format_names
from sweeper.summary.best import SEED
from sweeper.summary.columns import measured
from sweeper.summary.effect_measures import MAIN, METRICS
from sweeper.summary.effects import Effects
from sweeper.summary.effects_tables import recipe_of_table, tables
from sweeper.summary.inference import Comparison
from sweeper.summary.report_forest import kind
from sweeper.summary.sentences import MEANINGS, heading, importance, name_of, sentence
from sweeper.sweep.precision import MAX_SEEDS

SHOWN = 8  # findings of a dataset; the others are folded
MAX_NAMES = 6  # of settings in the question
WORDS = {"up": "raises {}", "down": "lowers {}", "open": "no effect shown"}


def ask(frame: pd.DataFrame, axes: Sequence[str], datasets: Sequence[str]) -> str:
    """Return the question that the runs answer, and how many there are.

    Args:
        frame: a row for each run.
        axes: the settings that vary, without the seed.
        datasets: their names.
    """
    shown = axes if len(axes) <= MAX_NAMES + 1 else axes[:MAX_NAMES]
    names = [*shown, *([f"{len(axes) - MAX_NAMES} other settings"] if len(axes) > len(shown) else [])]
    listed = " or ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
    asked = f"Does {listed} change test {measured(frame)}?" if names else "How accurate is this configuration?"
    counts = Counter(map(str, frame["state"]))
    noun = "run" if len(frame) == 1 else "runs"
    runs = f"{len(frame)} {next(iter(counts))} {noun}" if len(counts) == 1 else f"{len(frame)} {noun}"
    runs += f" on {format_names(datasets)}"
    if SEED in frame and (seeds := frame[SEED].nunique()) > 1:
        runs += f", {seeds} seeds"
    if len(counts) > 1:
        states = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        runs += f": {', '.join(f'{count} {state}' for state, count in states)}"
    return f"{asked} {runs}."


def findings(found: Effects) -> dict[str, Any] | None:
    """Return what is compared with what, and a sentence for each change; None where nothing was compared by what
    decides.
    """
    main = [comparison for comparison in found.comparisons if comparison.metric in MAIN]
    table = sorted(next(iter(tables(main)), []), key=importance)
    if not table:
        return None
    items, recipe = [], recipe_of_table(table)
    for comparison in table:
        name = name_of(comparison, recipe)
        text = sentence(comparison, recipe).removeprefix(f"{name}: ")
        items.append({"name": name, "text": f"{text}.", "kind": kind(comparison), "word": word(comparison)})
    for line in found.never:
        name, _, text = line.partition(": ")
        items.append({"name": name, "text": f"{text}.", "kind": "open", "word": WORDS["open"]})
    above = heading(table, several=False, recipe=recipe)
    return {"heading": above, "items": items, "shown": SHOWN}


def word(comparison: Comparison) -> str:
    """Return what a change does to what is compared, in a few words."""
    return WORDS[kind(comparison)].format(MEANINGS[comparison.metric])


def next_steps(
    sweep: str | None, plan: dict[str, Any] | None, found: Sequence[Effects], options: str = ""
) -> list[tuple[str, str]]:
    """Return what may be done next: the purpose and the command of each step.

    Args:
        sweep: its name; None for all runs.
        plan: of the sweep.
        found: the effects on each dataset.
        options: those of `effects` that were used.
    """
    steps = []
    compared = [one for one in found if one.nothing is None]
    main = [one for effects in compared for one in effects.comparisons if one.metric in MAIN]
    unseen = any(kind(comparison) == "open" for comparison in main)
    name = "" if sweep is None else f" {shlex.quote(sweep)}"
    if plan is not None and unseen and "sweep.precision=" not in plan["command"]:
        width = METRICS[main[0].metric].half_width
        until = f"Add seeds until every effect is known to ±{100 * width:g} points"
        purpose = f"{until}, {MAX_SEEDS} at most (finished runs are reused)"
        steps.append((purpose, f"{plan['command']} sweep.precision={width:g}"))
    if compared:
        steps.append(("All numbers in the terminal", f"python -m sweeper effects{name} {options}".rstrip()))
    return steps
