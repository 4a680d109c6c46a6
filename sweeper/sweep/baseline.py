"""The baseline value of a setting that varies: with which its other values are compared, everywhere.

A sweep with sweep.precision adds seeds until the effects against this value are known, and `effects` and the report
show the same effects. It does not depend on the order in which values were typed, which a folder of runs does not have.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from sweeper.config import Config
from sweeper.runs.directory import flat_settings

STAR = 3  # settings that vary, at least, in what is taken for one_at_a_time or leave_one_out
DESIGNED = 2 / 3  # of the configurations: more are the design, so that the others were added to it
CONF = Path(__file__).parents[2] / "conf"


def choose_baseline(setting: str, values: Sequence[Any], defaults: Mapping[str, Any]) -> Any:
    """Return the value with which the others are compared.

    It is the default, else null if the group is absent by default (mixing=none), else the most common value.

    Args:
        setting: that varies.
        values: of each run.
        defaults: see `config_defaults`.
    """
    if setting in defaults and defaults[setting] in values:
        return defaults[setting]
    if setting in defaults and None in values:
        return None
    return most_common(values)


def center(rows: Iterable[tuple[Any, ...]]) -> tuple[Any, ...] | None:
    """Return the configuration of which the others are single changes, as in one_at_a_time and leave_one_out.

    Its values are then those with which the others are compared: in leave_one_out the full recipe's. A few runs beside
    such a design, which change more of its settings, do not hide it, see `is_beside`.

    Args:
        rows: the values of the settings that vary, of each run.

    Returns:
        None where at most DESIGNED of the configurations are such, or where these change fewer than STAR settings: a
        part of all combinations could be one by chance.
    """
    distinct = {*rows}
    middle = tuple(most_common(values) for values in zip(*distinct, strict=True))
    single = [row for row in distinct if not is_beside(row, middle)]
    varying = sum(len({*values}) > 1 for values in zip(*single, strict=True))
    if middle not in distinct or varying < STAR or len(single) <= DESIGNED * len(distinct):
        return None
    return middle


def is_beside(row: Sequence[Any], middle: Sequence[Any]) -> bool:
    """Return whether a configuration differs from the center in several settings, and is no part of its design."""
    return [cell == usual for cell, usual in zip(row, middle, strict=True)].count(False) > 1


def most_common(values: Sequence[Any]) -> Any:
    """Return the value that occurs most often, the smallest in a tie."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], sort_key(value)))


def sort_key(value: Any) -> tuple[int, float, str]:
    """Return a key that sorts null before numbers before texts."""
    if value is None:
        return 0, 0, ""
    return (1, value, "") if isinstance(value, int | float) else (2, 0, str(value))


def typed_value(text: str, default: Any) -> Any:
    """Return the value that a text of the command line stands for.

    Args:
        text: of a value.
        default: of its setting, which the text may spell in another way; None where there is none.
    """
    if isinstance(default, str) and "".join(text.split()) == "".join(default.split()):
        return default
    if text in ("null", "true", "false"):
        return {"null": None, "true": True, "false": False}[text]
    try:
        return float(text)
    except ValueError:
        return text


@cache
def config_defaults(conf: Path | None = None) -> Mapping[str, Any]:
    """Return the presets in the defaults list of conf/config.yaml and their settings; empty without that file.

    The settings of a group of steps are null where the preset leaves them out.

    Args:
        conf: another folder than conf/.
    """
    folder = conf or CONF
    file = folder / "config.yaml"
    entries = OmegaConf.to_container(OmegaConf.load(file)) if file.is_file() else {}
    defaults: dict[str, Any] = {}
    for entry in entries.get("defaults", []) if isinstance(entries, dict) else []:
        for group, preset in entry.items() if isinstance(entry, dict) else ():
            chosen = folder / str(group) / f"{preset}.yaml"
            if chosen.is_file() and isinstance(content := OmegaConf.to_container(OmegaConf.load(chosen)), dict):
                off = {} if "name" in content else asdict(getattr(Config(), str(group)))
                defaults |= flat_settings({str(group): off | content}) | {str(group): str(preset)}
    return defaults
