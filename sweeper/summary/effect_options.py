"""The options of `effects` and `report`: what their runs are compared with, by which measures, and how."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.errors import UserError

if TYPE_CHECKING:
    from sweeper.summary.study import Method

Baseline = Annotated[list[str] | None, typer.Option(metavar="AXIS=VALUE", help="Baseline of an axis; may be repeated.")]
Tune = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY", help="Compare each configuration at its best KEY by val_acc; may be repeated."),
]
Measure = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Compare by this measure: test_macro_f1, test_ece, test_acc[CLASS], ...; may be repeated."
    ),
]
Anytime = Annotated[
    bool, typer.Option("--anytime", help="Use p values and intervals that stay valid when seeds are added later.")
]
DivergedAsChance = Annotated[
    bool, typer.Option("--diverged-as-chance", help="Count diverged runs as chance accuracy, 1 / number of classes.")
]


def given_values(texts: Sequence[str]) -> dict[str, str]:
    """Return the baseline value of each axis from texts AXIS=VALUE.

    Raises:
        UserError: a text has no `=`.
    """
    for text in texts:
        if "=" not in text:
            raise UserError(f"--baseline {text}: must be AXIS=VALUE, such as norm=none")
    return {axis: value for axis, _, value in (text.partition("=") for text in texts)}


@dataclass(frozen=True)
class EffectOptions:
    """How runs are compared, as it is typed.

    Attributes:
        baseline: texts AXIS=VALUE.
        tune: settings, each configuration at its best value.
        measure: by which runs are compared; none: the usual ones.
        anytime: whether p and intervals stay valid when seeds are added.
        diverged_as_chance: whether diverged runs count as chance accuracy.
    """

    baseline: Sequence[str] = ()
    tune: Sequence[str] = ()
    measure: Sequence[str] = ()
    anytime: bool = False
    diverged_as_chance: bool = False

    @property
    def given(self) -> dict[str, str]:
        """The given baseline value of each axis, see `given_values`."""
        return given_values(self.baseline)

    def method(self, precision: float | None = None, measures: Sequence[str] = ()) -> "Method":
        """Return the method of comparison.

        Args:
            precision: the sweep.precision of the runs' sweep; None if there was none.
            measures: see sweeper.summary.effects_text.known_measures.
        """
        from sweeper.summary.study import Method  # imports pandas

        return Method(
            tuned=self.tune,
            measures=measures,
            is_anytime=self.anytime,
            precision=precision,
            is_chance=self.diverged_as_chance,
        )

    @property
    def text(self) -> str:
        """The options as they are typed on a command line; empty for the defaults."""
        repeated = {"--baseline": self.baseline, "--tune": self.tune, "--measure": self.measure}
        words = [word for flag, values in repeated.items() for value in values for word in (flag, value)]
        words += ["--anytime"] * self.anytime + ["--diverged-as-chance"] * self.diverged_as_chance
        return shlex.join(words)
