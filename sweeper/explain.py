"""What Hydra and OmegaConf refuse, in sentences: the offending key=value and what to write instead."""

import re
import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from sweeper.config import Config, settings
from sweeper.errors import format_names, nearest
from sweeper.typed import as_multirun, quote

CONF = Path(__file__).resolve().parent.parent / "conf"
MOVED = {
    "target_acc": "--target-acc of python -m sweeper summary, effects, curves and report",
    "convergence_fraction": "--convergence-fraction of python -m sweeper summary, effects, curves and report",
    "augmentation.padding": "augmentation.crop_padding",
    "augmentation.size": "augmentation.cutout",
    "label_smoothing": "loss.label_smoothing",
}  # settings of version 0.1, and their replacements
ELSEWHERE = {
    "learning_rate": ["optimizer.lr"],
    "wd": ["optimizer.weight_decay"],
    "bs": ["batch_size"],
    "dataset": ["data"],
    "dropout": ["dropout.rate"],
}  # what other programs call a setting, by the last part of its name
FORMS = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "str": "a string",
    "list[int]": "a list of integers, such as [512,256]",
    "list[float]": "a list of numbers, such as [0.9,0.999]",
    "list[str]": "a list of texts, such as [a,b]",
    "list[list[str]]": "a list of lists of keys, such as [[model,optimizer]]",
    "list[dict[str, Any]]": "a list of combinations, such as [{model:cnn,activation:selu}]",
}  # of a setting's values, by its type
OF_A_CHOICE = "Config group override must be"  # a string or a list; the beginning of a ValueError of Hydra
# Hydra's refusals of a + or ++ in front of an override.
ADDED = re.compile(r"(?:use 'override |groups is not supported: '\+\+|Either remove \+ prefix: ')(?P<override>.*)'")


def is_of_a_choice(error: BaseException) -> bool:
    """Return whether Hydra raised this since the choice of a group is no name."""
    return isinstance(error, ValueError) and str(error).startswith(OF_A_CHOICE)


def explain(error: BaseException) -> str:
    """Explain an error of Hydra or OmegaConf, with the valid choices."""
    if isinstance(error, OverrideParseException):
        return explain_syntax(str(error.override), sys.argv[1:])
    if is_of_a_choice(error):
        return explain_choice(str(error))
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"unknown choice {group}={name}{nearest(name, error.options)}; choose from {format_names(error.options)}"
    return explain_composition(error)


def explain_composition(error: BaseException) -> str:
    """Explain an error that an override, or a value in a file, causes when Hydra composes the config."""
    text = str(error)
    if (file := re.match(r"In 'experiment/([^']+)'.*\s+Key 'experiment' not in 'Config'", text)) is not None:
        first = "# @package _global_, without a byte order mark before it"
        return f"experiment={file[1]}: the first line of an experiment's file must be {first}"
    if (swept := re.match(r"Ambiguous value for argument '(.*)'", text)) is not None:
        key, _, values = swept[1].partition("=")
        as_list = f"; or write {key}=[{values}] for a list" if key in list_settings() and "[" not in values else ""
        return f"{swept[1]} has several values; use -m to sweep over them: {as_multirun()}{as_list}"
    if (added := ADDED.search(text)) is not None:
        override = added["override"].replace(": ", "=")
        return f"+{override}: drop the +; {override.partition('=')[0]} already has a value"
    return explain_value(error)


def list_settings() -> list[str]:
    """Return the settings that are lists of numbers."""
    return [key for key, item, _ in settings(Config()) if str(item.type).startswith(("list[int]", "list[float]"))]


def explain_value(error: BaseException) -> str:
    """Explain an error of OmegaConf by the key that it concerns, and the override where it names one."""
    inner = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    merged = re.search(r"Error merging override (.*)|To append to your config use \+(.*)", str(error))
    key, override = getattr(inner, "full_key", None), "" if merged is None else merged[1] or merged[2]
    if override and not isinstance(key, str):  # an index in a list
        key = override.lstrip("+").partition("=")[0]
    if isinstance(key, str) and key.startswith("hydra.") and override:
        return explain_hydra_setting(key, override)
    if isinstance(inner, InterpolationResolutionError):
        return f"{key}: {str(inner).splitlines()[0]}"
    if isinstance(key, str) and sibling_keys(key):
        return explain_setting(inner, key.partition("[")[0], override)
    return " ".join(str(error if key is None else inner).partition("full_key:")[0].split())


