"""Runs to estimate, for the tests of estimates and of probes."""

import copy
import functools
from collections.abc import Callable

from support import composed

from sweeper.runs.spec import RunSpec, resolve
from sweeper.sweep.estimate import Estimator

MLP = ("model=mlp", "model.hidden=[16]")
known = functools.cache(composed)


def case_maker(small: list[str]) -> Callable[..., RunSpec]:
    """Resolve a planned run; its 96 training images take as long as the records and the probe of a test say."""

    def make(*overrides: str) -> RunSpec:
        return resolve(copy.deepcopy(known(*small, "device=cpu", "epochs=10", *overrides)))

    return make


def seconds_of(estimator: Estimator, spec: RunSpec, *, parameters: int = 1000, done: int = 0) -> float | None:
    """Estimate the seconds that a run has left."""
    found = estimator.estimate(spec, parameters, done)
    return None if found is None else found.seconds
