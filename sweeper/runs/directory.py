"""The files of a run directory, written atomically. No torch here: readers start fast."""

import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.files import number, parse_json, read_json, write_json, write_text, writing
from sweeper.runs.scores import score_in

LOST_AFTER = 60.0  # seconds without a heartbeat after which a missing process counts as gone
LOST_ELSEWHERE_AFTER = 900.0  # the same for a process on another host, or whose ID was reused


@dataclass
class RunDirectory:
    """The directory of one run."""

    folder: Path

    @property
    def run_id(self) -> str:
        return self.folder.name

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def best(self) -> Path:
        return self.checkpoints / "best.pt"

    @property
    def last(self) -> Path:
        return self.checkpoints / "last.pt"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions.npz"

    @property
    def samples(self) -> Path:
        return self.folder / "samples.npz"

    def create(self, run: dict[str, Any], hydra_files: dict[str, str]) -> dict[str, Any]:
        """Make the directory with Hydra's files and run.json, unless that exists; return run.json's content.

        Raises:
            WriteError: it cannot be written.
        """
        with writing(self.folder):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            (self.folder / ".hydra").mkdir(exist_ok=True)
        for name, text in hydra_files.items():
            write_text(self.folder / ".hydra" / name, text)
        before = self.run()
        if before is None:
            write_json(self.folder / "run.json", run)
        return before or run

    def run(self) -> dict[str, Any] | None:
        return read_json(self.folder / "run.json")

    def is_copy(self, run: dict[str, Any] | None) -> bool:
        """Return whether the directory is a copy of a run's or was renamed: run.json has another ID than its name."""
        return run is not None and run.get("run_id", self.run_id) != self.run_id

    def result(self) -> dict[str, Any] | None:
        return read_json(self.folder / "result.json")

    def is_finished(self) -> bool:
        """Return whether the run is finished and its config, result and predictions exist."""
        status, run, result = self.status() or {}, self.run() or {}, self.result() or {}
        score = score_in(result)
        whole = {"effective", "config"} <= run.keys()
        whole &= {f"best_val_{score}", "best_epoch", f"test_{score}"} <= result.keys()
        return whole and status.get("state") == "finished" and self.predictions.exists()

    def write_result(self, result: dict[str, Any]) -> None:
        write_json(self.folder / "result.json", result)

    def status(self) -> dict[str, Any] | None:
        """Return status.json, with the state `lost` if it has `running` but the process is gone."""
        status = read_json(self.folder / "status.json")
        if status is not None and status.get("state") == "running" and is_lost(status):
            status["state"] = "lost"
        return status

    def write_status(self, **status: Any) -> None:
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "slurm_job": os.environ.get("SLURM_JOB_ID")}
        content = {**status, "heartbeat": time.time(), **owner}
        write_json(self.folder / "status.json", content, sync=status.get("state") != "running")

    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl up to the first that is torn."""
        rows: list[Any] = []
        try:
            lines = (self.folder / "metrics.jsonl").read_bytes().splitlines()
        except OSError:
            return rows
        try:  # parsing all rows together takes half the time
            rows = parse_json(b"[%b]" % b",".join(lines))
            if len(rows) == len(lines) and all(isinstance(row, dict) for row in rows):
                return rows
        except (ValueError, RecursionError):
            pass
        rows = []
        try:
            for line in lines:
                row = parse_json(line)
                if not isinstance(row, dict):
                    break
                rows.append(row)
        except (ValueError, RecursionError):
            pass
        return rows

    def change_state(self, state: str, error: str) -> None:
        """Rewrite status.json with another state and its reason; keep the position in training."""
        status = self.status() or {"attempt": 0, "epoch": 1, "step": 0}
        kept = {key: status.get(key) for key in ("attempt", "epoch", "step")}
        self.write_status(**kept, state=state, error=error)

    def write_metrics(self, rows: list[dict[str, Any]], *, sync: bool = True) -> None:
        write_text(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows), sync=sync)


def is_lost(status: dict[str, Any]) -> bool:
    """Return whether the process of a `running` status is gone: no recent heartbeat, no such process on this host."""
    heartbeat, pid = status.get("heartbeat"), status.get("pid")
    silent = time.time() - (number(heartbeat) or 0)
    if silent > LOST_ELSEWHERE_AFTER or status.get("host") != socket.gethostname():
        return silent > LOST_ELSEWHERE_AFTER  # even if a new process has the same ID
    return silent > LOST_AFTER and not (isinstance(pid, int) and pid > 0 and is_alive(pid))


def is_alive(pid: int) -> bool:
    """Return whether this host has such a process."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def flat_settings(effective: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings under dotted names; a group's choice is under the group's name."""
    flat: dict[str, Any] = {}
    for key, value in effective.items():
        if isinstance(value, dict):
            flat |= flat_settings(value, f"{prefix}{key}.")
        elif key == "name":
            flat[prefix.rstrip(".")] = value
        else:
            flat[prefix + key] = str(value) if isinstance(value, list) else value
    return flat
