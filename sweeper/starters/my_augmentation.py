"""my_augmentation: a step of augmentation, a random change of training images.

Train with it:

    python train.py extend=my_augmentation.py augmentation=my_augmentation data=digits

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`augmentation.my_augmentation=0.5` changes it, and null turns the step off.
After an edit, runs that used what was edited are trained again.
"""

import torch
from torch import Tensor

from sweeper.data.draws import needs_draws


@needs_draws(1)  # random numbers per image and epoch
def my_augmentation(images: Tensor, draws: Tensor, mean: Tensor, *, my_augmentation: float = 0.2) -> Tensor:
    """Return changed images (N, C, H, W) uint8: a fraction of them without color.

    Args:
        draws: (N, 1), uniform in [0, 1).
        mean: the mean pixel, (C,) uint8.
        my_augmentation: the fraction. The first setting turns the step on, so its name must be new to the group.
    """
    gray = images.float().mean(1, keepdim=True).round().to(torch.uint8).expand_as(images)
    return torch.where(draws[:, 0, None, None, None] < my_augmentation, gray, images)


# Steps by name. They combine with all others: augmentation=flip_crop augmentation.my_augmentation=0.5
AUGMENTATIONS = {"my_augmentation": my_augmentation}
