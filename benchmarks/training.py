"""Training speed compared with the baseline loop, Lightning and the upper bound; writes docs/performance.md.

python benchmarks/training.py FOLDER [--models NAME...] [--repeats N]    FOLDER: CIFAR-10 as train/<class>/*, test/...

Every number comes from a separate process. The processes run one after the other, N times.
"""

import argparse
import builtins
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

REPOSITORY = Path(__file__).parent.parent
THREADS = 2
SECONDS = 4.0  # of training measured on each side; this project trains two epochs instead
USUAL = ("optimizer=adam", "batch_size=64")


@dataclass(frozen=True)
class Model:
    """What is measured of a model.

    Attributes:
        overrides: of its run.
        of_upper_bound, of_baseline: the least ratios to the upper bound and to the baseline loop that it should reach.
        images: that are trained on, of each class; None: all. The memory of a model with few images has no limit.
    """

    overrides: tuple[str, ...]
    of_upper_bound: float
    of_baseline: float
    images: int | None = None


MODELS = {
    "softmax": Model(("model=softmax", *USUAL), 0.60, 9.0),
    "mlp": Model(("model=mlp", *USUAL), 0.90, 2.2),
    "cnn": Model(("model=cnn", *USUAL), 0.90, 2.7),
    "cnn_pool": Model(("model=cnn_pool", *USUAL), 0.90, 2.3),
    "resnet18": Model(("model=resnet18", "model.stem=imagenet", *USUAL), 0.90, 1.0, images=200),
    "airbench_small": Model(("experiment=airbench_small",), 0.90, 1.0, images=2000),
}
FIRST_STEP = 2.0  # times a bare `import torch`, at most
MEMORY = 450  # MB above a bare `import torch`, at most, of a model that is not slow

SPEED = f"""Training throughput in images per second at batch size 64 with Adam, from decoded images in memory;
airbench_small has the recipe and the batch size of its experiment, 1,024.

- **baseline**: a tutorial-style training loop. A dataset like `torchvision.datasets.CIFAR10` builds a PIL image at each
  access, then applies `ToTensor` and `Normalize`; `DataLoader(batch_size=N, shuffle=True)`; `torch.optim.Adam`;
  `loss.item()` at every step; the same modules. **workers**: the same with two loader workers.
- **lightning**: Lightning's `Trainer` with its defaults but no progress bar, on the loader without workers.
- **upper bound**: sweeper's model, memory format and optimizer on prepared batches, and nothing else. What is frozen
  in the second epoch is frozen.
- **sweeper**: `python train.py` with records, checkpoints and TensorBoard; the training part of the second epoch.

Each side is measured for a few seconds in a separate process, so the ratios include the machine's noise. A ratio to the
upper bound above 1 means that the upper bound was measured too low.
The images are CIFAR-10 as JPEG files, with a tenth of the training images held out; for ResNet-18, which has its
original stem as in problems 7 and 8, the first {MODELS["resnet18"].images} of each class, and for airbench_small the
first {MODELS["airbench_small"].images:,}."""
EPOCH = """From the first step of an epoch to its last record: training, evaluation on the validation images,
checkpoints, TensorBoard. Memory is the peak of the whole run and includes its share of the dataset's pages."""
START = "From the command to the end of the first training step, for runs whose images are already cached."

Figures = dict[str, list[float]]  # a measured quantity: its figure in each repeat


