"""Folders without test images: which images are held out for them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from folders import make, make_two_classes, names_of

from sweeper.data.image_folders import list_images
from sweeper.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_two_classes(tmp_path / "imgs")


def test_without_test_images_a_fifth_of_the_training_images_is_held_out(root: Path, warned: Callable[[], str]) -> None:
    shutil.rmtree(root / "test")
    make(root, *(f"train/ant/{number}.png" for number in range(10)))
    listing = list_images(root)
    assert {name: len(paths) for name, paths in listing.test.items()} == {"ant": 2, "bee": 1}
    assert warned() == f"data.root={root}: no test/: testing on a random fifth of each class of train/"
    assert names_of(listing, root)[0] == names_of(list_images(root), root)[0]


@pytest.mark.parametrize(
    "size, share, counts",
    [(10, "10", [6, 3, 1]), (0.2, "10", [6, 3, 1]), (11, "11", [7, 3, 1]), (0.5, "25", [15, 8, 2])],
)
def test_the_share_of_test_images_is_a_setting(
    size: float, share: str, counts: list[int], tmp_path: Path, warned: Callable[[], str]
) -> None:
    sizes = {"ant": 30, "bee": 15, "cat": 5}
    root = make(tmp_path / "imgs", *(f"{name}/{k:02}.png" for name, size in sizes.items() for k in range(size)))
    listing = list_images(root, test_size=size)
    assert [len(paths) for paths in listing.test.values()] == counts
    files = [path for split in (listing.train, listing.test) for paths in split.values() for path in paths]
    assert sorted(files) == sorted(map(str, root.glob("*/*")))
    assert warned() == f"data.root={root}: no train/ and test/: testing on {share} random images"
    less = list_images(root, test_size=7)
    assert all({*less.test[name]} <= {*listing.test[name]} for name in sizes)


@pytest.mark.parametrize(
    "size, sentence",
    [
        (2, r"^data.test_size=2 takes 0 of the 5 images of \S*imgs/cat; a class needs test images and others$"),
        (50, r"^data.test_size=50 takes 30 of the 30 images of \S*imgs/ant; a class needs"),
        (90, r"^data.test_size=90 takes 30 of the 30 images of \S*imgs/ant; a class needs"),
        (0.99, r"^data.test_size=0.99 takes 30 of the 30 images of"),
    ],
)
def test_every_class_needs_test_images_and_others(size: float, sentence: str, tmp_path: Path) -> None:
    sizes = {"ant": 30, "bee": 15, "cat": 5}
    root = make(tmp_path / "imgs", *(f"{name}/{k:02}.png" for name, size in sizes.items() for k in range(size)))
    with pytest.raises(UserError, match=sentence):
        list_images(root, test_size=size)


def test_a_number_of_test_images_has_no_effect_beside_test_images(root: Path) -> None:
    with pytest.raises(UserError, match=r"^data.test_size=0.1 has no effect, since \S*imgs/test exists; choose null$"):
        list_images(root, test_size=0.1)


def test_a_folder_without_splits_is_split_at_random_and_always_alike(tmp_path: Path, warned: Callable[[], str]) -> None:
    sizes = {"ant": 20, "bee": 2, "cat": 9}
    root = make(tmp_path / "imgs", *(f"{name}/{k:02}.png" for name, size in sizes.items() for k in range(size)))
    listing = list_images(root)
    assert {name: len(paths) for name, paths in listing.test.items()} == {"ant": 4, "bee": 1, "cat": 1}
    train, test = names_of(listing, root)
    assert sorted([*train, *test]) == sorted(f"{name}/{k:02}.png" for name, size in sizes.items() for k in range(size))
    assert (train, test) == (sorted(train), sorted(test))
    assert test[:4] != sorted(train + test)[:4]
    assert warned() == f"data.root={root}: no train/ and test/: testing on a random fifth of each class"
    assert list_images(root) == listing
    shutil.copytree(root, tmp_path / "copy")
    assert names_of(list_images(tmp_path / "copy"), tmp_path / "copy") == (train, test)
