"""Operations on batches of uint8 images that augmentation policies choose from, with a strength per image.

An operation takes images (N, C, H, W) uint8, gray (C = 1) or color, and strengths (N,) float32, and returns new images;
strength 0 leaves them as they are. Geometric operations are affine maps, which one function applies. The results are
those of torchvision.transforms.v2.functional, which takes one strength for all images and longer to import than torch.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

PART = 128  # images to change at once: small ones fit a processor's cache


def shear_x(strength: Tensor, height: int, width: int) -> Tensor:
    """Shift each row by `strength` times its distance from the top. Return the affine maps (N, 6), see `warp`."""
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    return torch.stack([one, strength, strength * (height / 2), zero, one, zero], 1)


def shear_y(strength: Tensor, height: int, width: int) -> Tensor:
    """Shift each column by `strength` times its distance from the left. Return the affine maps (N, 6)."""
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    return torch.stack([one, zero, zero, strength, one, strength * (width / 2)], 1)


def translate_x(strength: Tensor, height: int, width: int) -> Tensor:
    """Shift to the right by `strength` pixels, rounded towards zero. Return the affine maps (N, 6)."""
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    return torch.stack([one, zero, -strength.trunc(), zero, one, zero], 1)


def translate_y(strength: Tensor, height: int, width: int) -> Tensor:
    """Shift down by `strength` pixels, rounded towards zero. Return the affine maps (N, 6)."""
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    return torch.stack([one, zero, zero, zero, one, -strength.trunc()], 1)


def rotate(strength: Tensor, height: int, width: int) -> Tensor:
    """Rotate counterclockwise by `strength` degrees around the center. Return the affine maps (N, 6)."""
    angle = strength.double().deg2rad()
    cos, sin = angle.cos().float(), angle.sin().float()
    zero = torch.zeros_like(strength)
    return torch.stack([cos, -sin, zero, sin, cos, zero], 1)


def warp(images: Tensor, maps: Tensor) -> Tensor:
    """Move pixels by an affine map per image, (a, b, c, d, e, f) of `maps` (N, 6) float32, to the nearest pixel.

    The pixel (x, y) of the result, counted from the center, is that of the image at (a x + b y + c, d x + e y + f);
    outside of the image it is black.
    """
    num, _, height, width = images.shape
    half = maps.new_tensor([[width / 2], [height / 2]])  # grid_sample counts the image's side from -1 to 1
    of_x, of_y, shift = (maps.view(num, 2, 3) / half)[..., None, None].unbind(2)  # (N, 2, 1, 1)
    x = torch.arange(width, device=images.device) - (width - 1) / 2  # (W,)
    y = (torch.arange(height, device=images.device) - (height - 1) / 2)[:, None]  # (H, 1)
    grid = (x * of_x + shift + y * of_y).permute(0, 2, 3, 1)  # (N, H, W, 2)
    return whole_pixels(F.grid_sample(images.float(), grid, "nearest", "zeros", align_corners=False))


def identity(images: Tensor, strength: Tensor) -> Tensor:
    return images


def brightness(images: Tensor, strength: Tensor) -> Tensor:
    """Multiply by 1 + strength."""
    return to_pixels(images.float().mul_(per_image(1 + strength)))


def color(images: Tensor, strength: Tensor) -> Tensor:
    """Scale the difference to the gray image by 1 + strength; a gray image stays as it is."""
    return images if images.shape[1] == 1 else away_from(gray(images), images, 1 + strength)


def contrast(images: Tensor, strength: Tensor) -> Tensor:
    """Scale the difference to the mean of the gray image by 1 + strength."""
    brightness = gray(images)
    mean = brightness.mean((1, 2, 3), keepdim=True)
    return away_from(brightness.copy_(mean), images, 1 + strength)  # a number per image is slow there


def sharpness(images: Tensor, strength: Tensor) -> Tensor:
    """Scale the difference to the smoothed image, weights 1 around 5, by 1 + strength; the border stays as it is."""
    if min(images.shape[2:]) < 3:
        return images
    pixels = images.float()
    inner = pixels[:, :, 1:-1]
    rows = (pixels[:, :, :-2] + inner).add_(pixels[:, :, 2:])
    flat, smooth = rows.view(-1), torch.empty_like(rows)  # three columns are three neighbors of all rows in a line
    torch.add(flat[:-2], flat[1:-1], out=smooth.view(-1)[1:-1]).add_(flat[2:])
    change = smooth.add_(inner, alpha=4).div_(13).round_().sub_(inner)
    change[..., 0], change[..., -1] = 0, 0
    inner.addcmul_(change, per_image(1 - (1 + strength)))
    return to_pixels(pixels)


def posterize(images: Tensor, strength: Tensor) -> Tensor:
    """Set the lowest bits of each pixel to zero: `strength` of them, rounded."""
    keep: Tensor = 256 - 2 ** strength.round()
    return images & per_image(keep).to(torch.uint8)


def solarize(images: Tensor, strength: Tensor) -> Tensor:
    """Invert the pixels of 255 - strength and more; strength 0 inverts pixels of 255, as it does elsewhere."""
    inverted = (images.short() - per_image((254 - strength).ceil()).short()).clamp_(0, 1)
    return images ^ inverted.neg_().to(torch.uint8)  # by 255 or 0: torch.where is slow for uint8


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
    first = torch.arange(0, num * channels * 256, 256, dtype=torch.int32, device=images.device)
    pixels = images.int().add_(first.view(num, channels, 1, 1)).flatten()  # each channel has 256 colors of its own
    histogram = pixels.bincount(minlength=num * channels * 256).view(num, channels, 256)
    brightest = images.flatten(2).amax(2, keepdim=True).long()
    step = (images[0, 0].numel() - histogram.gather(2, brightest)) // 255
    count = histogram.float()  # whole numbers below 2**24, exact in float32 and faster there
    table = count.cumsum(2).sub_(count).add_(step // 2).div_(step.clamp(min=1)).clamp_(max=255)
    table = whole_pixels(torch.where(step == 0, torch.arange(256, device=images.device), table))
    return table.flatten().index_select(0, pixels).view_as(images)


def gray(images: Tensor) -> Tensor:
    """Return the brightness of each pixel (N, 1, H, W) float32, a whole number."""
    if images.shape[1] == 1:
        return images.float()
    red, green, blue = images[:, :1], images[:, 1:2], images[:, 2:]
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()


def away_from(center: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Scale the difference between images and their `center` (N, 1, H, W) float32 by a factor per image."""
    return to_pixels(images.float().mul_(per_image(factor)).addcmul_(center, per_image(1 - factor)))


def per_image(values: Tensor) -> Tensor:
    """Shape one value per image (N,) so that it applies to all pixels of its image."""
    return values[:, None, None, None]


def to_pixels(values: Tensor) -> Tensor:
    """Clip float32 values to those of a pixel and round down, in place before the conversion."""
    return whole_pixels(values.clamp_(0, 255))


def whole_pixels(values: Tensor) -> Tensor:
    """Convert float32 values from 0 to 255 to pixels, rounded down."""
    return values.to(torch.int16).to(torch.uint8)  # faster than without int16
