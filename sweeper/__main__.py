"""python -m sweeper summary | effects | cost | report | curves | watch | evaluate: read and check recorded runs."""

import io
import signal
import sys

if __name__ == "__main__":  # until the commands handle it, and before the imports below: Ctrl-C ends this quietly
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sweeper.errors import UserError, exit_with_error, format_names
from sweeper.streams import discard_output, open_closed_streams
from sweeper.summary.convergence import DEFAULT_FRACTION, ConvergenceOptions
from sweeper.summary.output import write_output

app = typer.Typer(
    help="Read and check recorded runs.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

OutputDir = Annotated[Path, typer.Option(help="Folder with the runs and summaries.")]
SweepName = Annotated[
    str | None, typer.Argument(metavar="SWEEP", help="Name of a sweep, which is its folder in sweeps/.")
]
Where = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Only runs with this value; may be repeated.")
]
Baseline = Annotated[list[str] | None, typer.Option(metavar="AXIS=VALUE", help="Baseline of an axis; may be repeated.")]
DataRoot = Annotated[Path | None, typer.Option(help="Folder of the images, where they have moved.")]
OutputFile = Annotated[Path | None, typer.Option(help="Write to this file instead of standard output.")]
Fraction = Annotated[
    float, typer.Option("--convergence-fraction", help="Fraction of the run's best val_acc that counts as converged.")
]
TargetAcc = Annotated[
    float | None, typer.Option("--target-acc", help="Report the first epoch with this val_acc as epochs_to_target.")
]


