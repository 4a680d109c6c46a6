"""Learning curves: every configuration's numbers, and a figure that is readable without color and with any name."""

import itertools
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from processes import REPOSITORY, environment, sweeper
from records import curve as rows

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.fingerprint import code_of
from sweeper.summary import curves as module
from sweeper.summary.curves import MAX_LINES, style, write_curves
from sweeper.summary.learning_curves import Band, Curve, learning_curves, loss_limit, name_of
from sweeper.summary.table import read_runs

EFFECTIVE: dict[str, Any] = {
    "data": {"name": "digits", "val_size": 200, "fingerprint": "f00d"},
    "model": {"name": "mlp", "hidden": [1024]},
    "optimizer": {"name": "adam", "lr": 0.001},
    "seed": 0,
}
ACTIVATIONS = ("relu", "selu", "gelu", "elu", "tanh")


def make(
    output_dir: Path,
    run_id: str,
    metrics: list[dict[str, Any]],
    state: str = "finished",
    *,
    result: bool = False,
    **changes: Any,
) -> RunDirectory:
    """Make a run's directory: its metrics, its effective config with the changes, a result if it has one."""
    record = RunDirectory(output_dir / "runs" / run_id)
    effective = EFFECTIVE | changes
    record.create({"effective": effective, "config": {}, "code": code_of(effective)}, {})
    record.write_metrics(metrics)
    record.write_status(state=state)
    if result:
        record.write_result({"epochs": len(metrics)})
    return record


