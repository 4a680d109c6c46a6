"""Train one image classifier, or with -m sweep over training tricks. `python train.py --help` lists the settings."""

import gc
import sys

if __name__ == "__main__":  # before the imports below, which take a second
    try:
        from sweeper.runs.signals import exit_on_stops

        exit_on_stops()
    except KeyboardInterrupt:
        print("stopped by SIGINT; no run was in training", file=sys.stderr)
        sys.exit(130)
    from sweeper.streams import announce_start, protect_streams

    protect_streams()
    announce_start("starting: reading the settings and loading PyTorch")
    gc.disable()  # until the start is over

from pathlib import Path

import hydra
from omegaconf import DictConfig

from sweeper.cli import current_job, job_errors, register_schema, run_with_friendly_errors
from sweeper.config import to_config
from sweeper.garbage import collect_again
from sweeper.runs.reuse import reuse_known

register_schema()

CONF = str(Path(__file__).resolve().parent / "conf")  # also where this file is started by a link


@hydra.main(version_base="1.3", config_path=CONF, config_name="config")
def main(config: DictConfig) -> float:
    """Train the run that the config describes, or reuse it where it is finished.

    Returns:
        Its best validation accuracy, for sweepers that optimize.
    """
    with job_errors(config.sweep):
        if config.extend:
            from sweeper.runs.extensions import load

            load(list(config.extend))  # again where Hydra started another process
        settings = to_config(config)
        job = current_job(config, settings)
        known = reuse_known(settings, job)
        if known is not None:
            return known
        from sweeper.runs.run import run  # imports torch, which a finished run, --help and tab completion do without

        collect_again()
        return run(settings, job)


if __name__ == "__main__":
    run_with_friendly_errors(main)
