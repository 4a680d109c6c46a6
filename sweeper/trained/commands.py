"""python -m sweeper evaluate | predict | errors | diff | export | push: use what was trained."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sweeper.display import print_sentence, progress
from sweeper.errors import UserError, format_names
from sweeper.trained.push_commands import app as push

app = typer.Typer()
app.add_typer(push, name="push")

OutputDir = Annotated[Path, typer.Option(help="Folder with the runs and summaries.")]
RUN = "A run's ID, its last digits, best, or a run directory"
MOVED = "data.root=DIR, data.cache=DIR, extend=FILE"
Words = Annotated[list[str] | None, typer.Argument(metavar="RUN [KEY=VALUE]", help=f"{RUN}; {MOVED}.")]
Sweep = Annotated[str | None, typer.Option("--sweep", metavar="SWEEP", help="Choose best among the runs of a sweep.")]
Where = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Choose best among runs with this; may be repeated.")
]
Top = Annotated[int, typer.Option(min=1, help="Number of classes to show for each image, most probable first.")]


def one_run(words: list[str], command: str) -> str:
    """Return the only word.

    Raises:
        UserError: there are none or several.
    """
    if len(words) != 1:
        given = format_names(words) if words else "none"
        raise UserError(f"{command} needs one run (its ID, the ID's last digits, best, or its directory), not {given}")
    return words[0]


@app.command()
def evaluate(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="RUN [KEY=VALUE]", help=f"{RUN}; {MOVED}, device=cpu|cuda.")
    ] = None,
    best: Annotated[
        bool,
        typer.Option("--best", help="Evaluate the best run of the best configuration by val_acc, for each dataset."),
    ] = False,
    sweep: Sweep = None,
    where: Where = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Re-evaluate a run's best.pt on the test images; exit with status 1 if the result differs from the record."""
    from sweeper.runs.elsewhere import for_run, split_overrides
    from sweeper.summary.find import best_records, find_finished

    words, elsewhere = split_overrides(arguments or [])
    if bool(words) == best:
        raise UserError("give either a run (its ID, the ID's last digits, or its directory) or --best")
    if best:
        records = best_records(output_dir, sweep, where or [])
    else:
        records = {"": find_finished(one_run(words, "evaluate"), output_dir, sweep, where or [])}
    from sweeper.runs.evaluate import evaluate_run
    from sweeper.runs.extensions import load
    from sweeper.trained.evaluation_text import check_evaluation, print_evaluation

    load(elsewhere.extend)
    failed = []
    for dataset, record in records.items():
        if len(records) > 1:
            print(f"best run with {dataset}:")
        try:
            evaluation = evaluate_run(record, for_run(elsewhere, record, records.values()))
            print_evaluation(record.run_id, evaluation)
            check_evaluation(evaluation, record.predictions)
        except UserError as error:
            if len(records) == 1:
                raise
            print_sentence(f"error: {error}", sys.stderr)
            failed.append(dataset)
    if failed:
        raise UserError(
            f"the best run was not reproduced for {len(failed)} of {len(records)} datasets: {', '.join(failed)}"
        )


