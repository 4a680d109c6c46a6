"""my_data: a dataset.

Train with it:

    python train.py extend=my_data.py data=my_data

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`data.noise=80` changes it, and `-m data.noise=40,80` sweeps over it.
After an edit, runs that used what was edited are trained again.
"""

import numpy as np

from sweeper.data.source import Allocate, Source

CLASSES = ["horizontal", "vertical"]


def my_data(*, image_size: int = 16, noise: int = 40) -> Source:
    """Return a dataset, which is decoded once into the cache: here, noisy stripes.

    A dataset of files has a setting such as `root: str = "data/mine"`, reads them in `decode`, and has a key that
    changes when they do, such as their names, sizes and times. The settings data.mean and data.std, of pixels in
    [0, 1], have a number for each channel; write mean and std as settings here to give them other defaults.
    """

    def decode(allocate: Allocate) -> list[str]:
        generator = np.random.default_rng(0)
        for split, number in (("train", 400), ("test", 100)):
            images = allocate(f"{split}_images", (number, 3, image_size, image_size), "uint8")
            labels = allocate(f"{split}_labels", (number,), "int64")
            for index in range(number):
                stripes = 128 + 64 * np.where(np.arange(image_size) // 2 % 2, 1, -1)
                rows = np.broadcast_to(stripes[:, None], (image_size, image_size))
                labels[index] = index % 2
                pixels = (rows.T if index % 2 else rows) + generator.integers(-noise, noise + 1, images[index].shape)
                images[index] = pixels.clip(0, 255)
        return CLASSES

    return Source(f"stripes {image_size} {noise}", decode)


DATASETS = {"my_data": my_data}  # choices by name; one file may have several, of several groups
