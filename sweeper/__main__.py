"""python -m sweeper: read recorded runs, list and watch sweeps, and use what was trained."""

import gc
import io
import shlex
import signal
import sys

if __name__ == "__main__":  # until the commands handle it, and before the imports below: Ctrl-C ends this quietly
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sweeper.display import exit_with_error
from sweeper.errors import UserError, format_names
from sweeper.files import with_home
from sweeper.garbage import collect_again
from sweeper.streams import discard_output, open_closed_streams
from sweeper.summary.convergence import DEFAULT_FRACTION, ConvergenceOptions
from sweeper.summary.effect_options import Anytime, Baseline, DivergedAsChance, EffectOptions, Measure, Tune
from sweeper.summary.output import output_format, write_output
from sweeper.trained.commands import app as trained

app = typer.Typer(
    help="Read recorded runs, and use what they trained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

OutputDir = Annotated[Path, typer.Option(help="Folder with the runs and summaries.")]
SweepName = Annotated[
    str | None, typer.Argument(metavar="SWEEP", help="Name of a sweep, which is its folder in sweeps/.")
]
Where = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Only runs with this value; may be repeated.")
]
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
    of --output (.csv, .md, .tex or .json) sets the format.
    """
    from sweeper.summary import export, table, terminal
    from sweeper.summary.measure_columns import expand, with_measures
    from sweeper.sweep.saved import ids_of

    format = output_format(format, output, ["table", *export.FORMATS])
    options = ConvergenceOptions(fraction=convergence_fraction, target_acc=target_acc)
    frame, skipped = table.read_runs(output_dir, ids_of(output_dir, sweep), options)
    chosen = None if columns is None else columns.split(",")
    named = [sort, *(chosen or []), *(condition.partition("=")[0] for condition in where or [])]
    frame = with_measures(frame, output_dir / "runs", named)
    frame = table.sort(table.where(frame, where or []), sort)
    if group_by != "none":
        table.require_columns(frame, [group_by])
    over, chosen = None if group_by == "none" else group_by, chosen and expand(chosen, frame)
    is_typed = format == "table" or table.names_presets(frame, chosen or [])
    laid_out, caption = table.lay_out(
        frame, skipped, over=over, by=sort, columns=chosen, options=options, is_typed=is_typed
    )
    if format != "table":
        text = export.FORMATS[format](laid_out, caption)
        sys.stdout.write(text) if output is None else write_output(output, text)
        return
    selected = {
        "--where": where or [],
        "--columns": [columns] if columns else [],
        "--sort": [sort] if sort != "best_val_acc" else [],
        "--group-by": [group_by] if group_by != "seed" else [],
    }
    given = [part for option, values in selected.items() for value in values for part in (option, value)]
    terminal.print_table(laid_out, caption, output, sweep, output_dir, [*given, *options.arguments])
    if output is None and sweep is None and not where and columns is None:
        export.write_files(frame, laid_out, caption, output_dir)


@app.command()
def effects(
    sweep: SweepName = None,
    where: Where = None,
    baseline: Baseline = None,
    tune: Tune = None,
    measure: Measure = None,
    anytime: Anytime = False,
    diverged_as_chance: DivergedAsChance = False,
    format: Annotated[str, typer.Option(help="Output format: table, csv or json.")] = "table",
    output: OutputFile = None,
    convergence_fraction: Fraction = DEFAULT_FRACTION,
    target_acc: TargetAcc = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Estimate the effect of each setting from pairs of finished runs that differ only in that setting."""
    from sweeper.summary.effects_text import show_effects
    from sweeper.sweep.saved import ids_of, precision_of

    show_effects(
        output_dir,
        ids_of(output_dir, sweep),
        EffectOptions(baseline or (), tune or (), measure or (), anytime, diverged_as_chance),
        where=where or [],
        precision=precision_of(output_dir, sweep),
        format=format,
        output=output,
        options=ConvergenceOptions(fraction=convergence_fraction, target_acc=target_acc),
    )


