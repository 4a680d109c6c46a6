"""One image file as pixels: upright, transparency on white, deep gray scaled to 8 bits, resized to a square."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from sweeper.errors import UserError

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
FULL_RANGE = (0, 65535)
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
LISTED = 10  # unreadable files that a sentence names


class UnreadableImage(UserError):
    """An image cannot be read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be read as an image: {reason}")
        self.path, self.reason = path, reason


@dataclass
class ValueRange:
    """The values that become black and white in gray images of more than 8 bits, and how far their values go.

    Attributes:
        limits: black and white; None: 0 and 65535, and then images with a sign, more bits or fractions are refused.
        peaks: the largest value of each such image.
        color_peaks: the same of color images with 16 bits a channel, of which Pillow reads the upper 8.
    """

    limits: Sequence[float] | None = None
    peaks: list[float] = field(default_factory=list)
    color_peaks: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.limits is not None and (len(self.limits) != 2 or self.limits[0] >= self.limits[1]):
            raise UserError(
                f"data.value_range={list(self.limits)} must be two values, that of black and a larger one of white"
            )

    def to_uint8(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Scale gray values (H, W) to 256 equal steps; values outside of the range are black or white.

        Raises:
            ValueError: the values are not those of a 16-bit image, and no range is given.
        """
        if not np.isfinite(values).all():
            raise ValueError("it has values that are not finite")
        low, high = float(values.min()), float(values.max())
        is_16_bit = np.issubdtype(values.dtype, np.integer) and low >= FULL_RANGE[0] and high <= FULL_RANGE[1]
        if self.limits is None and not is_16_bit:
            raise ValueError(
                f"its values go from {low:.10g} to {high:.10g}; name those that are black and white, "
                "data.value_range=[BLACK,WHITE]"
            )
        self.peaks.append(high)
        black, white = self.limits or FULL_RANGE
        steps = np.floor((values.astype(np.float64) - black) * (256 / (white - black)))
        return steps.clip(0, 255).astype(np.uint8)

    def check(self) -> None:
        """Check that the range fits the images that were read.

        Raises:
            UserError: images would be dark, or the range has no effect.
        """
        if self.limits is not None:
            if not self.peaks:
                raise UserError(
                    f"data.value_range={list(self.limits)} has no effect: no gray image has more than 8 bits; "
                    "choose data.value_range=null"
                )
            return
        white = FULL_RANGE[1]
        if self.peaks and (peak := max(self.peaks)) <= white // 2:
            likely = next(2**bits - 1 for bits in (8, 10, 12, 14, 15) if peak < 2**bits)
            raise UserError(
                f"no value of the gray images with more than 8 bits is above {peak:.0f} of {white}, so that they would "
                f"be dark; set data.value_range=[0,{likely}], or data.value_range=[0,{white}] if they are"
            )
        if self.color_peaks and max(self.color_peaks) <= FULL_RANGE[1] // 2:
            raise UserError(
                f"no value of the color images with 16 bits a channel is above {white // 2} of {white}, so that they "
                "would be dark; save them with 8 bits a channel"
            )


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
        with Image.open(path) as image:
            is_deep_color = len(image.getbands()) > 1 and any(";16" in str(tile) for tile in image.tile)
            image.load()
            if is_deep_color:
                deep.color_peaks.append(256 * peak_of(image) + 255)
            flat = flattened(to_8_bits(upright(image), deep))
            pixels = as_array(flat if flat.mode == mode else flat.convert(mode), image_size, resize)
    except Exception as error:  # decoders raise anything for damaged files
        raise UnreadableImage(path, reason_of(error, path)) from error
    if value_range is None:
        deep.check()
    return pixels


def upright(image: ImageFile.ImageFile) -> Image.Image:
    """Turn a loaded image as its EXIF orientation says; damaged EXIF says nothing."""
    try:
        turn = ORIENTATIONS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # of the parser of metadata that no pixel depends on
        turn = None
    return image if turn is None else image.transpose(turn)


def to_8_bits(image: Image.Image, value_range: ValueRange) -> Image.Image:
    """Scale a gray image with more than 8 bits, which Pillow would clip; other images stay."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    return Image.fromarray(value_range.to_uint8(np.asarray(image)))


def peak_of(image: Image.Image) -> int:
    """Return the largest value of the channels without alpha."""
    bands = [band for band in image.getbands() if band not in ("A", "X")]
    return max(int(image.getchannel(band).getextrema()[1]) for band in bands)  # type: ignore[arg-type]


def flattened(image: Image.Image) -> Image.Image:
    """Put an image that is transparent somewhere on white: what transparent pixels hide is arbitrary."""
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
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
    """Let Pillow read large metadata, and hide its warnings, which name no file."""
    limit = PngImagePlugin.MAX_TEXT_CHUNK
    PngImagePlugin.MAX_TEXT_CHUNK = METADATA_BYTES
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        PngImagePlugin.MAX_TEXT_CHUNK = limit


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
    text = start.lstrip().lower()
    if not start:
        return "it is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; run git lfs pull"
    if text.startswith((b"<!doctype html", b"<html")):
        return "it is a web page"
    if text.startswith((b"<svg", b"<?xml")):
        return "it is an SVG drawing or other XML; convert it to PNG"
    if start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS:
        return "it is HEIC; convert it to JPEG"
    return "its format is unknown"


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
