"""Sweeps with designs, an order, and rounds of seeds: planned and concluded as always, their runs not trained."""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from paired import table
from support import record_end

from sweeper.errors import UserError
from sweeper.runs.provenance import describe
from sweeper.runs.spec import resolve
from sweeper.summary.effects import effects
from sweeper.summary.gather import gather
from sweeper.summary.study import Method
from sweeper.sweep import estimate
from sweeper.sweep.compose import Composer
from sweeper.sweep.execute import derived_name, run_sweep
from sweeper.sweep.expand import axes_of, expand, factors_of
from sweeper.sweep.known_effects import effects_of
from sweeper.sweep.plan import Planned
from sweeper.sweep.planner import Planner
from sweeper.sweep.precision import half_width
from sweeper.sweep.rounds import seed_sequence
from sweeper.sweep.saved import read_plan

DIFFERENCES = (0.12, 0.04, 0.10, 0.06, 0.09, 0.05, 0.11, 0.07)  # of the seeds; ten times those of test_precision
Accuracy = Callable[[Planned], float | None]


class Sweeps:
    """Runs sweeps of softmax on the small images whose runs end at once.

    Attributes:
        accuracy: the test accuracy of a run; None where it diverges.
        launches: the runs of each launch, as their swept overrides.
        tables: the number of runs in each printed table.
    """

    def __init__(self, shared: Composer, small: list[str], folder: Path) -> None:
        self.compose = Composer(shared.loader, shared.master)
        self.compose.by_groups, self.compose.parse = shared.by_groups, shared.parse
        self.compose.interpolations = shared.interpolations
        self.fixed = [*small, "model=mlp", "model.hidden=[4]", "epochs=1", "output_dir=."]
        self.folder = folder
        self.accuracy: Accuracy = lambda planned: 0.5
        self.launches: list[list[str]] = []
        self.tables: list[int] = []

    def __call__(self, *overrides: str) -> None:
        parsed = [self.compose.parse(text) for text in [*self.fixed, *overrides]]
        self.launches = []
        run_sweep(parsed, self.compose, self.launch, 1, lambda _, ids, __: self.tables.append(len(ids)))

    def launch(self, runs: Sequence[Planned], folder: Path) -> list[Any]:
        given = {text for text in self.fixed if "=" in text}
        self.launches.append(
            [" ".join(t for t in run.overrides if t not in given and t[:6] != "sweep.") for run in runs]
        )
        for planned in runs:
            assert planned.spec is not None
            record, accuracy = planned.record, self.accuracy(planned)
            record_end(
                record,
                planned.spec.code,
                None if accuracy is None else {"best_val_acc": 0.5, "best_epoch": 1, "test_acc": accuracy},
            )
        return []

    @property
    def saved(self) -> list[str]:
        (folder,) = (self.folder / "sweeps").iterdir()
        return [str(job["run_id"]) for job in read_plan(folder)["jobs"]]


@pytest.fixture
def sweep(
    composer: Composer,
    small: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Sweeps]:
    monkeypatch.setattr(estimate, "probe", lambda *_: 0.01)
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    yield Sweeps(composer, small, tmp_path)


def noisy(planned: Planned) -> float:
    """Norm adds what DIFFERENCES say, tanh subtracts 0.2 in every seed."""
    config = planned.config
    norm = DIFFERENCES[config.seed] if config.norm.name == "batch" else 0.0
    return 0.5 + norm - (0.2 if config.activation.name == "tanh" else 0.0)


OTHERS = ("epochs", "grad_clip", "patience", "optimizer.lr", "optimizer.weight_decay", "augmentation.cutout")
PRECISE = ("norm=none,batch", "sweep.precision=0.05")


def test_seeds_are_added_until_the_interval_is_narrow(sweep: Sweeps, caplog: pytest.LogCaptureFixture) -> None:
    sweep.accuracy = noisy
    sweep(*PRECISE)
    assert [len(runs) for runs in sweep.launches] == [8, 2]
    assert sweep.launches[1] == ["norm=none seed=4", "norm=batch seed=4"]
    assert "sweep.precision=0.05: starting with 4 seeds, at most 20 (40 runs, about 78 s)" in caplog.text
    assert (
        "after 4 seeds the widest interval is ±0.0711 (norm=batch vs. norm=none); ±0.05 needs about 6 seeds in total "
        "(4 runs, about 8 s more)" in caplog.text
    )
    assert (
        "sweep.precision=0.05 on test_acc, 5 seeds:\n  norm=batch vs. norm=none: +0.0820 ± 0.0500, helps" in caplog.text
    )
    assert (sweep.tables, len(sweep.saved)) == ([10], 10)


