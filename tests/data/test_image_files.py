"""One image file as pixels, in every form that cameras, scanners and web sites leave."""

import io
import logging
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from sweeper.data.image_files import as_array, lenient, read_image
from sweeper.data.unreadable import UnreadableImage, check_readable
from sweeper.data.value_range import ValueRange
from sweeper.errors import UserError


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def read(file: Path, mode: str = "RGB", size: int = 8, **options: Any) -> NDArray[np.uint8]:
    return read_image(str(file), mode, size, **options)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(("form", "size"), [("png", 8), ("png", 5), ("jpg", 8), ("bmp", 11), ("webp", 8)])
def test_an_ordinary_image_is_what_pillow_makes_of_it(tmp_path: Path, form: str, size: int, mode: str) -> None:
    Image.fromarray(noise(6, 8, 3)).save(tmp_path / f"x.{form}")
    with Image.open(tmp_path / f"x.{form}") as image:
        resized = image.convert(mode).resize((size, size), Image.Resampling.BILINEAR)
    expected = np.atleast_3d(np.asarray(resized)).transpose(2, 0, 1)
    assert np.array_equal(read(tmp_path / f"x.{form}", mode, size), expected)


@pytest.mark.parametrize("form", ["jpg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("orientation", range(10))
def test_images_are_upright(tmp_path: Path, form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    file = tmp_path / f"x.{form}"
    Image.fromarray(noise(6, 8, 3)).save(file, exif=exif)
    with Image.open(file) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB").resize((8, 8), Image.Resampling.BILINEAR)
    assert np.array_equal(read(file), np.asarray(expected).transpose(2, 0, 1))


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM", b"\xff" * 40])
def test_damaged_exif_does_not_matter(tmp_path: Path, exif: bytes) -> None:
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "plain.jpg")
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "damaged.jpg", exif=exif)
    with lenient():
        assert np.array_equal(read(tmp_path / "damaged.jpg"), read(tmp_path / "plain.jpg"))


DEEP: dict[str, NDArray[Any]] = {
    "16 bits.png": np.arange(0, 65536, 1024, dtype=np.uint16),
    "16 bits.tiff": np.arange(0, 65536, 1024, dtype=np.uint16),
    "32 bits.tiff": np.arange(0, 65536, 1024, dtype=np.int32),
}


@pytest.mark.parametrize("name", DEEP)
def test_gray_of_16_bits_keeps_its_upper_8(tmp_path: Path, name: str) -> None:
    Image.fromarray(DEEP[name].reshape(8, 8)).save(tmp_path / name)
    assert np.array_equal(read(tmp_path / name, "L")[0].ravel(), DEEP[name] >> 8)


def test_the_full_range_is_that_of_16_bits_whichever_way_it_is_given() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for limits in (None, (0, 65535), [0.0, 65535.0]):
        assert np.array_equal(ValueRange(limits).to_uint8(values), values >> 8)
    assert np.array_equal(ValueRange((0, 4095)).to_uint8(values[:16]), values[:16] >> 4)
    assert np.array_equal(ValueRange((0, 255)).to_uint8(values[:1]), values[:1])


@pytest.mark.parametrize(
    ("values", "limits", "expected"),
    [
        (np.array([[-1000, 0, 1000, 3000]], np.int32), (-1000, 3000), [0, 64, 128, 255]),
        (np.array([[-2000, -1000, 3000, 5000]], np.int32), (-1000, 3000), [0, 0, 255, 255]),  # outside
        (np.array([[0, 250_000, 500_000, 1_000_000]], np.int32), (0, 1e6), [0, 64, 128, 255]),
        (np.array([[0, 0.25, 0.5, 1]], np.float32), (0, 1), [0, 64, 128, 255]),
    ],
)
def test_the_range_of_values_can_be_given(
    tmp_path: Path, values: NDArray[Any], limits: tuple[float, float], expected: list[int]
) -> None:
    Image.fromarray(values.repeat(4, 0)).save(tmp_path / "x.tiff")
    image = read(tmp_path / "x.tiff", "RGB", 4, value_range=ValueRange(limits))
    assert (image == np.array(expected)).all()
    with pytest.raises(UnreadableImage, match=r"its values go from .* to .*; name those that are black and white"):
        read(tmp_path / "x.tiff")


def tiff_of(values: NDArray[Any], photometric: int = 1) -> bytes:
    """A gray TIFF as other programs write it: unsigned, or with 0 as white."""
    height, width = values.shape
    bits, kind = values.dtype.itemsize * 8, {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height}
    tags |= {279: values.nbytes, 339: kind}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + values.nbytes) + values.tobytes()
    return head + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_unsigned_values_of_32_bits_are_not_negative(tmp_path: Path) -> None:
    values = np.array([[0, 1 << 30, 1 << 31, 2**32 - 1]], np.uint32)
    (tmp_path / "x.tiff").write_bytes(tiff_of(values.repeat(4, 0)))
    image = read(tmp_path / "x.tiff", "L", 4, value_range=ValueRange((0, 2**32 - 1)))
    assert image[0, 0].tolist() == [0, 64, 128, 255]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_zero_may_be_white(tmp_path: Path, dtype: type[Any]) -> None:
    values = np.full((8, 8), 3 << 8 * (np.dtype(dtype).itemsize - 1), dtype)
    (tmp_path / "x.tiff").write_bytes(tiff_of(values, photometric=0))
    assert (read(tmp_path / "x.tiff", value_range=ValueRange()) == 252).all()


