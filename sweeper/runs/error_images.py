"""A picture of the test images that a network is most confidently wrong about, with captions, for TensorBoard."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sweeper.runs.measures import Labels, Logits, probabilities, wrong_images

Pixels = NDArray[np.uint8]
SHOWN, COLUMNS = 24, 8  # images; of a row
SIDE, MARGIN, LINE = 96, 8, 13  # pixels of an image, around it, and of a line of text
NAME_LENGTH = 14  # characters of a class


def most_confident(logits: Logits, labels: Labels) -> NDArray[np.int64]:
    """Return the indices of the wrong images to show, most confident first; none where a logit is not finite."""
    return wrong_images(logits, labels)[:SHOWN] if np.isfinite(logits).all() else np.array([], np.int64)


def error_sheet(images: Pixels, logits: Logits, labels: Labels, classes: Sequence[str]) -> Pixels:
    """Draw wrong images, each above its true class, the predicted class and its probability.

    Args:
        images: (E, C, H, W) with 1 or 3 channels, E at least 1.
        logits: (E, K) of these images.
        labels: (E,), the index of each image's class.
        classes: K names.

    Returns:
        Pixels (height, width, 3).
    """
    width, height = SIDE + MARGIN, SIDE + 2 * LINE + MARGIN
    rows = -(-len(images) // COLUMNS)
    sheet = Image.new("RGB", (min(COLUMNS, len(images)) * width + MARGIN, rows * height + MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(LINE - 2)
    guesses, shares = logits.argmax(axis=1), probabilities(logits).max(axis=1)
    for position, image in enumerate(images):
        left, top = MARGIN + position % COLUMNS * width, MARGIN + position // COLUMNS * height
        sheet.paste(thumbnail(image), (left, top))
        true, guess = (cut(classes[index]) for index in (labels[position], guesses[position]))
        draw.text((left, top + SIDE), true, "black", font)
        draw.text((left, top + SIDE + LINE), f"not {guess} ({shares[position]:.2f})", "black", font)
    return np.array(sheet)


def thumbnail(image: Pixels) -> Image.Image:
    """Scale an image (C, H, W) so that its longer side is SIDE; small pixels stay visible as squares."""
    pixels = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)
    scale = SIDE / max(pixels.shape[:2])
    size = max(1, round(scale * pixels.shape[1])), max(1, round(scale * pixels.shape[0]))
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)


def cut(name: str) -> str:
    """Shorten a class's name to NAME_LENGTH characters in one line."""
    line = " ".join(name.split())
    return line if len(line) <= NAME_LENGTH else f"{line[: NAME_LENGTH - 1]}…"
