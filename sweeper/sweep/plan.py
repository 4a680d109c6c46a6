"""From the overrides of a sweep to its jobs, all of them checked before the first one starts."""

import itertools
from collections.abc import Callable, Iterable, Sequence

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from sweeper.build import check
from sweeper.config import Config, validate
from sweeper.data import Cached, prepare
from sweeper.errors import UserError
from sweeper.identity import choose_all

Job = list[str]  # the overrides of one combination


def expand(overrides: Iterable[Override]) -> list[Job]:
    """The Cartesian product of all swept values, in Hydra's order: the last key advances fastest.

    Where a key is given twice, the later one counts.

    Raises:
        HydraException: an override sweeps over an interval, which has no list of values.
    """
    values: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            values[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            values[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            raise HydraException(f"{override.input_line}: a grid needs values, such as {key}=1,2,3 or {key}=range(1,4)")
    return [list(job) for job in itertools.product(*values.values())]


def check_all(jobs: Sequence[Job], compose: Callable[[Job], Config]) -> None:
    """Compose and check every job; a dataset that several share is prepared once.

    Raises:
        UserError: a job cannot run; the sentence ends with its overrides.
    """
    prepared: dict[str, Cached] = {}
    for job in jobs:
        try:
            config = compose(job)
            validate(config)
            choices = choose_all(config)
            key = repr(config.data)
            prepared[key] = prepared.get(key) or prepare(config.data)
            check(config, choices, prepared[key])
        except UserError as error:
            raise UserError(f"{error} (in {' '.join(job)}; nothing was started)") from error
