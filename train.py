"""Train one image classifier, or with -m sweep over training tricks. `python train.py --help` lists the settings."""

import hydra
from omegaconf import DictConfig

from sweeper.cli import current_job, job_errors, register_schema, run_with_friendly_errors
from sweeper.config import to_config

register_schema()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float:
    """Train the run that the config describes, or reuse it where it is finished.

    Returns:
        Its best validation accuracy, for sweepers that optimize.
    """
    with job_errors(config.sweep):
        from sweeper.runs.run import run  # imports torch, which --help and tab completion do without

        settings = to_config(config)
        return run(settings, current_job(config, settings))


if __name__ == "__main__":
    run_with_friendly_errors(main)
