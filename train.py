"""Train one image classifier, or with -m sweep over training tricks. `python train.py --help` lists the settings."""

if __name__ == "__main__":  # before the imports below, which take a second
    from sweeper.runs.signals import exit_on_stops
    from sweeper.streams import protect_streams

    exit_on_stops()
    protect_streams()

from pathlib import Path

import hydra
from omegaconf import DictConfig

from sweeper.cli import current_job, job_errors, register_schema, run_with_friendly_errors
from sweeper.config import to_config

register_schema()

CONF = str(Path(__file__).resolve().parent / "conf")  # also where this file is started by a link


@hydra.main(version_base="1.3", config_path=CONF, config_name="config")
def main(config: DictConfig) -> float:
    """Train the run that the config describes, or reuse it where it is finished.

    Returns:
        Its best validation accuracy, for sweepers that optimize.
    """
    with job_errors(config.sweep):
        from sweeper.runs.extensions import load  # imports torch, which --help and tab completion do without
        from sweeper.runs.run import run

        load(list(config.extend))  # again where Hydra started another process
        settings = to_config(config)
        return run(settings, current_job(config, settings))


if __name__ == "__main__":
    run_with_friendly_errors(main)