def explain_syntax(override: str, arguments: Sequence[str]) -> str:
    """Explain an override that Hydra's grammar does not read.

    Args:
        arguments: of the command.
    """
    at = arguments.index(override) if override in arguments else len(arguments)
    before, after = arguments[at - 1] if at else "", arguments[at + 1] if at + 1 < len(arguments) else ""
    key, equals, value = override.partition("=")
    typed, loose = override, not after.startswith("-") and "=" not in after.lstrip("=")
    if not equals and before.endswith(("=", ",")):
        typed, corrected = f"{before} {override}", before + override
    elif not equals and is_like_a_value(override, before):
        values = [override, *takewhile(lambda word: is_like_a_value(word, before), arguments[at + 1 :])]
        typed, corrected = " ".join([before, *values]), ",".join([before, *values])
    elif not equals:
        typed, corrected = (
            (f"{override} {after}", f"{key}={after.lstrip('=')}") if after and loose else (override, f"{key}=VALUE")
        )
    elif value.startswith("="):
        corrected = f"{key}={value.lstrip('=')}"
    elif re.search(r"(^|,)\s*(,|$)", value):
        rest = ("," + after) if after and loose else ""
        typed = f"{override} {after}" if rest else override
        corrected = f"{key}={','.join(filter(None, (value + rest).split(',')))}"
    else:
        return f"{override}: a value with such characters is put in quotes; write '{key}={quote(value)}'"
    form = "a setting is KEY=VALUE without blanks, and a sweep's values are separated by commas"
    return f"{typed}: {form}; write {corrected}"


def is_like_a_value(word: str, before: str) -> bool:
    """Return whether a word is a value of the setting or group before it: a choice, a file, or at least no key.

    Args:
        before: the argument before it, `KEY=VALUE`; after a flag there are no values.
    """
    key, equals, _ = before.partition("=")
    if not equals or before.startswith("-") or "=" in word or word.startswith("-"):
        return False
    suffix = Path(word).suffix
    return word in choices_of(key) or (suffix != "" and before.endswith(suffix)) or not is_like_a_key(word)


def is_like_a_key(word: str) -> bool:
    """Return whether a word is a setting or a group, by a name that this program or another one has, or nearly so."""
    siblings, (group, dot, _) = sibling_keys(word), word.partition(".")
    is_in_group = dot != "" and (siblings != [] or nearest(group, sibling_keys("")) != "")
    return word in siblings or word in ELSEWHERE or bool(nearest(word, siblings)) or is_in_group


def choices_of(group: str) -> list[str]:
    """Return the choices of a group, those of extensions included; none where there is no such group."""
    stored = ConfigStore.instance().repo.get(group, {})
    return [file.stem for file in (CONF / group).glob("*.yaml")] + [name.removesuffix(".yaml") for name in stored]


def explain_choice(message: str) -> str:
    """Explain that a group was given a number, a dict, null or a truth value, by the arguments of the command."""
    groups = [item.name for item in fields(Config) if "help" not in item.metadata]
    for key, _, value in (argument.partition("=") for argument in sys.argv[1:]):
        words = [part for part in value.split(",") if part.lower() in ("null", "true", "false")]
        wrong = words or [part for part in value.split(",") if not re.match(r"[a-z_]", part, re.IGNORECASE)]
        if key in groups and wrong:
            values = [part for part in wrong if part]
            numbers = [name for name in numeric_settings(key) if len(numeric_settings(key)) == 1]
            setting = (
                f", or set {numbers[0]}={','.join(values)}"
                if numbers
                else f", or set one of {format_names(sibling_keys(f'{key}.'))}"
            )
            rest = "" if words or not values else setting
            return f"{key}={value}: {key} is a group; choose from {format_names(choices_of(key))}{rest}"
    return message


def numeric_settings(group: str) -> list[str]:
    """Return the settings of a group that are a number."""
    return [
        key
        for key, item, _ in settings(Config())
        if key.startswith(f"{group}.") and re.match("int|float", str(item.type))
    ]


