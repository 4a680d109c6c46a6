"""The run that a config describes: validated config -> chosen functions -> effective config -> run id."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from sweeper.choice import SLOTS, keyword_only
from sweeper.config import NOT_IDENTITY, Config, to_config, validate
from sweeper.data.cache import Cached, prepare
from sweeper.data.source import UNLABELED
from sweeper.data.validation import check_data, count_train_images, resolve_val_size, warn_about_split
from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.extensions import check_loaded, load_recorded, used
from sweeper.runs.fingerprint import REGISTRIES, STEPS, Code, code_of
from sweeper.runs.teacher import digest_of, find_teacher, load_teacher
from sweeper.training.build import Choices, choose_all
from sweeper.training.loop import num_selected
from sweeper.training.task_checks import check_task, selected

OF_DATA = ("root", "cache", "url", "sha256", "test_size")  # where images come from, which count by content


@dataclass(frozen=True)
class RunSpec:
    """A run that a config describes, resolved once and passed to planner, run and evaluation.

    Attributes:
        config: validated, its `extend` the files that the run uses, its `data.val_size` a number, unless the dataset
            has validation images of its own, its `data.train_size` null where it is all images. Nothing changes it.
        choices: the functions that the config's groups choose.
        cached: the decoded dataset.
        effective: the settings that can change the result, see `effective_config`.
        code: the code that the result depends on, see sweeper.runs.fingerprint.
        labels: the preset of each group, for tables.
    """

    config: Config
    choices: Choices
    cached: Cached
    effective: dict[str, Any]
    run_id: str
    code: Code
    labels: Mapping[str, str]

    @property
    def num_train(self) -> int:
        """How many images the run trains on."""
        return count_train_images(self.config.data, self.cached)

    @property
    def missing_slots(self) -> tuple[str, ...]:
        """The slots that the model lacks."""
        return tuple(slot for slot in SLOTS if slot not in keyword_only(self.choices.model))

    @property
    def num_test(self) -> int:
        """The number of test images."""
        return self.cached.num_test

    @property
    def record(self) -> RunDirectory:
        """The run's directory, whether or not it exists."""
        return RunDirectory(Path(self.config.output_dir) / "runs" / self.run_id)


def resolve(config: Config, *, labels: Mapping[str, str] | None = None, cached: Cached | None = None) -> RunSpec:
    """Validate a config and resolve everything that follows from it before training.

    Args:
        config: as composed.
        labels: see RunSpec.
        cached: the config's dataset if it is already prepared; else it is loaded from the cache or decoded into it.

    Raises:
        UserError: a setting is out of range or unused, or the images or a teacher are missing or unreadable.
    """
    config, choices = settle(config)
    extensions = used(config, {group: getattr(choices, group) for group in STEPS})
    cached = cached or prepare(config.data)
    given = config.data.val_size
    names = [extension.given for extension in extensions]
    config = replace(config, data=resolve_val_size(config.data, cached), extend=names)
    check_data(config.data, cached.num_train, cached.input_shape[0])
    warn_about_split(given, config.data, cached, config.seed)
    if config.data.train_size == count_train_images(all_images := replace(config.data, train_size=None), cached):
        config = replace(config, data=all_images)
    check_cutout(config, min(cached.input_shape[1:]))
    check_ghosts(config, count_train_images(config.data, cached))
    check_ignored(config.task.ignore_index, cached.classes)
    load_teacher(config, cached)
    effective = effective_config(config, choices, cached.fingerprint)
    code = code_of(effective, tuple(extension.file for extension in extensions))
    return RunSpec(config, choices, cached, effective, run_id(effective), code, labels or {})


def check_ignored(ignored: int | None, classes: Sequence[str]) -> None:
    """Refuse a value to ignore that no mask has.

    Raises:
        UserError: it is neither UNLABELED nor one of the classes.
    """
    if ignored is not None and len(classes) <= ignored != UNLABELED:
        raise UserError(
            f"task.ignore_index={ignored} has no effect, since masks have the classes 0 to {len(classes) - 1}; "
            f"choose one of them, or {UNLABELED}"
        )


def settle(config: Config) -> tuple[Config, Choices]:
    """Validate a config, and return it with what its settings choose, as far as it can be told without the images.

    Raises:
        UserError: see `resolve`.
    """
    validate(config)
    check_loaded(config.extend)
    choices = choose_all(config)
    check_shared_settings(config)
    check_task(config, choices)
    config = replace(config, select=selected(config, choices))
    if "teacher" in choices.loss.keywords:
        config = replace(config, loss=replace(config.loss, teacher=str(find_teacher(config))))
        choices = choose_all(config)
    return config, choices


