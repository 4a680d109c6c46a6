"""Segmentation: the metric and the losses against independent computations, and what a task refuses."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score
from support import composed
from torch import Tensor
from torch.nn import functional as F

from sweeper.errors import UserError
from sweeper.models import MODELS
from sweeper.runs.scores import SCORES
from sweeper.training.build import choose_all
from sweeper.training.losses import cross_entropy, focal
from sweeper.training.metrics import METRICS
from sweeper.training.segmentation import of_labelled_pixels
from sweeper.training.task import TASKS, segmentation
from sweeper.training.task_checks import check_task, selected, targets_needed, task_of_model

NUM_CLASSES = 6
PIXELS = ("task=segmentation", "data=digit_scenes", "model=unet")


def random_batches(seed: int, absent: int, ignored: int = 255) -> list[tuple[Tensor, Tensor]]:
    """Return logits and masks of two batches with unlabeled pixels; a class is neither predicted nor in the masks."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for size in (3, 2):
        logits = torch.randn(size, NUM_CLASSES, 7, 5, generator=generator)
        logits[:, absent] = -99
        masks = torch.randint(0, NUM_CLASSES - 1, (size, 7, 5), dtype=torch.uint8, generator=generator)
        masks[masks >= absent] += 1
        masks[torch.rand(masks.shape, generator=generator) < 0.2] = 255
        masks[torch.rand(masks.shape, generator=generator) < 0.1] = ignored
        batches.append((logits, masks))
    return batches


@pytest.mark.parametrize("seed", range(4))
def test_mean_iou_and_pixel_accuracy_are_those_of_scikit_learn(seed: int) -> None:
    batches = random_batches(seed, absent=seed)
    found = segmentation(ignore_index=255).evaluate(iter(batches), NUM_CLASSES)
    masks, predicted = (
        torch.cat(parts).flatten().numpy() for parts in zip(*[(m, lo.argmax(1)) for lo, m in batches], strict=True)
    )
    labeled = masks != 255
    true, guessed = masks[labeled], predicted[labeled]
    present = np.union1d(true, guessed)
    assert seed not in present
    expected = jaccard_score(true, guessed, average="macro", labels=present)
    assert METRICS["miou"].compute(found) == pytest.approx(expected, abs=1e-12)
    assert METRICS["pixel_acc"].compute(found) == accuracy_score(true, guessed)
    logits = torch.cat([logits for logits, _ in batches]).permute(0, 2, 3, 1).flatten(0, 2)[torch.from_numpy(labeled)]
    loss = F.cross_entropy(logits, torch.from_numpy(true).long())
    assert METRICS["loss"].compute(found) == pytest.approx(float(loss), rel=1e-5)
    assert np.array_equal(found.predicted.flatten(), predicted)


def test_the_class_of_the_ignore_index_counts_neither_as_true_nor_in_the_mean() -> None:
    batches = random_batches(0, absent=5, ignored=2)
    found = segmentation(ignore_index=2).evaluate(iter(batches), NUM_CLASSES)
    masks, predicted = (
        torch.cat(parts).flatten().numpy() for parts in zip(*[(m, lo.argmax(1)) for lo, m in batches], strict=True)
    )
    labeled = (masks != 255) & (masks != 2)
    assert (predicted[labeled] == 2).any()
    expected = jaccard_score(masks[labeled], predicted[labeled], average="macro", labels=[0, 1, 3, 4])
    assert METRICS["miou"].compute(found) == pytest.approx(expected, abs=1e-12)


def test_masks_of_nothing_but_the_class_that_does_not_count_have_scores_of_0() -> None:
    logits = torch.randn(2, NUM_CLASSES, 4, 4)
    found = segmentation(ignore_index=2).evaluate(iter([(logits, torch.full((2, 4, 4), 2))]), NUM_CLASSES)
    assert [METRICS[name].compute(found) for name in ("miou", "pixel_acc", "loss")] == [0, 0, 0]


