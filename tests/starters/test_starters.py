"""Starting files: each works at once, and its test passes."""

import importlib.util
import inspect
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from extended import undone
from support import composed
from typer.testing import CliRunner

from sweeper.__main__ import app
from sweeper.cli import load_extensions
from sweeper.data.cache import load, prepare
from sweeper.errors import UserError
from sweeper.runs.early import check_before_decoding
from sweeper.runs.extensions import LOADED
from sweeper.runs.fingerprint import EXTENDABLE
from sweeper.runs.spec import resolve
from sweeper.starters import STARTERS, write_starter
from sweeper.training.build import build, check
from sweeper.training.device import set_up_process
from sweeper.training.loop import fit
from sweeper.typed import rewrite

# What a starting file needs in a small run, beside a multilayer perceptron.
NEEDED = {"courses": ["norm=batch"], "dropout": [], "model": []}


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with undone():
        yield


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_prints_the_files_and_what_to_do_next(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["new", "loss", "mine", "--folder", "w"])
    assert done.output == "w/mine.py\nw/test_mine.py\nnext: python train.py extend=w/mine.py loss=mine data=digits\n"
    assert (tmp_path / "w" / "mine.py").read_text().startswith('"""mine: a training loss.\n')


@pytest.mark.parametrize("group", STARTERS)
def test_the_printed_command_is_accepted_as_it_is(group: str) -> None:
    done = CliRunner().invoke(app, ["new", group, f"own_{group}", "--folder", "my, tricks"])
    python, file, *arguments = shlex.split(done.output.splitlines()[-1].removeprefix("next: "))
    assert (python, file) == ("python", "train.py")
    load_extensions(arguments)
    config = composed(*rewrite(arguments))
    assert config.extend == [f"my, tricks/own_{group}.py"]
    check_before_decoding(config)


def test_there_is_a_starting_file_for_every_registry() -> None:
    assert len(STARTERS) == len(EXTENDABLE) and all(path.is_file() for path in STARTERS.values())


@pytest.mark.parametrize("group", STARTERS)
def test_a_starting_file_trains_and_its_test_passes(group: str, tmp_path: Path, small: list[str]) -> None:
    name = f"own_{group}"
    file, test = write_starter(group, name, tmp_path)
    assert (file.name, test.name) == (f"{name}.py", f"test_{name}.py")
    assert not {f"my_{group}"} & {*file.read_text().split()}
    load_extensions([f"extend={file.name}"])
    images = [f"data.cache={tmp_path}", "threads=1"] if group == "data" else small
    model = [] if group == "model" else ["model=mlp", "model.hidden=[8]"]
    others = NEEDED.get(group, [])
    config = composed(*images, *model, *others, f"extend=[{file.name}]", f"{group}={name}", "epochs=1")
    spec = resolve(config)
    assert f"{name}.{name}" in {definition for code in spec.code.values() for definition in code} or group == "data"
    assert spec.config.extend == [file.name]
    check(spec.config, spec.choices, spec.cached)
    components = build(spec.config, spec.choices, load(prepare(spec.config.data)), set_up_process("cpu", 1))
    fit(components.state, components.recipe, components.train_loader, components.val_loader, epochs=1)
    assert 0 < components.state.loop.history[0]["train_loss"] < 100
    images_of_test, _ = next(components.test_loader())
    shapes = {view.shape for view in spec.choices.views(images_of_test)}
    assert shapes == {images_of_test.shape}
    tests = [function for name, function in inspect.getmembers(imported(test), inspect.isfunction)]
    found = [function for function in tests if function.__name__.startswith("test_")]
    for function in found:
        function()
    assert found and name in LOADED


@pytest.mark.parametrize(
    ("group", "name", "sentence"),
    [
        ("activations", "a", r"new activations: unknown group \(did you mean activation\?\); choose from activation, "),
        ("activation", "my-act", "new activation my-act: name it by an identifier, such as my_activation"),
        ("activation", "relu", "new activation relu: there is another activation=relu"),
        ("activation", "random", "new activation random: there is another module of the name random"),
        ("activation", "models", "new activation models: there is another module of the name models"),
        ("activation", "_a", "new activation _a: name it by an identifier"),
        ("activation", "ä", "new activation ä: name it by an identifier"),
        ("architecture", "norm", "new architecture norm: name it by an identifier"),
        ("dropout", "light", "new dropout light: there is another dropout=light"),
        ("augmentation", "crop_padding", "new augmentation crop_padding: there is another augmentation=crop_padding"),
        ("activation", "Snake", "new activation Snake: the file would have two meanings of Snake; choose another name"),
        ("norm", "tensor", "new norm tensor: the file would have two meanings of Tensor"),
        ("averaging", "copied", "new averaging copied: the file would have two meanings of Copied"),
        ("averaging", "round", "new averaging round: the file would have two meanings of round"),
        ("norm", "nn", "new norm nn: the file would have two meanings of nn"),
        ("activation", "there", r"there\.py exists; choose another name"),
        ("activation", "tested", r"test_tested\.py exists; choose another name"),
    ],
)
def test_what_cannot_be_written_is_refused(group: str, name: str, sentence: str, tmp_path: Path) -> None:
    for existing in ("there.py", "test_tested.py"):
        (tmp_path / existing).write_text("mine")
    with pytest.raises(UserError, match=sentence):
        write_starter(group, name, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test_tested.py", "there.py"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}
