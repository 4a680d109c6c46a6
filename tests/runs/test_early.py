"""Settings that no images make right are refused before images are decoded."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from support import composed

from sweeper.config import Config
from sweeper.errors import UserError
from sweeper.runs.early import check_before_decoding
from sweeper.runs.job import Job
from sweeper.runs.run import run
from sweeper.runs.spec import resolve
from sweeper.sweep.compose import Composed
from sweeper.sweep.planner import Planner

SCENES = ("task=segmentation", "data=digit_scenes")
REFUSED = {
    "offers no feature maps": (*SCENES, "model=fcn32s", "model.arch=vit_b_16"),
    "is none of the 80 networks": (*SCENES, "model=fcn32s", "model.arch=vgg17"),
    "there is no such file": ("data=digits", "model=torchvision", "model.arch=resnet18", "model.weights=missing.pt"),
    "needs trained weights": (*SCENES, "model=fcn8s", "model.arch=resnet18", "model.freeze_backbone=true"),
    "activation=own is for": ("data=digits", "model=cnn", "activation=own"),
    "excludes": ("data=digits", "model=cnn", "augmentation=flip_crop", "augmentation.resized_crop=0.5"),
}


def config_of(*overrides: str, folder: Path) -> Config:
    return composed(*overrides, f"data.cache={folder}/cache", f"output_dir={folder}/outputs")


@pytest.mark.parametrize("message", REFUSED)
def test_a_run_is_refused_before_its_images_are_decoded(message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        run(config_of(*REFUSED[message], folder=tmp_path), Job("python train.py"))
    assert [*tmp_path.iterdir()] == []


def test_every_combination_of_a_sweep_is_checked_before_the_first_decodes(tmp_path: Path) -> None:
    rest = [*SCENES, "model=fcn8s", "model.arch="]
    configs = [config_of(*rest[:-1], f"{rest[-1]}{arch}", folder=tmp_path) for arch in ("resnet18", "vit_b_16")]
    jobs = [["model.arch=resnet18"], ["model.arch=vit_b_16"]]
    by_job = dict(zip(map(tuple, jobs), configs, strict=True))
    with pytest.raises(UserError, match=re.escape("offers no feature maps") + r".*in model.arch=vit_b_16; nothing"):
        Planner(lambda job: Composed(by_job[tuple(job)], {})).plan(jobs)
    assert not (tmp_path / "cache").exists()


def test_what_depends_on_the_images_is_left_to_them(small: list[str], tmp_path: Path) -> None:
    """Of images of another size the network may be right; and what is right of the invented ones may be wrong."""
    small_images = config_of("data=cifar10", "model=torchvision", "model.arch=alexnet", folder=tmp_path)
    check_before_decoding(replace(small_images, data=replace(small_images.data, image_size=224)))
    with pytest.raises(UserError, match="cannot be built for images of 3x32x32"):
        check_before_decoding(small_images)
    weights = config_of(*small, "model=softmax", "loss.class_weights=[1,1,2]", folder=tmp_path)
    check_before_decoding(weights)
    assert not (tmp_path / "cache").exists()
    resolve(weights)
    assert (tmp_path / "cache").exists()


def test_decoded_images_are_not_invented(small: list[str]) -> None:
    config = composed(*small, "model=torchvision", "model.arch=vgg17")
    resolve(config)
    check_before_decoding(config)  # `check` refuses it, with the images