def make_sweep(output_dir: Path, configurations: int, seeds: int = 1, epochs: int = 8) -> None:
    """Make runs of saturating curves; the last configuration is the best."""
    for number in reversed(range(configurations)):
        for seed in range(seeds):
            accs = [(0.3 + number / 40) * (1 - math.exp(-epoch / 3)) + seed / 100 for epoch in range(1, epochs + 1)]
            activation, lr = ACTIVATIONS[number % 5], 0.001 * (1 + number // 5)
            changes: dict[str, Any] = {"activation": {"name": activation}, "optimizer": {"name": "adam", "lr": lr}}
            run_id, metrics = f"{activation}-{lr}-{seed}", rows(accs, 1 + seed / 10)
            make(output_dir, run_id, metrics, result=True, seed=seed, **changes)


def curves_of(output_dir: Path) -> list[Curve]:
    return learning_curves(output_dir, read_runs(output_dir)[0])


def drawn(output_dir: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Figure:
    """Return the figure before it becomes a file."""
    figures: list[Figure] = []

    def render(figure: Figure, suffix: str) -> bytes:
        figures.append(figure)
        figure.draw_without_rendering()
        return b""

    monkeypatch.setattr(module, "rendered", render)
    write_curves(output_dir, read_runs(output_dir)[0], output=output_dir / "curves.png", **options)
    return figures[0]


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def notes_of(figure: Figure) -> str:
    return " ".join(figure.texts[0].get_text().split())


def curves(output_dir: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "sweeper", "curves", "--output-dir", str(output_dir)]
    return subprocess.run(
        [*command, *arguments], cwd=REPOSITORY, env=environment(**extra), capture_output=True, text=True, check=False
    )


def errors_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if not line.startswith("import time:")]


def test_seeds_are_averaged_over_the_runs_that_completed_an_epoch(tmp_path: Path) -> None:
    make(tmp_path, "a-0", rows([0.25, 0.5, 0.75], 2.0), result=True)
    make(tmp_path, "a-1", rows([0.5, 0.75], 4.0), result=True, seed=1)
    make(tmp_path, "a-10", rows([0.75], 3.0), "failed", seed=10)
    make(tmp_path, "b", rows([0.9], 1.0), model={"name": "cnn", "kernel_size": 5})
    first, second = curves_of(tmp_path)
    errors = [0.25 / math.sqrt(3), math.sqrt(2) / 8 / math.sqrt(2), 0.0]
    assert [*second.val_acc.error, *second.train_loss.error] == pytest.approx([*errors, *errors])
    for band in (second.val_acc, second.train_loss, second.val_loss):
        assert band is not None
        band.error = errors
    assert (first.name, first.seeds, first.state, first.convergence_epoch) == ("model=cnn", [0], "finished", None)
    assert second == Curve(
        name="model=mlp",
        settings={"model": "mlp"},
        state="2 finished, 1 failed",
        seeds=[0, 1, 10],
        epochs=[1, 2, 3],
        runs=[3, 2, 1],
        val_acc=Band([0.5, 0.625, 0.75], [0.25, 0.5, 0.75], [0.75, 0.75, 0.75], errors),
        train_loss=Band([1.5, 1.375, 1.25], [1.25, 1.25, 1.25], [1.75, 1.5, 1.25], errors),
        seconds=[3, 6, 8],
        convergence_epoch=2.5,
        train_acc=None,
        val_loss=Band([1.5, 1.375, 1.25], [1.25, 1.25, 1.25], [1.75, 1.5, 1.25], errors),
    )


def test_a_part_that_a_run_lacks_has_no_curve(tmp_path: Path) -> None:
    for seed, acc in enumerate((0.5, 0.7)):
        make(tmp_path, f"a-{seed}", [row | {"train_acc": acc} for row in rows([acc])], result=True, seed=seed)
    (curve,) = curves_of(tmp_path)
    assert curve.train_acc is not None and curve.train_acc.mean == pytest.approx([0.6])
    assert curve.train_acc.error == pytest.approx([0.1])  # (0.7 - 0.5) / sqrt(2) / sqrt(2)
    make(tmp_path, "a-2", rows([0.5]), result=True, seed=2)
    assert curves_of(tmp_path)[0].train_acc is None
    make(tmp_path, "a-2", [rows([0.5])[0] | {"train_acc": 7, "val_loss": None}], result=True, seed=2)
    assert curves_of(tmp_path)[0].train_acc is curves_of(tmp_path)[0].val_loss is None


@pytest.mark.parametrize(
    "changes, names",
    [
        ([{}, {"seed": 1}], ["model=mlp"]),
        ([{}, {"model": {"name": "cnn", "kernel_size": 5}}], ["model=cnn", "model=mlp"]),
        ([{}, {"norm": {"name": "batch"}, "model": {"name": "cnn"}}], ["model=cnn", "model=mlp"]),
        ([{"dropout": {"rate": 0.0}}, {"dropout": {"rate": 0.5}}], ["dropout.rate=0", "dropout.rate=0.5"]),
        (
            [{}, {"optimizer": {"name": "adam", "lr": 0.1 + 0.2}, "seed": 1}],
            ["optimizer.lr=0.001", "optimizer.lr=0.3"],
        ),
    ],
)
def test_a_configuration_is_what_differs_in_more_than_the_seed(
    changes: list[dict[str, Any]], names: list[str], tmp_path: Path
) -> None:
    for number, change in enumerate(changes):
        make(tmp_path, f"run-{number}", rows([0.5]), **change)
    assert [curve.name for curve in curves_of(tmp_path)] == names


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        '{"epoch": 2, "val_acc": 0.5',
        '{"epoch": 2, "val_acc": 0.5, "train_loss": null, "train_seconds": 1}',
        '{"epoch": 2, "val_acc": 0.5, "train_loss": "1", "train_seconds": 1}',
        '{"epoch": 2, "val_acc": 0.5, "train_loss": NaN, "train_seconds": 1}',
        '{"epoch": 2, "val_acc": 0.5, "train_loss": 1, "train_seconds": 1e999}',
        '{"epoch": 2, "val_acc": 50, "train_loss": 1, "train_seconds": 1}',
        '{"epoch": 2, "val_acc": 0.5, "train_loss": 1e308, "train_seconds": 1}',
        '{"epoch": 1.5, "val_acc": 0.5, "train_loss": 1, "train_seconds": 1}',
        '{"epoch": 0, "val_acc": 0.5, "train_loss": 1, "train_seconds": 1}',
        f'{{"epoch": 1{"0" * 400}, "val_acc": 0.5, "train_loss": 1, "train_seconds": 1}}',
    ],
)
def test_foreign_rows_are_skipped(line: str, tmp_path: Path) -> None:
    make(tmp_path, "good", rows([0.25, 0.25]))
    metrics = make(tmp_path, "torn", rows([0.75]), seed=1).folder / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + line)
    frame, _ = read_runs(tmp_path)
    (curve,) = learning_curves(tmp_path, frame)
    assert (curve.epochs, curve.runs, curve.val_acc.mean) == ([1, 2], [2, 1], [0.5, 0.25])


