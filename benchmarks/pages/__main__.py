"""Write the pages of docs/ from their templates and the checked-in runs: `make docs-exercises`.

python -m benchmarks.pages [--data FOLDER] [--into FOLDER]    both: docs; other folders: to look at small runs

A template is in docs/templates. A page that has only some sections of its own has the template's text between two
comments, see `insert`.
"""

import argparse
from pathlib import Path

from benchmarks.pages.records import DOCS
from benchmarks.pages.render import PAGES, write_pages


def main() -> None:
    """Write the pages and their pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DOCS, help="folder with exercises.csv and so on")
    parser.add_argument("--into", type=Path, default=DOCS, help=f"folder for {', '.join(PAGES)} and images/")
    options = parser.parse_args()
    for path in write_pages(options.data, options.into):
        print(path)


if __name__ == "__main__":
    main()
