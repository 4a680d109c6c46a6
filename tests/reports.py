"""What the tests of the report share: invented runs, hostile ones too, and the elements of a page."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.files import write_json
from sweeper.runs.directory import RunDirectory
from sweeper.runs.fingerprint import code_of
from sweeper.runs.predictions import write_masks
from sweeper.runs.samples import Samples, write_samples

ALERT = "<script>alert(1)</script>"
HOSTILE = f"""{ALERT}"><img src=x onerror=alert(1)></script>'\n--> {{{{ 7 * 7 }}}} javascript:alert(1) \u2028\ud800"""
RUN_NAME = """"><img src=x onerror=alert(1)>'javascript:alert(1)"""  # as HOSTILE, without what no folder may have
FILE = re.compile(r"(\.\./\.\./)?(report\.html|(runs|sweeps)/[\w.~%/-]+)")  # a link to a file near the page
EFFECTIVE: dict[str, Any] = {
    "data": {"name": "digits", "val_size": 200, "fingerprint": "f00d"},
    "model": {"name": "mlp"},
    "activation": {"name": "relu"},
    "optimizer": {"name": "adam", "lr": 0.001},
    "epochs": 3,
    "seed": 0,
}
RUN: dict[str, Any] = {
    "created": 1.8e9,
    "command": "python train.py data=digits",
    "git": {"commit": "c0ffee", "dirty": True},
    "versions": {"python": "3.11.7", "torch": "2.14.1"},
    "host": "here",
    "device": "x86_64",
    "device_type": "cpu",
    "threads": 2,
    "dataset": {"fingerprint": "f00d", "classes": ["ant", "bee", "cat"], "train": 80, "val": 20, "test": 30},
    "parameters": 12345,
}


def make(
    output_dir: Path,
    run_id: str,
    accs: Sequence[float] = (),
    state: str = "finished",
    error: Any = None,
    **changes: Any,
) -> RunDirectory:
    """Make a run's directory: two-second epochs with these accuracies, a config with these changes, a result."""
    record = RunDirectory(output_dir / "runs" / run_id)
    effective = EFFECTIVE | changes
    record.create({**RUN, "effective": effective, "code": code_of(effective)}, {})
    rows = [
        {"epoch": 1 + index, "val_acc": acc, "train_loss": 1 - acc, "train_seconds": 2.0}
        | {"train_acc": acc + 0.05, "val_loss": 1.1 - acc}
        for index, acc in enumerate(accs)
    ]
    record.write_metrics(rows)
    record.write_status(state=state, error=error)
    write_json(record.folder / "status.json", {**(record.status() or {}), "heartbeat": 1.8e9 + 3600})
    if state == "finished" and accs:
        measured = {"best_val_acc": max(accs), "best_epoch": 1, "test_acc": max(accs) - 0.01, "epochs": len(accs)}
        record.write_result({**measured, "confusion": [[9, 1, 0], [2, 8, 0], [0, 0, 10]]})
    return record


def exercises(output_dir: Path) -> None:
    """Make two models and three rates with two seeds each, two failed runs and a diverged one."""
    for model, gain in (("mlp", 0.0), ("cnn", 0.1)):
        for index, lr in enumerate((0.0005, 0.001, 0.01)):
            for seed in (0, 1):
                accs = [0.4 + gain, 0.5 + gain + index / 100 + seed / 50, 0.6 + gain + index / 50 + seed / 100]
                changes: dict[str, Any] = {
                    "model": {"name": model},
                    "optimizer": {"name": "adam", "lr": lr},
                    "seed": seed,
                }
                make(output_dir, f"{model}-{lr}-s{seed}", accs, **changes)
    trace = 'Traceback (most recent call last):\n  File "loop.py", line 1, in fit\nRuntimeError: out of memory'
    failing = {"model": {"name": "resnet18"}}
    make(output_dir, "resnet18-s0", [0.3], "failed", trace, **failing)
    make(output_dir, "resnet18-s1", [], "failed", trace, **failing, seed=1)
    make(output_dir, "softmax-s0", [0.2, 0.1], "diverged", "Diverged: the loss is nan", model={"name": "softmax"})


