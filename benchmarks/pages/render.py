"""Pages from their templates and the checked-in runs."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.markdown import wrapped
from benchmarks.pages import words
from benchmarks.pages.pictures import draw_curves, draw_forest
from benchmarks.pages.records import DOCS, Records, read
from benchmarks.pages.selection import Selection
from benchmarks.pages.tables import comparisons_table, tricks_table
from benchmarks.pages.tricks import read_tricks, trick_of
from sweeper.summary.effects_lines import format_p
from sweeper.summary.inference import corrected
from sweeper.summary.sentences import digits_for, points

TEMPLATES = DOCS / "templates"
STUDIES = ("exercises", "transfer", "pretrained", "segmentation", "study")
WHOLE = ("exercises.md",)  # pages that are templates
PARTS = {  # pages with parts that are
    DOCS / "strong-baselines.md": ("ablation",),
    DOCS.parent / "README.md": ("found",),
}
FILTERS = {
    **{name: getattr(words, name) for name in ("says", "by_model", "expected", "measured_result", "count", "listed")},
    "in_points": lambda number: points(number, digits_for(number)),
    "accuracy": "{:.4f}".format,
    "seconds": "{:,.0f}".format,
    "p": format_p,
    "by_mean": lambda comparisons: sorted(comparisons, key=lambda one: -one.mean),
}
TESTS = {"up": words.is_up, "down": words.is_down}


class Pages:
    """The pages of some checked-in runs.

    Args:
        data: the folder with the runs.
        into: the folder of the pages; None: nothing but text is made.
    """

    def __init__(self, data: Path = DOCS, into: Path | None = None) -> None:
        self.records: dict[str, Records | None] = {name: read(name, data) for name in STUDIES}
        self.tricks = read_tricks()
        self.into = into
        self.written: list[Path] = []

    def sweep(self, study: str) -> Callable[..., Selection | None]:
        """Return what finds the runs of sweeps of a study by their names, or all of them."""
        return lambda *names: Selection.of_sweep(self.records[study], *names)

    def picture(self, name: str, alt: str, draw: Callable[[Path], bool]) -> str:
        """Draw a picture, and return the Markdown that shows it; one that cannot be drawn keeps the file that there is.

        Returns:
            Empty text where there is neither.
        """
        if self.into is not None:
            path = self.into / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if draw(path):
                self.written.append(path)
        return f"![{alt}](images/{name})" if (DOCS / "images" / name).is_file() or self.into not in (None, DOCS) else ""

    def curves(self, selection: Selection, name: str, alt: str) -> str:
        return self.picture(name, alt, lambda path: draw_curves(selection, alt, path))

    def forest(self, comparisons: Any, name: str, alt: str) -> str:
        def draw(path: Path) -> bool:
            draw_forest(comparisons, [trick_of(one, self.tricks).name for one in comparisons], alt, path)
            return True

        return self.picture(name, alt, draw)

    def render(self, page: str) -> str:
        """Return a page's text, its paragraphs wrapped."""
        environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
        )
        environment.filters |= FILTERS
        environment.tests |= TESTS
        given: dict[str, Any] = {study: self.sweep(study) for study in STUDIES} | {"tricks": self.tricks}
        given |= {
            "curves": self.curves,
            "forest": self.forest,
            "effects_table": comparisons_table,
            "tricks_table": tricks_table,
        }
        environment.filters["trick"] = lambda one: trick_of(one, self.tricks).name
        given |= {"interactions": words.interactions, "corrected": corrected}
        return tidy(environment.get_template(f"{page}.jinja").render(given))


def tidy(text: str) -> str:
    """Return Markdown with its paragraphs and list items wrapped, and one empty line around headings and pictures.

    Tables, headings, pictures, comments and code (indented by four) stay as they are.
    """
    blocks, paragraph = list[str](), list[str]()

    def end() -> None:
        if paragraph:
            blocks.append(wrapped(" ".join(" ".join(paragraph).split())))
            paragraph.clear()

    def space() -> None:
        if blocks and blocks[-1]:
            blocks.append("")

    for line in text.splitlines():
        is_apart = line.startswith(("#", "!["))
        is_kept = is_apart or line.startswith(("    ", "|", "<!--")) or not line.strip()
        if is_kept or line.startswith("- "):
            end()
        if not is_kept:
            if blocks and blocks[-1].startswith(("#", "![")):
                space()
            paragraph.append(line.strip())
        elif not line.strip():
            space()
        else:
            if is_apart:
                space()
            blocks.append(line.rstrip())
    end()
    return "\n".join(blocks).strip("\n") + "\n"


def insert(text: str, name: str, content: str) -> str:
    """Return a page with other content between its comments `<!-- name, ... -->` and `<!-- end of name -->`.

    Raises:
        ValueError: it lacks the comments.
    """
    begin, end = re.search(rf"<!-- {name}[ ,].*-->\n", text), f"<!-- end of {name} -->"
    if begin is None or end not in text:
        raise ValueError(f"the page has no part between <!-- {name}, ... --> and {end}")
    return f"{text[: begin.end()]}\n{content}\n{text[text.index(end) :]}"


def with_parts(page: Path, pages: Pages) -> str:
    """Return a page with those of its parts anew that are written from runs."""
    text = page.read_text(encoding="utf-8")
    for name in PARTS[page]:
        text = insert(text, name, pages.render(f"{name}.md"))
    return text
