"""Digests of what small runs train to, so that two versions of the program can be compared on one machine.

    python tests/reference.py PROGRAM OUTPUT.json

PROGRAM is a folder with train.py, of this version or of another one. No case is augmented: the draws of augmentation
are those of one version only. Weights depend on the processor, so digests of two machines are not compared.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

COMMON = "data=digits data.image_size=8 batch_size=64 epochs=2 threads=1 device=cpu"
CASES = {
    "softmax": "model=softmax optimizer=sgd data.val_size=0 seed=1",
    "mlp": "model=mlp model.hidden=[64] norm=batch dropout=light optimizer=momentum scheduler=step "
    "scheduler.step_size=1",
    "mlp_deep": "model=mlp_deep model.hidden=[64,32] activation=gelu norm=layer dropout=heavy scheduler=cosine",
    "options": "model=mlp model.hidden=[64] activation=selu dropout=light optimizer=adamw scheduler=exponential "
    "grad_clip=0.5 loss.label_smoothing=0.1 patience=1 seed=3 epochs=4",
    "cnn": "model=cnn activation=silu norm=group dropout=light optimizer=adamw scheduler=onecycle",
    "cnn_pool": "model=cnn_pool activation=selu dropout=heavy scheduler=plateau scheduler.patience=0",
    "nesterov": "model=cnn_pool activation=leaky_relu norm=batch optimizer=momentum optimizer.nesterov=true "
    "scheduler=multistep scheduler.milestones=[1] scheduler.warmup_epochs=0.5 optimizer.weight_decay=0.001 "
    "autocast=bfloat16",
    "resnet18": "model=resnet18 activation=tanh optimizer=momentum epochs=1 batch_size=128 data.val_size=1100",
    "frozen": "model=resnet18_pretrained model.freeze_backbone=true model.weights=WEIGHTS",
}
MEASURED = ("epoch", "train_loss", "train_acc", "val_loss", "val_acc", "lr")
RESULTS = ("best_val_acc", "best_epoch", "test_acc", "test_loss", "epochs", "confusion")


def experiment(overrides: str) -> str:
    """The case as an experiment's YAML."""
    groups, values = [], []
    for key, value in (override.split("=") for override in overrides.split()):
        name, dot, setting = key.rpartition(".")
        if dot:
            values.append(f"{name}:\n  {setting}: {value}")
        elif key in ("model", "data", "optimizer", "scheduler", "activation", "norm", "dropout"):
            groups.append(f"  - override /{key}: {value}")
        else:
            values.append(f"{key}: {value}")
    merged: dict[str, list[str]] = {}
    for text in values:  # several settings of one group stand under it once
        head, _, rest = text.partition("\n")
        merged.setdefault(head, []).append(rest)
    body = ["\n".join([head, *filter(None, rests)]) for head, rests in merged.items()]
    return "\n".join(["# @package _global_", "defaults:", *groups, *body, ""])


def save_weights(file: Path) -> None:
    """Write the weights that fine-tuning starts from."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    torch.save(resnet18(weights=None).state_dict(), file)


def trained(program: Path, folder: Path, weights: Path) -> dict[str, dict[str, Any]]:
    """Train all cases in one process, in a folder, and return each case's digests of weights and its metrics."""
    (folder / "conf" / "experiment").mkdir(parents=True)
    for name, case in CASES.items():
        overrides = f"{COMMON} {case}".replace("WEIGHTS", str(weights))
        if not (program / "conf" / "loss").is_dir():  # version 0.1
            overrides = overrides.replace("loss.label_smoothing", "label_smoothing")
        last = {override.partition("=")[0]: override for override in overrides.split()}
        (folder / "conf" / "experiment" / f"ref_{name}.yaml").write_text(experiment(" ".join(last.values())))
    experiments = ",".join(f"ref_{name}" for name in CASES)
    command = [sys.executable, str(program / "train.py"), "--config-dir", str(folder / "conf"), "-m"]
    done = subprocess.run(
        [*command, f"experiment={experiments}", "sweep.name=reference"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    jobs = json.loads((folder / "outputs" / "sweeps" / "reference" / "sweep.json").read_text())["jobs"]
    return {
        job["overrides"][0].partition("ref_")[2]: outcome(folder / "outputs" / "runs" / job["run_id"]) for job in jobs
    }


def outcome(run: Path) -> dict[str, Any]:
    """Return digests of a run's weights, and its metrics."""
    digests = {}
    for name in ("last", "best"):
        model = torch.load(run / "checkpoints" / f"{name}.pt", weights_only=True)
        model = model.get("state", model)["model"]
        digest = hashlib.sha256()
        for key in sorted(model):
            digest.update(key.encode() + model[key].contiguous().numpy().tobytes())
        digests[name] = digest.hexdigest()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((run / "result.json").read_text())
    metrics = [{key: row[key] for key in MEASURED} for row in rows]
    return {"weights": digests, "metrics": metrics, "result": {key: result[key] for key in RESULTS}}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        save_weights(Path(temporary) / "weights.pt")
        found = trained(Path(sys.argv[1]).resolve(), Path(temporary), Path(temporary) / "weights.pt")
    Path(sys.argv[2]).write_text(json.dumps(found, indent=1) + "\n")
