"""my_scheduler: a learning-rate schedule.

Train with it:

    python train.py extend=my_scheduler.py scheduler=my_scheduler data=digits

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`scheduler.decay=1` changes it, and `-m scheduler.decay=0.1,1` sweeps over it.
After an edit, runs that used what was edited are trained again.
"""

from collections.abc import Callable, Sequence


def my_scheduler(
    steps_per_epoch: int, total_steps: int, *, decay: float = 0.5
) -> Callable[[int, Sequence[float]], float]:
    """Return the factor of the peak learning rate at a step, a pure function: 1 / (1 + decay * epochs done).

    The function gets the number of steps done, and the selected validation metric of the epochs so far (negated where
    lower is better).
    """

    def factor(step: int, scores: Sequence[float]) -> float:
        return 1 / (1 + decay * step / steps_per_epoch)

    return factor


SCHEDULERS = {"my_scheduler": my_scheduler}  # choices by name; one file may have several, of several groups
