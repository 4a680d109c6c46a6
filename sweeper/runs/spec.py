"""Which run this is: config -> effective config -> run id. What cannot change the result does not change the id."""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeper.choice import SLOTS, keyword_only
from sweeper.config import Config
from sweeper.training.build import Choices

# What cannot change the weights: where files lie, how the machine is used, and how the finished curve is read.
NOT_IDENTITY = (
    ("sweep", "device", "threads", "compile", "output_dir", "checkpoint_minutes", "convergence_fraction", "target_acc"),
    ("root", "cache", "url", "sha256"),
)


def effective_config(config: Config, choices: Choices, fingerprint: str) -> dict[str, Any]:
    """The config less what the model does not use and what cannot change the result, with the dataset's fingerprint."""
    whole = asdict(config)
    top, of_data = NOT_IDENTITY
    effective: dict[str, Any] = {key: value for key, value in whole.items() if key not in top and value is not None}
    for group, values in effective.items():
        if isinstance(values, dict):
            effective[group] = {key: value for key, value in values.items() if value is not None}
    effective["data"] = {key: value for key, value in effective["data"].items() if key not in of_data}
    effective["data"]["fingerprint"] = fingerprint
    for slot in SLOTS:
        if slot not in keyword_only(choices.model):
            del effective[slot]
    if "dropout" in effective:  # what counts is the rate, not the name it was chosen by
        rate = effective.pop("dropout")["rate"]
        effective |= {"dropout": {"rate": rate}} if rate > 0 else {}
    if config.model.weights not in (None, "imagenet") and Path(config.model.weights).is_file():
        content = Path(config.model.weights).read_bytes()
        effective["model"]["weights"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return effective


def run_id(effective: dict[str, Any]) -> str:
    """`<readable slug>-<10 hex digits>`; the digits follow from the canonical JSON of the effective config."""
    words = [effective["model"]["name"]]
    for group, plain in (("activation", ""), ("norm", "none"), ("optimizer", ""), ("scheduler", "constant")):
        words += [effective[group]["name"]] if group in effective and effective[group]["name"] != plain else []
    words += [f"dropout{effective['dropout']['rate']:g}"] if "dropout" in effective else []
    words += [effective["augmentation"]["name"]] if effective["augmentation"]["name"] != "none" else []
    words += [effective["data"]["name"], f"s{effective['seed']}"]
    canonical = json.dumps(effective, sort_keys=True, separators=(",", ":"))
    slug = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", word) for word in words)
    return f"{slug}-{hashlib.sha256(canonical.encode()).hexdigest()[:10]}"
