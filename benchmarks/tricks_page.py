"""The page docs/tricks.md: the catalog of tricks with their measured costs, which docs/tricks.csv keeps."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.markdown import wrapped
from benchmarks.pages.render import Pages
from benchmarks.tricks_catalog import REPOSITORY, Trick, as_override, catalog, is_baseline, is_pixelwise, sentence
from sweeper.config import Config, settings

DOCS = REPOSITORY / "docs"
COMMAND = "make bench-tricks"


@dataclass(frozen=True)
class Cost:
    """What a trick costs, as docs/tricks.csv keeps it.

    Attributes:
        base: the overrides that it was added to.
        base_ms: milliseconds of a step without it, on a batch of 64; of views, of an evaluation per 64 images.
        ratio, low, high: time with it / time without; quartiles of the pairs of blocks.
    """

    base: str
    base_ms: float
    ratio: float
    low: float
    high: float


def cost_of(trick: Trick, costs: Mapping[str, Cost]) -> str:
    """Write what a trick costs."""
    cost = costs.get(trick.name)
    if cost is None and is_pixelwise(trick):
        return "not compared, since the baseline classifies images."
    if cost is None:
        return "none, the baseline." if is_baseline(trick) else f"not measured; run `{COMMAND}`."
    what = "an evaluation" if trick.group == "views" else "a step"
    added = cost.base_ms * (cost.ratio - 1)
    digits = 2 if cost.ratio < 10 else 0
    return (
        f"{cost.ratio:.{digits}f}x the time of {what} ({cost.low:.{digits}f} to {cost.high:.{digits}f}), "
        f"{added:+,.{digits}f} ms per batch, "
        f"with `{cost.base}`."
    )


def listed(values: Mapping[str, Any]) -> str:
    shown = (f"`{key}={'null' if value is None else as_override(value)}`" for key, value in values.items())
    return ", ".join(shown)


def entry(trick: Trick, costs: Mapping[str, Cost]) -> Iterable[str]:
    """Yield the lines of a trick."""
    yield f"### `{trick.name}`\n"
    yield wrapped(trick.text) + "\n"
    yield wrapped(f"- **When:** {trick.when}")
    if trick.values:
        yield wrapped(f"- **Settings:** {listed(trick.values)}")
    if trick.presets:
        yield wrapped(f"- **Presets:** {', '.join(f'`{trick.group}={name}`' for name in trick.presets)}")
    yield wrapped(f"- **Cost:** {cost_of(trick, costs)}") + "\n"


def section(group: str, tricks: Iterable[Trick], costs: Mapping[str, Cost]) -> Iterable[str]:
    """Yield the lines of a group: its tricks, then the meaning of their settings."""
    yield f"## {group.capitalize()}\n"
    if group == "settings":
        yield "Tricks that are settings of a group or of the run and combine with any choice.\n"
    else:
        yield wrapped(sentence(str(type(getattr(Config(), group)).__doc__))) + "\n"
    for trick in tricks:
        yield from entry(trick, costs)
    if group == "settings":
        return
    rows = [
        f"| `{key}` | {item.metadata['help']} | {item.metadata['check'].text if item.metadata['check'] else ''} |"
        for key, item, _ in settings(getattr(Config(), group), f"{group}.")
        if not key.endswith(".name")
    ]
    if rows:
        yield "| setting | meaning | must be |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"


INTRODUCTION = f"""# Tricks

What each trick does, when it should help, and what it costs. To measure whether it helps you, compare runs that
differ in nothing else with `python -m sweeper effects`; [designs.md](designs.md) explains which runs to make. To add a
trick of your own, see [adding-a-trick.md](adding-a-trick.md).

Written by `{COMMAND}` from the docstrings, the presets in `conf/` and the costs in [tricks.csv](tricks.csv), and by
`make docs-exercises` from the runs of `make tricks-study`."""

MEASURED = """**Cost** is the time of a training step with the trick divided by that without it: preparing the batch
(augmentation included), forward and backward pass, the update, and what happens between steps. It is CPU time on one
thread, which on an idle machine equals wall-clock time. The two runs alternate in one process, on the digits at 32x32
pixels with batch size 64; the figure is the median over pairs of epochs, with the quartiles in parentheses. For courses
and averaging, which change as training proceeds, it is the mean over a short run. The run without the trick is named at
the end; all other groups have their defaults. For models, the ratio compares networks, and for views, evaluations.
Schedules and inits cost next to nothing, so their ratios show the noise. The teacher of `loss=distillation` has the
architecture of its student, and `model=resnet18_pretrained` was measured without its weights. Work before the first
step, such as the forward pass of `init=lsuv`, is not counted."""


def page(costs: Mapping[str, Cost], about: str, pages: Pages | None = None) -> str:
    """Return docs/tricks.md.

    Args:
        costs: by the name of the trick.
        about: the machine and the day of the measurement.
        pages: what writes the section on measured effects; None: that of the checked-in runs.
    """
    groups = catalog()
    contents = ", ".join(f"[{group}](#{group})" for group in groups)
    lines = [INTRODUCTION + "\n", wrapped(f"Groups: {contents}.") + "\n", "## How costs are measured\n"]
    lines += [wrapped(" ".join(MEASURED.split())) + "\n", wrapped(about) + "\n"]
    lines.append((pages or Pages()).render("measured.md"))
    for group, tricks in groups.items():
        lines += section(group, tricks, costs)
    return "\n".join(lines).rstrip("\n") + "\n"


def read_costs(path: Path = DOCS / "tricks.csv") -> tuple[dict[str, Cost], str]:
    """Read the measured costs by trick, and what was measured on."""
    first, *rows = path.read_text(encoding="utf-8").splitlines()
    costs = {
        row["trick"]: Cost(row["base"], *(float(row[key]) for key in ("base_ms", "ratio", "low", "high")))
        for row in csv.DictReader(rows)
    }
    return costs, first.removeprefix("# ")


def write_costs(costs: Mapping[str, Cost], about: str, path: Path = DOCS / "tricks.csv") -> None:
    """Write what `read_costs` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# {about}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["trick", "base", "base_ms", "ratio", "low", "high"])
        for name, cost in costs.items():
            figures = (f"{number:.4f}" for number in (cost.base_ms, cost.ratio, cost.low, cost.high))
            writer.writerow([name, cost.base, *figures])


def write_page(pages: Pages | None = None, into: Path = DOCS) -> Path:
    """Write tricks.md with the costs of docs/tricks.csv and the effects of docs/study.csv, or those of other pages."""
    (into / "tricks.md").write_text(page(*read_costs(), pages), encoding="utf-8")
    return into / "tricks.md"
