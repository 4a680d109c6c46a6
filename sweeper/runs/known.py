"""Runs that equal commands have asked for before, found without torch: the decision "already finished" needs none.

What `spec.resolve` found is kept in <output_dir>/.resolved/, in a folder named by a hash of the program's source files,
under a hash of the config and the images' key: these determine it.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.choice import choose
from sweeper.config import Config, validate
from sweeper.data.source import Source
from sweeper.data.sources import COMMON, DATASETS, cache_folder
from sweeper.errors import UserError, WriteError
from sweeper.files import read_json, write_json
from sweeper.groups import DataConfig
from sweeper.runs.directory import RunDirectory
from sweeper.runs.fingerprint import PACKAGE, Code, code_of
from sweeper.runs.states import Action, Decision, decide

if TYPE_CHECKING:
    from sweeper.runs.spec import RunSpec

FOLDER = ".resolved"  # in the output folder
OUTSIDE = (
    "output_dir",
    "device",
    "threads",
    "compile",
    "checkpoint_minutes",
    "verbose",
    "extend",
    "sweep",
)  # of the hash


@dataclass(frozen=True)
class KnownRun:
    """What the planner and a run need of a run that they do not train; `spec.RunSpec` has the same attributes.

    Attributes:
        missing_slots: the slots that the run's model lacks.
        num_test: number of test images.
    """

    config: Config
    effective: dict[str, Any]
    run_id: str
    code: Code
    missing_slots: tuple[str, ...]
    num_test: int

    @property
    def record(self) -> RunDirectory:
        return RunDirectory(Path(self.config.output_dir) / "runs" / self.run_id)


class KnownRuns:
    """Looks up runs; the folder of a dataset is listed once."""

    def __init__(self) -> None:
        self.images: dict[str, tuple[Source, dict[str, Any]] | None] = {}

    def to_skip(self, config: Config) -> tuple[KnownRun, Decision] | None:
        """Return the run of a config if it is known and will not be trained again, else None."""
        try:
            validate(config)
            known = self.find(config)
            decision = None if known is None else decide(known.record, known.code, config.sweep.reuse)
        except (UserError, OSError, KeyError, TypeError, ValueError):  # `resolve` reports what is wrong
            return None
        is_done = known is not None and decision is not None and decision.action is Action.SKIP
        return (known, decision) if is_done else None  # type: ignore[return-value]

    def find(self, config: Config) -> KnownRun | None:
        images = self.images_of(config.data)
        if images is None or not is_self_contained(config):
            return None
        source, index = images
        found = read_json(file_of(config, source))
        if found is None or found["fingerprint"] != index["fingerprint"]:
            return None
        effective, slots = found["effective"], tuple(found["missing_slots"])
        num_test = int(index["shapes"]["test_images"][0])
        return KnownRun(config, effective, str(found["run_id"]), code_of(effective), slots, num_test)

    def images_of(self, config: DataConfig) -> tuple[Source, dict[str, Any]] | None:
        """Return a dataset and the index of its cache; None where it is not decoded yet."""
        key = repr(config)
        if key not in self.images:
            source = choose("data", config, DATASETS, COMMON)()
            self.images[key] = None
            with suppress(OSError, ValueError):
                index = json.loads((cache_folder(config, source) / "index.json").read_text(encoding="utf-8"))
                self.images[key] = (source, index)
        return self.images[key]

    def is_decoded(self, config: DataConfig) -> bool:
        """Return whether a dataset is decoded; True where it is missing, which `resolve` reports."""
        try:
            return self.images_of(config) is not None
        except UserError:
            return True


def remember(config: Config, spec: "RunSpec") -> None:
    """Keep what a config resolves to, in an output folder that has runs; one that cannot be written keeps nothing.

    Args:
        config: as composed.
        spec: what `resolve` returned for it.
    """
    if not is_self_contained(config) or not (Path(config.output_dir) / "runs").is_dir():
        return
    file = file_of(config, spec.cached.source)
    content = {"run_id": spec.run_id, "effective": spec.effective, "fingerprint": spec.cached.fingerprint}
    with suppress(WriteError, OSError):
        if not file.exists():
            if not file.parent.exists():  # the program has changed: what it resolved before counts no more
                shutil.rmtree(file.parent.parent, ignore_errors=True)
                file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, content | {"missing_slots": list(spec.missing_slots)}, sync=False)


def is_self_contained(config: Config) -> bool:
    """Return whether no file besides the images determines the run."""
    return config.model.weights is None and config.loss.teacher is None and not config.extend


def file_of(config: Config, source: Source) -> Path:
    values: Mapping[str, Any] = {key: value for key, value in asdict(config).items() if key not in OUTSIDE}
    text = json.dumps([values, source.key], sort_keys=True)
    folder = Path(config.output_dir) / FOLDER / program_digest()
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


@cache
def program_digest() -> str:
    """Hash the source files of this package."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