@app.command()
def summary(
    sweep: SweepName = None,
    where: Where = None,
    sort: Annotated[str, typer.Option(help="Column to sort by, best first.")] = "best_val_acc",
    group_by: Annotated[
        str, typer.Option(help="Average runs that differ only in this; none: one row per run.")
    ] = "seed",
    columns: Annotated[
        str | None,
        typer.Option(help="Columns to show, such as model,test_acc,test_ece; class_accs: one for each class."),
    ] = None,
    format: Annotated[str, typer.Option(help="Output format: table, csv, md, latex or json.")] = "table",
    output: OutputFile = None,
    convergence_fraction: Fraction = DEFAULT_FRACTION,
    target_acc: TargetAcc = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Print a table of all runs, or of the runs of a sweep, best first.

    Unless runs or columns are selected, also write all runs to
    OUTPUT_DIR/summary.csv and the table to OUTPUT_DIR/summary.md. The suffix
    of --output (.csv, .md or .json) sets the format.
    """
    from sweeper.summary import export, table, terminal
    from sweeper.summary.measure_columns import expand, with_measures
    from sweeper.sweep.saved import ids_of

    if format == "table" and output is not None and output.suffix[1:] in export.FORMATS:
        format = output.suffix[1:]
    if format not in ("table", *export.FORMATS):
        raise UserError(f"--format {format}: unknown format; choose from {format_names(['table', *export.FORMATS])}")
    options = ConvergenceOptions(fraction=convergence_fraction, target_acc=target_acc)
    frame, skipped = table.read_runs(output_dir, ids_of(output_dir, sweep), options)
    chosen = None if columns is None else columns.split(",")
    named = [sort, *(chosen or []), *(condition.partition("=")[0] for condition in where or [])]
    frame = with_measures(frame, output_dir / "runs", named)
    frame = table.sort(table.where(frame, where or []), sort)
    if group_by != "none":
        table.require_columns(frame, [group_by])
    over, chosen = None if group_by == "none" else group_by, chosen and expand(chosen, frame)
    laid_out, caption = table.lay_out(frame, skipped, over=over, by=sort, columns=chosen, options=options)
    if format != "table":
        text = export.FORMATS[format](laid_out, caption)
        sys.stdout.write(text) if output is None else write_output(output, text)
        return
    terminal.print_table(laid_out, caption, output)
    if output is None and sweep is None and not where and columns is None:
        export.write_files(frame, laid_out, caption, output_dir)


@app.command()
def effects(
    sweep: SweepName = None,
    where: Where = None,
    baseline: Baseline = None,
    tune: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Compare each configuration at its best KEY by val_acc; may be repeated."),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Compare by this measure: test_macro_f1, test_ece, test_acc[CLASS], ...; may be repeated.",
        ),
    ] = None,
    anytime: Annotated[
        bool, typer.Option("--anytime", help="Use p values and intervals that stay valid when seeds are added later.")
    ] = False,
    diverged_as_chance: Annotated[
        bool,
        typer.Option("--diverged-as-chance", help="Count diverged runs as chance accuracy, 1 / number of classes."),
    ] = False,
    format: Annotated[str, typer.Option(help="Output format: table, csv or json.")] = "table",
    output: OutputFile = None,
    convergence_fraction: Fraction = DEFAULT_FRACTION,
    target_acc: TargetAcc = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Estimate the effect of each setting from pairs of finished runs that differ only in that setting."""
    from sweeper.summary.effects_text import show_effects
    from sweeper.summary.study import Method
    from sweeper.sweep.saved import ids_of, precision_of

    options = ConvergenceOptions(fraction=convergence_fraction, target_acc=target_acc)
    show_effects(
        output_dir,
        ids_of(output_dir, sweep),
        baseline or [],
        where=where or [],
        measures=measure or [],
        method=Method(
            tuned=tune or [],
            is_anytime=anytime,
            precision=precision_of(output_dir, sweep),
            is_chance=diverged_as_chance,
        ),
        format=format,
        output=output,
        options=options,
    )


@app.command()
def cost(
    sweep: SweepName = None,
    where: Where = None,
    baseline: Baseline = None,
    format: Annotated[str, typer.Option(help="Output format: table, csv or json.")] = "table",
    output: OutputFile = None,
    data_root: DataRoot = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Measure what each setting costs: seconds per training step, parameters and, on a GPU, memory.

    Rebuild a finished run of each configuration and time training steps,
    alternating with the baseline. Records are not changed. Run nothing else
    on the machine meanwhile.
    """
    from sweeper.runs.step_cost import measure
    from sweeper.summary.measured_cost import show_costs
    from sweeper.sweep.saved import ids_of

    only = ids_of(output_dir, sweep)
    measure_here = partial(measure, data_root=data_root)
    show_costs(output_dir, only, baseline or [], measure_here, where=where or [], format=format, output=output)


@app.command()
def report(
    sweep: SweepName = None,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of OUTPUT_DIR/report.html.")] = None,
    convergence_fraction: Fraction = DEFAULT_FRACTION,
    target_acc: TargetAcc = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Write an HTML report: question, results, effects, curves, failures and provenance of the runs."""
    from sweeper.summary.report import write_report

    options = ConvergenceOptions(fraction=convergence_fraction, target_acc=target_acc)
    print(write_report(output_dir, sweep, output, options))


@app.command()
def curves(
    sweep: SweepName = None,
    top: Annotated[int, typer.Option(help="Number of configurations to plot, the best by val_acc.")] = 16,
    output: Annotated[Path | None, typer.Option(help="Write to this .png, .svg or .pdf file instead.")] = None,
    convergence_fraction: Fraction = DEFAULT_FRACTION,
    target_acc: TargetAcc = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Plot accuracy and loss, averaged over seeds, against epochs and training time, into OUTPUT_DIR/curves/."""
    from sweeper.summary.curves import write_curves
    from sweeper.summary.table import read_runs
    from sweeper.sweep.saved import ids_of

    options = ConvergenceOptions(fraction=convergence_fraction, target_acc=target_acc)
    frame, _ = read_runs(output_dir, ids_of(output_dir, sweep), options)
    title = "Learning curves" if sweep is None else f"Learning curves of {sweep}"
    for file in write_curves(output_dir, frame, title=title, top=top, output=output, options=options):
        print(file)


@app.command()
def watch(
    sweep: SweepName = None,
    once: Annotated[bool, typer.Option("--once", help="Print the table once and exit.")] = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Show the runs of a sweep (default: the latest) until all have ended."""
    from sweeper.sweep.watch import watch

    watch(output_dir, sweep, once=once)


@app.command()
def evaluate(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="Run ID, its last digits, or a run directory.")
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Evaluate the best run of the configuration with the best mean val_acc.")
    ] = False,
    data_root: DataRoot = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Re-evaluate a run's best.pt on the test images; exit with status 1 if the result differs from the record."""
    if (run is None) != best:
        raise UserError("give either a run (its ID, the ID's last digits, or its directory) or --best")
    from sweeper.runs.evaluate import evaluate_run
    from sweeper.summary.evaluation_text import print_evaluation

    folder = best_directory(output_dir) if run is None else find_run(run, output_dir)
    evaluation = evaluate_run(folder, data_root)
    reason = f"; {evaluation.note}" if evaluation.note else ""
    print_evaluation(folder.name, evaluation)
    recorded = folder / "predictions.npz"
    if evaluation.num_changed is None:
        print(f"{recorded} is missing or damaged; predicted classes are not compared", file=sys.stderr)
    elif evaluation.num_changed > 0:
        raise UserError(f"{evaluation.num_changed} predicted classes differ from those in {recorded}{reason}")
    if evaluation.test_acc != evaluation.recorded_acc:
        raise UserError(f"test_acc={evaluation.test_acc} differs from the recorded {evaluation.recorded_acc}{reason}")


def find_run(run: Path, output_dir: Path) -> Path:
    """Return the directory of a run given by its path, its ID or the ID's last digits.

    Raises:
        UserError: the digits are those of several runs.
    """
    found = [path for path in (output_dir / "runs").glob("*") if path.name.endswith(run.name)]
    if run.exists() or not found:
        return run
    if len(found) > 1:
        raise UserError(f"{run} matches {len(found)} runs: {format_names(path.name for path in found)}")
    return found[0]


def best_directory(output_dir: Path) -> Path:
    """Return the directory of the best run of the best configuration, see sweeper.summary.best.

    Raises:
        UserError: no run is finished.
    """
    from sweeper.summary.best import best_run
    from sweeper.summary.table import read_runs

    frame, _ = read_runs(output_dir)
    run_id = best_run(frame)
    if run_id is None:
        raise UserError(f"no run in {output_dir / 'runs'} is finished")
    return output_dir / "runs" / str(run_id)


def main() -> None:
    """Run a command; a user's error ends in one sentence and exit status 1, a reader that is gone ends it quietly."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a record may hold characters that a terminal cannot show
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        discard_output()
        exit_with_error(str(error))
    except UserError as error:
        exit_with_error(str(error))


if __name__ == "__main__":
    main()