def process(*arguments: str) -> tuple[str, float, float]:
    """Run Python with these arguments; return its last line of output, its start time and its peak memory in MB."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    begin = time.monotonic()
    started = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    printed = started.stdout.read()
    _, status, usage = os.wait4(started.pid, 0)
    if status != 0:
        sys.exit(f"{printed}\n{' '.join(arguments)} failed")
    return printed.splitlines()[-1], begin, usage.ru_maxrss / 1024


def clocked(overrides: list[str], *, only_first_step: bool) -> None:
    """Run train.py unchanged in this process, with a clock around its loop; print the times as the last line.

    The clock is attached when the program itself imports its loop, so that the order of imports does not change.
    """
    seen: dict[str, float] = {}
    python: Any = builtins
    plain_import = python.__import__

    def watch(name: str, *arguments: Any, **named: Any) -> Any:
        module = plain_import(name, *arguments, **named)
        if name == "sweeper.training.loop" and python.__import__ is watch:
            python.__import__ = plain_import
            loop: Any = sys.modules[name]
            loop.fit = partial(clocked_fit, loop.fit)
        return module

    def clocked_fit(fit: Any, state: Any, recipe: Any, train_loader: Any, val_loader: Any, **settings: Any) -> None:
        def step() -> None:
            seen.setdefault("first step", time.monotonic())
            if only_first_step:
                print(json.dumps(seen), flush=True)
                os._exit(0)
            settings["after_step"]()

        def validation() -> Any:
            seen["trained"] = time.monotonic()
            return val_loader()

        def epoch(row: Any) -> None:
            settings["after_epoch"](row)
            seen["begin"], seen["end"] = seen.get("end", 0.0), time.monotonic()

        seen["images"] = len(train_loader.indices)
        clocks = {"after_step": step, "after_epoch": epoch}
        fit(state, recipe, train_loader, validation, **settings | clocks)

    python.__import__ = watch
    sys.argv = [str(REPOSITORY / "train.py"), *overrides]
    runpy.run_path(sys.argv[0], run_name="__main__")
    print(json.dumps(seen))


def train(how: str, overrides: list[str]) -> tuple[dict[str, float], float, float]:
    """Train a new run; return the times of its last epoch, its start time and its peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        line, begin, memory = process(__file__, how, f"output_dir={folder}", *overrides)
    return json.loads(line), begin, memory


def measure_model(overrides: list[str], sides: list[str], figures: Figures) -> None:
    """Measure each side once. This project's second epoch counts, since the first includes one-time costs."""
    overrides = ["epochs=2", *overrides]
    for side in sides:
        line, _, _ = process(str(REPOSITORY / "benchmarks" / "baseline.py"), side, str(SECONDS), *overrides)
        figures[side].append(float(line))
    seen, _, memory = train("--clocked", overrides)
    training, epoch = seen["trained"] - seen["begin"], seen["end"] - seen["begin"]
    figures["sweeper"].append(seen["images"] / training)
    figures["epoch"].append(epoch)
    figures["training"].append(100 * training / epoch)
    figures["memory"].append(memory)


def measure_start(runs: dict[str, list[str]], figures: Figures) -> None:
    line, begin, memory = process("-c", "import torch, time; print(time.monotonic())")
    figures["memory"].append(memory)
    figures["import torch"].append(float(line) - begin)
    for name, overrides in runs.items():
        seen, begin, _ = train("--first-step", overrides)
        figures[name].append(seen["first step"] - begin)


def some_images(root: Path, folder: Path, images: int) -> Path:
    """Make an image folder with the first images of each class of another folder."""
    for files in sorted(root.glob("*/*/")):
        (folder / files.relative_to(root)).mkdir(parents=True)
        for file in sorted(files.iterdir())[:images]:
            (folder / file.relative_to(root)).symlink_to(file)
    return folder


def cell(values: list[float], digits: int = 0, target: float | None = None, *, at_most: bool = False) -> str:
    """Format the median, the smallest and the largest value, and whether the median meets the target."""
    middle = median(values)
    shown = f"{middle:,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
    if target is None:
        return shown
    met = middle <= target if at_most else middle >= target
    return f"{shown} {'≤' if at_most else '≥'} {target:g}{'' if met else ' **missed**'}"


def ratio(above: list[float], below: list[float]) -> list[float]:
    """Return the ratio within each repeat, so that a slow phase of the machine affects both sides."""
    return [numerator / denominator for numerator, denominator in zip(above, below, strict=True)]