@app.command()
def cost(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SWEEP [KEY=VALUE]", help="Name of a sweep; data.root=DIR where the images have moved, extend=FILE."
        ),
    ] = None,
    where: Where = None,
    baseline: Baseline = None,
    format: Annotated[str, typer.Option(help="Output format: table, csv or json.")] = "table",
    output: OutputFile = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Measure what each setting costs: seconds per training step, parameters and, on a GPU, memory.

    Rebuild a finished run of each configuration and time training steps,
    alternating with the baseline. Run nothing else on the machine meanwhile.
    `effects` and `report` then show these costs.
    """
    from sweeper.runs.elsewhere import split_overrides
    from sweeper.summary.measured_cost import show_costs
    from sweeper.sweep.saved import ids_of

    sweeps, elsewhere = split_overrides(arguments or [], ("data.root", "data.cache", "extend"))
    if len(sweeps) > 1:
        raise UserError(f"cost takes one sweep, not {format_names(sweeps)}")
    only = ids_of(output_dir, sweeps[0] if sweeps else None)
    from sweeper.runs.extensions import load
    from sweeper.runs.step_cost import measure

    load(elsewhere.extend)
    measure_here = partial(measure, data=elsewhere.data)
    show_costs(output_dir, only, baseline or [], measure_here, where=where or [], format=format, output=output)


@app.command()
def report(
    sweep: SweepName = None,
    where: Where = None,
    baseline: Baseline = None,
    tune: Tune = None,
    measure: Measure = None,
    anytime: Anytime = False,
    diverged_as_chance: DivergedAsChance = False,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead.")] = None,
    convergence_fraction: Fraction = DEFAULT_FRACTION,
    target_acc: TargetAcc = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Write an HTML report, the answer first: effects, results, curves, mistakes, failures, provenance.

    It is OUTPUT_DIR/report.html, or report.html in the folder of a sweep.
    The options of `effects` work as there; the page says which were used.
    """
    from sweeper.summary.report import write_report

    options = ConvergenceOptions(fraction=convergence_fraction, target_acc=target_acc)
    asked = EffectOptions(baseline or (), tune or (), measure or (), anytime, diverged_as_chance)
    print(write_report(output_dir, sweep, output, options, where or [], asked))


@app.command()
def curves(
    sweep: SweepName = None,
    where: Where = None,
    top: Annotated[int, typer.Option(help="Number of configurations to plot, the best by val_acc.")] = 16,
    output: Annotated[Path | None, typer.Option(help="Write to this .png, .svg or .pdf file instead.")] = None,
    convergence_fraction: Fraction = DEFAULT_FRACTION,
    target_acc: TargetAcc = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Plot accuracy and loss, averaged over seeds, against epochs and training time.

    The files are in OUTPUT_DIR/curves/, or in curves/ in the folder of a
    sweep.
    """
    from sweeper.summary import table
    from sweeper.summary.curves import write_curves
    from sweeper.sweep.saved import find_sweep, ids_of

    options = ConvergenceOptions(fraction=convergence_fraction, target_acc=target_acc)
    frame, _ = table.read_runs(output_dir, ids_of(output_dir, sweep), options)
    frame = table.where(frame, where or []).reset_index(drop=True)
    title = "Learning curves" if sweep is None else f"Learning curves of {sweep}"
    folder = None if sweep is None else find_sweep(output_dir, sweep)
    for file in write_curves(output_dir, frame, title=title, top=top, folder=folder, output=output, options=options):
        print(file)


@app.command()
def watch(
    sweep: SweepName = None,
    where: Where = None,
    once: Annotated[bool, typer.Option("--once", help="Print the table once and exit.")] = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Show the runs of a sweep (default: the latest) until all have ended."""
    from sweeper.sweep.watch import watch

    watch(output_dir, sweep, once=once, where=where or [])


@app.command(name="list")
def list_sweeps(output_dir: OutputDir = Path("outputs")) -> None:
    """List the sweeps, the latest first: date, number of runs, state."""
    from sweeper.sweep.listing import print_sweeps

    print_sweeps(output_dir)


@app.command()
def new(
    group: Annotated[str, typer.Argument(metavar="GROUP", help="activation, model, optimizer, loss, ...")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the choice and of its file.")],
    folder: Annotated[Path, typer.Option(help="Folder for the files.")] = Path(),
) -> None:
    """Write NAME.py, a choice of your own to start from, and test_NAME.py."""
    from sweeper.starters import command_in, write_starter
    from sweeper.typed import bare_or_quoted

    paths = write_starter(group, name, folder)
    for path in paths:
        print(path)
    placed = shlex.quote(f"extend={bare_or_quoted(str(paths[0]))}")
    print(f"next: {command_in(paths[0]).replace(f'extend={name}.py', placed)}")


@app.command()
def tensorboard(
    sweep: SweepName = None,
    port: Annotated[int, typer.Option(help="Port of the web page.")] = 6006,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Show all runs, or those of a sweep, in TensorBoard, until Ctrl-C."""
    from sweeper.sweep.boards import show_in_tensorboard

    raise typer.Exit(show_in_tensorboard(output_dir, sweep, port))


app.add_typer(trained)


def main() -> None:
    """Run a command; a user's error ends in one sentence and exit status 1, a reader that is gone ends it quietly."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    collect_again()
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a record may hold characters that a terminal cannot show
    try:
        try:
            app(list(map(with_home, sys.argv[1:])))
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