def test_deep_gray_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 3
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) << 10
    for suffix in ("png", "tiff"):
        Image.fromarray(values).save(tmp_path / f"x.{suffix}", exif=exif)
        assert np.array_equal(read(tmp_path / f"x.{suffix}", "L")[0], values[::-1, ::-1] >> 8)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(tmp_path / "x.tiff")
    with pytest.raises(UnreadableImage, match="not finite"):
        read(tmp_path / "x.tiff", value_range=ValueRange((0, 1)))


@pytest.mark.parametrize("limits", [[0], [1, 0], [5, 5], [0, 1, 2]])
def test_a_range_is_two_values(limits: list[float]) -> None:
    with pytest.raises(UserError, match=r"data\.value_range=.* must be two values"):
        ValueRange(limits)


@pytest.mark.parametrize(("peak", "likely"), [(0, 255), (255, 255), (256, 1023), (4095, 4095), (5000, 16383)])
def test_images_that_would_be_dark_are_refused(tmp_path: Path, peak: int, likely: int) -> None:
    Image.fromarray(np.full((8, 8), peak, np.uint16)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match=rf"above {peak} of 65535.* set data\.value_range=\[0,{likely}\], or"):
        read(tmp_path / "x.png")
    values = ValueRange()
    read(tmp_path / "x.png", value_range=values)
    values.to_uint8(np.array([[40_000]]))  # a bright image makes the others dark ones of the full range
    values.check()


