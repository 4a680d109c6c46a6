"""Operations on batches of uint8 images that augmentation policies choose from, with a strength per image.

An operation takes images (N, C, H, W) uint8, gray (C = 1) or color, and strengths (N,) float32, and returns new images;
strength 0 leaves them as they are. The results are those of torchvision.transforms.v2.functional, which takes one
strength for all images and longer to import than torch. Geometry samples the nearest pixel, black outside the image.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def identity(images: Tensor, strength: Tensor) -> Tensor:
    return images


def shear_x(images: Tensor, strength: Tensor) -> Tensor:
    """Shift each row by `strength` times its distance from the top."""
    return warp(images, {(0, 1): strength, (0, 2): strength * images.shape[2] / 2})


def shear_y(images: Tensor, strength: Tensor) -> Tensor:
    """Shift each column by `strength` times its distance from the left."""
    return warp(images, {(1, 0): strength, (1, 2): strength * images.shape[3] / 2})


def translate_x(images: Tensor, strength: Tensor) -> Tensor:
    """Shift to the right by `strength` pixels, rounded towards zero."""
    return warp(images, {(0, 2): -strength.trunc()})


def translate_y(images: Tensor, strength: Tensor) -> Tensor:
    """Shift down by `strength` pixels, rounded towards zero."""
    return warp(images, {(1, 2): -strength.trunc()})


def rotate(images: Tensor, strength: Tensor) -> Tensor:
    """Rotate counterclockwise by `strength` degrees around the center."""
    angle = strength.double().deg2rad()
    return warp(images, {(0, 0): angle.cos(), (0, 1): -angle.sin(), (1, 0): angle.sin(), (1, 1): angle.cos()})


def warp(images: Tensor, entries: dict[tuple[int, int], Tensor]) -> Tensor:
    """Move pixels by an affine map per image: the identity matrix (2, 3) with these entries, each (N,).

    It maps a pixel (x, y, 1) of the result, counted from the center, to the pixel of the image that is taken.
    """
    num, _, height, width = images.shape
    matrix = torch.eye(2, 3, dtype=torch.float64, device=images.device).repeat(num, 1, 1)
    for (row, column), value in entries.items():
        matrix[:, row, column] = value
    y, x = (torch.arange(side, device=images.device) - (side - 1) / 2 for side in (height, width))
    pixels = torch.stack([x.repeat(height), y.repeat_interleave(width), x.new_ones(height * width)], 1)  # (HW, 3)
    half = x.new_tensor([width / 2, height / 2])
    grid = pixels.expand(num, -1, -1).bmm(matrix.float().mT / half).view(num, height, width, 2)
    return F.grid_sample(images.float(), grid, "nearest", "zeros", align_corners=False).to(torch.uint8)


def brightness(images: Tensor, strength: Tensor) -> Tensor:
    """Multiply by 1 + strength."""
    return to_pixels(images.float().mul_(per_image(1 + strength)))


def color(images: Tensor, strength: Tensor) -> Tensor:
    """Scale the difference to the gray image by 1 + strength; a gray image stays as it is."""
    return images if images.shape[1] == 1 else away_from(gray(images), images, 1 + strength)


def contrast(images: Tensor, strength: Tensor) -> Tensor:
    """Scale the difference to the mean of the gray image by 1 + strength."""
    return away_from(gray(images).mean((1, 2, 3), keepdim=True), images, 1 + strength)


def sharpness(images: Tensor, strength: Tensor) -> Tensor:
    """Scale the difference to the smoothed image, weights 1 around 5, by 1 + strength; the border stays as it is."""
    if min(images.shape[2:]) < 3:
        return images
    pixels = images.float()
    rows = pixels[:, :, :-2] + pixels[:, :, 1:-1] + pixels[:, :, 2:]
    inner = pixels[:, :, 1:-1, 1:-1]
    smooth = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]).add_(inner, alpha=4).div_(13).round_()
    inner.addcmul_(smooth.sub_(inner), per_image(1 - (1 + strength)))
    return to_pixels(pixels)


def posterize(images: Tensor, strength: Tensor) -> Tensor:
    """Set the lowest bits of each pixel to zero: `strength` of them, rounded."""
    keep: Tensor = 256 - 2 ** strength.round()
    return images & per_image(keep).to(torch.uint8)


def solarize(images: Tensor, strength: Tensor) -> Tensor:
    """Invert the pixels of 255 - strength and more; strength 0 inverts pixels of 255, as it does elsewhere."""
    return torch.where(images >= per_image(255 - strength), 255 - images, images)


def autocontrast(images: Tensor, strength: Tensor) -> Tensor:
    """Stretch each channel to the whole range of pixels; a channel of one color and `strength` do nothing."""
    pixels = images.float()
    low, high = pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)
    flat = low == high
    scale = ((high - low) * (1 / 255)).masked_fill_(flat, 1)
    return to_pixels(pixels.sub_(low.masked_fill_(flat, 0)).div_(scale))


def equalize(images: Tensor, strength: Tensor) -> Tensor:
    """Spread each channel's histogram evenly, as Pillow does; `strength` does nothing."""
    num, channels = images.shape[:2]
    pixels = images.flatten(2).long()
    channel = torch.arange(num * channels, device=images.device).view(num, channels, 1) * 256
    histogram = (pixels + channel).flatten().bincount(minlength=num * channels * 256).view(num, channels, 256)
    up_to = histogram.cumsum(2)
    most = histogram.gather(2, pixels.amax(2, keepdim=True))  # pixels of the brightest color
    step = (pixels.shape[2] - most) // 255
    table: Tensor = (up_to - histogram + step // 2).div_(step.clamp(min=1), rounding_mode="floor").clamp_(max=255)
    table = torch.where(step == 0, torch.arange(256, device=images.device), table)
    return table.to(torch.uint8).gather(2, pixels).view_as(images)


def gray(images: Tensor) -> Tensor:
    """Return the brightness of each pixel (N, 1, H, W) float32, a whole number."""
    if images.shape[1] == 1:
        return images.float()
    red, green, blue = images[:, :1], images[:, 1:2], images[:, 2:]
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()


def away_from(center: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Scale the difference between images and their `center` (N, 1, ...) float32 by a factor per image."""
    return to_pixels(images.float().mul_(per_image(factor)).addcmul_(center, per_image(1 - factor)))


def per_image(values: Tensor) -> Tensor:
    """Shape one value per image (N,) so that it applies to all pixels of its image."""
    return values[:, None, None, None]


def to_pixels(values: Tensor) -> Tensor:
    """Clip float32 values to those of a pixel and round down, in place before the conversion."""
    return values.clamp_(0, 255).to(torch.uint8)
