"""Effects as tables, CSV and JSON, and the command that prints them."""

import csv
import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from paired import changes, found, runs, table
from processes import REPOSITORY, environment, sweeper
from records import finish
from rich.console import Console
from typer.testing import CliRunner

from sweeper.__main__ import app
from sweeper.errors import UserError
from sweeper.files import write_json
from sweeper.summary.effect_measures import METRICS
from sweeper.summary.effect_options import EffectOptions
from sweeper.summary.effects import Effects, effects
from sweeper.summary.effects_caption import caption
from sweeper.summary.effects_rows import as_json, to_csv, to_frame
from sweeper.summary.effects_text import FORMATS, as_table, print_effects, show_effects
from sweeper.summary.output import write_output
from sweeper.summary.planning import detectable
from sweeper.sweep.designs import screening


def many() -> pd.DataFrame:
    """Two models, three activations, two learning rates, three seeds, all measures."""
    generator = np.random.default_rng(3)
    return table(
        *(
            {
                "model": model,
                "activation": activation,
                "optimizer": "sgd",
                "optimizer__lr": lr,
                "seed": seed,
                "test_acc": generator.random(),
                "val_curve": " ".join(map(repr, generator.random(4).tolist())),
                "epochs_to_target": (3, 4, ">9")[generator.integers(3)],
            }
            for model in ("mlp", "cnn")
            for activation in ("relu", "selu", "tanh")
            for lr in (0.1, 0.01)
            for seed in range(3)
        )
    )


def test_nothing_depends_on_the_order_of_rows_or_columns() -> None:
    frame = many()
    first = effects(frame)
    for seed in range(2):
        shuffled = frame.sample(frac=1, random_state=seed)
        columns = list(np.random.default_rng(seed).permutation(frame.columns.to_numpy()))
        again = effects(shuffled[columns])
        assert again == first and as_table(again) == as_table(first) and as_json(again) == as_json(first)
    # 4 comparisons and 5 interactions (activation x model, x lr: 2 each; model x lr: 1) by four measures.
    assert len(first.comparisons) == 16 and len(first.interactions) == 20


HOSTILE = ["[red]x[/red]", "[/b]", "=cmd()", "two\nlines", "\x1b[31mred", "a|b"]


def test_names_are_shown_as_they_are() -> None:
    accs: dict[Any, list[float]] = {name: [index, index + 1.5] for index, name in enumerate(HOSTILE)}
    result = found(table(*runs("activation", accs | {"=base[b]": [0, 0]})), {"activation": "=base[b]"})
    text = as_table(result)
    for name in HOSTILE:
        shown = "".join(char if char.isprintable() else " " for char in name)
        assert sum(f"│ activation={shown} " in line for line in text.splitlines()) == 1
    assert "\x1b" not in text and "Baseline: activation==base[b]" in text
    rows = list(csv.DictReader(io.StringIO(to_csv(result))))
    assert [row["value"] for row in rows] == sorted(f"'{name}" if name[0] == "=" else name for name in HOSTILE)
    assert {row["baseline"] for row in rows} == {"'=base[b]"}
    assert {row["value"] for row in json.loads(as_json(result))["comparisons"]} == set(HOSTILE)


def test_half_a_surrogate_pair_can_be_written(tmp_path: Path) -> None:
    result = found(table(*runs("activation", {"relu": [1, 2], "half \ud800": [2, 4]})))
    for form in FORMATS.values():
        write_output(tmp_path / "new" / "file", form(result))
        assert "half" in (tmp_path / "new" / "file").read_text(encoding="utf-8")


def test_a_hostile_axis_is_an_axis_like_any_other() -> None:
    result = found(table(*runs("=[b]axis\n", {1: [1, 2], 2: [2, 4]})))
    assert changes(result.comparisons) == {"=[b]axis\n=2<1": (1.5, 2)}
    assert "=[b]axis =2" in as_table(result) and "'=[b]axis" in to_csv(result)


def crossed() -> Effects:
    cells = {
        ("cnn", "relu"): [1, 2, 3],
        ("cnn", "selu"): [2, 2, 4],
        ("mlp", "relu"): [5, 5, 5],
        ("mlp", "selu"): [9, 8, 8],
    }
    rows = [run for (model, name), accs in cells.items() for run in runs("activation", {name: accs}, model=model)]
    return found(table(*rows), {"model": "cnn"})