def test_runs_without_an_epoch_are_counted_and_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "relu", rows([0.5]), activation={"name": "relu"})
    make(tmp_path, "relu-1", [], "failed", activation={"name": "relu"}, seed=1)
    make(tmp_path, "selu", [], "running", activation={"name": "selu"})
    (curve,) = curves_of(tmp_path)
    assert (curve.seeds, curve.runs, curve.state) == ([0, 1], [1], "1 finished, 1 failed")
    assert "Runs: 3 (1 finished, 1 failed, 1 running). Without a completed epoch: 2." in notes_of(
        drawn(tmp_path, monkeypatch)
    )


def test_no_epoch_at_all_is_a_user_error(tmp_path: Path) -> None:
    make(tmp_path, "begins", [], "running")
    with pytest.raises(UserError, match=r"^no run has completed an epoch yet, of 1 in .*/runs$"):
        write_curves(tmp_path, read_runs(tmp_path)[0])


def test_lines_differ_without_color() -> None:
    looks = [style(index) for index in range(MAX_LINES)]
    assert len({(str(look["linestyle"]), look["marker"]) for look in looks}) == MAX_LINES >= 16
    assert all(a["color"] != b["color"] and a["linestyle"] != b["linestyle"] for a, b in itertools.pairwise(looks))


