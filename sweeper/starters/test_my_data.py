"""Tests of my_data: python -m pytest test_my_data.py."""

import numpy as np

from my_data import my_data


def test_half_of_the_images_are_the_other_half_turned() -> None:
    arrays: dict[str, np.ndarray] = {}
    source = my_data(image_size=8, noise=0)
    classes = source.decode(lambda name, shape, dtype: arrays.setdefault(name, np.zeros(shape, dtype)))
    first, second = arrays["test_images"][:2]
    assert np.array_equal(first, second.transpose(0, 2, 1)) and not np.array_equal(first, second)
    assert np.bincount(arrays["train_labels"]).tolist() == [200] * len(classes)


def test_other_settings_have_another_key() -> None:
    assert len({my_data(image_size=size, noise=noise).key for size in (8, 16) for noise in (0, 40)}) == 4
