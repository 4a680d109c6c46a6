"""The pages that are written from checked-in runs."""

import pytest

from benchmarks.pages.records import DOCS
from benchmarks.pages.render import PARTS, WHOLE, Pages, with_parts

COMMITTED = Pages()


@pytest.mark.parametrize("page", WHOLE)
def test_a_committed_page_is_what_its_template_and_the_runs_give(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == COMMITTED.render(page)


@pytest.mark.parametrize("page", PARTS)
def test_the_committed_parts_of_a_page_are_what_their_templates_and_the_runs_give(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == with_parts(page, COMMITTED)