def test_a_sweep_that_reached_its_precision_trains_nothing_again(
    sweep: Sweeps, caplog: pytest.LogCaptureFixture
) -> None:
    sweep.accuracy = noisy
    sweep(*PRECISE)
    caplog.clear()
    sweep(*PRECISE)
    assert sweep.launches == []
    assert "10 combinations: 10 finished" in caplog.text
    assert "norm=batch vs. norm=none: +0.0820 ± 0.0500, helps" in caplog.text


def test_a_run_of_an_earlier_round_is_trained_again(sweep: Sweeps, caplog: pytest.LogCaptureFixture) -> None:
    sweep.accuracy = noisy
    sweep(*PRECISE)
    (sweep.folder / "runs" / sweep.saved[0] / "status.json").unlink()
    caplog.clear()
    sweep(*PRECISE)
    assert sweep.launches == [["norm=none seed=0"]]
    assert "8 combinations: 1 to run" in caplog.text
    assert "2 combinations: 2 finished" in caplog.text and caplog.text.count("to run") == 1
    assert "previously contained other runs" not in caplog.text


@pytest.mark.parametrize(("again", "warns"), [("norm=none,batch", False), ("norm=none,layer", True)])
def test_a_sweep_that_drops_runs_says_so(
    again: str, warns: bool, sweep: Sweeps, caplog: pytest.LogCaptureFixture
) -> None:
    sweep("norm=none,batch", "activation=relu,tanh", "sweep.exclude=[{norm:batch,activation:tanh}]", "sweep.name=one")
    sweep(again, "activation=relu,tanh", "sweep.name=one")
    assert ("sweep one previously contained other runs" in caplog.text) == warns