def resolve_recorded(record: RunDirectory, data: Mapping[str, Any] | None = None, **changes: Any) -> RunSpec:
    """Resolve the run that a directory records.

    Args:
        record: its run.json is read.
        data: changes to the settings of data, such as another root.
        changes: to the recorded config.

    Raises:
        UserError: another version wrote the record, the images have moved or changed meanwhile, or see `resolve`.
    """
    run = record.run() or {}
    load_recorded(record)
    try:
        config, fingerprint = to_config(run["config"]), run["dataset"]["fingerprint"]
    except (OmegaConfBaseException, KeyError, TypeError) as error:
        raise UserError(f"{record.folder}/run.json was written by another version of this program") from error
    data = data or {}
    config = replace(config, data=replace(config.data, **data), **changes)
    try:
        spec = resolve(config)
    except UserError as error:
        root = config.data.root
        if "root" in data or root is None or Path(root).exists():
            raise
        raise UserError(f"the images of {record.run_id} are not in {root}; give data.root=DIR") from error
    if spec.cached.fingerprint != fingerprint:
        named = f"data.root={data['root']}" if "root" in data else f"data={config.data.name}"
        raise UserError(f"{named}: images differ from those that {record.run_id} was trained on")
    return spec


def effective_config(config: Config, choices: Choices, fingerprint: str) -> dict[str, Any]:
    """Return the settings that can change the result, with the dataset's fingerprint.

    Slots that the model lacks, settings that are null and groups that do nothing are left out, so that a new setting
    or a new group does not change the IDs of earlier runs.
    """
    effective: dict[str, Any] = {key: value for key, value in asdict(config).items() if key not in NOT_IDENTITY}
    effective["select"] = selected(config, choices)
    effective = {key: value for key, value in effective.items() if value is not None}
    for group, values in effective.items():
        if isinstance(values, dict):
            effective[group] = {key: value for key, value in values.items() if value is not None}
    effective["data"] = {key: value for key, value in effective["data"].items() if key not in OF_DATA}
    effective["data"]["fingerprint"] = fingerprint
    if effective["data"].get("resize") == "squeeze":  # as before there was a choice
        del effective["data"]["resize"]
    missing = [slot for slot in SLOTS if slot not in keyword_only(choices.model)]
    idle = [group for group, (_, idle) in REGISTRIES.items() if idle is not None and effective[group]["name"] == idle]
    for group in (*missing, *idle):
        del effective[group]
    if effective.get("dropout", {}).get("name") == "dropout":  # the default kind has no name: only its rate counts
        del effective["dropout"]["name"]
    if effective.get("activation", {}).get("name") == "selu" and effective.get("init") == {"name": "lecun_normal"}:
        del effective["init"]  # implied by SELU
    for group in STEPS:
        used = {key for step in getattr(choices, group).values() for key in step.keywords}
        effective[group] = {key: value for key, value in effective[group].items() if key in used}
        if not effective[group] and group != "augmentation":  # which is always present
            del effective[group]
    if config.model.weights not in (None, "imagenet") and Path(config.model.weights).is_file():
        content = Path(config.model.weights).read_bytes()
        effective["model"]["weights"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if config.loss.teacher is not None and Path(config.loss.teacher).is_file():
        effective["loss"]["teacher"] = digest_of(config.loss.teacher)
    if isinstance(weights := effective["loss"].get("class_weights"), list):  # 2.0 is the weight 2
        effective["loss"]["class_weights"] = [
            int(value) if isinstance(value, float) and value.is_integer() else value for value in weights
        ]
    return {key: without_negative_zero(value) for key, value in effective.items()}


def without_negative_zero(value: Any) -> Any:
    """Return settings with 0.0 for -0.0, which is the same run."""
    if isinstance(value, dict):
        return {key: without_negative_zero(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_negative_zero(item) for item in value]
    return value + 0.0 if isinstance(value, float) else value


def run_id(effective: dict[str, Any]) -> str:
    """Return `<readable slug>-<10 hex digits>`; the digits follow from the canonical JSON of the effective config."""
    words = [effective["model"][key] for key in ("name", "arch") if key in effective["model"]]
    usual = {"norm": "none", "scheduler": "constant", "loss": "cross_entropy"}
    for group in ("activation", "norm", "init", "optimizer", "scheduler", "mixing", "loss", "averaging", "views"):
        name = effective.get(group, {}).get("name")
        words += [name] if name not in (None, "own", usual.get(group)) else []
    rate = effective.get("dropout", {}).get("rate", 0)
    words += [f"dropout{rate:g}"] if rate > 0 else []
    for group in STEPS:
        steps = dict.fromkeys(key.partition("_")[0] for key in effective.get(group, ()))
        words += ["_".join(steps)] if steps else []
    words += [effective["data"]["name"], f"s{effective['seed']}"]
    canonical = json.dumps(effective, sort_keys=True, separators=(",", ":"))
    slug = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", word) for word in words)
    return f"{slug}-{hashlib.sha256(canonical.encode()).hexdigest()[:10]}"


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded: a file name of other bytes, or in another locale, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_shared_settings(config: Config) -> None:
    """Refuse an output folder that TensorBoard cannot write, and a setting that another one leaves without effect.

    Raises:
        UserError: there is one.
    """
    if not is_unicode(config.output_dir):
        shown = config.output_dir.encode(errors="backslashreplace").decode()
        raise UserError(f"output_dir={shown} is not valid UTF-8; choose another name, or set a UTF-8 locale")
    norm, batch_size = config.norm, config.batch_size
    check_ghosts(config, batch_size)
    own = {key: value for key, value in asdict(norm).items() if key != "name" and value is not None}
    if config.model.freeze_backbone and norm.name in ("batch", "ghost_batch") and own:
        key, value = next(iter(own.items()))
        raise UserError(
            f"norm.{key}={value} has no effect with model.freeze_backbone=true, which freezes batch norm; choose "
            f"norm=batch and norm.{key}=null"
        )
    if config.architecture.zero_gamma and config.architecture.fixed_scale:
        raise UserError(
            "architecture.fixed_scale keeps the scales that architecture.zero_gamma sets to 0, so that no residual "
            "branch would count; set one of them to null"
        )
    fraction = config.selective_backprop
    if fraction is not None and num_selected(batch_size, fraction) >= batch_size:
        raise UserError(
            f"selective_backprop={fraction} selects the whole batch of {batch_size}; choose a smaller fraction, or null"
        )
    warmup, start, loss = config.scheduler.warmup_epochs, config.averaging.start, config.loss
    if warmup is not None and warmup > config.epochs:
        raise UserError(f"scheduler.warmup_epochs={warmup} is longer than the training of epochs={config.epochs}")
    if start is not None and sum(epoch > start * config.epochs for epoch in range(1, config.epochs + 1)) < 2:
        raise UserError(
            f"averaging.start={start} leaves only the last of epochs={config.epochs} to average; choose a smaller "
            "averaging.start or more epochs"
        )
    if loss.target_threshold is not None and config.mixing.name == "none":
        raise UserError(
            f"loss.target_threshold={loss.target_threshold} has no effect with mixing=none, whose targets are 0 or 1; "
            "choose loss.target_threshold=null or another mixing"
        )
    if loss.alpha == 1 and (loss.label_smoothing or loss.class_weights is not None):
        raise UserError(
            "loss.alpha=1.0 leaves the targets out, so loss.label_smoothing and loss.class_weights have no effect; "
            "choose a smaller alpha, or loss.label_smoothing=0 and loss.class_weights=null"
        )


def check_ghosts(config: Config, num_images: int) -> None:
    """Refuse parts for batch norm of which the network's batches hold a single one.

    Args:
        num_images: at least as many as a batch; those that are trained on, where they are known.

    Raises:
        UserError: there is one part.
    """
    size, fraction = config.norm.ghost_size, config.selective_backprop
    batch = min(config.batch_size, num_images)
    trained = batch if fraction is None else num_selected(batch, fraction)
    if size is not None and 2 * size > trained:
        causes = [f"batch_size={batch}" if batch == config.batch_size else f"{batch} training images"]
        causes += [] if fraction is None else [f"selective_backprop={fraction}"]
        smaller = f"at most {trained // 2}, or " if trained > 3 else ""
        raise UserError(
            f"norm.ghost_size={size} does not split the {trained} images of a step ({', '.join(causes)}); choose "
            f"{smaller}norm=batch"
        )


def check_cutout(config: Config, side: int) -> None:
    """Refuse a cutout that is larger than the images, which would cover most of them whole.

    Args:
        config: the config.
        side: the images' shorter side in pixels.

    Raises:
        UserError: it is larger.
    """
    cutout = config.augmentation.cutout
    if cutout is not None and cutout > side:
        raise UserError(f"augmentation.cutout={cutout} is larger than the images, {side} pixels; choose at most {side}")
