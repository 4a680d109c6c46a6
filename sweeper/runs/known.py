"""Runs that equal commands have asked for before, found without torch: the decision "already finished" needs none.

What `spec.resolve` found is kept in <output_dir>/.resolved/, in a folder named by a hash of the program's source files,
under a hash of the config, with the images' key: these determine it.
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

from sweeper.config import NOT_IDENTITY, Config, validate
from sweeper.data.source import Source
from sweeper.data.sources import locate
from sweeper.errors import UserError, WriteError
from sweeper.files import read_json, write_json
from sweeper.groups import DataConfig
from sweeper.runs.directory import RunDirectory
from sweeper.runs.fingerprint import PACKAGE, Code, code_of
from sweeper.runs.states import Action, Decision, decide

if TYPE_CHECKING:
    from sweeper.runs.spec import RunSpec

FOLDER = ".resolved"  # in the output folder


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
        self.located: dict[str, tuple[Source, Path]] = {}  # by the repr of the config, as are indexes
        self.indexes: dict[str, dict[str, Any]] = {}

    def to_skip(self, config: Config) -> tuple[KnownRun, Decision] | None:
        """Return the run of a config if it is known and will not be trained again, else None.

        The images come last: a folder of many is slow to list, and a new run lists it anyway.
        """
        try:
            validate(config)
            found = read_json(file_of(config)) if is_self_contained(config) else None
            if found is None:
                return None
            effective, slots = found["effective"], tuple(found["missing_slots"])
            known = KnownRun(config, effective, str(found["run_id"]), code_of(effective), slots, int(found["num_test"]))
            decision = decide(known.record, known.code, config.sweep.reuse)
            if decision.action is not Action.SKIP or (images := self.images_of(config.data)) is None:
                return None
            source, index = images
            is_same = (found["images"], found["fingerprint"]) == (source.key, index["fingerprint"])
        except (UserError, OSError, KeyError, TypeError, ValueError):  # `resolve` reports what is wrong
            return None
        return (known, decision) if is_same else None

    def images_of(self, config: DataConfig) -> tuple[Source, dict[str, Any]] | None:
        """Return a dataset and the index of its cache; None where it is not decoded yet."""
        key = repr(config)
        if key not in self.located:
            self.located[key] = locate(config)
        source, folder = self.located[key]
        if key not in self.indexes:  # where it is not decoded yet, it may be the next time
            with suppress(OSError, ValueError):
                self.indexes[key] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        return (source, self.indexes[key]) if key in self.indexes else None

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
    file, images = file_of(config), spec.cached.source.key
    content = {
        "run_id": spec.run_id,
        "effective": spec.effective,
        "missing_slots": list(spec.missing_slots),
        "images": images,
        "fingerprint": spec.cached.fingerprint,
        "num_test": spec.num_test,
    }
    with suppress(WriteError, OSError):
        if (read_json(file) or {}).get("images") != images:
            if not file.parent.exists():  # the program has changed: what it resolved before counts no more
                shutil.rmtree(file.parent.parent, ignore_errors=True)
                file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, content, sync=False)


def is_self_contained(config: Config) -> bool:
    """Return whether no file besides the images determines the run."""
    return config.model.weights is None and config.loss.teacher is None and not config.extend


def file_of(config: Config) -> Path:
    values: Mapping[str, Any] = {key: value for key, value in asdict(config).items() if key not in NOT_IDENTITY}
    text = json.dumps(values, sort_keys=True)
    folder = Path(config.output_dir) / FOLDER / program_digest()
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


@cache
def program_digest() -> str:
    """Hash the source files of this package."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