@app.command()
def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help=f"{RUN}; RUN,RUN,...: the mean of their probabilities.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE|FOLDER", help="Images; folders, searched recursively.")],
    top: Top = 3,
    output: Annotated[
        Path | None, typer.Option(help="Write to this file instead: .csv or .json; of masks, a folder.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    sweep: Sweep = None,
    where: Where = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Print the most probable classes of images, or write their masks; exit with status 1 if a file cannot be read."""
    from sweeper.runs.elsewhere import check_device, split_overrides
    from sweeper.runs.scores import task_of
    from sweeper.summary.find import find_ensemble
    from sweeper.trained.predict_text import (
        check_folder,
        check_output,
        print_masks,
        print_predictions,
        show_unreadable,
        write_predictions,
    )

    paths, elsewhere = split_overrides(images, ["device", "extend"])
    if not paths:
        raise UserError("name images to predict, or folders of images")
    check_device(device)
    records = find_ensemble(run, output_dir, sweep, where or [])
    if task_of((records[0].run() or {}).get("effective")) != "segmentation":
        check_output(output)
    from sweeper.runs.extensions import load
    from sweeper.runs.network import load_network
    from sweeper.trained.images import find_images
    from sweeper.trained.predict import check_classes, predict
    from sweeper.trained.predict_masks import check_tasks, folder_name, predict_masks
    from sweeper.training.device import set_up_process

    load(elsewhere.extend)
    files = find_images([Path(path) for path in paths])
    set_up_process(elsewhere.device or device, None)
    networks = [load_network(record, elsewhere.device or device) for record in records]
    check_classes(networks)
    if check_tasks(networks):
        target = output or output_dir / "masks" / folder_name([record.run_id for record in records])
        check_folder(target)
        with progress("predicting", len(files)) as advance:
            written = predict_masks(networks, files, target, advance)
        print_masks(written, [network.run_id for network in networks], top)
        show_unreadable(written.unreadable, len(files))
        return
    with progress("predicting", len(files)) as advance:
        found = predict(networks, files, advance)
    run_ids = [network.run_id for network in networks]
    if output is None:
        print_predictions(found, run_ids, top)
    else:
        write_predictions(output, found, run_ids, top)
        print(output)
    show_unreadable(found.unreadable, len(files))


@app.command()
def errors(
    arguments: Words = None,
    true: Annotated[str | None, typer.Option(help="Only images of this class.")] = None,
    predicted: Annotated[str | None, typer.Option(help="Only images predicted as this class.")] = None,
    top: Annotated[int, typer.Option(min=1, max=400, help="Number of images in the picture.")] = 40,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead: .png or .csv.")] = None,
    sweep: Sweep = None,
    where: Where = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Show the test images that a run predicts wrongly, most confident first: a picture and a CSV of their files.

    Of segmentation, those of the lowest mean intersection over union first.
    """
    from sweeper.runs.elsewhere import split_overrides
    from sweeper.summary.find import find_finished
    from sweeper.trained.mistakes import write_mistakes

    words, elsewhere = split_overrides(arguments or [], ["data.root", "data.cache", "extend"])
    record = find_finished(one_run(words, "errors"), output_dir, sweep, where or [])
    if elsewhere.extend:
        from sweeper.runs.extensions import load  # imports torch, which stored predictions do without

        load(elsewhere.extend)
    for line in write_mistakes(
        record, elsewhere, output_dir / "errors", output, true=true, predicted=predicted, top=top
    ):
        print(line)


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="RUN", help=f"{RUN}.")],
    second: Annotated[str, typer.Argument(metavar="RUN", help=f"{RUN}.")],
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
    sweep: Sweep = None,
    where: Where = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Show what differs between two runs: settings, code, data, machine, curves, test accuracy (McNemar's test).

    Of segmentation, the mIoU of each test image (Wilcoxon's signed-rank test).
    """
    from sweeper.summary.differences import compare_runs
    from sweeper.summary.differences_text import as_json, print_differences
    from sweeper.summary.find import find_each

    if format not in ("table", "json"):
        raise UserError(f"--format {format}: unknown format; choose from json, table")
    found = compare_runs(*find_each((first, second), output_dir, sweep, where or []))
    if format == "json":
        sys.stdout.write(as_json(found))
    else:
        print_differences(found)
    if found.untested is not None:
        raise UserError(f"no test of the accuracies: {found.untested}")


@app.command()
def export(
    arguments: Words = None,
    format: Annotated[str, typer.Option(help="torch, safetensors or onnx.")] = "torch",
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of OUTPUT_DIR/exports/RUN.*.")] = None,
    sweep: Sweep = None,
    where: Where = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Write a run's network to a file for programs without this package, and a JSON file with its classes beside it."""
    from sweeper.runs.elsewhere import split_overrides
    from sweeper.summary.find import find_finished

    words, elsewhere = split_overrides(arguments or [], ["data.root", "data.cache", "extend"])
    record = find_finished(one_run(words, "export"), output_dir, sweep, where or [])
    from sweeper.runs.extensions import load
    from sweeper.runs.network import load_network
    from sweeper.trained.export import about, check_file, export
    from sweeper.trained.pixels import pixels_to_compare

    load(elsewhere.extend)
    path = check_file(format, output, output_dir / "exports" / record.run_id)
    trained = load_network(record, "cpu")
    pixels, named = pixels_to_compare(record, elsewhere, trained.input_shape)
    difference = export(trained, format, path, pixels)
    print(f"{path}\n{about(path)}")
    print(f"largest difference of a logit on {named}: {difference:.2g}")
