"""Scenes composed of scikit-learn's handwritten digits, with exact masks.

A scene has a dark ground of smooth random colors with grain, bright strokes that belong to no digit, and on top of them
several digits of random size, rotation and color, which may overlap: the later covers the earlier. Strokes and digits
draw their colors from the same range, so that a color tells neither a digit from a stroke nor which digit it is.
Each scene follows from its number alone, so that a larger dataset begins with the scenes of a smaller one.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SCENES_VERSION = 2  # of what is drawn
DIGITS = (3, 6)  # in a scene
SIDE = (0.26, 0.5)  # of a digit's 8x8 pixels, as a fraction of the scene's
LARGEST_ANGLE = 25  # degrees
STROKES = (2, 5)
DARK = 140  # largest value of the ground in a channel
BRIGHT = 170  # least mean over the channels of the color of a digit or stroke
CONTRAST = 70  # least difference of such a color to what it covers, summed over the channels
INK = 0.45  # share of a pixel that a digit covers at least where the mask has its class
SMALLEST_SCENE = 32  # pixels of a side
TEST_SCENES = 300
GRAIN = 10  # standard deviation of the noise of each pixel


def compose(
    digits: NDArray[np.uint8], labels: NDArray[np.int64], image_size: int, seed: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a scene.

    Args:
        digits: (N, 8, 8), brighter where there is more ink.
        labels: (N,), from 0 to 9.
        image_size: side of the scene in pixels.
        seed: of the scene.

    Returns:
        The scene (3, H, W), and the class of each pixel (H, W): 0 for the ground, d + 1 for the digit d.
    """
    random = np.random.default_rng(seed)
    pixels = ground(random, image_size)
    mask = np.zeros((image_size, image_size), np.uint8)
    for _ in range(random.integers(*STROKES, endpoint=True)):
        paint(pixels, stroke(random, image_size), random)
    for _ in range(random.integers(*DIGITS, endpoint=True)):
        chosen = int(random.integers(len(digits)))
        ink = placed(digits[chosen], random, image_size)
        paint(pixels, ink, random)
        mask[ink >= INK] = labels[chosen] + 1
    pixels += random.normal(0, GRAIN, pixels.shape)
    return pixels.round().clip(0, 255).astype(np.uint8).transpose(2, 0, 1), mask


def ground(random: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Return smooth random colors: (H, W, 3) from 0 to about DARK."""
    coarse = random.integers(0, DARK + 1, (int(random.integers(3, 7)), int(random.integers(3, 7)), 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(smooth, np.float64)


def stroke(random: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Return the coverage (H, W) of an arc or a line, as thick as those of digits."""
    canvas = Image.new("L", (size, size))
    draw = ImageDraw.Draw(canvas)
    x, y, width, height = random.uniform((-0.1, -0.1, 0.1, 0.1), (0.9, 0.9, 0.45, 0.45)) * size
    box, thick = (x, y, x + width, y + height), max(1, round(random.uniform(0.03, 0.06) * size))
    if random.random() < 0.5:
        start = random.uniform(0, 360)
        draw.arc(box, start, start + random.uniform(60, 200), fill=255, width=thick)
    else:
        draw.line(box if random.random() < 0.5 else (x + width, y, x, y + height), fill=255, width=thick)
    return np.asarray(canvas, np.float64) / 255


def placed(digit: NDArray[np.uint8], random: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Return the coverage (H, W) of a digit of random size and rotation, somewhere in the scene."""
    side = random.uniform(*SIDE) * size
    angle = math.radians(random.uniform(-LARGEST_ANGLE, LARGEST_ANGLE))
    x, y = random.uniform(0.3 * side, size - 0.3 * side, 2)  # of its center
    scale = digit.shape[0] / side
    cos, sin, half = scale * math.cos(angle), scale * math.sin(angle), digit.shape[0] / 2
    inverse = (cos, sin, half - cos * x - sin * y, -sin, cos, half + sin * x - cos * y)
    ink = Image.fromarray(digit).transform((size, size), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
    return np.asarray(ink, np.float64) / 255


def paint(pixels: NDArray[np.float64], coverage: NDArray[np.float64], random: np.random.Generator) -> None:
    """Paint what is covered, in place, with a random bright color that differs from what is there."""
    covered = coverage > INK
    below = pixels[covered].mean(0) if covered.any() else np.full(3, 128.0)
    color = random.uniform(0, 255, 3)
    while color.mean() < BRIGHT or np.abs(color - below).sum() < CONTRAST:
        color = random.uniform(0, 255, 3)
    pixels += np.minimum(1, coverage / INK)[..., None] ** 2 * (color - pixels)
