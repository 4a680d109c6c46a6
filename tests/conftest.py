"""Fixtures: a small image folder, a cache shared by all tests, train.py as a real process, and trained runs."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from processes import Program, environment
from support import CLASSES, TEST_IMAGES, TRAIN_IMAGES, Train, composed

from sweeper.errors import tell_once
from sweeper.runs.job import Job
from sweeper.runs.run import run


@pytest.fixture(autouse=True)
def messages_are_new() -> None:
    """Log again in each test what a process logs once."""
    tell_once.cache_clear()


@pytest.fixture(scope="session")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 8x8 PNG images of three classes, whose color is the class."""
    root = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for split, num in (("train", TRAIN_IMAGES), ("test", TEST_IMAGES)):
        for channel, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(num):
                pixels = generator.integers(0, 160, (8, 8, 3), dtype=np.uint8)
                pixels[..., channel] += 90
                Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return root


@pytest.fixture(scope="session")
def mask_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of as many 8x8 PNG images with masks of three classes, whose color is the class; a row is unlabeled."""
    root = tmp_path_factory.mktemp("masks")
    generator = np.random.default_rng(0)
    for split, num in (("train", TRAIN_IMAGES), ("test", TEST_IMAGES)):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for number in range(num * len(CLASSES)):
            mask = generator.integers(0, len(CLASSES), (2, 2), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
            pixels = generator.integers(0, 160, (8, 8, 3), dtype=np.uint8)
            pixels += np.uint8(90) * np.eye(3, dtype=np.uint8)[mask]
            mask[7] = 255
            Image.fromarray(pixels).save(root / split / "images" / f"{number:03}.png")
            Image.fromarray(mask).save(root / split / "masks" / f"{number:03}.png")
    (root / "classes.json").write_text(json.dumps(CLASSES))
    return root


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data.cache of all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def small(image_root: Path, cache: Path) -> list[str]:
    """Overrides of a run on the small images: 96 training images of 16x16 pixels, 6 batches per epoch."""
    return [
        "data=image_folder",
        f"data.root={image_root}",
        f"data.cache={cache}",
        "data.image_size=16",
        "data.val_size=24",
        "batch_size=16",
        "threads=1",
    ]


@pytest.fixture
def train(tmp_path: Path, small: list[str]) -> Train:
    """Run `python train.py` on the small images in an empty working directory, writing to outputs/ there."""

    def run(*arguments: str, flags: tuple[str, ...] = (), **extra: str) -> subprocess.CompletedProcess[str]:
        program = Program([*flags, *small, *arguments], tmp_path, environment(**extra), separate_errors=True)
        return program.completed(timeout=300)

    return run


@pytest.fixture(scope="session")
def trained(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an output folder with a softmax and a convolutional network; do not change it."""
    threads = torch.get_num_threads()
    output_dir = tmp_path_factory.mktemp("trained")
    for model in (["model=softmax", "optimizer.lr=0.0003"], ["model=cnn", "norm=batch", "model.channels=[4]"]):
        run(composed(*small, *model, "epochs=1", f"output_dir={output_dir}"), Job("python train.py model=small"))
    torch.set_num_threads(threads)
    return output_dir