def explain_hydra_setting(key: str, override: str) -> str:
    """Explain an override of a setting that Hydra, a launcher or a sweeper does not have.

    Args:
        key: of the setting.
        override: as typed.
    """
    _, kind, name = key.split(".", 2) if key.count(".") > 1 else ("", "", "")
    if kind not in ("launcher", "sweeper"):
        return f"{override}: there is no such setting of Hydra; where one can be added, write +{override}"
    default = "basic" if kind == "launcher" else "grid"
    chosen = [argument.partition("=")[2] for argument in sys.argv[1:] if argument.startswith(f"hydra/{kind}=")]
    choice, known = (chosen or [default])[-1], keys_of_choices(kind)
    close = nearest(name, known.get(choice, []), "") if choice in known else ""
    others = [f"hydra/{kind}={other}" for other, keys in sorted(known.items()) if name in keys]
    hint = f"; it belongs to {', '.join(others)}: add one of these" if others else ""
    valid = f"; settings: {format_names(known[choice])}" if known.get(choice) and not others else ""
    return f"{override}: hydra/{kind}={choice} has no {name}{close}{hint}{valid}"


def keys_of_choices(kind: str) -> dict[str, list[str]]:
    """Return the settings of each launcher or sweeper, by its name."""
    nodes = {name.removesuffix(".yaml"): stored for name, stored in ConfigStore.instance().repo["hydra"][kind].items()}
    known = {name: [str(key) for key in stored.node] for name, stored in nodes.items() if hasattr(stored, "node")}
    known |= {file.stem: [str(key) for key in OmegaConf.load(file)] for file in (CONF / "hydra" / kind).glob("*.yaml")}
    hidden = ("defaults", "params")
    return {name: [key for key in keys if key[0] != "_" and key not in hidden] for name, keys in known.items()}


def explain_setting(error: BaseException, key: str, override: str) -> str:
    """Explain an error of OmegaConf that concerns a key at the level of a setting.

    Args:
        override: as typed; empty where the value comes from a file.
    """
    if key in MOVED:
        none = "; None is written null" if override.endswith("=None") else ""
        return f"{key} is no longer a setting; use {MOVED[key]}{none}"
    if "not in" in str(error):
        return explain_unknown(key)
    types = {name: str(item.type).removesuffix(" | None") for name, item, _ in settings(Config())}
    if override.startswith("~"):
        return f"{override}: a setting cannot be removed; set {key}=VALUE"
    typed = override or f"{key}={getattr(error, 'value', '')}"
    if key in types:
        return f"{typed}: must be {FORMS[types[key]]}{corrected(key, typed, types[key])}"
    return f"{typed}: {key} is a group of settings: {format_names(sibling_keys(f'{key}.'))}"


def explain_unknown(key: str) -> str:
    """Explain that there is no such setting, with those that are like it."""
    last = key.rpartition(".")[2]
    elsewhere = [name for name, _, _ in settings(Config()) if name.rpartition(".")[2] == last]
    if elsewhere := elsewhere or ELSEWHERE.get(last, []):
        return f"unknown setting {key} (did you mean {format_names(elsewhere)}?)"
    siblings, (group, dot, _) = sibling_keys(key), key.rpartition(".")
    return f"unknown setting {key}{nearest(key, siblings, group + dot)}; valid: {format_names(siblings)}"


def corrected(key: str, typed: str, type_name: str) -> str:
    """Return what to write instead of a value of the wrong type, as the end of a sentence, where that is known."""
    value = typed.rpartition("=")[2]
    if value == "None":
        is_nullable = any(name == key and "None" in str(item.type) for name, item, _ in settings(Config()))
        return f"; None is written null: {key}=null" if is_nullable else ""
    try:
        number = float(value)
    except ValueError:
        return ""
    if type_name == "int" and number.is_integer():
        return f"; {key}={int(number)} is one"
    return f"; write {key}=[{value}]" if type_name in ("list[int]", "list[float]") else ""


def sibling_keys(key: str) -> list[str]:
    """Return every valid key at the level of this key."""
    level: Any = Config()
    prefix = ""
    for name in key.split(".")[:-1]:
        level, prefix = getattr(level, name, None), f"{prefix}{name}."
    return [f"{prefix}{item.name}" for item in fields(level)] if is_dataclass(level) else []