def test_a_range_without_an_effect_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.value_range=\[0, 9\] has no effect: no gray image has more than 8"):
        ValueRange([0, 9]).check()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(("color_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_deep_color_is_refused_where_it_would_be_dark(tmp_path: Path, color_type: int, channels: int) -> None:
    for name, value in (("dark", 4095), ("light", 65535)):
        pixels = np.full((8, 8, channels), value, ">u2")
        if channels != 3:
            pixels[..., -1] = 65535  # opaque
        rows = b"".join(b"\0" + row.tobytes() for row in pixels)
        header = struct.pack(">IIBBBBB", 8, 8, 16, color_type, 0, 0, 0)
        png = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        (tmp_path / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png)
    assert (read(tmp_path / "light.png") == 255).all()
    with pytest.raises(UserError, match=r"16 bits a channel is above 32767 of 65535.*; save them with 8 bits"):
        read(tmp_path / "dark.png")


@pytest.mark.parametrize("form", ["RGBA png", "LA png", "RGBA gif", "P png", "RGB png", "RGBA webp", "RGBA tiff"])
def test_transparent_pixels_are_white(tmp_path: Path, form: str) -> None:
    mode, suffix = form.split()
    pixels = np.zeros((8, 8, 4), np.uint8)  # black on transparent black, as icons are
    pixels[2:6, 2:6, 3] = 255
    image = Image.fromarray(pixels)
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    if mode == "RGB":  # one color is transparent
        pixels[2:6, 2:6, 0] = 1
        image, options = Image.fromarray(pixels[..., :3].copy()), {"transparency": (0, 0, 0)}
    image.convert(mode).save(tmp_path / f"x.{suffix}", **options)
    expected = np.full((3, 8, 8), 255)
    expected[:, 2:6, 2:6] = pixels[2:6, 2:6, :3].transpose(2, 0, 1)
    assert np.array_equal(read(tmp_path / f"x.{suffix}"), expected)


def test_half_transparent_pixels_are_mixed_with_white_and_opaque_ones_stay(tmp_path: Path) -> None:
    pixels = noise(8, 8, 4)
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert np.array_equal(read(tmp_path / "x.png"), pixels[..., :3].transpose(2, 0, 1))
    pixels[..., 3] = 128
    Image.fromarray(pixels).save(tmp_path / "x.png")
    mixed = 255 + (pixels[..., :3].astype(float) - 255) * 128 / 255
    assert np.abs(read(tmp_path / "x.png") - mixed.transpose(2, 0, 1)).max() <= 1


@pytest.mark.parametrize(("width", "height"), [(8, 8), (12, 8), (8, 12), (9, 4), (4, 9), (100, 1), (1, 100)])
def test_squares_are_squeezed_cropped_or_padded(width: int, height: int) -> None:
    image = Image.fromarray(noise(height, width, 3))
    bilinear = Image.Resampling.BILINEAR
    squeezed = np.asarray(image.resize((8, 8), bilinear)).transpose(2, 0, 1)
    assert np.array_equal(as_array(image, 8), squeezed)
    assert np.array_equal(as_array(image, 8, "squeeze"), squeezed)
    cropped = np.asarray(ImageOps.fit(image, (8, 8), bilinear)).transpose(2, 0, 1)
    assert np.array_equal(as_array(image, 8, "crop"), cropped)
    padded = as_array(image, 8, "pad")
    assert padded.shape == (3, 8, 8)
    if min(width, height) > 1:
        assert np.array_equal(padded, np.asarray(ImageOps.pad(image, (8, 8), bilinear)).transpose(2, 0, 1))
    else:  # where Pillow's own leaves nothing of the image
        assert padded.any(0).sum() == 8


def png_with(tmp_path: Path, **options: Any) -> Path:
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "x.png", **options)
    return tmp_path / "x.png"


def test_large_metadata_is_no_obstacle(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("x", "0" * 2_000_000, zip=True)
    for options in ({"pnginfo": text}, {"icc_profile": b"0" * 3_000_000}):
        with lenient():
            assert np.array_equal(read(png_with(tmp_path, **options)), noise(8, 8, 3).transpose(2, 0, 1))


def test_metadata_as_large_as_a_bomb_is_refused_with_a_remedy(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("x", "0" * 2_000_000, zip=True)
    with pytest.raises(UnreadableImage, match="its metadata is too large; save it again without metadata"):
        read(png_with(tmp_path, pnginfo=text))  # at Pillow's own limit


def test_the_number_of_pixels_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(noise(40, 50, 3)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with lenient():
        read(tmp_path / "x.png")  # Pillow warns up to twice the number
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 999)
    with pytest.raises(UnreadableImage, match=r"it has more than 1,998 pixels; save it smaller"):
        read(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a Git LFS pointer; run git lfs pull"),
        (b"\n<!DOCTYPE html><title>404</title>", "it is a web page"),
        (b"<HTML>", "it is a web page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "it is an SVG drawing or other XML"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "it is HEIC; convert it to JPEG"),
        (tiff_of(np.zeros((4, 4), np.float64)), "it is a TIFF of a kind that Pillow does not read; save it as PNG"),
        (b"no image", "its format is unknown"),
        (None, "No such file or directory"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(UnreadableImage, match=rf"x\.jpg cannot be read as an image: {reason}"):
        read(tmp_path / "x.jpg")


@pytest.mark.parametrize("form", ["TIFF", "GIF", "WEBP", "BMP", "PPM", "JPEG", "PNG", "TGA", "JPEG2000", "AVIF", "DIB"])
def test_damage_of_any_kind_is_named_or_harmless(tmp_path: Path, form: str) -> None:
    whole = io.BytesIO()
    Image.fromarray(noise(4, 4, 3)).save(whole, form)
    data = whole.getvalue()
    with lenient():
        for place in range(0, min(len(data), 200), 7):
            for changed in (data[:place], data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]):
                (tmp_path / "x").write_bytes(changed)
                try:
                    assert read(tmp_path / "x").shape == (3, 8, 8)
                except UnreadableImage as error:
                    assert str(tmp_path / "x") in str(error)


def test_any_exception_of_a_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "x.png")
    for error in (TypeError("not a number"), MemoryError(), RecursionError("deep"), AssertionError()):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
        with pytest.raises(UnreadableImage, match=rf"x\.png cannot be read as an image: {error}" + r"\w*"):
            read(tmp_path / "x.png")


def test_warnings_of_decoders_are_hidden(recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture) -> None:
    with lenient():
        warnings.warn("Corrupt EXIF data", stacklevel=1)
        logging.getLogger("PIL.TiffImagePlugin").error("More samples per pixel than can be decoded")
    assert (recwarn.list, caplog.messages) == ([], [])


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (1, r"^0\.png cannot be read as an image: cut$"),
        (2, r"^2 of 5,000 images cannot be read; repair or remove them: 0\.png \(cut\); 1\.png \(cut\)$"),
        (12, r"^12 of 5,000 images .*; 9\.png \(cut\); and 2 more$"),
    ],
)
def test_unreadable_images_are_reported_together(number: int, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        check_readable([UnreadableImage(f"{index}.png", "cut") for index in range(number)], 5000)
    check_readable([], 5000)