@pytest.mark.parametrize("criterion", [partial(cross_entropy, label_smoothing=0.1), partial(focal, gamma=2.0)])
def test_a_loss_is_that_of_the_labeled_pixels_as_images(criterion: Any) -> None:
    ((logits, masks), _) = random_batches(1, absent=0)
    rows = [
        (logits[n, :, y, x], int(masks[n, y, x])) for n in range(3) for y in range(7) for x in range(5)
        if masks[n, y, x] != 255
    ]  # fmt: skip
    expected = criterion(torch.stack([row for row, _ in rows]), torch.tensor([label for _, label in rows]))
    torch.testing.assert_close(of_labelled_pixels(criterion, ignore_index=255)(logits, masks), expected)


def test_plain_cross_entropy_is_torchs_with_an_ignore_index() -> None:
    ((logits, masks), _) = random_batches(2, absent=0)
    loss = of_labelled_pixels(partial(cross_entropy, label_smoothing=0.0), ignore_index=255)
    torch.testing.assert_close(loss(logits, masks), F.cross_entropy(logits, masks.long(), ignore_index=255))


def test_a_batch_that_has_lost_its_labeled_pixels_has_no_loss_and_no_gradient() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = of_labelled_pixels(partial(cross_entropy, label_smoothing=0.0), ignore_index=255)
    value = loss(logits, torch.full((2, 4, 4), 255, dtype=torch.uint8))
    value.backward()
    assert value.item() == 0 and logits.grad is not None and not logits.grad.any()


def test_training_counts_the_mean_of_the_images_pixel_accuracies() -> None:
    ((logits, masks), _) = random_batches(3, absent=0)
    expected = 0.0
    for image, mask in zip(logits.argmax(1), masks, strict=True):
        labeled = mask != 255
        expected += float((image == mask)[labeled].double().mean())
    assert float(segmentation(ignore_index=255).num_correct(logits, masks)) == pytest.approx(expected, abs=1e-12)


def test_the_scores_of_records_are_those_of_the_tasks() -> None:
    described = {name: choose_all(composed(f"task={name}")).task() for name in TASKS}
    assert {name: task.score for name, task in described.items()} == SCORES
    assert all(METRICS[task.score].higher_is_better for task in described.values())
    assert {name: targets_needed(name) for name in TASKS} == {name: task.targets for name, task in described.items()}
    assert {metric for task in described.values() for metric in task.metrics} == {*METRICS}
    assert {task_of_model(name) for name in MODELS} == {*TASKS}


def test_the_task_selects_by_its_own_metric() -> None:
    for overrides, expected in (((), "val_acc"), (PIXELS, "val_miou"), ((*PIXELS, "select=val_loss"), "val_loss")):
        config = composed(*overrides)
        assert selected(config, choose_all(config)) == expected


REFUSED = {
    (
        "task=segmentation",
        "data=digits",
        "model=unet",
    ): "data=digits has classes, .*needs masks; choose data=digit_scen",
    ("data=digit_scenes",): "data=digit_scenes has masks, and task=classification needs classes.* or task=segmentation",
    ("task=segmentation", "data=digit_scenes", "model=cnn"): "model=cnn is for task=classification; .*unet",
    ("data=digits", "model=unet"): "model=unet is for task=segmentation; for task=classification, choose",
    (*PIXELS, "select=val_acc"): "select=val_acc is no metric of task=segmentation; choose from val_loss, val_miou",
    ("data=digits", "select=val_miou"): "select=val_miou is no metric of task=classification",
    (*PIXELS, "mixing=mixup"): "mixing=mixup mixes the classes of images, and task=segmentation has masks; choose none",
    (*PIXELS, "mixing=cutmix"): "mixing=cutmix mixes",
    (*PIXELS, "views=mirror"): "views=mirror averages",
    (*PIXELS, "selective_backprop=0.5"): "selective_backprop=0.5 ranks images",
    (*PIXELS, "courses.progressive_resizing=0.5"): "courses.progressive_resizing=0.5 changes the size of images",
}


@pytest.mark.parametrize("overrides", REFUSED)
def test_what_a_task_is_not_defined_for_is_refused(overrides: tuple[str, ...]) -> None:
    config = composed(*overrides)
    with pytest.raises(UserError, match=REFUSED[overrides]):
        check_task(config, choose_all(config))
