"""Settings that no images can make right are refused before images are decoded, which may take minutes."""

from pathlib import Path

from sweeper.config import Config
from sweeper.data.cache import Cached, find
from sweeper.data.source import Source
from sweeper.errors import UserError
from sweeper.runs.spec import settle
from sweeper.training.build import check

SIDES = (224, 64, 28)  # pixels of images whose size the config does not tell
CLASSES = (1000, 11, 2)
COLORS = 3
MANY = 10**6  # images


def check_before_decoding(config: Config) -> Cached | None:
    """Return a config's images where they are decoded; where they are not yet, check it with invented ones.

    What is wrong with images of every size, with any number of classes, is wrong with the config's own.

    Raises:
        UserError: a setting is wrong, see `sweeper.training.build.check`, or see `sweeper.runs.spec.resolve`.
    """
    config, choices = settle(config)
    if (cached := find(config.data)) is not None:
        return cached
    found, channels = [], len(config.data.mean or ()) or COLORS
    for side, classes in zip(SIDES, CLASSES, strict=True):
        size = config.data.image_size or side
        try:
            check(config, choices, invented((channels, size, size), classes))
            return None
        except UserError as error:
            found.append(error)
    if len(set(map(str, found))) == 1:
        raise found[0]
    return None


def invented(shape: tuple[int, int, int], classes: int) -> Cached:
    """Return a dataset of images of this shape (C, H, W) without any."""

    def nothing(allocate: object) -> list[str]:
        raise AssertionError("invented images are not decoded")

    return Cached(Source("", nothing), Path(), "", list(map(str, range(classes))), shape, MANY, MANY)
