"""Settings that would have no effect are refused: of a sweep in a single run, of another sweeper, of version 0.1."""

from pathlib import Path

import pytest
from processes import REPOSITORY
from wrong_input import error_of

from sweeper.explain import MOVED

MEANT_AS_SWEEPS = [
    (["seed=0,1", "epochs=2"], "seed=0,1 has several values; use -m to sweep over them: {} seed=0,1 epochs=2"),
    (["model.hidden=64,32"], "model.hidden=64,32; or write model.hidden=[64,32] for a list"),
    (["sweep.dry_run=true"], "sweep.dry_run=true applies to sweeps only; add -m: {} sweep.dry_run=true"),
    (["sweep.exclude=[{seed:0}]"], "sweep.exclude=[{{seed:0}}] applies to sweeps only; add -m: {} "),
    (["sweep={dry_run:true}"], "sweep={{dry_run:true}} applies to sweeps only; add -m: {} "),
    (["sweep.design=screen"], "sweep.design=screen applies to sweeps only; add -m: {} sweep.design=screen"),
    (["sweep.precision=0.01"], "sweep.precision=0.01 applies to sweeps only; add -m: {} "),
    (
        ["activation=[relu,selu]"],
        "activation=[relu,selu] is a list; choose a single name, or sweep: -m activation=relu,selu",
    ),
    (["hydra.sweeper.nope=1"], "error: hydra.sweeper.nope=1: hydra/sweeper=grid has no nope"),
    (["hydra/launcher=parallel"], "hydra/launcher=parallel applies to sweeps only; add -m: {} hydra/launcher=parallel"),
    (["hydra/sweeper=optuna"], "hydra/sweeper=optuna applies to sweeps only; add -m: "),
    (["sweep.name=mine"], "sweep.name=mine applies to sweeps only; add -m: "),
    (["sweep.max_retries=5"], "sweep.max_retries=5 applies to sweeps only; add -m: "),
    (["sweep.wait=false"], "sweep.wait=false applies to sweeps only; add -m: "),
]


@pytest.mark.parametrize(("arguments", "sentence"), MEANT_AS_SWEEPS)
def test_a_single_run_with_overrides_of_a_sweep_is_refused(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = f"python {REPOSITORY / 'train.py'} -m"
    assert sentence.format(typed) in error_of(arguments, monkeypatch)
    assert not list(tmp_path.glob("outputs/*"))  # Hydra makes the folder first


@pytest.mark.parametrize(
    ("sweeper", "override"),
    [
        *(("basic", text) for text in ("sweep.precision=0.01", "sweep.dry_run=true", "sweep.name=mine")),
        *(
            ("optuna", text)
            for text in ("sweep.exclude=[{model:mlp}]", "sweep.zip=[[model,seed]]", "sweep.order=seeds")
        ),
    ],
)
def test_a_setting_of_the_grid_sweeper_is_refused_by_another(
    sweeper: str, override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = error_of(["-m", f"hydra/sweeper={sweeper}", "model=softmax", "batch_size=8,16", override], monkeypatch)
    key = override.partition("=")[0]
    assert message == f"error: {key} is not used by hydra/sweeper={sweeper}; use hydra/sweeper=grid"
    assert not list(tmp_path.glob("outputs/runs"))


@pytest.mark.parametrize("key", MOVED)
@pytest.mark.parametrize("flags", [[], ["-m"]], ids=["run", "sweep"])
def test_a_setting_of_version_0_1_is_reported_with_its_replacement(
    key: str, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = error_of([*flags, f"{key}=0.5"], monkeypatch)
    assert message.startswith(f"error: {key} is no longer a setting; use {MOVED[key]}")
    assert "\n" not in message
