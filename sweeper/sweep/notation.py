"""Values and combinations as users write them. No pandas here: watch starts fast."""

from collections.abc import Collection, Sequence

CROSSED = ("seed", "data", "data.root")  # not factors of a design: every row is run with each of their values
# What the first combination is called in designs where one factor changes at a time.
REFERENCES = {"one_at_a_time": "baseline", "leave_one_out": "full recipe"}
SHOWN_AS = {"dropout": "dropout.rate"}  # groups that tables and effects have as a setting, which is all of the group

QUOTES = "'\""


def normalized(text: str) -> str:
    """Return a text with its numbers in one notation, without spaces and quotes between brackets."""
    if text[:1] in ("[", "(") and text[-1:] in ("]", ")"):
        return f"[{','.join(normalized(part.strip().strip(QUOTES)) for part in text[1:-1].split(','))}]"
    try:
        return repr(float(text))
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else text


def is_crossed(key: str) -> bool:
    """Return whether a key, or the key of an override, is crossed with a design."""
    return key.partition("=")[0].lstrip("+") in CROSSED


def swept_overrides(
    jobs: Sequence[Sequence[str]], design: str = "product", searched: Collection[str] = ()
) -> list[str]:
    """Return what distinguishes each job from the others, as one text.

    Args:
        jobs: the overrides of each; of a design with a reference, the first is the reference.
        design: see sweeper.sweep.designs.rows.
        searched: keys that later jobs may change, so that they distinguish jobs already.

    Returns:
        The overrides that some other job does not have, none of a single job. Of a design that changes one factor at a
        time, what changes in the reference, such as `norm=batch seed=0`; the reference itself is called as it is, such
        as `baseline seed=0`.
    """
    shared = set.intersection(*map(set, jobs)) if jobs else set()
    common = {override for override in shared if override.partition("=")[0] not in searched}
    if design not in REFERENCES or not jobs:
        return [" ".join(override for override in job if override not in common) for job in jobs]
    found = []
    for job in jobs:
        changes = [override for override in job if override not in jobs[0] and not is_crossed(override)]
        crossed = [override for override in job if override not in common and is_crossed(override)]
        found.append(" ".join([*(changes or [REFERENCES[design]]), *crossed]))
    return found