def scenes(output_dir: Path) -> None:
    """Make two networks of segmentation with two seeds each, their predicted masks, and a cache of their scenes."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (12, 3, 16, 16), dtype=np.uint8)
    masks = draw.integers(0, 3, (12, 16, 16), dtype=np.uint8)
    folder = output_dir / "cache" / "digit_scenes-1"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        np.save(folder / f"{split}_images.npy", images)
        np.save(folder / f"{split}_labels.npy", masks)
    (folder / "index.json").write_text(json.dumps({"fingerprint": "f00d"}))
    data = {"name": "digit_scenes", "val_size": 4, "fingerprint": "f00d"}
    task, flips = {"name": "segmentation", "ignore_index": 255}, {"flip": "random"}
    for model, gain in (("unet", 0.2), ("patch_softmax", 0.0)):
        for seed in (0, 1):
            changes: dict[str, Any] = {"data": data, "task": task, "augmentation": flips, "model": {"name": model}}
            record = make(output_dir, f"{model}-s{seed}", seed=seed, **changes)
            run = {**(record.run() or {}), "config": {"data": {"cache": str(folder.parent)}}}
            run["dataset"] = {**run["dataset"], "classes": ["ground", "zero", "one"]}
            write_json(record.folder / "run.json", run)
            ious = [0.1 + gain + seed / 50, 0.2 + gain + seed / 40]
            record.write_metrics(
                [
                    {"epoch": 1 + epoch, "val_miou": iou, "val_loss": 1 - iou, "train_loss": 1 - iou}
                    | {"train_pixel_acc": iou + 0.3, "train_seconds": 2.0}
                    for epoch, iou in enumerate(ious)
                ]
            )
            measured = {"best_val_miou": ious[1], "best_epoch": 2, "test_miou": ious[1] - 0.02, "epochs": 2}
            record.write_result({**measured, "confusion": [[90, 10, 5], [20, 80, 1], [3, 4, 50]]})
            write_masks(record.predictions, np.roll(masks, seed, 2), masks)
            turned, moved = images[:3, None, :, :, ::-1], masks[:3, None, :, ::-1]
            write_samples(record.samples, Samples(np.arange(3), turned, moved))


def hostile(output_dir: Path) -> None:
    """Make runs of which every text is an attack."""
    texts: dict[str, Any] = {"data": {"name": HOSTILE, "fingerprint": HOSTILE}, "activation": {"name": HOSTILE}}
    for number, lr in enumerate((0.1, HOSTILE)):
        model = {"name": f"{number}{HOSTILE}", HOSTILE: HOSTILE}
        changes = texts | {"model": model, "optimizer": {"name": "adam", "lr": lr}, HOSTILE: number}
        record = make(output_dir, f"{number}{RUN_NAME}", [0.5, 0.6], **changes)
        run = json.loads((record.folder / "run.json").read_text())
        run |= dict.fromkeys(("command", "host", "device", "device_type", "threads"), HOSTILE)
        run |= {
            "git": {"commit": HOSTILE, "dirty": HOSTILE},
            "versions": {HOSTILE: HOSTILE},
            "code": {HOSTILE: HOSTILE},
        }
        run["dataset"] = {"classes": [HOSTILE] * 3, "train": HOSTILE, "input_shape": HOSTILE, "fingerprint": HOSTILE}
        write_json(record.folder / "run.json", run)
    make(output_dir, f"failed{RUN_NAME}", [0.3], "failed", f"{HOSTILE}\n{HOSTILE}", **texts)
    make(output_dir, f"odd{RUN_NAME}", [0.3], HOSTILE, HOSTILE, **texts)
    (output_dir / "runs" / f"foreign{RUN_NAME}").mkdir()


class Page(HTMLParser):
    """The elements of a page: tags with their attributes, the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.handle_starttag(f"/{tag}", [])  # the text that follows is not part of it

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1] += data

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        pairs = zip(self.elements, self.texts, strict=True)
        return [(attributes, text) for (name, attributes), text in pairs if name == tag]


def check_harmless(page: Page) -> None:
    """Check that only the page's own script is executed, that nothing is fetched, and that the policy demands both."""
    scripts = page.of("script")
    *data, last = [attributes.get("type") for attributes, _ in scripts]
    assert set(data) <= {"application/json"} and last is None
    for tag, attributes in page.elements:
        if tag == "img":
            assert str(attributes.pop("src")).startswith("data:image/png;base64,")
        assert tag not in ("iframe", "object", "embed", "form", "base")
        assert not any(name.startswith("on") or name in ("style", "src", "action") for name in attributes)
        href = str(attributes.get("href", "#"))
        assert href.startswith(("#", "data:,")) or FILE.fullmatch(href)
    (policy,) = [
        str(attributes["content"])
        for attributes, _ in page.of("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for kind, text in (("style", page.of("style")[0][1]), ("script", scripts[-1][1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