def test_a_sweep_whose_runs_all_fail_before_they_are_recorded_names_them(
    sweep: Sweeps, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(runs: Sequence[Planned], _: Path) -> list[Any]:
        for planned in runs:
            planned.record.folder.mkdir(parents=True, exist_ok=True)
            planned.record.write_status(state="failed")
        return []

    monkeypatch.setattr(sweep, "launch", fail)
    with pytest.raises(UserError, match="8 of 8 runs did not finish: "):
        sweep(*PRECISE)
    assert sweep.tables == []
    assert "on test_acc" not in caplog.text  # no answer without a pair


def test_a_stopped_sweep_resumes_in_its_round(sweep: Sweeps, caplog: pytest.LogCaptureFixture) -> None:
    def stop(planned: Planned) -> float:
        if planned.config.seed == 4 and planned.config.norm.name == "batch":
            raise KeyboardInterrupt
        return noisy(planned)

    sweep.accuracy = stop
    with pytest.raises(SystemExit):
        sweep(*PRECISE)
    sweep.accuracy = noisy
    sweep(*PRECISE, "sweep.dry_run=true")
    assert sweep.launches == []
    sweep(*PRECISE)
    assert sweep.launches == [["norm=batch seed=4"]]
    assert "+0.0820 ± 0.0500, helps" in caplog.text


def test_the_seeds_end_at_the_most_that_are_allowed(sweep: Sweeps, caplog: pytest.LogCaptureFixture) -> None:
    sweep.accuracy = noisy
    sweep("norm=none,batch", "sweep.precision=0.02", "sweep.max_seeds=6")
    assert [len(runs) for runs in sweep.launches] == [8, 4]
    assert re.search(
        r"±0.02 needs about 19 seeds in total \(30 runs, .* more\); sweep.max_seeds=6 gives about ±0.0448", caplog.text
    )
    assert "norm=batch vs. norm=none: +0.0767 ± 0.0385, helps; precision not reached" in caplog.text


@pytest.mark.parametrize(("design", "rows", "on"), [("product", 4, " on average"), ("leave_one_out", 3, "")])
def test_every_effect_of_a_design_is_known_to_the_precision(
    design: str, rows: int, on: str, sweep: Sweeps, caplog: pytest.LogCaptureFixture
) -> None:
    sweep.accuracy = noisy
    sweep(*PRECISE, "activation=relu,tanh", f"sweep.design={design}")
    assert f"norm=batch vs. norm=none: +0.0820 ± 0.0500, helps{on}\n" in caplog.text
    assert f"activation=tanh vs. activation=relu: -0.2000 ± 0.0500, hurts{on}\n" in caplog.text
    assert len(sweep.saved) == 5 * rows


def test_the_values_of_a_sweep_are_compared_as_in_effects(sweep: Sweeps, caplog: pytest.LogCaptureFixture) -> None:
    ran: list[dict[str, Any]] = []

    def accuracy(planned: Planned) -> float:
        config, acc = planned.config, noisy(planned)
        settings = {"norm": config.norm.name, "activation": config.activation.name, "optimizer.lr": config.optimizer.lr}
        ran.append({**settings, "seed": config.seed, "test_acc": acc})
        return acc

    sweep.accuracy = accuracy
    # The defaults are none and 0.0005; activation lacks its own, relu.
    sweep(
        "norm=batch,none", "activation=tanh,selu", "optimizer.lr=1e-2,5e-4", *PRECISE[1:], "sweep.design=leave_one_out"
    )
    compared = effects(table(*ran), method=Method(precision=0.05)).comparisons
    means = {one.changes[0].axis: one.mean for one in compared if one.metric == "test_acc"}
    for key, line in (
        ("norm", "norm=batch vs. norm=none: +0.0820 ± 0.0500, helps"),
        ("activation", "activation=tanh vs. activation=selu: -0.2000 ± 0.0500, hurts"),
        ("optimizer.lr", "optimizer.lr=0.01 vs. optimizer.lr=0.0005: +0.0000 ± 0.0500, not significant"),
    ):
        assert f"  {line}\n" in f"{caplog.text}\n" and f": {means[key]:+.4f} ±" in line


@pytest.mark.parametrize(
    ("swept", "baseline"),  # presets with one name; the default is not among them
    [
        ("dropout=heavy,light", "light"),  # which is shown as dropout.rate
        ("model=mlp_deep,mlp", "mlp"),
        ("optimizer=sam,asam", "asam"),
        ("averaging=lookahead_rising,lookahead", "lookahead"),
        ("augmentation=flip_crop,flip", "flip"),
    ],
)
def test_presets_are_compared_as_in_effects(
    swept: str, baseline: str, sweep: Sweeps, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def launch(runs: Sequence[Planned], _: Path) -> list[Any]:
        for planned in runs:
            spec = resolve(planned.config, labels=sweep.compose(planned.overrides).presets)
            command = f"python train.py {' '.join(planned.overrides)}"
            device = {"device": "cpu", "device_type": "cpu", "threads": 1}
            described = describe(spec, command=command, device=device, parameters=1, trained=1)
            accuracy = 0.5 + DIFFERENCES[planned.config.seed] * (f"{group}={baseline}" not in planned.overrides)
            record_end(
                planned.record, spec.code, {"best_val_acc": 0.5, "best_epoch": 1, "test_acc": accuracy}, described
            )
        return []

    monkeypatch.setattr(sweep, "launch", launch)
    group, _, values = swept.partition("=")
    other = values.partition(",")[0]
    sweep.fixed = [text for text in sweep.fixed if not text.startswith("model") or group != "model"]
    sweep(swept, "sweep.precision=0.05")
    (mean,) = (one.mean for one in effects(gather(sweep.folder / "runs")[0]).comparisons if one.metric == "test_acc")
    assert mean == pytest.approx(0.082)
    assert f"{group}={other} vs. {group}={baseline}: +0.0820 ±" in caplog.text


@pytest.mark.parametrize(
    ("swept", "design"),
    [
        (("model=mlp,softmax", "norm=none,batch", "activation=tanh,selu"), "product"),
        (("model=softmax,mlp", "norm=none,batch"), "leave_one_out"),
    ],
)
def test_a_model_without_a_swept_slot_is_compared_as_in_effects(
    swept: tuple[str, ...], design: str, sweep: Sweeps
) -> None:
    ran: list[dict[str, Any]] = []

    def accuracy(planned: Planned) -> float:
        config, acc = planned.config, noisy(planned)
        has_slots = config.model.name != "softmax"
        acc = acc if has_slots else 0.3 + config.seed / 100
        slots = {"norm": config.norm.name, "activation": config.activation.name}
        settings = {key: value if has_slots else None for key, value in slots.items()}
        ran.append({"model": config.model.name, **settings, "seed": config.seed, "test_acc": acc, "test_images": 30})
        return acc

    sweep.accuracy = accuracy
    sweep.fixed.remove("model.hidden=[4]")
    sweep(*swept, PRECISE[1], "sweep.max_seeds=4", f"sweep.design={design}")
    overrides = [sweep.compose.parse(text) for text in [*sweep.fixed, *swept, "seed=range(0,4)"]]
    plan = Planner(sweep.compose).plan(expand(overrides, design=design))
    estimated = {
        effect.name: ([round(difference, 10) for difference in effect.differences], round(effect.half_width, 10))
        for effect in effects_of(plan, factors_of(axes_of(overrides), ""), design)
    }
    compared = {
        f"{one.changes[0].name} vs. {one.changes[0].axis}={one.changes[0].baseline}": (
            [*one.means],
            round(half_width(one.spread or 0.0, one.seeds), 10),
        )
        for one in effects(table(*ran)).comparisons
        if one.metric == "test_acc"
    }
    assert estimated == compared


def test_an_effect_in_which_a_run_diverged_has_no_interval(sweep: Sweeps, caplog: pytest.LogCaptureFixture) -> None:
    def fragile(planned: Planned) -> float | None:
        return None if planned.config.activation.name == "tanh" and planned.config.seed == 1 else noisy(planned)

    sweep.accuracy = fragile
    with pytest.raises(UserError, match="1 of 15 runs did not finish"):
        sweep(*PRECISE, "activation=relu,tanh", "sweep.design=one_at_a_time")
    assert "activation=tanh vs. activation=relu: no interval (finished in 4 seeds, diverged in 1)" in caplog.text
    assert "norm=batch vs. norm=none: +0.0820 ± 0.0500, helps" in caplog.text


def test_equal_differences_are_as_precise_as_the_number_of_test_images(
    sweep: Sweeps, caplog: pytest.LogCaptureFixture
) -> None:
    sweep("norm=none,batch", "sweep.precision=0.02", "sweep.max_seeds=4")
    assert "+0.0000 ± 0.0265, not significant; precision not reached" in caplog.text  # 3.896 / 30 / sqrt(6) / 2


def test_seeds_of_the_command_are_used_first(sweep: Sweeps) -> None:
    sweep.accuracy = lambda planned: 0.5 + (planned.config.seed % 5) * (planned.config.norm.name == "batch") / 10
    sweep(*PRECISE, "seed=7,2", "sweep.max_seeds=5", "sweep.order=seeds")
    seeds = [run.rpartition("=")[2] for run in sweep.launches[0] + sweep.launches[1]]
    assert list(dict.fromkeys(seeds)) == ["7", "2", "0", "1", "3"]


@pytest.mark.parametrize(
    ("overrides", "seed", "expected"),
    [
        ([], 0, [0, 1, 2, 3, 4]),
        ([], 3, [3, 0, 1, 2, 4]),
        (["seed=2"], 0, [2, 0, 1, 3, 4]),
        (["seed=9,9,1"], 0, [9, 1, 0, 2, 3]),
        (["seed=range(0,3)"], 0, [0, 1, 2, 3, 4]),
        (["seed=1,2", "seed=5"], 0, [5, 0, 1, 2, 3]),
    ],
)
def test_the_sequence_of_seeds(overrides: list[str], seed: int, expected: list[int], sweep: Sweeps) -> None:
    assert seed_sequence(sweep.compose.parser.parse_overrides(overrides), seed, 5) == expected


def test_all_runs_of_a_seed_start_before_those_of_the_next(sweep: Sweeps) -> None:
    command = ("model.hidden=[4],[40]", "norm=none,batch", "seed=1,0")
    sweep(*command, "sweep.order=seeds", "sweep.dry_run=false")
    assert [run.rpartition(" ")[2] for run in sweep.launches[0]] == ["seed=1"] * 4 + ["seed=0"] * 4


def test_the_plan_describes_what_a_design_estimates(sweep: Sweeps, caplog: pytest.LogCaptureFixture) -> None:
    axes = ("norm=none,batch", "activation=relu,tanh", "loss.label_smoothing=0,0.1", "seed=0,1")
    sweep(*axes, "sweep.design=one_at_a_time", "sweep.dry_run=true")
    assert "8 combinations: 8 to run" in caplog.text
    assert "sweep.design=one_at_a_time: 4 of 8 combinations per seed; each effect is that of one change" in caplog.text
    assert not (sweep.folder / "sweeps").exists()


def test_what_is_part_of_a_sweeps_derived_name(sweep: Sweeps) -> None:
    parse = sweep.compose.parser.parse_overrides
    names = [
        derived_name(parse(["a=1,2", *rest]))
        for rest in ([], ["++sweep.design=screen"], ["sweep.design=screen"], ["output_dir=x"])
    ]
    assert len({*names}) == 4
    for unrelated in ("sweep.dry_run=true", "verbose=true", "extend=[x.py]", "checkpoint_minutes=1", "threads=2"):
        assert derived_name(parse(["a=1,2", unrelated])) == names[0]
    assert derived_name(parse(["a=1,2", "threads=1,2"])) != derived_name(parse(["a=1,2", "threads=1,4"]))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["sweep.design=screen", "norm=none,batch", "seed=0,1", "sweep.exclude=[{norm:batch,seed:1}]"],
         "sweep.exclude: sweep.design=screen needs every combination: "),
        (["sweep.design=one_at_a_time", "norm=none,batch", "seed=0,1", "sweep.exclude=[{norm:none,seed:1}]"],
         "sweep.exclude: sweep.design=one_at_a_time needs the combination that the others are compared with: "),
        (["sweep.design=leave_one_out", "norm=none,batch", "threads=1,2"],
         "sweep.design=leave_one_out: threads=1 and threads=2 are the same run, mlp-relu-batch-"),
        (["sweep.design=screen", "model=softmax", "model.hidden=null", *(f"{key}=1,2" for key in OTHERS),
          "norm=none,batch"],
         "sweep.design=screen: norm=none has no effect with model=softmax, which has no such slot"),
        (["sweep.design=screen", "norm=none,batch,layer"], "each swept key needs two values, off and on; norm has 3"),
        (["sweep.design=screens", "norm=none,batch"], "sweep.design=screens is invalid: must be one of "),
        (["sweep.order=screens", "norm=none,batch"], "sweep.order=screens is invalid: must be one of longest, seeds"),
        (["sweep.design=screen,product", "norm=none,batch"], "a setting of the sweep itself cannot be swept"),
        (["sweep.max_seeds=8", "norm=none,batch"], "sweep.max_seeds=8 has no effect without sweep.precision"),
        (["sweep.precision=0.1", "sweep.max_seeds=3"], "sweep.max_seeds=3 is out of range: must be at least 4"),
        (["sweep.precision=0"], "sweep.precision=0.0 is out of range: must be above 0"),
        (["sweep.precision=0.1", "seed=0,1"], "sweep.precision=0.1: nothing is swept but seed and data"),
        (["sweep.design=screen", "norm=none,batch", "seed=0,0,1"], "sweep.design=screen: seed=0 is given twice"),
        (["sweep.design=one_at_a_time", "norm=none,batch,batch"], "sweep.design=one_at_a_time: norm=batch is given"),
        (["norm=none,batch", "sweep.exclude=[{sweep:1}]"], "sweep.exclude: sweep is neither a group nor a setting"),
        ([*PRECISE, "seed=0,a"], "seed=a: must be an integer from 0"),
        ([*PRECISE, "seed=range(0,21)"], "seed has 21 values, more than sweep.max_seeds=20"),
        ([*PRECISE, "sweep.exclude=[{seed:1}]"], "sweep.exclude and sweep.zip must not name seed"),
        ([*PRECISE, "seed=0,1", "sweep.zip=[[norm,seed]]"], "sweep.exclude and sweep.zip must not name seed"),
    ],
)  # fmt: skip
def test_a_sweep_that_cannot_be_answered_is_refused(overrides: list[str], sentence: str, sweep: Sweeps) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        sweep(*overrides)
    assert sweep.launches == []
    assert not (sweep.folder / "sweeps").exists()


def test_exclusions_keep_the_remaining_pairs(sweep: Sweeps, caplog: pytest.LogCaptureFixture) -> None:
    sweep.accuracy = noisy
    sweep(*PRECISE, "activation=relu,tanh", "sweep.exclude=[{norm:batch,activation:tanh}]")
    assert "norm=batch vs. norm=none: +0.0820 ± 0.0500, helps" in caplog.text
    assert [len(runs) for runs in sweep.launches] == [12, 3]
