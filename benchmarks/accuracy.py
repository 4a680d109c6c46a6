"""Accuracy of this project compared with the baseline loop, on the same images, with the same settings.

python -m benchmarks.accuracy FOLDER [--images N] [--epochs N] [--seeds N] [--threads N]

FOLDER has CIFAR-10 as train/<class>/* and test/<class>/*. Nothing is held out; both sides report the test accuracy
after the last epoch.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev

import torch
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.baseline import baseline, config_of, tutorial_loader
from benchmarks.training import REPOSITORY, some_images
from sweeper.config import Config
from sweeper.data.cache import load, prepare
from sweeper.training.build import choose_all, seeded_model

MODELS = ("mlp", "cnn_pool")


class Steps:
    """End the baseline loop after a number of steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> bool:
        """Count a step; true after the last."""
        self.left -= 1
        return self.left == 0


def baseline_accuracy(config: Config) -> float:
    """Return the test accuracy of the baseline loop, started from the same weights as this project's run."""
    choices, dataset = choose_all(config), load(prepare(config.data))
    model = seeded_model(config, choices, dataset)
    torch.manual_seed(config.seed)  # the order of the images
    loader = tutorial_loader(dataset.train, config.batch_size, workers=0)
    baseline(model, loader, Steps(len(loader) * config.epochs))
    model.eval()
    with torch.no_grad():
        hits = [
            (model(images).argmax(1) == labels).sum()
            for images, labels in tutorial_loader(dataset.test, config.batch_size, workers=0)
        ]
    return float(sum(hits)) / len(dataset.test)


def our_accuracy(overrides: list[str]) -> float:
    """Return the test accuracy of `python train.py` after its last epoch."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(REPOSITORY / "train.py"), f"output_dir={folder}", *overrides]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{done.stdout}\n{done.stderr}")
        (metrics,) = Path(folder).glob("runs/*/metrics.jsonl")
        return float(json.loads(metrics.read_text().splitlines()[-1])["val_acc"])


def main() -> None:
    """Train both sides with each seed; print their accuracies and the mean difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1000, help="training images per class")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds must be at least 2: one difference has no interval")
    title = f"Test accuracy, {options.images} images per class, {options.epochs} epochs, {options.seeds} seeds"
    table = Table("model", "baseline", "sweeper", "difference", "95% interval", title=title, title_justify="left")
    with tempfile.TemporaryDirectory() as temporary:
        images = some_images(options.folder.resolve(), Path(temporary) / "images", options.images)
        data = ["data=image_folder", f"data.root={images}", f"data.cache={temporary}", "data.val_size=0"]
        common = [
            *data,
            "optimizer=adam",
            "batch_size=64",
            f"threads={options.threads}",
            f"epochs={options.epochs}",
        ]
        for name in MODELS:
            theirs, ours = [], []
            for seed in range(options.seeds):
                overrides = [f"model={name}", f"seed={seed}", *common]
                theirs.append(baseline_accuracy(config_of(overrides)))
                ours.append(our_accuracy(overrides))
                print(f"{name}, seed {seed}: baseline {theirs[-1]:.4f}, sweeper {ours[-1]:.4f}", flush=True)
            differences = [our - their for our, their in zip(ours, theirs, strict=True)]
            half = stats.t.ppf(0.975, len(differences) - 1) * stdev(differences) / len(differences) ** 0.5
            middle = mean(differences)
            cells = [f"{mean(values):.4f} ± {stdev(values):.4f}" for values in (theirs, ours)]
            table.add_row(name, *cells, f"{middle:+z.4f}", f"[{middle - half:+z.4f}, {middle + half:+z.4f}]")
    Console().print(table)


if __name__ == "__main__":
    main()
