"""Runs as W&B's offline runs, which `wandb sync` uploads: no login and no network here."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.errors import UserError
from sweeper.files import read_json, write_json
from sweeper.trained.push import Item, Report, Sent, require_package

if TYPE_CHECKING:
    import wandb

MARK = "sweeper.json"  # in the folder of an offline run that is whole


class WandbFolder:
    """Offline runs of a project in OUTPUT_DIR/wandb/.

    The ID of a W&B run is the end of the run's own, the same in every push. A folder without MARK was written only
    partly, and is removed before it is written again.

    Args:
        output_dir: the folder that gets wandb/.
        project: of W&B.

    Raises:
        UserError: W&B is not installed, or refuses; in each method as well.
    """

    def __init__(self, output_dir: Path, project: str) -> None:
        require_package("wandb", "wandb")
        self.output_dir, self.project = output_dir, project
        self.folder = output_dir / "wandb"

    def marks(self, key: str = "*") -> Iterator[tuple[Path, dict[str, object] | None]]:
        """Return the folders of offline runs with what their marks have."""
        for folder in sorted(self.folder.glob(f"offline-run-*-{key}")):
            yield folder, read_json(folder / MARK)

    def sent(self) -> Mapping[str, Sent]:
        marks = [mark for _, mark in self.marks() if mark is not None and mark.get("project") == self.project]
        return {str(mark["key"]): Sent(str(mark["digest"]), bool(mark["weights"])) for mark in marks}

    def send(self, item: Item) -> None:
        content = item.read()
        with self.offline_run(item.key, item.key, item.digest, weights=item.weights is not None) as run:
            run.config.update({**content.settings, "command": content.command})
            for row in content.rows:
                run.log({name: value for name, value in row.items() if name != "epoch"}, step=int(row["epoch"]))
            run.summary.update(dict(content.results))
            for file in [*content.files, *([item.weights] if item.weights else [])]:
                attach(run, file)

    def send_report(self, report: Report) -> None:
        with self.offline_run(report.key, report.name, report.digest) as run:
            import wandb

            run.log({"report": wandb.Html(report.page, inject=False)})

    @contextmanager
    def offline_run(self, key: str, name: str, digest: str, *, weights: bool = False) -> Iterator["wandb.Run"]:
        """Write an offline run in place of those with the same key."""
        import wandb

        short = key.rpartition("-")[2]  # W&B's IDs are short; the digits alone are stable
        for folder, mark in self.marks(short):
            if mark is None or (mark.get("key"), mark.get("project")) == (key, self.project):
                shutil.rmtree(folder)
        settings = wandb.Settings(
            mode="offline",
            console="off",
            silent=True,
            disable_code=True,
            disable_git=True,
            reinit="finish_previous",
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        kind = "report" if key.startswith("report-") else "train"
        try:
            run = wandb.init(
                project=self.project, id=short, name=name, job_type=kind, dir=self.output_dir, settings=settings
            )
            yield run
            run.finish()
        except (wandb.Error, OSError) as error:
            raise UserError(f"W&B: {' '.join(str(error).split())}") from error
        mark = {"key": key, "project": self.project, "digest": digest, "weights": weights}
        write_json(Path(run.dir).parent / MARK, mark)


def attach(run: "wandb.Run", file: Path) -> None:
    """Copy a file into a run, which is uploaded with it."""
    copy = shutil.copy(file, run.dir)
    run.save(copy, base_path=run.dir, policy="now")
