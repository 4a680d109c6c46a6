"""The copy that queued jobs run: configs as they were at submission, wherever they are."""

from pathlib import Path

import pytest
from composing import loader_of
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_search_path import ConfigSearchPath
from hydra.types import HydraContext, RunMode
from processes import REPOSITORY

from sweeper.launch.snapshot import snapshot, with_configs


@pytest.mark.parametrize("inside", [False, True])
def test_configs_of_the_command_line_are_those_of_the_submission(inside: bool, tmp_path: Path) -> None:
    """The copy may be within that folder, as with --config-dir=., and is no part of the next one."""
    own = tmp_path / "my"
    preset, hidden = tmp_path / "shared" / "mine.yaml", own / "outputs" / ".hydra" / "config.yaml"
    for file in (preset, hidden):
        file.parent.mkdir(parents=True)
        file.write_text("name: leaky_relu\nnegative_slope: 2.0\n")
    (own / "activation").symlink_to(preset.parent)
    path: ConfigSearchPath = loader_of(REPOSITORY / "conf").get_search_path()
    path.prepend("command-line", f"file://{own}", anchor="schema")
    context = HydraContext(config_loader=ConfigLoaderImpl(config_search_path=path), callbacks=Callbacks())
    configs, into = {"main": REPOSITORY / "conf", "command-line": own}, (own if inside else tmp_path) / "slurm"
    code = snapshot(configs, into)
    assert snapshot(configs, into) == code
    assert not list(code.rglob("config_dir/outputs"))
    elsewhere = snapshot(configs, (own if inside else tmp_path) / "other" / "slurm")
    assert elsewhere.name == code.name  # copies are no part of copies
    preset.write_text("name: leaky_relu\nnegative_slope: 3.0\n")
    assert snapshot(configs, into) != code
    for given, slope in ((context, 3.0), (with_configs(context, code), 2.0)):
        composed = given.config_loader.load_configuration("config", ["activation=mine"], RunMode.RUN)
        assert composed.activation.negative_slope == slope
