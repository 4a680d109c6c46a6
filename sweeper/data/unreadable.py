"""Files that cannot be read as images: why, and what to do."""

import re
from collections.abc import Sequence

from PIL import Image, UnidentifiedImageError

from sweeper.errors import UserError

LISTED = 10  # files that a sentence names
# What a file's first bytes match, and what it is then.
CONTENTS = (
    (rb"$", "it is empty"),
    (rb"version https://git-lfs", "it is a Git LFS pointer; run git lfs pull"),
    (rb"\s*<(!doctype html|html)", "it is a web page"),
    (rb"\s*<(svg|\?xml)", "it is an SVG drawing or other XML; convert it to PNG"),
    (rb"....ftyp(heic|heix|hevc|mif1|msf1)", "it is HEIC; convert it to JPEG"),
    (rb"II\*\0|MM\0\*", "it is a TIFF of a kind that Pillow does not read; save it as PNG, or with 8 or 16 bits"),
    (rb"", "its format is unknown"),
)


class UnreadableImage(UserError):
    """An image cannot be read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be read as an image: {reason}")
        self.path, self.reason = path, reason


def reason_of(error: Exception, path: str) -> str:
    """Say why a file cannot be read and, where it is known, what to do."""
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; save it smaller"
    if "MAX_TEXT" in str(error):
        return "its metadata is too large; save it again without metadata"
    if isinstance(error, UnidentifiedImageError):
        return content_of(path)
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror
    return str(error) or type(error).__name__


def content_of(path: str) -> str:
    """Say what a file holds that is not an image."""
    with open(path, "rb") as file:  # noqa: PTH123  names may have bytes that are no text
        start = file.read(64)
    return next(what for pattern, what in CONTENTS if re.match(pattern, start, re.DOTALL | re.IGNORECASE))


def check_readable(failures: Sequence[UnreadableImage], num_images: int) -> None:
    """Refuse a dataset with unreadable images.

    Raises:
        UserError: there are any; the sentence names up to ten of them.
    """
    if len(failures) == 1:
        raise failures[0]
    if failures:
        named = "; ".join(f"{failure.path} ({failure.reason})" for failure in failures[:LISTED])
        more = f"; and {len(failures) - LISTED:,} more" if len(failures) > LISTED else ""
        raise UserError(
            f"{len(failures):,} of {num_images:,} images cannot be read; repair or remove them: {named}{more}"
        )
