"""Files with choices: their part in the code of a run, in other processes and for readers."""

from pathlib import Path
from typing import Any

import pytest
from extended import TRICKS, undone

from sweeper import ranges
from sweeper.data.cache import prepare
from sweeper.errors import UserError
from sweeper.groups import DataConfig
from sweeper.launch.snapshot import copies, snapshot
from sweeper.runs.directory import RunDirectory
from sweeper.runs.extensions import LOADED, load, load_recorded, loaded_files, loaded_texts, registry_of
from sweeper.runs.fingerprint import EXTENDABLE, changed_definitions, changes_since, code_of

pytestmark = pytest.mark.usefixtures("nothing_stays")

EDITS = {
    "another choice": ("return nn.ReLU()", "return nn.ReLU6()", []),
    "the choice": ("return Act(slope)", "return Act(2 * slope)", ["my_tricks.my_act"]),
    "what it uses": ("SCALE = 1.0", "SCALE = 1.5", ["my_tricks.SCALE"]),
    "a class": ("self.slope = slope", "self.slope = -slope", ["my_tricks.Act"]),
    "a docstring": ('"""Leaky."""', '"""Leaky ReLU."""', []),
    "a new choice": ("ACTIVATIONS = {", 'ACTIVATIONS = {"third": other, ', []),
    "the registry's annotation": ("ACTIVATIONS = {", "ACTIVATIONS: dict = {", []),
    "a statement": ("torch.set_num_threads(1)", "torch.set_num_threads(2)", ["my_tricks.(top level)"]),
    "defined twice": (
        "def other(",
        "def my_act():\n    pass\n\n\ndef other(",
        ["my_tricks.(top level)", "my_tricks.my_act"],
    ),
    "what it does by itself": ('print("tried")', 'print("done")', []),
    "an attribute": ("\nMODELS", "\nmy_act.mark = 1\nMODELS", ["my_tricks.(top level)"]),
    "another name": ('{"my_act": my_act', '{"my_act": other', ["my_tricks.Act", "my_tricks.my_act", "my_tricks.other"]),
    "removed": (
        '"my_act": my_act, ',
        "",
        ["my_tricks.(top level)", "my_tricks.Act", "my_tricks.SCALE", "my_tricks.my_act"],
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_and_a_move_change_the_code_of_the_runs_that_use_it(edit: str) -> None:
    old, new, expected = EDITS[edit]
    assert TRICKS.count(old) == 1
    for folder, text in (("here", TRICKS), ("there", TRICKS.replace(old, new))):
        Path(folder).mkdir()
        Path(folder, "my_tricks.py").write_text(text)
    run = {"activation": {"name": "my_act"}, "model": {"name": "mlp"}}
    before, after = (code_of(run, (str(Path(folder, "my_tricks.py").absolute()),)) for folder in ("here", "there"))
    assert before["activation"] and before["model"] == code_of(run)["model"]
    assert changed_definitions(before, after) == expected


def test_names_are_followed_from_file_to_file_and_into_the_package() -> None:
    Path("layers_of_mine.py").write_text("def double(x):\n    return 2 * x\n\n\ndef half(x):\n    return x / 2\n")
    Path("act.py").write_text(
        "import layers_of_mine as mine\nfrom layers_of_mine import half as divided\nfrom sweeper.models import layers\n"
        "def one():\n    return mine.double(layers.relu())\ndef two():\n    return divided(1)\n"
        "ACTIVATIONS = {'one': one, 'two': two}\n"
    )
    files = tuple(str(Path(name).absolute()) for name in ("layers_of_mine.py", "act.py"))
    one, two = (set(code_of({"activation": {"name": name}}, files)["activation"]) for name in ("one", "two"))
    assert one == {"act.one", "layers_of_mine.double", "models/layers.relu"} and two == {
        "act.two",
        "layers_of_mine.half",
    }
    load(files)
    assert "layers_of_mine" in LOADED["act"].imported


LOCAL = """from torch import nn

beta = 0.5


class Act(nn.Module):
    beta = beta


def scale():
    return Act()


def act_a(*, gain: float = 1.0):
    from my_layers import scale
    return scale(gain)


def act_b(*, gain: float = 1.0):
    from other_layers import scale as scaled, shift
    from sweeper.models import layers
    return lambda: [scaled(gain), layers.relu()]


def act_c(*, gain: float = 1.0):
    import my_layers as mine
    from my_layers import shift
    return mine.twice(shift)


def act_d():
    return Act()


ACTIVATIONS = {"a": act_a, "b": act_b, "c": act_c, "d": act_d}
"""


@pytest.mark.parametrize(
    "name, expected",
    [
        ("a", {"act.act_a", "my_layers.scale"}),
        ("b", {"act.act_b", "other_layers.scale", "other_layers.shift", "models/layers.relu"}),
        ("c", {"act.act_c", "my_layers.shift", "my_layers.twice"}),
        ("d", {"act.act_d", "act.Act", "act.beta"}),
    ],
)
def test_names_that_a_function_imports_or_a_class_rebinds_are_followed(name: str, expected: set[str]) -> None:
    layers = "".join(f"def {it}(x):\n    return x\n" for it in ("scale", "shift", "twice"))
    for file, text in (("my_layers", layers), ("other_layers", layers), ("act", LOCAL)):
        Path(f"{file}.py").write_text(text)
    files = tuple(str(Path(f"{file}.py").absolute()) for file in ("my_layers", "other_layers", "act"))
    found = set(code_of({"activation": {"name": name}}, files)["activation"])
    assert found >= expected
    assert {it for it in found if "layers." in it} == {it for it in expected if "layers." in it}


@pytest.mark.usefixtures("tricks")
def test_another_process_loads_the_text_that_was_planned_with(tmp_path: Path) -> None:
    texts, code = loaded_texts(), code_of({"activation": {"name": "my_act"}}, loaded_files())
    copy = snapshot({"main": tmp_path}, tmp_path / "slurm", texts)
    assert (copy / "extend" / "my_tricks.py").read_text() == TRICKS
    (copied,) = copies(texts, copy)
    Path("my_tricks.py").write_text(TRICKS.replace("SCALE = 1.0", "SCALE = 3.0"))
    for given in (texts, [copied]):
        with undone():
            LOADED.clear()
            ranges.GROWN.clear()
            for path in EXTENDABLE.values():
                for choice in ("my_act", "other", "my_net", "tint"):
                    registry_of(path).pop(choice, None)
            load((), given)
            load(["my_tricks.py"])  # as train.py does: already loaded
            assert (
                code_of({"activation": {"name": "my_act"}}, (LOADED["my_tricks"].file,))["activation"]
                == code["activation"]
            )


def test_a_reader_compares_a_file_that_is_there_and_leaves_out_one_that_is_gone() -> None:
    texts = {"same": TRICKS, "edited": TRICKS.replace("SCALE = 1.0", "SCALE = 3.0")}
    files = {folder: str(Path(folder, "my_tricks.py").absolute()) for folder in (*texts, "gone")}
    for folder, text in texts.items():
        Path(folder).mkdir()
        Path(files[folder]).write_text(text)
    run = {"activation": {"name": "my_act"}, "model": {"name": "mlp"}, "optimizer": {"name": "adam"}}
    recorded: dict[str, Any] = {
        "effective": run,
        "code": code_of(run, (files["same"],)),
        "config": {"extend": [files["same"]]},
    }
    assert changes_since(recorded) == []
    assert changes_since(recorded | {"config": {"extend": [files["edited"]]}}) == ["my_tricks.SCALE"]
    gone = recorded | {"config": {"extend": [files["gone"]]}}
    assert changes_since(gone) == []
    assert changes_since(gone | {"code": recorded["code"] | {"optimizer": {"training/optimizers.adam": "0"}}}) != []


def test_a_recorded_run_loads_its_files_or_says_which_is_missing(tmp_path: Path) -> None:
    record = RunDirectory(tmp_path / "runs" / "a-run")
    record.create({"config": {"extend": ["w/my_tricks.py"]}}, {})
    with pytest.raises(
        UserError, match=r"a-run uses w/my_tricks\.py, and there is no file .*; put it back, or give extend="
    ):
        load_recorded(record)
    Path("my_tricks.py").write_text(TRICKS)
    load(["my_tricks.py"])  # as of extend=FILE
    assert load_recorded(record) == (str(tmp_path / "my_tricks.py"),)


def test_the_images_of_a_dataset_are_decoded_again_where_its_code_changed(tmp_path: Path) -> None:
    source = (
        "import numpy as np\nfrom sweeper.data.source import Source\nVALUE = {}\n"
        "def mine(*, image_size: int = 4):\n"
        "    def decode(allocate):\n"
        "        for split in ('train', 'test'):\n"
        "            allocate(f'{{split}}_images', (4, 3, image_size, image_size), 'uint8')[:] = VALUE\n"
        "            allocate(f'{{split}}_labels', (4,), 'int64')[:] = [0, 1, 0, 1]\n"
        "        return ['a', 'b']\n"
        "    return {}\nDATASETS = {{'mine': mine}}\n"
    )
    prints = []
    for value, returned in ((1, "Source('fixed', decode)"), (2, "Source('fixed', decode)"), (3, "3")):
        with undone():
            Path(f"v{value}").mkdir()
            Path(f"v{value}/stripes.py").write_text(source.format(value, returned))
            load([f"v{value}/stripes.py"])
            data = DataConfig("mine", cache=str(tmp_path), image_size=4)
            if value < 3:
                prints.append(prepare(data).fingerprint)
                continue
            with pytest.raises(UserError, match=r"extend=v3/stripes\.py, line 4: mine must return a Source"):
                prepare(data)
    assert prints[0] != prints[1]