def test_rows_have_all_columns() -> None:
    rows = to_frame(crossed())
    first, last = rows.iloc[0], rows.iloc[-1]
    assert list(first[["measure", "axis", "value", "baseline", "data"]]) == [
        *("test_acc", "activation", "selu", "relu", "digits")
    ]
    assert list(last[["with_axis", "with_value", "with_baseline"]]) == ["model", "mlp", "cnn"]
    assert list(rows["exploratory"]) == [*[False] * (len(rows) - 1), True]
    assert list(first[["pairs", "seeds", "higher", "lower", "tied", "models", "models_up"]]) == [6, 3, 5, 0, 1, 2, 2]
    assert first["low_family"] < first["low"] < first["mean"] < first["high"] < first["high_family"]
    assert first["p"] <= first["p_holm"]
    parts = rows[rows["model"].notna()]
    assert list(parts["model"]) == ["cnn", "mlp"] and list(parts["mean"]) == pytest.approx([2 / 3, 10 / 3])
    assert parts["p"].isna().all()
    assert to_frame(found(table())).columns.tolist() == rows.columns.tolist()
    content = json.loads(as_json(crossed()))["comparisons"][0]
    assert [part["model"] for part in content["by_model"]] == ["cnn", "mlp"]
    assert {*content} == {*rows.columns} - {"model"} | {"by_model"}


def test_a_table_has_a_line_for_each_model() -> None:
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in as_table(crossed()).splitlines()]
    (main,) = [line for line in lines if line[:1] == ["activation=selu"] and len(line) == 8]
    (other,) = [line for line in lines if line[:1] == ["model=mlp"]]
    assert main[:5] == ["activation=selu", "relu", "2 of 2 up", "3", "+2.0000"] and other[2] == "-"
    assert [line[:5] for line in lines if line[:1] in (["cnn"], ["mlp"])] == [
        ["cnn", "", "", "", "+0.6667"],
        ["mlp", "", "", "", "+3.3333"],
    ]
    one = crossed().comparisons[0]
    assert main[5] == "[{:+.4f}, {:+.4f}]".format(*one.family or ())


def test_a_narrow_terminal_keeps_the_numbers() -> None:
    file = io.StringIO()
    print_effects(effects(many()), Console(file=file, width=100, force_terminal=True, color_system=None))
    assert max(map(len, file.getvalue().splitlines())) <= 100 and "…" not in file.getvalue()
    for one in effects(many()).comparisons:
        digits = 4 if one.metric in ("test_acc", "mean_val_acc") else 2
        assert f" {one.mean:+.{digits}f} " in file.getvalue()


def test_a_narrow_terminal_shows_no_interval_of_a_single_seed() -> None:
    pair = found(table(*runs("activation", {"relu": [0.5], "selu": [0.52]})))
    file = io.StringIO()
    print_effects(pair, Console(file=file, width=50, force_terminal=True, color_system=None))
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    assert lines[lines.index("activation=selu vs. relu") + 1] == "  +0.0200  1 seed"


def test_captions_give_no_number_of_seeds_that_depends_on_the_effect() -> None:
    noise = (-0.004, 0.004, 0.001, -0.001)
    captions = []
    for gain in (0.001, 0.004):
        accs = {"relu": [0.5] * 4, "selu": [0.5 + gain + error for error in noise]}
        text = as_table(found(table(*runs("activation", accs, test_images=10_000))))
        captions.append(text.partition("Baseline: ")[2])
        assert "not significant" in text and "more seeds" not in text
    assert captions[0] == captions[1]
    # sd 0.003367; detectable with 4 seeds: 2.13 sd; half-width 3.182 sd / sqrt 4 = 0.0054, 2.776 sd / sqrt 5 = 0.0042.
    assert "with 4 seeds a true difference of about 0.0072 (activation) is significant with 80% power" in captions[0]
    needed = "±0.005 (95%, each) needs about 5 (activation) seeds in total: sweep.precision=0.005 adds them"
    assert needed in captions[0]
    assert "for these 10,000 test images" in captions[0] and "use --anytime" in captions[0]


