"""The differences of two runs in the terminal, and as JSON."""

from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from sweeper.display import print_sentence, stdout_console
from sweeper.summary.columns import FINGERPRINT, format_value
from sweeper.summary.differences import Differences, Pair, TestDifference
from sweeper.summary.effects_lines import format_p
from sweeper.summary.mask_differences import MaskDifference
from sweeper.summary.output import json_text, printable

MAX_CLASSES, MAX_CODE = 5, 10
CAVEAT = "p is about these two trained networks and other test images; for other seeds, use effects"


def as_json(found: Differences) -> str:
    return json_text(asdict(found))


def print_differences(found: Differences) -> None:
    """Print what differs; a heading without a difference is a sentence."""
    print(f"A = {found.runs[0]}\nB = {found.runs[1]}")
    print_pairs("Settings", found.settings, "no difference")
    names = found.changed_code[:MAX_CODE]
    more = f" and {len(found.changed_code) - MAX_CODE} more" if len(found.changed_code) > MAX_CODE else ""
    print_sentence(f"Code: {', '.join(names)}{more} changed" if names else "Code: no difference in what both use")
    print_pairs("Data, versions, machine", found.facts, "no difference")
    if found.epoch is None:
        print("Curves: no difference in the epochs that both have")
    else:
        print_pairs(f"Curves differ from epoch {found.epoch} on", found.curves, "", f"epoch {found.epoch}")
    if found.test is not None:
        print_test(found.test)
    if found.masks is not None:
        print_masks(found.masks)


def print_masks(test: MaskDifference) -> None:
    """Print both mIoUs and Wilcoxon's test."""
    first, second = test.mious
    print(f"Test mIoU: A {first:.4f}, B {second:.4f}, B - A {second - first:+z.4f}")
    print_sentence(
        f"Test images with a higher mIoU in A: {test.only_first:,}, in B: {test.only_second:,}, equal: {test.equal:,}; "
        f"Wilcoxon's signed-rank test: p = {format_p(test.p)}"
    )
    print_sentence(CAVEAT)


def print_pairs(title: str, pairs: dict[str, Pair], otherwise: str, what: str = "") -> None:
    """Print a table of pairs, its first column headed by what they are; or a sentence where there are none."""
    if not pairs:
        print(f"{title}: {otherwise}")
        return
    table = Table(title=title, title_justify="left")
    for name in (what, "A", "B"):
        table.add_column(name, overflow="fold")
    for name, pair in pairs.items():
        table.add_row(*(Text(printable(text)) for text in (name, *(format_cell(name, value) for value in pair))))
    stdout_console().print(table)


def format_cell(name: str, value: Any) -> str:
    if name == "dataset.fingerprint":
        return format_value(FINGERPRINT, value)
    return f"{value:.6g}" if isinstance(value, float) else format_value(name, value)


def print_test(test: TestDifference) -> None:
    """Print both accuracies, McNemar's test, and the classes with the largest differences."""
    first, second = test.accs
    print(f"Test accuracy: A {first:.4f}, B {second:.4f}, B - A {second - first:+z.4f}")
    print_sentence(
        f"Test images right in both: {test.both:,}, in A alone: {test.only_first:,}, in B alone: {test.only_second:,}, "
        f"in neither: {test.neither:,}; McNemar's exact test: p = {format_p(test.p)}"
    )
    print_sentence(CAVEAT)
    if not test.classes:
        return
    table = Table(title="Classes that differ most", title_justify="left")
    for index, name in enumerate(("class", "images", "A", "B", "B - A", "A alone right", "B alone right")):
        table.add_column(name, justify="right" if index else "left")
    for one in test.classes[:MAX_CLASSES]:
        accs = [f"{one.accs[0]:.4f}", f"{one.accs[1]:.4f}", f"{one.accs[1] - one.accs[0]:+z.4f}"]
        table.add_row(Text(printable(one.name)), str(one.images), *accs, str(one.only_first), str(one.only_second))
    stdout_console().print(table)
