"""Interpolations are resolved once for a sweep's plan and jobs, or refused."""

from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig
from processes import REPOSITORY

from sweeper.cli import config_flags, register_schema
from sweeper.config import Config, to_config
from sweeper.errors import UserError
from sweeper.sweep.compose import Composer


@pytest.fixture
def composer(tmp_path: Path) -> Composer:
    """A composer with an experiment of its own, whose settings have interpolations."""
    folder = tmp_path / "my" / "experiment"
    folder.mkdir(parents=True)
    header = "# @package _global_\n"
    (folder / "cwd.yaml").write_text(header + "data: {cache: '${hydra:runtime.cwd}/c-${hydra:job.override_dirname}'}\n")
    (folder / "timed.yaml").write_text(header + "output_dir: out/${now:%H-%M}\n")
    register_schema()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
    GlobalHydra.instance().clear()
    search = [f"hydra.searchpath=[file://{tmp_path}/my]"]
    return Composer(loader, loader.load_configuration("config", search, RunMode.MULTIRUN))


def in_job(composer: Composer, job: list[str]) -> Config:
    """Resolve a job's config as Hydra's launchers do in its process."""
    configs: list[Config] = []
    composed = composer.loader.load_sweep_config(composer.master, job)
    context = HydraContext(composer.loader, Callbacks())

    def task(config: DictConfig) -> None:
        configs.append(to_config(config))

    run_job(task, composed, "hydra.run.dir", None, context, configure_logging=False)
    return configs[0]


@pytest.mark.parametrize(
    "job",
    [
        ["data.root=${hydra:runtime.cwd}/imgs", "seed=1"],
        ["output_dir=${hydra:runtime.choices.model}", "model=mlp"],
        ["experiment=cwd", "seed=1"],
        ["experiment=cwd", "seed=2", "model=mlp"],
        ["model=mlp", "data.cache=${output_dir}/${model.name}"],
    ],
    ids=" ".join,
)
def test_a_plan_resolves_what_a_job_resolves(job: list[str], composer: Composer) -> None:
    before = HydraConfig.instance().cfg
    assert composer(job).config == in_job(composer, job)
    assert composer([*job, "seed=5"]).config == in_job(composer, [*job, "seed=5"])
    HydraConfig.instance().cfg = before


def test_what_refers_to_hydra_is_composed_again_by_the_next_plan(composer: Composer, tmp_path: Path) -> None:
    composer(["experiment=cwd", "seed=1"])
    composer.save(tmp_path / "configs.json")
    assert not (tmp_path / "configs.json").exists()


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        (["experiment=timed"], r"output_dir=out/\$\{now:%H-%M\}: in a file, .* differs from job to job; type it"),
        (["data.cache=c/${hydra:job.num}"], r"\$\{hydra:job.num\} differs from job to job"),
        (["data.cache=${hydra:runtime.output_dir}/c"], r"\$\{hydra:runtime.output_dir\} differs from job to job"),
    ],
)
def test_what_differs_from_job_to_job_is_refused(job: list[str], sentence: str, composer: Composer) -> None:
    with pytest.raises(UserError, match=sentence):
        composer(job)


def test_a_runs_command_has_the_flags_that_choose_its_files(composer: Composer, tmp_path: Path) -> None:
    hydra = composer.master.hydra
    assert config_flags(hydra) == []
    for source in hydra.runtime.config_sources:
        if source.provider == "hydra.searchpath in command-line":
            source.provider = "command-line"
    assert config_flags(hydra) == ["--config-dir", str(tmp_path / "my")]
    hydra.job.config_name = "other"
    assert config_flags(hydra)[2:] == ["--config-name", "other"]
