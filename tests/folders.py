"""Folders of images that are listed, not read."""

import os
from pathlib import Path

from sweeper.data.image_folders import Listing


def make(root: Path, *names: str) -> Path:
    """Make empty files; listing reads no content."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def make_two_classes(root: Path) -> Path:
    """Make two images per class in train/ and an image in test/."""
    names = [f"train/{name}/{number}.png" for name in ("ant", "bee") for number in (0, 1)]
    return make(root, *names, "test/ant/0.png", "test/bee/0.png")


def names_of(listing: Listing, root: Path) -> tuple[list[str], list[str]]:
    """The images of both splits, relative to the root."""
    train, test = (
        [os.path.relpath(path, root) for paths in split.values() for path in paths]
        for split in (listing.train, listing.test)
    )
    return train, test