@pytest.mark.parametrize("configurations, lines", [(12, 12), (20, 16)])
def test_many_configurations(configurations: int, lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sweep(tmp_path, configurations, seeds=2)
    figure = drawn(tmp_path, monkeypatch)
    names = [curve.name for curve in curves_of(tmp_path)]
    best = configurations - 1
    assert len(names) == configurations
    assert names[0] == f"optimizer.lr=0.00{1 + best // 5}, activation={ACTIVATIONS[best % 5]}"
    assert legend_of(figure) == [*names[:lines], "convergence epoch (the line's marker)"]
    left_out = "Drawn: the best 16 by validation accuracy; left out: 4."
    assert (left_out in notes_of(figure)) == (configurations == 20)
    marks = [2, 0, 2, 1, 1, 1]  # with the convergence epoch; these runs have no train_acc
    for axes, number in zip(figure.axes, marks, strict=True):
        assert len(axes.lines) == number * lines and not axes.collections  # the bands of so many would be mud
        assert axes.get_xscale() == axes.get_yscale() == "linear"
    page, legend, notes = figure.bbox, figure.legends[0].get_window_extent(), figure.texts[0].get_window_extent()
    assert max(legend.y1, notes.y1) < min(axes.get_window_extent().y0 for axes in figure.axes)
    assert notes.y1 < legend.y0 and notes.y0 > 0 and max(legend.x1, notes.x1) < page.x1
    texts: list[Any] = figure.findobj(Text)
    assert min(text.get_fontsize() for text in texts) >= 6.5


def test_axes_constants_and_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, accs in enumerate(([0.25, 0.5, 0.75], [0.25, 0.75, 0.5])):
        metrics = [row | {"train_acc": row["val_acc"] / 2} for row in rows(accs, 2.0 + 2 * seed)]
        make(tmp_path, f"a-{seed}", metrics, result=True, seed=seed)
    make(tmp_path, "b", rows([0.25, 0.25], 5.0), "interrupted", optimizer={"name": "sgd", "lr": 0.1})
    figure = drawn(tmp_path, monkeypatch, title="A sweep")
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert [bool(re.search(r"\(s\)|epoch|^$", x)) for x, _ in labels] == [True] * 6
    assert [labels[0][1], labels[3], labels[5][0]] == [
        "accuracy (0 to 1)",
        ("epoch", "loss (cross-entropy, nats)"),
        "training time (s)",
    ]
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == ["validation", "training", "validation by time"]
    points = [[tuple(np.concatenate(line.get_data()).tolist()) for line in axes.lines] for axes in figure.axes]
    assert points == [
        [(1, 2, 3, 0.25, 0.625, 0.625), (2.5, 0.625), (1, 2, 0.25, 0.25), (2, 0.25)],
        [(1, 2, 3, 0.125, 0.3125, 0.3125)],
        [(3, 6, 9, 0.25, 0.625, 0.625), (7.5, 0.625), (5, 10, 0.25, 0.25), (10, 0.25)],
        [(1, 2, 3, 1.75, 1.375, 1.375), (1, 2, 1.75, 1.75), (2, 1.75)],
        [(1, 2, 3, 1.75, 1.375, 1.375), (1, 2, 1.75, 1.75), (2, 1.75)],
        [(3, 6, 9, 1.75, 1.375, 1.375), (5, 10, 1.75, 1.75), (10, 1.75)],
    ]
    (band,) = figure.axes[0].collections  # of the configuration that has two runs
    edges = band.get_paths()[0].get_extents()
    assert (edges.y0, edges.y1) == pytest.approx((0.25, 0.75))  # 0.625 ± 0.125, and two equal runs at 0.25
    assert legend_of(figure)[:2] == ["optimizer=adam", "optimizer=sgd (interrupted)"]
    assert "Shared settings: data=digits, data.val_size=200, model=mlp, model.hidden=[1024]." in notes_of(figure)
    assert figure.get_suptitle() == "A sweep" and "band: ± its standard error" in notes_of(figure)


def test_the_legend_has_what_the_drawn_lines_differ_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (norm, activation) in enumerate((("batch", "relu"), ("batch", "selu"), ("none", "relu"))):
        changes: dict[str, Any] = {"norm": {"name": norm}, "activation": {"name": activation}}
        make(tmp_path, f"run-{number}", rows([0.9 - number / 10]), **changes)
    assert legend_of(drawn(tmp_path, monkeypatch, top=2)) == ["activation=relu", "activation=selu"]
    assert "norm=batch" in legend_of(drawn(tmp_path, monkeypatch))[0]


def test_an_exploding_loss_does_not_flatten_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, loss in enumerate((2.0, 2.5, 1e30)):
        optimizer = {"name": "sgd", "lr": 0.1 * (1 + number)}
        metrics = [row | {"train_loss": loss / row["epoch"]} for row in rows([0.5, 0.6])]
        make(tmp_path, f"run-{number}", metrics, optimizer=optimizer)
    assert loss_limit(curves_of(tmp_path)) == 10 and loss_limit(curves_of(tmp_path)[:2]) is None
    figure = drawn(tmp_path, monkeypatch)
    assert figure.axes[5].get_ylim() == (0, 10) and figure.axes[3].get_ylabel().endswith("nats), cut at 10")


HOSTILE = (
    "$\\frac",
    "$x$ and $$",
    "<script>alert(1)</script>",
    "a\nb\r\x00\x1b[31m\ud800\ufffe",
    "--><!-- ]]>",
    "W" * 300,
    "word " * 200,
    "\u202ecod.exe",
    "\u4f60\u597d \U0001f600 \u0627\u0644",
    "_hidden",
    "",
    " ",
    "{0} %s \\end{document}",
    "🙈" * 70,
)


def test_any_name_can_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(HOSTILE):
        changes: dict[str, Any] = {"model": {"name": name}, "_x$\n": name, "note": "</svg>$^", "list": ["$"]}
        make(tmp_path, f"run-{number}$<&", rows([0.5, 0.6]), name or "x", **changes)
    for run_id, state in (("a-state", ["$", {}]), ("b-state", None), ("c-state", 7)):
        make(tmp_path, run_id, rows([0.5]), seed=ord(run_id[0])).write_status(state=state)
    frame, _ = read_runs(tmp_path)
    monkeypatch.setitem(rcParams, "text.usetex", True)
    before = dict(rcParams)
    files = write_curves(tmp_path, frame, title="$\\frac <b>\x00" * 50)
    assert dict(rcParams) == before
    assert not any(len(curve.name) > 200 or not curve.name.isprintable() for curve in learning_curves(tmp_path, frame))
    check_svg(files[1])
    figure = drawn(tmp_path, monkeypatch)
    assert figure.legends[0].get_window_extent().x1 < figure.bbox.x1
    assert len(legend_of(figure)) == len(HOSTILE) + 2 and figure.bbox.height / figure.dpi < 16


def check_svg(file: Path) -> None:
    """Check that it is well-formed and neither runs nor loads anything."""
    root = ElementTree.fromstring(file.read_bytes())
    for element in root.iter():
        assert element.tag.rpartition("}")[2] not in ("script", "foreignObject", "a", "image")
        for name, value in element.attrib.items():
            assert not name.rpartition("}")[2].startswith("on")
            assert not name.endswith("href") or value.startswith("#")
    assert b"<script" not in file.read_bytes()


def test_equal_records_give_equal_files_without_torch(tmp_path: Path) -> None:
    for folder, order in (("first", 1), ("second", -1)):
        for number in range(3)[::order]:
            metrics = rows([0.1, 0.2 + number / 7])
            make(tmp_path / folder, f"run-{number}", metrics, result=True, seed=number % 2, epochs=number // 2)
    first = write_curves(tmp_path / "first", read_runs(tmp_path / "first")[0])
    done = curves(tmp_path / "second", PYTHONHASHSEED="7", MPLBACKEND="tkagg", DISPLAY="", SOURCE_DATE_EPOCH="1")
    second = [tmp_path / "second" / "curves" / f"curves.{kind}" for kind in ("png", "svg")]
    assert (done.returncode, done.stdout, errors_of(done)) == (0, "".join(f"{file}\n" for file in second), [])
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]

    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "matplotlib.figure" in imported and "matplotlib.pyplot" not in imported
    assert not {name.partition(".")[0] for name in imported} & {"torch", "torchvision", "hydra", "omegaconf"}
    check_svg(first[1])
    with Image.open(first[0]) as image:
        pixels = np.asarray(image.convert("L"))
    assert image.format == "PNG" and pixels.shape[1] == 1654  # A4's width at 200 dots an inch
    assert pixels.std() > 5 and (pixels < 128).mean() > 0.001


def test_an_error_is_a_user_error(tmp_path: Path) -> None:
    done = sweeper("curves", "--output-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: there are no runs in {tmp_path / 'runs'}; train one:")


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"output": Path("curves.jpeg")}, r"--output curves.jpeg: unsupported file type; choose from .pdf, .png, .svg"),
        ({"output": Path("curves")}, r"--output curves: unsupported file type; choose from .pdf, .png, .svg"),
        ({"top": 0}, f"--top 0: must be between 1 and {MAX_LINES}"),
        ({"top": MAX_LINES + 1}, f"--top {MAX_LINES + 1}: must be between 1 and {MAX_LINES}"),
    ],
)
def test_options_name_the_valid_choices(options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    make(tmp_path, "a-run", rows([0.5]))
    with pytest.raises(UserError, match=sentence):
        write_curves(tmp_path, read_runs(tmp_path)[0], **options)
    assert not (tmp_path / "curves").exists()


def test_the_curves_of_a_sweep_are_in_its_folder(tmp_path: Path) -> None:
    make(tmp_path, "a-run", rows([0.5]))
    frame, _ = read_runs(tmp_path)
    whole = [file.read_bytes() for file in write_curves(tmp_path, frame)]
    files = write_curves(tmp_path, frame, folder=tmp_path / "sweeps" / "one", title="One")
    assert files == [tmp_path / "sweeps/one/curves" / f"curves.{kind}" for kind in ("png", "svg")]
    assert [(tmp_path / "curves" / file.name).read_bytes() for file in files] == whole


def test_a_pdf_embeds_its_fonts(tmp_path: Path) -> None:
    make(tmp_path, "a-run", rows([0.5]))
    (file,) = write_curves(tmp_path, read_runs(tmp_path)[0], output=tmp_path / "new" / "figure.PDF")
    content = file.read_bytes()
    assert content.startswith(b"%PDF") and b"/FontFile2" in content and b"CreationDate" not in content


def test_settings_are_named_as_they_are_typed() -> None:
    settings = {"optimizer.nesterov": True, "optimizer.lr": 0.001, "norm": None, "model.hidden": [8, 8]}
    assert name_of(settings) == "optimizer.nesterov=true, optimizer.lr=0.001, model.hidden=[8, 8]"