def test_the_caption_explains_choices_where_one_has_settings_of_its_own() -> None:
    accs = {"adam": [0.5, 0.6], "sgd": [0.55, 0.64]}
    line = "A choice of optimizer includes its own settings, such as an optimizer's lr, as its runs have them"
    assert line in caption(found(table(*runs("optimizer", accs))))
    for axis, values in {
        "norm": ("none", "batch"),
        "batch_size": ("64", "128"),
        "augmentation": ("none", "flip"),
    }.items():
        accs = {values[0]: [0.5, 0.6], values[1]: [0.55, 0.64]}
        assert "A choice of" not in as_table(found(table(*runs(axis, accs))))


def factorial(generator: np.random.Generator, changes: Sequence[str], rows: np.ndarray) -> pd.DataFrame:
    """Return four seeds of on/off changes without effects."""
    return table(
        *(
            {name: "on" if sign > 0 else "off" for name, sign in zip(changes, row, strict=True)}
            | {"seed": seed, "test_acc": 0.5 + generator.normal(0, 0.008)}
            for seed in range(4)
            for row in rows
        )
    )


@pytest.mark.parametrize("number", [3, 6])
def test_the_plan_of_a_balanced_design_pools_the_spread_of_all_changes(number: int) -> None:
    names = ["norm", "loss", "mixing", "averaging", "views", "init"][:number]
    frame = factorial(np.random.default_rng(2), names, screening(number))
    result = found(frame, dict.fromkeys(names, "off"))
    main = [one for one in result.comparisons if one.metric == "test_acc"]
    pooled = math.sqrt(sum((one.spread or 0) ** 2 for one in main) / number)
    (line,) = [line for line in caption(result) if line.startswith("test_acc: with 4 seeds")]
    difference = detectable(4, 0.05 / number) * pooled
    assert f"any true difference of about {difference:.4f} is significant" in line
    if number == 3:  # without one of the combinations, pairs differ in number
        unbalanced = frame[[index % 8 > 0 for index in range(len(frame))]]
        (line,) = [line for line in caption(found(unbalanced, {})) if line.startswith("test_acc: with ")]
        assert "(norm)" in line and "any true" not in line


def test_captions_of_anytime_intervals_promise_no_power() -> None:
    accs = {"relu": [0.5] * 4, "selu": [0.51, 0.52, 0.515, 0.513]}
    text = as_table(found(table(*runs("activation", accs)), is_anytime=True))
    assert "however often you add seeds" in text and "power" not in text and "--anytime" not in text


def test_exploratory_tables_are_marked() -> None:
    text = as_table(effects(many())).partition("\n\n")[2]
    titles = [line for line in text.splitlines() if line and line[0].isalpha()][:12]
    tables = [line for line in titles if not line.startswith("Baseline")]
    assert tables[0] == "test_acc" and all(line.endswith(" (exploratory)") for line in tables[1:8])
    assert len(tables[:8]) == 8


# The command.


def make(output_dir: Path, run_id: str, test_acc: float, **settings: Any) -> None:
    finish(output_dir, run_id, [0.5], test_acc, **settings)


