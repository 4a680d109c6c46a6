"""Write the pages of docs/ from their templates and the checked-in runs: `make docs-exercises`.

python -m benchmarks.pages [--data FOLDER] [--into FOLDER]    both: docs; other folders: to look at small runs

Templates are in docs/templates. exercises.md is one as a whole; strong-baselines.md and the README have parts that are,
between two comments; tricks.md has a section.
"""

import argparse
from pathlib import Path

from benchmarks.pages.records import DOCS
from benchmarks.pages.render import PARTS, WHOLE, Pages, with_parts
from benchmarks.tricks_page import write_page
from sweeper.files import write_text


def write_pages(data: Path, into: Path) -> list[Path]:
    """Write all pages and their pictures; return the files."""
    pages = Pages(data, into)
    texts = {into / name: pages.render(name) for name in WHOLE}
    texts |= {page if into == DOCS else into / page.name: with_parts(page, pages) for page in PARTS}
    for path, text in texts.items():
        write_text(path, text)
    return [*pages.written, *texts, write_page(pages, into)]


def main() -> None:
    """Write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DOCS, help="folder with exercises.csv and so on")
    parser.add_argument("--into", type=Path, default=DOCS, help="folder for the pages and images/")
    options = parser.parse_args()
    for path in write_pages(options.data, options.into):
        print(path)


if __name__ == "__main__":
    main()
