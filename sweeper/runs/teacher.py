"""The trained network that a loss learns from: another run's best.pt."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from sweeper.choice import SLOTS, is_off
from sweeper.config import Config, as_recorded
from sweeper.data.cache import Cached
from sweeper.errors import UserError
from sweeper.models import MODELS
from sweeper.runs import checkpoint
from sweeper.runs.directory import RunDirectory
from sweeper.runs.extensions import loaded_files
from sweeper.runs.fingerprint import REGISTRIES, chosen_code, steps_code
from sweeper.training.build import choose_all, seeded_model
from sweeper.training.task_checks import task_of_model

NETWORK = ("model", "architecture", *SLOTS)  # the groups that a network is built from


def describe_network(config: Config, cached: Cached) -> dict[str, Any]:
    """Return what best.pt records to rebuild its network and to check that it gets the same kind of images."""
    images = {"input_shape": list(cached.input_shape), "classes": list(cached.classes)}
    images |= {"mean": list(config.data.mean or []), "std": list(config.data.std or [])}
    return {"groups": {group: as_recorded(getattr(config, group)) for group in NETWORK}, "images": images}


def find_teacher(config: Config) -> Path:
    """Return the best.pt that `loss.teacher` names: a file, or the ID of a finished run.

    Raises:
        UserError: there is none.
    """
    runs = Path(config.output_dir) / "runs"
    if config.loss.teacher is None:
        raise UserError(f"loss.teacher=null: loss={config.loss.name} needs the ID of a finished run in {runs}")
    file = Path(config.loss.teacher)
    if file.is_file():
        return file
    record = RunDirectory(runs / file.name)
    if not record.is_finished():
        raise UserError(f"loss.teacher={file} is neither a finished run in {runs} nor a best.pt")
    return record.best


def load_teacher(config: Config, cached: Cached) -> nn.Module | None:
    """Build the network in the file `loss.teacher`, in evaluation mode; None where the loss has no teacher.

    Raises:
        UserError: the file is missing or damaged, or the network was trained on other images.
    """
    if config.loss.teacher is None:
        return None
    named = f"loss.teacher={config.loss.teacher}"
    content = read_teacher(config.loss.teacher)
    expected = describe_network(config, cached)["images"]
    model = content["network"]["groups"]["model"]["name"]
    if model in MODELS and task_of_model(model) != config.task.name:
        raise UserError(f"{named} is for task={task_of_model(model)}, not for task={config.task.name}")
    for key, value in content["network"]["images"].items():
        if value != expected[key]:
            raise UserError(f"{named} was trained on images with {key}={value}; those of this run have {expected[key]}")
    try:
        groups = {group: type(getattr(config, group))(**it) for group, it in content["network"]["groups"].items()}
        config = replace(config, **groups)
        model = seeded_model(config, choose_all(config), cached)
    except (TypeError, UserError) as error:
        raise UserError(f"{named} contains a network that this version cannot build: {error}") from error
    checkpoint.load_weights(content, model)
    return model.requires_grad_(False).eval()


def read_teacher(file: str) -> checkpoint.Checkpoint:
    """Read the file of a teacher.

    Raises:
        UserError: it is missing or damaged, or contains no network.
    """
    try:
        content = checkpoint.load(Path(file))
    except (FileNotFoundError, checkpoint.Damaged) as error:
        raise UserError(f"loss.teacher={file} is missing or damaged") from error
    if not content.get("network") or "model" not in content:
        raise UserError(f"loss.teacher={file} does not record its network; retrain that run")
    return content


def digest_of(file: str) -> str:
    """Hash what determines a teacher's logits: its file, and the code that builds its network.

    Raises:
        UserError: see `read_teacher`.
    """
    groups = read_teacher(file)["network"]["groups"]
    named = {group: it for group, it in groups.items() if group in REGISTRIES}
    code = {group: chosen_code(REGISTRIES[group][0], str(it["name"]), loaded_files()) for group, it in named.items()}
    steps = [key for key, value in groups.get("architecture", {}).items() if not is_off(value)]
    code |= steps_code("architecture", steps, loaded_files())
    content = Path(file).read_bytes() + json.dumps(code, sort_keys=True).encode()
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
