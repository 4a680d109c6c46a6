"""One image file as pixels: upright, transparency on white, deep gray scaled to 8 bits, resized to a square."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from sweeper.data.unreadable import UnreadableImage, reason_of
from sweeper.data.value_range import ValueRange

ORIENTATIONS = {  # of EXIF, but for 1, upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
METADATA_BYTES = 64 << 20  # of a PNG, decompressed; Pillow's own limit is 1 MB for a text or an ICC profile
WHITE_IS_ZERO = 0  # in TIFF; Pillow inverts images of up to 8 bits


def read_image(
    path: str, mode: str, image_size: int, *, resize: str | None = None, value_range: ValueRange | None = None
) -> NDArray[np.uint8]:
    """Read an image file as (C, H, W) uint8.

    Args:
        mode: "RGB" or "L".
        resize: see `as_array`.
        value_range: that of all images of a dataset, whose `check` the caller calls; None: this image is all.

    Raises:
        UnreadableImage: it cannot be read.
        UserError: see ValueRange.check.
    """
    deep = value_range or ValueRange()
    try:
        pixels = as_array(open_image(path, mode, deep), image_size, resize)
    except Exception as error:  # decoders raise anything for damaged files
        raise UnreadableImage(path, reason_of(error, path)) from error
    if value_range is None:
        deep.check()
    return pixels


def open_image(path: str, mode: str, deep: ValueRange) -> Image.Image:
    """Return an image file in its own size: upright, transparency on white, deep gray scaled to 8 bits.

    Args:
        mode: "RGB" or "L".
        deep: scales deep gray images, and sees how far their values go.

    Raises:
        Exception: of any kind, for a damaged file.
    """
    with Image.open(path) as image:
        stored = str(image.tile)  # how pixels are stored, which loading forgets
        image.load()
        if len(image.getbands()) > 1 and ";16" in stored:
            deep.color_peaks.append(256 * peak_of(image) + 255)
        if image.mode == "F" or image.mode.startswith("I"):
            gray = deep.to_uint8(values_of(image, stored))
            is_negative = getattr(image, "tag_v2", {}).get(ExifTags.Base.PhotometricInterpretation) == WHITE_IS_ZERO
            flat = upright(image, Image.fromarray(255 - gray if is_negative else gray))
        else:
            flat = flattened(upright(image, image))
        return flat if flat.mode == mode else flat.convert(mode)


def upright(image: Image.Image, pixels: Image.Image) -> Image.Image:
    """Turn the pixels as the EXIF orientation of their image says; damaged EXIF says nothing."""
    try:
        turn = ORIENTATIONS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # of the parser of metadata that no pixel depends on
        turn = None
    return pixels if turn is None else pixels.transpose(turn)


def values_of(image: Image.Image, stored: str) -> NDArray[np.generic]:
    """Return the values (H, W) of a gray image with more than 8 bits; Pillow takes unsigned 32 bits for signed."""
    values = np.asarray(image)
    return values.view(np.uint32) if "I;32N" in stored else values


def peak_of(image: Image.Image) -> int:
    """Return the largest value of the channels without alpha."""
    bands = [band for band in image.getbands() if band not in ("A", "X")]
    return max(int(image.getchannel(band).getextrema()[1]) for band in bands)  # type: ignore[arg-type]


def flattened(image: Image.Image) -> Image.Image:
    """Put an image that is transparent somewhere on white: what transparent pixels hide is arbitrary."""
    if not image.has_transparency_data:
        return image
    layer = image if image.mode == "RGBA" else image.convert("RGBA")
    if layer.getchannel("A").getextrema() == (255, 255):
        return image
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)


def as_array(image: Image.Image, image_size: int, resize: str | None = None) -> NDArray[np.uint8]:
    """Return a PIL image as (C, H, W) uint8, resized where its size differs.

    Args:
        resize: how it becomes a square: `crop` cuts the ends of the longer side off, `pad` adds black borders to the
            shorter one; None, as `squeeze`, changes the aspect ratio.
    """
    width, height = image.size
    if (width, height) != (image_size, image_size):
        if resize == "pad" and width != height:
            scale = image_size / max(width, height)
            inner = max(1, round(width * scale)), max(1, round(height * scale))
            resized = Image.new(image.mode, (image_size, image_size))
            corner = round((image_size - inner[0]) / 2), round((image_size - inner[1]) / 2)
            resized.paste(image.resize(inner, Image.Resampling.BILINEAR), corner)
            image = resized
        else:
            side = min(width, height)
            left, top = (width - side) / 2, (height - side) / 2
            box = (left, top, left + side, top + side) if resize == "crop" else None
            image = image.resize((image_size, image_size), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


@contextmanager
def lenient() -> Iterator[None]:
    """Let Pillow read large metadata, and hide its warnings and log, which name no file."""
    limit, pillow = PngImagePlugin.MAX_TEXT_CHUNK, logging.getLogger("PIL")
    level = pillow.level
    PngImagePlugin.MAX_TEXT_CHUNK = METADATA_BYTES
    pillow.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        PngImagePlugin.MAX_TEXT_CHUNK = limit
        pillow.setLevel(level)
