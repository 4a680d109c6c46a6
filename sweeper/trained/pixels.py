"""The test images of a run: from the cache of decoded images alone, or from its dataset."""

import numpy as np

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.elsewhere import Elsewhere
from sweeper.runs.stored_images import Pixels, StoredImages, find_test_images, read_test_images

COMPARED = 256  # images
NAMED = ("image_folder", "segmentation_folder")  # the datasets whose images are files


def images_of(record: RunDirectory, where: Elsewhere) -> StoredImages:
    """Return a run's test images.

    The cache is enough where it has them, with the names of files; else, and where `data.root` is given, the dataset
    is read, into the cache.

    Raises:
        UserError: the images are missing, or differ from those that the run was trained on.
    """
    found = find_test_images(record, where.data.get("cache"))
    lacks_names = found is not None and not found.files and is_named(record)
    if found is None or lacks_names or "root" in where.data:
        from sweeper.runs.evaluate import resolve_for_evaluation  # imports torch, which the cache does not need

        try:
            found = read_test_images(resolve_for_evaluation(record, where).cached.folder)
        except UserError:
            if found is None or "root" in where.data:
                raise
    if found is None:
        raise UserError("the cache of decoded images is damaged; delete it")
    return found


def is_named(record: RunDirectory) -> bool:
    """Return whether the images of a run's dataset are files with names."""
    data = ((record.run() or {}).get("effective") or {}).get("data")
    return isinstance(data, dict) and data.get("name") in NAMED


def pixels_to_compare(record: RunDirectory, where: Elsewhere, input_shape: tuple[int, int, int]) -> tuple[Pixels, str]:
    """Return images (N, C, H, W) on which two forms of a network are compared, and their name.

    They are test images where these are here; else noise, unless `data.root` or `data.cache` is given.

    Raises:
        UserError: the images that were given are missing or differ.
    """
    try:
        images = np.array(images_of(record, where).images[:COMPARED])
        return images, f"{len(images)} test images"
    except UserError as error:
        if where.data:
            raise
        noise = np.random.default_rng(0).integers(0, 256, (COMPARED, *input_shape), dtype=np.uint8)
        return noise, f"{COMPARED} images of noise, since the test images are not here ({error})"
