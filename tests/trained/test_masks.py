"""Runs of segmentation as their readers see them: records, tables, effects, predicted masks, the worst scenes."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from records import finish
from reports import Page
from scipy.stats import wilcoxon
from support import composed

from sweeper.__main__ import app
from sweeper.data.source import UNLABELED
from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.elsewhere import Elsewhere
from sweeper.runs.evaluate import evaluate_run
from sweeper.runs.job import Job
from sweeper.runs.network import load_network
from sweeper.runs.predictions import read_masks, read_predictions
from sweeper.runs.run import run
from sweeper.runs.sample_images import SCENES
from sweeper.runs.spec import resolve
from sweeper.summary.differences import compare_runs
from sweeper.summary.effect_measures import usual_measures
from sweeper.summary.effects import effects
from sweeper.summary.gather import gather
from sweeper.summary.learning_curves import learning_curves
from sweeper.summary.mask_differences import compare_masks
from sweeper.summary.mask_pictures import overlaid, palette
from sweeper.summary.report import render
from sweeper.summary.report_classes import confusion as report_confusion
from sweeper.summary.sentences import answers
from sweeper.summary.table import lay_out, read_runs
from sweeper.summary.worst_masks import find_worst
from sweeper.trained.images import find_images
from sweeper.trained.pixels import images_of
from sweeper.trained.predict_masks import as_large, predict_masks


@pytest.fixture(scope="module")
def folder(small: list[str], mask_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with two seeds of a U-Net, without and with a norm."""
    threads = torch.get_num_threads()
    output_dir = tmp_path_factory.mktemp("masks")
    pixels = ["task=segmentation", "data=segmentation_folder", f"data.root={mask_root}", "data.image_size=8"]
    for seed in (0, 1):
        for norm in ("none", "batch"):
            slots = ["model=unet", "model.widths=[4,8]", f"norm={norm}", f"seed={seed}", "optimizer.lr=0.01"]
            config = composed(*small, *pixels, *slots, "epochs=2", f"output_dir={output_dir}")
            assert run(config, Job("python train.py")) > 0
    torch.set_num_threads(threads)
    return output_dir


@pytest.fixture
def record(folder: Path) -> RunDirectory:
    return RunDirectory(sorted((folder / "runs").glob("unet-relu-batch-*-s0-*"))[0])


def test_a_run_records_the_metrics_of_its_task(record: RunDirectory) -> None:
    result, rows = record.result() or {}, record.metrics()
    assert record.is_finished() and len(rows) == 2
    assert {"best_val_miou", "test_miou", "test_pixel_acc", "test_loss"} <= result.keys()
    assert not {"best_val_acc", "test_acc", "test_ece"} & result.keys()
    assert {"train_pixel_acc", "val_miou", "val_pixel_acc"} <= rows[0].keys() and "val_acc" not in rows[0]
    assert result["select"] == "val_miou" and result["best_val_miou"] == max(row["val_miou"] for row in rows)
    predicted, masks = read_masks(record.predictions) or (None, None)
    assert predicted is not None and masks is not None and read_predictions(record.predictions) is None
    labeled = masks != UNLABELED
    assert np.sum(result["confusion"]) == labeled.sum() == 30 * 8 * 7
    assert result["test_pixel_acc"] == (predicted == masks)[labeled].mean()


def test_an_evaluation_gives_the_recorded_masks(record: RunDirectory) -> None:
    evaluation = evaluate_run(record)
    assert (evaluation.score, evaluation.num_changed) == ("miou", 0)
    assert evaluation.test_score == evaluation.recorded_score


def test_predict_writes_the_recorded_masks(record: RunDirectory, folder: Path, mask_root: Path, tmp_path: Path) -> None:
    images = mask_root / "test" / "images"
    app(["predict", str(record.folder), str(images), "--output", str(tmp_path / "masks")], standalone_mode=False)
    predicted, _ = read_masks(record.predictions) or (None, None)
    assert predicted is not None
    for number, mask in enumerate(predicted):
        with Image.open(tmp_path / "masks" / f"{number:03}.png") as image:
            assert image.mode == "P" and np.array_equal(np.asarray(image), mask)
        with (
            Image.open(tmp_path / "masks" / f"{number:03}_overlay.png") as over,
            Image.open(images / f"{number:03}.png") as plain,
        ):
            expected = overlaid(np.asarray(plain).transpose(2, 0, 1), mask, 3)
            assert np.array_equal(np.asarray(over), expected)
    with pytest.raises(UserError, match=r"--output table.csv: masks are written to a folder; name one"):
        app(["predict", str(record.folder), str(images), "--output", "table.csv"], standalone_mode=False)