def tables(measured: dict[str, Figures], sides: list[str], start: Figures) -> list[tuple[str, str, list[list[str]]]]:
    """Return each table's title, text and rows; the first row is the header."""
    speed = [["model", *(side.replace("_", " ") for side in sides), "sweeper"]]
    ratios = [["model", "sweeper / upper bound", "sweeper / baseline"]]
    epochs = [["model", "seconds per epoch", "training, % of it", "MB above `import torch`"]]
    starts = [["what", "seconds", "times `import torch`"]]
    for name, figures in measured.items():
        model, ours, bare = MODELS[name], figures["sweeper"], median(start["memory"])
        speed.append([name, *(cell(figures[side]) for side in sides), cell(ours)])
        to_upper_bound, to_baseline = ratio(ours, figures["upper_bound"]), ratio(ours, figures["baseline"])
        ratios.append([name, cell(to_upper_bound, 2, model.of_upper_bound), cell(to_baseline, 2, model.of_baseline)])
        most = MEMORY if model.images is None else None
        memory = cell([peak - bare for peak in figures["memory"]], 0, most, at_most=True)
        epochs.append([name, cell(figures["epoch"], 2), cell(figures["training"]), memory])
    for name in (name for name in start if name != "memory"):
        times = cell(ratio(start[name], start["import torch"]), 2, FIRST_STEP, at_most=True)
        starts.append([name, cell(start[name], 2), times if name != "import torch" else ""])
    texts = {"Images per second": SPEED, "Ratios": "", "A whole epoch, and memory": EPOCH, "The first step": START}
    rows = (speed, ratios, epochs, starts)
    return [(title, text, found) for (title, text), found in zip(texts.items(), rows, strict=True)]


def machine(packages: list[str], threads: int) -> str:
    """Describe the machine, the versions of Python and of packages, and the day."""
    from sweeper.training.device import name_processor  # imports torch, which the other processes time

    return (
        f"{name_processor()}, {os.cpu_count()} cores, {threads} thread{'s' if threads > 1 else ''}; "
        f"Python {sys.version.split()[0]}, {', '.join(f'{name} {version(name)}' for name in packages)}; "
        f"{time.strftime('%Y-%m-%d')}."
    )


def show(about: str, found: list[tuple[str, str, list[list[str]]]]) -> str:
    """Print the tables, and return them as a page of Markdown."""
    from rich.console import Console  # not needed in the processes that are measured
    from rich.table import Table

    console = Console()
    parts = ["# Performance", "Written by `make bench`.", about]
    console.print(about)
    for title, text, (head, *rows) in found:
        table = Table(*head, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---", *["--:"] * (len(head) - 1)], *rows)]
        parts += [f"## {title}", text, "\n".join(lines)]
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> None:
    """Measure, print each result with its target, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS), help="without all, no page")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if not (options.folder / "train").is_dir():
        sys.exit(f"{options.folder} has no train folder; unpack CIFAR-10 there or name another with DATA=FOLDER")
    sides = ["baseline", "workers", "lightning", "upper_bound"]
    if find_spec("lightning") is None:
        sides.remove("lightning")
        print("Lightning is not installed and is skipped; to include it: pip install -e '.[lightning]'")
    measured: dict[str, Figures] = {name: defaultdict(list) for name in options.models}
    start: Figures = defaultdict(list)
    with tempfile.TemporaryDirectory() as temporary:
        cache = f"data.cache={REPOSITORY / 'data' / 'cache'}"
        data: dict[int | None, list[str]] = {
            None: ["data=image_folder", f"data.root={options.folder.resolve()}", cache]
        }
        for images in sorted({model.images for model in MODELS.values() if model.images is not None}):
            part = some_images(options.folder.resolve(), Path(temporary) / str(images), images)
            data[images] = ["data=image_folder", f"data.root={part}", f"data.cache={temporary}"]
        data = {images: [*overrides, f"threads={THREADS}"] for images, overrides in data.items()}
        runs = {"softmax on digits": ["model=softmax", "data=digits", cache, *USUAL, f"threads={THREADS}"]}
        runs |= {f"{name} on CIFAR-10": [*MODELS[name].overrides, *data[None]] for name in ("softmax", "cnn_pool")}
        for overrides in (*runs.values(), *([*MODELS["softmax"].overrides, *some] for some in data.values())):
            train("--first-step", overrides)  # decodes the images if they are not cached
        for repeat in range(options.repeats):
            measure_start(runs, start)
            for name in options.models:
                print(f"repeat {repeat + 1} of {options.repeats}: {name}", flush=True)
                measure_model([*MODELS[name].overrides, *data[MODELS[name].images]], sides, measured[name])
    packages = ["torch", "torchvision", *(side for side in sides if side == "lightning")]
    medians = f"Medians of {options.repeats} interleaved repeats (the smallest to the largest)."
    page = show(f"{machine(packages, THREADS)} {medians}", tables(measured, sides, start))
    if options.models == list(MODELS):
        (REPOSITORY / "docs" / "performance.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] in (["--clocked"], ["--first-step"]):
        clocked(sys.argv[2:], only_first_step=sys.argv[1] == "--first-step")
    else:
        main()
