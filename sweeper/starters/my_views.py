"""my_views: views of each test image, whose logits are averaged.

Train with it:

    python train.py extend=my_views.py views=my_views data=digits

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`views.pixels=2` changes it.
After an edit, runs that used what was edited are trained again.
"""

from collections.abc import Iterator

from torch import Tensor


def my_views(images: Tensor, *, pixels: int = 1) -> Iterator[Tensor]:
    """Yield views of images (B, C, H, W), normalized float32: the images, and shifts to the left and to the right.

    The test accuracy of the mean logits is recorded as `test_acc_views`, beside the plain one.
    """
    yield images
    yield images.roll(-pixels, 3)
    yield images.roll(pixels, 3)


VIEWS = {"my_views": my_views}  # choices by name; one file may have several, of several groups