def command(output_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return sweeper("effects", "--output-dir", str(output_dir), *arguments)


def test_the_command_prints_and_writes_without_torch(tmp_path: Path) -> None:
    for seed, (relu, selu) in enumerate([(0.5, 0.6), (0.4, 0.6)]):
        make(tmp_path, f"relu-{seed}", relu, activation={"name": "relu"}, seed=seed)
        make(tmp_path, f"selu-{seed}", selu, activation={"name": "selu"}, seed=seed)
    (tmp_path / "runs/foreign").mkdir()
    line = [sys.executable, "-X", "importtime", "-m", "sweeper", "effects", "--output-dir", str(tmp_path)]
    done = subprocess.run(line, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert done.returncode == 0 and "scipy" in imported and not imported & {"torch", "torchvision", "hydra"}
    assert "activation=selu │ relu " in done.stdout and "+0.1500" in done.stdout  # (0.1 + 0.2) / 2
    assert "4 finished runs; 1 left out: 1 unreadable" in done.stdout

    file = tmp_path / "effects.json"
    done = command(tmp_path, "--baseline", "activation=selu", "--format", "json", "--output", str(file))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    content = json.loads(file.read_text())
    assert content["baseline"] == {"activation": "selu"} and content["left_out"] == {"unreadable": 1}
    assert content["comparisons"][0]["mean"] == pytest.approx(-0.15)


def test_a_user_error_is_an_error_and_nothing_to_compare_is_not(tmp_path: Path) -> None:
    done = command(tmp_path, "--format", "csv")
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith(
        f"error: there are no runs in {tmp_path}"
    )
    make(tmp_path, "relu", 0.5, activation={"name": "relu"})
    done = command(tmp_path, "--format", "csv")
    assert done.returncode == 0 and done.stdout.startswith('"measure"') and len(done.stdout.splitlines()) == 1
    assert re.fullmatch(r"nothing to compare: one run is finished.*python train.py .*\n", done.stderr)
    make(tmp_path, "selu", 0.5, activation={"name": "selu"})
    done = command(tmp_path, "--baseline", "activation")
    assert done.stderr == "error: --baseline activation: must be AXIS=VALUE, such as norm=none\n"
    done = command(tmp_path, "--baseline", "activation=tanh")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: --baseline activation=tanh: no finished run has it; values: relu, selu\n"


def test_the_command_selects_tunes_and_looks_at_any_time(tmp_path: Path) -> None:
    for seed in range(4):
        for name, lr, acc in (("relu", 0.1, 0.5), ("relu", 0.01, 0.6), ("selu", 0.1, 0.7), ("selu", 0.01, 0.3)):
            for data in ("digits", "other"):
                settings = {"activation": {"name": name}, "optimizer": {"name": "sgd", "lr": lr}, "seed": seed}
                settings |= {"data": {"name": data, "fingerprint": data}}
                finish(tmp_path, f"{name}-{lr}-{data}-{seed}", [acc + seed / 1000], acc + seed**2 / 1000, **settings)
    line = ["effects", "--output-dir", str(tmp_path), "--format", "json", "--where", "data=digits"]
    done = CliRunner().invoke(app, [*line, "--tune", "optimizer.lr", "--anytime"])
    assert done.exit_code == 0
    row = json.loads(done.stdout)["comparisons"][0]
    assert (row["axis"], row["data"], row["pairs"], row["anytime"]) == ("activation", "digits", 4, True)
    assert row["mean"] == pytest.approx(0.1)
    rows = json.loads(CliRunner().invoke(app, line).stdout)["comparisons"]
    assert {row["axis"] for row in rows} == {"activation", "optimizer.lr"} and not any(row["anytime"] for row in rows)
    with pytest.raises(UserError, match="--where data=mnist: no such run; values of data: digits, other"):
        show_effects(tmp_path, None, EffectOptions(), where=["data=mnist"])


def test_wrong_formats_files_and_sweeps_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--format md: unknown format; choose from csv, json, table"):
        show_effects(tmp_path, None, EffectOptions(), format="md")
    make(tmp_path, "relu", 0.5, activation={"name": "relu"})
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(UserError, match=f"{path} is not a regular file"):
            show_effects(tmp_path, None, EffectOptions(), output=path)
    assert Path("/dev/null").is_char_device()
    for name in ("relu", "selu", "tanh"):
        make(tmp_path, name, 0.5, activation={"name": name})
    with pytest.raises(UserError, match=r"^--baseline activation=: no finished run has it; values: relu, selu$"):
        show_effects(tmp_path, {"relu", "selu"}, EffectOptions(["activation="]))


def test_a_sweep_with_a_precision_is_named_where_its_runs_are_read_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        for name, acc in (("relu", 0.5), ("selu", 0.6)):
            finish(tmp_path, f"{name}{seed}", [acc], activation={"name": name}, seed=seed)
    precision: float | None
    for name, precision in (("exact", 0.01), ("fixed", None)):
        (tmp_path / "sweeps" / name).mkdir(parents=True)
        write_json(tmp_path / "sweeps" / name / "sweep.json", {"precision": precision})
    show_effects(tmp_path, None, EffectOptions())
    text = capsys.readouterr().out
    assert "The seeds of sweep exact were chosen by sweep.precision" in text and "sweep fixed" not in text
    show_effects(tmp_path, {"relu0", "selu0"}, EffectOptions())
    assert "sweep exact" not in capsys.readouterr().out


def test_no_difference_is_a_negative_zero() -> None:
    for metric in METRICS.values():
        assert metric.digits.format(-1e-9) == metric.digits.format(0.0)
