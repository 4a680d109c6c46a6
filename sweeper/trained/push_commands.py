"""python -m sweeper push mlflow | wandb: send finished runs to a tracker."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Send finished runs to a tracker; a second push adds nothing.", no_args_is_help=True)

SweepName = Annotated[str | None, typer.Argument(metavar="SWEEP", help="Name of a sweep; all runs without it.")]
Where = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Only runs with this value; may be repeated.")
]
Weights = Annotated[bool, typer.Option("--weights", help="Send best.pt as well.")]
OutputDir = Annotated[Path, typer.Option(help="Folder with the runs and summaries.")]


@app.command()
def mlflow(
    sweep: SweepName = None,
    where: Where = None,
    uri: Annotated[
        str | None, typer.Option(help="Tracking URI; default: MLFLOW_TRACKING_URI, or http://127.0.0.1:5000.")
    ] = None,
    experiment: Annotated[str, typer.Option(help="Name of the experiment; created if it does not exist.")] = "sweeper",
    weights: Weights = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Send settings, curves, results and the report of finished runs to an MLflow server."""

    from sweeper.trained.mlflow_server import MlflowTracker
    from sweeper.trained.push import push

    print(push(output_dir, sweep, where or [], lambda: MlflowTracker(uri, experiment), weights=weights))


@app.command()
def wandb(
    sweep: SweepName = None,
    where: Where = None,
    project: Annotated[str, typer.Option(help="Name of the project.")] = "sweeper",
    weights: Weights = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Write finished runs as W&B's offline runs into OUTPUT_DIR/wandb/, which `wandb sync` uploads."""

    from sweeper.trained.push import push
    from sweeper.trained.wandb_folder import WandbFolder

    print(push(output_dir, sweep, where or [], lambda: WandbFolder(output_dir, project), weights=weights))
    print(f"to upload: wandb sync {output_dir / 'wandb'}")
