"""my_mixing: how the images and targets of a training batch are mixed.

Train with it:

    python train.py extend=my_mixing.py mixing=my_mixing data=digits

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`mixing.probability=1` changes it, and `-m mixing.probability=0.5,1` sweeps over it.
After an edit, runs that used what was edited are trained again.
"""

import torch
from torch import Tensor

from sweeper.data.batches import Step


def my_mixing(
    images: Tensor, targets: Tensor, num_classes: int, step: Step, *, probability: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Return mixed images (B, C, H, W), normalized float32, and targets: classes (B,), or probabilities (B, K).

    Random numbers come from `step.generator(NAME)`: a run that resumes makes the same draws. `step.index` of
    `step.total` steps are done.
    """
    if float(torch.rand((), generator=step.generator("my_mixing"))) >= probability:
        return images, targets
    return images.lerp(images.roll(1, 0), 0.5), targets  # the mean of an image and its neighbor, whose class is lost


MIXINGS = {"my_mixing": my_mixing}  # choices by name; one file may have several, of several groups
