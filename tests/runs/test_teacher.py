"""Teachers: a finished run or its best.pt, built again exactly, counted by content, refused where it does not fit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from extended import undone
from support import composed

from sweeper.config import Config
from sweeper.data.cache import Cached, load, prepare
from sweeper.errors import UserError
from sweeper.groups import LossConfig
from sweeper.runs import checkpoint, teacher
from sweeper.runs.evaluate import evaluate_run
from sweeper.runs.extensions import load as load_extensions
from sweeper.runs.job import Job
from sweeper.runs.run import run
from sweeper.runs.spec import resolve
from sweeper.runs.teacher import describe_network, load_teacher
from sweeper.training.build import build, choose_all

MODEL = ("model=mlp", "model.hidden=[8]", "norm=batch", "activation=silu", "dropout=light")


def student(small: list[str], file: object, folder: Path, *overrides: str) -> Config:
    return composed(
        *small,
        "model=softmax",
        "loss=distillation",
        f"loss.teacher={file}",
        "epochs=1",
        f"output_dir={folder}",
        *overrides,
    )


@pytest.fixture(scope="module")
def folder(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with a finished run, the teacher."""
    folder = tmp_path_factory.mktemp("outputs")
    run(composed(*small, *MODEL, "epochs=1", f"output_dir={folder}"), Job("python train.py"))
    return folder


@pytest.fixture
def best(folder: Path) -> Path:
    """The teacher's best.pt."""
    (found,) = folder.glob("runs/mlp-silu-batch-*/checkpoints/best.pt")
    return found


def saved(best: Path, file: Path, **changes: Any) -> Path:
    """Write a best.pt with changed content."""
    checkpoint.save(file, checkpoint.load(best) | changes)
    return file


def test_a_teacher_of_another_task_is_refused(best: Path, small: list[str], mask_root: Path) -> None:
    pixels = ("task=segmentation", "data=segmentation_folder", f"data.root={mask_root}", "model=unet")
    config = composed(*small, *pixels, "loss=distillation", f"loss.teacher={best}")
    with pytest.raises(
        UserError, match=r"loss.teacher=.*best.pt is for task=classification, not for task=segmentation"
    ):
        load_teacher(config, data_of(config))


def data_of(config: Config) -> Cached:
    return prepare(config.data)


def test_a_teacher_has_the_logits_of_its_run(small: list[str], folder: Path, best: Path) -> None:
    config = student(small, best, folder)
    model = load_teacher(config, data_of(config))
    assert model is not None and not model.training
    own = composed(*small, *MODEL)
    components = build(own, choose_all(own), load(data_of(own)), torch.device("cpu"))
    expected = components.state.eval_model().eval()
    checkpoint.load_weights(checkpoint.load(best), expected)
    images, _ = next(components.test_loader())
    assert torch.equal(model(images), expected(images))
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_run_is_found_by_its_id_and_counts_by_content(
    small: list[str], folder: Path, best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = best.parents[1].name
    by_id, by_file = (resolve(student(small, name, folder)) for name in (run_id, best))
    assert by_id.run_id == by_file.run_id
    assert by_id.config.loss.teacher == str(best)
    assert by_id.effective["loss"]["teacher"].startswith("sha256:")
    copied = saved(best, tmp_path / "copy.pt")
    assert resolve(student(small, copied, folder)).run_id == by_id.run_id
    weights = {name: value * 2 for name, value in checkpoint.load(best)["model"].items()}
    other = saved(best, tmp_path / "other.pt", model=weights)
    assert resolve(student(small, other, folder)).run_id != by_id.run_id
    monkeypatch.setattr(teacher, "chosen_code", lambda registry, name, files: {"models/mlp.mlp": "changed"})
    assert resolve(student(small, best, folder)).run_id != by_id.run_id


STEP = """def halved(model, layers, *, halved: bool = True):
    model.register_forward_hook(lambda module, inputs, logits: logits / {})


ARCHITECTURES = {{"halved": halved}}
"""


def test_the_code_of_a_teachers_architecture_steps_counts(best: Path, tmp_path: Path) -> None:
    network = checkpoint.load(best)["network"]
    files = [
        saved(best, tmp_path / f"{on}.pt", network=network | {"groups": network["groups"] | {"architecture": steps}})
        for on, steps in (("on", {"halved": True, "blur_pool": None}), ("off", {"halved": False}))
    ]
    digests = []
    for divisor in (2, 4):
        extension = tmp_path / f"v{divisor}" / "halving.py"
        extension.parent.mkdir()
        extension.write_text(STEP.format(divisor))
        with undone():
            load_extensions([str(extension)])
            digests.append([teacher.digest_of(str(file)) for file in files])
    (on, off), (on_edited, off_edited) = digests
    assert on != on_edited and off == off_edited


def test_a_student_trains_and_is_evaluated_without_its_teacher(small: list[str], folder: Path, best: Path) -> None:
    taught = student(small, best, folder)
    run(taught, Job("python train.py"))
    spec = resolve(taught)
    assert spec.record.is_finished()
    moved = best.rename(best.with_name("moved.pt"))
    try:
        evaluation = evaluate_run(spec.record)
    finally:
        moved.rename(best)
    assert evaluation.test_score == evaluation.recorded_score
    plain = replace(taught, loss=LossConfig("cross_entropy", label_smoothing=0.0))
    run(plain, Job("python train.py"))
    first, second = (checkpoint.load(it.record.best)["model"] for it in (spec, resolve(plain)))
    assert not torch.equal(first["1.weight"], second["1.weight"])


def test_anything_but_a_teacher_is_refused(small: list[str], folder: Path, best: Path, tmp_path: Path) -> None:
    content = checkpoint.load(best)
    images = content["network"]["images"]
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(best.read_bytes()[:-100])
    unfinished = folder / "runs" / "softmax-unfinished"
    unfinished.mkdir()
    groups = content["network"]["groups"]
    unknown = {"images": images, "groups": groups | {"model": groups["model"] | {"name": "gone"}}}
    cases = {
        "null": "loss.teacher=null: loss=distillation needs the ID of a finished run",
        "nothing": "loss.teacher=nothing is neither a finished run in .* nor a best.pt",
        unfinished.name: "loss.teacher=softmax-unfinished is neither a finished run",
        damaged: "loss.teacher=.* is missing or damaged",
        saved(best, tmp_path / "old.pt", network=None): "loss.teacher=.* does not record its network",
        saved(
            best, tmp_path / "gone.pt", network=unknown
        ): "loss.teacher=.* contains a network that this version cannot",
    }
    for key, value in (("classes", ["ant", "bee"]), ("input_shape", [3, 8, 8]), ("mean", [0.0, 0.0, 0.0])):
        network = content["network"] | {"images": images | {key: value}}
        cases[saved(best, tmp_path / f"{key}.pt", network=network)] = f"was trained on images with {key}="
    for file, sentence in cases.items():
        with pytest.raises(UserError, match=sentence):
            resolve(student(small, file, folder))
    with pytest.raises(UserError, match=r"^loss\.teacher=.* is not used by loss=focal"):
        resolve(composed(*small, "loss=focal", f"loss.teacher={best}"))


def test_a_network_is_described_by_plain_values(small: list[str]) -> None:
    config = composed(*small, *MODEL)
    described = describe_network(config, data_of(config))
    assert described["groups"]["model"]["hidden"] == [8] and described["groups"]["norm"]["name"] == "batch"
    assert described["images"]["input_shape"] == [3, 16, 16] and described["images"]["classes"] == ["ant", "bee", "cat"]
