"""The pages that are written from checked-in runs."""

import pytest

from benchmarks.pages.records import DOCS
from benchmarks.pages.render import PAGES, Pages

COMMITTED = Pages()


@pytest.mark.parametrize("page", PAGES)
def test_a_committed_page_is_what_its_template_and_the_runs_give(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == COMMITTED.render(page)