def test_predicted_masks_never_overwrite_their_images_nor_each_other(
    record: RunDirectory, mask_root: Path, tmp_path: Path
) -> None:
    first, second = (mask_root / "test" / "images" / f"{number:03}.png" for number in (0, 1))
    (tmp_path / "in").mkdir()
    for source, name in ((first, "a"), (second, "a_overlay")):
        shutil.copy(source, tmp_path / "in" / f"{name}.png")
    before = (tmp_path / "in" / "a.png").read_bytes()
    network = load_network(record, "cpu")
    files = find_images([tmp_path / "in"])
    with pytest.raises(UserError, match=r"in/a\.png is an image to predict, and would be overwritten; name another$"):
        predict_masks([network], files, tmp_path / "in")
    assert (tmp_path / "in" / "a.png").read_bytes() == before
    found = predict_masks([network], files, tmp_path / "out")
    assert [path.name for path in found.masks.values()] == ["a.png", "a_overlay_2.png"]
    written = {"a.png", "a_overlay.png", "a_overlay_2.png", "a_overlay_2_overlay.png", "masks.csv"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == written
    with (tmp_path / "out" / "masks.csv").open(newline="") as rows:
        (row, _) = csv.DictReader(rows)
    assert row["image"].endswith("in/a.png") and row["mask"] == "a.png"
    assert float(row["fraction[bee]"]) == found.shares["bee"].iloc[0]


def test_fractions_are_of_the_written_mask(record: RunDirectory, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (8, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    for resize in ("pad", "crop"):
        network = load_network(record, "cpu")
        network.read = replace(network.read, resize=resize)
        found = predict_masks([network], [tmp_path / "wide.png"], tmp_path / resize)
        with Image.open(tmp_path / resize / "wide.png") as image:
            mask = np.asarray(image)
        labeled = mask[mask != UNLABELED]
        assert labeled.size == {"pad": 8 * 24, "crop": 64}[resize]
        expected = np.bincount(labeled, minlength=3) / labeled.size
        assert np.allclose(found.shares.to_numpy()[0], expected)


def test_masks_of_another_geometry_are_not_averaged(record: RunDirectory, tmp_path: Path) -> None:
    networks = [load_network(record, "cpu") for _ in range(2)]
    networks[1].read = replace(networks[1].read, resize="pad")
    expected = r"data\.image_size=8 data\.resize=pad and data\.image_size=8 data\.resize=squeeze, so that their masks"
    with pytest.raises(UserError, match=expected):
        predict_masks(networks, [], tmp_path)


def test_the_overlay_shows_what_the_network_sees(record: RunDirectory, mask_root: Path, tmp_path: Path) -> None:
    with Image.open(mask_root / "test" / "images" / "000.png") as image:
        gray = image.convert("L")
    gray.save(tmp_path / "shallow.png")
    Image.fromarray(np.asarray(gray).astype(np.uint16) << 8).save(tmp_path / "deep.png")
    found = predict_masks([load_network(record, "cpu")], find_images([tmp_path]), tmp_path / "out")
    assert found.unreadable == {}
    overlays = [Image.open(tmp_path / "out" / f"{name}_overlay.png") for name in ("shallow", "deep")]
    assert np.array_equal(np.asarray(overlays[0]), np.asarray(overlays[1]))


def test_predict_needs_images(record: RunDirectory) -> None:
    with pytest.raises(UserError, match=r"^name images to predict, or folders of images$"):
        app(["predict", str(record.folder), "device=cpu"], standalone_mode=False)


def test_a_value_to_ignore_that_no_mask_has_is_refused(small: list[str], mask_root: Path) -> None:
    pixels = [*small, "task=segmentation", "data=segmentation_folder", f"data.root={mask_root}", "model=patch_softmax"]
    for value in (0, 2, 255):
        assert resolve(composed(*pixels, f"task.ignore_index={value}")).config.task.ignore_index == value
    with pytest.raises(UserError, match=r"^task\.ignore_index=3 has no effect, .* the classes 0 to 2; choose"):
        resolve(composed(*pixels, "task.ignore_index=3"))


@pytest.mark.parametrize("resize", ["squeeze", "pad", "crop"])
def test_a_mask_is_brought_to_the_size_of_its_image(resize: str) -> None:
    mask = np.repeat(np.arange(4, dtype=np.uint8)[:, None], 4, 1)  # a class for each row
    large = as_large(mask, (16, 8), resize)
    assert large.shape == (8, 16)
    if resize == "squeeze":
        assert np.array_equal(large, np.repeat(np.arange(4), 2)[:, None].repeat(16, 1))
    elif resize == "pad":  # the rows in the middle are the image's
        assert np.array_equal(large, np.repeat([1, 2], 4)[:, None].repeat(16, 1))
    else:
        assert (large[:, :4] == UNLABELED).all() and (large[:, 12:] == UNLABELED).all()
        assert np.array_equal(large[:, 4:12], np.repeat(np.arange(4), 2)[:, None].repeat(8, 1))


def test_errors_ranks_scenes_by_their_mean_iou(record: RunDirectory, tmp_path: Path) -> None:
    worst = find_worst(record, images_of(record, Elsewhere()))
    predicted, masks = worst.predicted, worst.masks
    assert worst.frame["miou"].is_monotonic_increasing and len(worst.frame) == 30
    first = worst.frame.iloc[0]
    labeled = masks[first["image"]] != UNLABELED
    true, guessed = masks[first["image"]][labeled], predicted[first["image"]][labeled]
    ious = [
        ((true == k) & (guessed == k)).sum() / ((true == k) | (guessed == k)).sum() for k in np.union1d(true, guessed)
    ]
    assert first["miou"] == pytest.approx(np.mean(ious)) and first["pixel_acc"] == (true == guessed).mean()
    assert first["file"].startswith("test/images/")
    file = tmp_path / "worst.csv"
    app(["errors", str(record.folder), "--true", "bee", "--output", str(file)], standalone_mode=False)
    with file.open(newline="") as rows:
        shown = [float(row["iou"]) for row in csv.DictReader(rows)]
    assert shown == sorted(shown) and len(shown) > 5
    app(["errors", str(record.folder), "--output", str(tmp_path / "worst.png")], standalone_mode=False)
    with Image.open(tmp_path / "worst.png") as picture:
        assert picture.width > 500
    with pytest.raises(UserError, match="--predicted ant is for classes of images"):
        app(["errors", str(record.folder), "--predicted", "ant"], standalone_mode=False)


def test_an_image_without_pixels_that_count_has_no_place(record: RunDirectory, tmp_path: Path) -> None:
    copy = RunDirectory(Path(shutil.copytree(record.folder, tmp_path / "runs" / record.run_id)))
    stored = images_of(record, Elsewhere())
    predicted, masks = read_masks(record.predictions) or pytest.fail("no masks")
    masks[3], masks[4][0, 0] = UNLABELED, 1
    np.savez(copy.predictions, predicted=predicted, masks=masks)
    worst = find_worst(copy, replace(stored, labels=masks))
    assert len(worst.frame) == 29 and 3 not in set(worst.frame["image"])
    other = RunDirectory(Path(shutil.copytree(copy.folder, tmp_path / "runs" / "other")))
    found = compare_masks(copy, other)
    assert (found.only_first, found.only_second, found.equal) == (0, 0, 29)
    run = other.run() or {}
    run["effective"]["task"]["ignore_index"] = 0
    (other.folder / "run.json").write_text(json.dumps(run))
    sentence = rf"^{copy.run_id} and other ignore different classes: task\.ignore_index is 255 and 0$"
    with pytest.raises(UserError, match=sentence):
        compare_masks(copy, other)


def test_diff_compares_the_masks_of_two_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, normed = (RunDirectory(sorted((folder / "runs").glob(f"unet-{it}*-s0-*"))[0]) for it in ("relu-a", "relu-b"))
    found = compare_runs(plain, normed)
    assert found.test is None and found.untested is None and found.masks is not None
    assert found.masks.mious == tuple((record.result() or {})["test_miou"] for record in (plain, normed))
    frames = [find_worst(it, images_of(it, Elsewhere())).frame.sort_values("image") for it in (plain, normed)]
    own, other = (frame["miou"].to_numpy() for frame in frames)
    counts = found.masks.only_first, found.masks.only_second, found.masks.equal
    assert counts == ((own > other).sum(), (own < other).sum(), (own == other).sum()) and counts[0] != counts[1]
    assert found.masks.p == pytest.approx(wilcoxon(own, other).pvalue)
    app(["diff", plain.run_id, normed.run_id, "--output-dir", str(folder)], standalone_mode=False)
    assert f"higher mIoU in A: {counts[0]}, in B: {counts[1]}, equal: {counts[2]}; Wilcoxon" in capsys.readouterr().out
    (again := folder / "again" / plain.run_id).parent.mkdir()
    shutil.copytree(plain.folder, again)
    same = compare_runs(plain, RunDirectory(again)).masks
    assert same is not None and (same.p, same.equal) == (1.0, 30)
    np.savez(again / "predictions.npz", predicted=np.zeros((30, 8, 8), np.uint8), masks=np.zeros((30, 8, 8), np.uint8))
    assert str(compare_runs(plain, RunDirectory(again)).untested).endswith("have different images")


def test_an_export_names_the_positions_of_its_logits(record: RunDirectory, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    app(["export", str(record.folder), "--format", "safetensors", "--output", str(path)], standalone_mode=False)
    assert json.loads(path.with_name(f"{path.name}.json").read_text())["output"] == "logits, (N, classes, H, W) float32"


def test_tables_and_effects_have_the_metrics_of_the_task(folder: Path) -> None:
    frame, skipped = read_runs(folder)
    table, caption = lay_out(frame, skipped, over="seed")
    assert {"best_val_miou", "test_miou"} <= {*table.columns} and not {"best_val_acc", "test_acc"} & {*table.columns}
    assert frame["best_val_miou"].is_monotonic_decreasing and "by validation mIoU: its best_val_miou" in caption
    assert usual_measures(frame)[0] == "test_miou"
    found = effects(gather(folder / "runs")[0])
    assert {comparison.metric for comparison in found.comparisons} >= {"test_miou", "epochs_to_level_miou"}
    (answer,) = answers(found)
    assert answer.heading.startswith("Test mIoU compared with norm=none")


def test_the_report_has_the_metrics_of_the_task_and_the_worst_masks(record: RunDirectory, folder: Path) -> None:
    page = Page(render(folder))
    text = " ".join(" ".join(page.texts).split())
    assert "Does norm change test mIoU? 4 finished runs on segmentation_folder, 2 seeds." in text
    assert "Effect of each change on test mIoU" in text and "By mean validation mIoU over its seeds." in text
    assert "best_ val_ miou (%)" in text and "IoU of each class, lowest first" in text and "Labeled pixels" in text
    assert not {"test_acc", "Test images of each class", "Most confident mistakes"} & {*page.texts}
    assert "test accuracy" not in text and "validation accuracy" not in text
    shown = [attributes for attributes, _ in page.of("img")]
    assert sum("image, true mask, predicted mask" in str(attributes["alt"]) for attributes in shown) == 12
    samples = [attributes for attributes in shown if attributes["alt"] == "training image with its mask"]
    assert 0 < len(samples) <= SCENES and "Scenes with their masks; the best run is trained on them as they are" in text


def test_the_iou_of_a_class_in_the_report(record: RunDirectory) -> None:
    confusion = np.array((record.result() or {})["confusion"])
    found = report_confusion([record])
    assert found is not None and found["counted"] == "pixels"
    hits = confusion.diagonal()
    ious = hits / (confusion.sum(0) + confusion.sum(1) - hits)
    assert [one["share"] for one in found["accuracies"]] == pytest.approx(sorted(ious))
    assert [one["images"] for one in found["accuracies"]] == confusion.sum(1)[ious.argsort()].tolist()


def test_curves_are_of_the_metrics_of_the_task(folder: Path) -> None:
    frame, _ = read_runs(folder)
    curves = learning_curves(folder, frame)
    rows = [record.metrics() for record in map(RunDirectory, (folder / "runs").glob("*-batch-*"))]
    (curve,) = [curve for curve in curves if curve.settings["norm"] == "batch"]
    assert curve.val_acc.mean == pytest.approx(np.mean([[row["val_miou"] for row in run] for run in rows], 0))
    assert curve.train_acc is not None
    assert curve.train_acc.mean == pytest.approx(np.mean([[row["train_pixel_acc"] for row in run] for run in rows], 0))


def test_runs_of_several_tasks_are_not_compared(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for source in (folder / "runs").iterdir():
        (tmp_path / "runs" / source.name).symlink_to(source)
    for seed in (0, 1):
        for optimizer in ("adam", "sgd"):
            finish(tmp_path, f"{optimizer}-{seed}", [0.5, 0.6], seed=seed, optimizer={"name": optimizer, "lr": 0.001})
    frame, skipped = read_runs(tmp_path)
    table, caption = lay_out(frame, skipped)
    assert {"test_acc", "test_miou"} <= {*table.columns}
    assert "Runs of several tasks, which are not comparable: classification by best_val_acc, segmentation" in caption
    found = effects(gather(tmp_path / "runs")[0])
    data = {comparison.metric: comparison.data for comparison in found.comparisons}
    assert data["test_acc"] == "digits" and data["test_miou"] == "segmentation_folder"
    assert not any(change.axis == "task" for comparison in found.comparisons for change in comparison.changes)


def test_colors_differ_and_an_overlay_leaves_unlabeled_pixels() -> None:
    colors = palette(12)[:12]
    assert len(np.unique(colors, axis=0)) == 12 and not (colors == palette(12)[UNLABELED]).all(1).any()
    image = np.full((3, 2, 2), 200, np.uint8)
    mask = np.array([[0, 1], [255, 2]], np.uint8)
    over = overlaid(image, mask, 3)
    assert (over[1, 0] == 200).all() and (over[0, 0] == 80).all()
    assert np.array_equal(over[0, 1], (0.4 * 200 + 0.6 * palette(3)[1].astype(float)).round())
