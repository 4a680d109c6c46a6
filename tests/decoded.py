"""Image folders and what is decoded from them, for the tests of the cache and of validation images."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from support import CLASSES, TEST_IMAGES, TRAIN_IMAGES

from sweeper.data.cache import (
    Dataset,
)
from sweeper.groups import DataConfig

NUM_TRAIN, NUM_TEST = TRAIN_IMAGES * len(CLASSES), TEST_IMAGES * len(CLASSES)


def is_whole(dataset: Dataset, root: Path) -> bool:
    """Return whether the dataset holds the pixels and labels of the files in root."""
    for split, found, num in (("train", dataset.train, TRAIN_IMAGES), ("test", dataset.test, TEST_IMAGES)):
        files = sorted((root / split).glob("*/*.png"))
        pixels = np.stack([np.asarray(Image.open(file)).transpose(2, 0, 1) for file in files])
        labels = np.repeat(np.arange(len(CLASSES)), num)
        if not (np.array_equal(found.images.numpy(), pixels) and np.array_equal(found.labels.numpy(), labels)):
            return False
    return dataset.classes == list(CLASSES)


def with_validation(root: Path, config: DataConfig) -> DataConfig:
    """Give the dataset validation images of its own: the first four training images of each class, again."""
    for name in CLASSES:
        for file in sorted((root / "train" / name).iterdir())[:4]:
            (root / "val" / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, root / "val" / name)
    return dataclasses.replace(config, val_size=None)
