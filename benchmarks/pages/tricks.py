"""The tricks of the study: their names, and what others claim for them."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.pages.records import DOCS, read_table
from sweeper.summary.columns import format_override
from sweeper.summary.effects_tables import name_change
from sweeper.summary.inference import Comparison


@dataclass(frozen=True)
class Trick:
    """A change of a study.

    Attributes:
        name: as people call it.
        claim: what others claim for it, with the source; empty where nothing is cited.
    """

    name: str
    claim: str = ""


def read_tricks() -> dict[str, Trick]:
    """Read docs/claims.csv: the tricks by change, as effects name it, such as `mixing=mixup`."""
    rows = read_table(DOCS / "claims.csv").fillna("").itertuples(index=False)
    return {change: Trick(name, claim) for change, name, claim in rows}


def trick_of(comparison: Comparison, tricks: Mapping[str, Trick]) -> Trick:
    """Return the trick of a comparison; one that has no entry is named after its setting.

    A trick of several settings has the entry of the first.
    """
    change = comparison.changes[0]
    first = f"{change.axis}={format_override(change.value)}"
    return tricks.get(first, Trick(name_change(comparison)))
