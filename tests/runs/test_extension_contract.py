"""What a file with choices must be like; others are refused."""

from pathlib import Path

import pytest
from choices import presets
from extended import TRICKS

from sweeper.errors import UserError
from sweeper.runs.extension_contract import SHARED, Registered, check_positional
from sweeper.runs.extensions import LOADED, load, registry_of
from sweeper.runs.fingerprint import EXTENDABLE

pytestmark = pytest.mark.usefixtures("nothing_stays")

ACT = "def a({}):\n    return None\nACTIVATIONS = {{'a': a}}\n"
BAD = {
    "x = 1\ndef f(:\n": ", line 2 is not valid Python: invalid syntax",
    "\nimport nothing_there\n": ", line 2: ModuleNotFoundError: No module named 'nothing_there'",
    "\nimport beside\n": ", line 2: ModuleNotFoundError: No module named 'beside'; name that file first: ",
    "def g():\n    raise ValueError('no\\nway')\n\ng()\n": ", line 2: ValueError: no way",
    "import sys\nsys.exit(3)\n": ", line 2: SystemExit: 3",
    "\nACTIVATIONS = [1]\n": ", line 2: ACTIVATIONS must be a dict that is written out, such as ACTIVATIONS = {",
    "\nACTIVATIONS = dict(a=print)\n": ", line 2: ACTIVATIONS must be a dict that is written out",
    "ACTIVATIONS = {}\nfor name in 'ab':\n    ACTIVATIONS[name] = print\n": ", line 1: ACTIVATIONS must be a dict that",
    "\nACTIVATIONS = {\n    'a': int}\n": ", line 3: ACTIVATIONS[a] is a type; it must be a function",
    "def f():\n    pass\nACTIVATIONS = {'a-b': f}\n": ", line 3: ACTIVATIONS[a-b]: name it by an identifier",
    ACT.format("slope"): ", line 1: a has the arguments (slope); a function in ACTIVATIONS has (*, SETTINGS)",
    ACT.format(
        "slope: float = 0.1"
    ): ", line 1: a has the arguments (slope: float = 0.1); a function in ACTIVATIONS has",
    ACT.format("**settings"): ", line 1: a has the arguments (**settings); a function in ACTIVATIONS has (*, SETTINGS)",
    "def n(*, eps: float = 0.1):\n    pass\nNORMS = {'n': n}\n": ", line 1: n has the arguments (*, eps: float = 0.1); "
    "a function in NORMS has (num_features, dims, *, SETTINGS)",
    ACT.format("*, slope=0.1"): ", line 1: a: the setting slope has no annotation; write slope: float, or another of",
    ACT.format(
        "*, slope: dict"
    ): ", line 1: a: the setting slope is annotated with dict; choose from bool, float, int,",
    ACT.format("*, slope: 'Nope' = 1"): ", line 1: a: an annotation has no meaning: name 'Nope' is not defined",
    ACT.format("*, slope: float = 'x'"): ", line 1: a: the default slope='x' is not of its type, float",
    ACT.format("*, slope: int = True"): ", line 1: a: the default slope=True is not of its type, int",
    ACT.format("*, slope: list[int] = [0.5]"): ", line 1: a: the default slope=[0.5] is not of its type, list[int]",
    ACT.format("*, negative_slope: str"): ", line 1: a: the setting negative_slope is annotated with str, but "
    "activation.negative_slope is of type float",
    ACT.format("*, norm: float"): ", line 1: a: the setting norm cannot have this name",
    "def relu():\n    pass\nACTIVATIONS = {'relu': relu}\n": ", line 3: ACTIVATIONS[relu]: there is another activation",
    "def f(i, n):\n    pass\nMODELS = {'mlp_deep': f}\n": ", line 3: MODELS[mlp_deep]: there is another model=mlp_deep",
    "def f(*, a: int = 1):\n    pass\ndef g(*, a: float = 1):\n    pass\nACTIVATIONS = {'f': f, 'g': g}\n": ", line 3: "
    "g: f has a setting a as well, of type int",
    "def f():\n    pass\nACTIVATION = {'f': f}\n": ", line 3: ACTIVATION is no registry (did you mean ACTIVATIONS?)",
    "x = 1\n": " has none of the dicts ACTIVATIONS, ARCHITECTURES, AUGMENTATIONS, AVERAGINGS, COURSES, DATASETS, ",
    "\nfrom sweeper.models.layers import *\n": ", line 2: from sweeper.models.layers import *: name what is imported",
    "\nimport sweeper.models\n": ", line 2: import sweeper.models: write from sweeper.models import NAME",
    "def f(images, draws, mean, *, gray: float = 0.2):\n    pass\nAUGMENTATIONS = {'f': f}\n": ", line 1: f lacks the "
    "decorator that sets num_draws, such as @needs_draws(1)",
    "def f(model, layers, *, blur_pool: bool):\n    pass\nARCHITECTURES = {'f': f}\n": ", line 1: f: blur_pool belongs "
    "to another step of architecture",
    "def f(model, layers):\n    pass\nARCHITECTURES = {'f': f}\n": ", line 1: f: nothing turns this step on",
}


@pytest.mark.parametrize("source", BAD)
def test_a_file_that_does_not_fit_is_refused_with_its_line(source: str) -> None:
    Path("bad.py").write_text(source)
    Path("beside.py").touch()
    before = {path: dict(registry_of(path)) for path in EXTENDABLE.values()}
    with pytest.raises(UserError) as raised:
        load(["bad.py"])
    assert str(raised.value).startswith(f"extend=bad.py{BAD[source]}") and "\n" not in str(raised.value)
    assert {path: dict(registry_of(path)) for path in EXTENDABLE.values()} == before and not LOADED


def test_a_file_that_is_imported_is_named_where_it_is() -> None:
    Path("w").mkdir()
    Path("w/mine.py").write_text("from beside import act\n")
    Path("w/beside.py").touch()
    with pytest.raises(UserError, match=r"; name that file first: extend=\[w/beside\.py,\.\.\.\]$"):
        load(["w/mine.py"])


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("missing.py", "extend=missing.py is missing: there is no file /"),
        ("folder", "extend=folder is a folder; name its files: extend=[FILE.py,FILE.py]"),
        ("a-b.py", "extend=a-b.py: it must be a Python file whose name is an identifier"),
        ("a.txt", "extend=a.txt: it must be a Python file"),
        ("latin.py", "extend=latin.py cannot be read: 'utf-8' codec can't decode"),
        *(
            (f"{name}.py", f"extend={name}.py: there is another module of the name {name}")
            for name in ("models", "random")
        ),
        *(
            (f"{name}.py", f"extend={name}.py: there is another module of the name {name}")
            for name in ("torch", "timm")
        ),
    ],
)
def test_a_path_that_does_not_fit_is_refused(file: str, sentence: str) -> None:
    Path("folder").mkdir()
    for name in ("a-b.py", "a.txt", "models.py", "random.py", "torch.py", "timm.py"):
        Path(name).write_text(ACT.format(""))
    Path("latin.py").write_bytes("x = 'ü'".encode("latin-1"))
    with pytest.raises(UserError) as raised:
        load([file])
    assert str(raised.value).startswith(sentence)


def test_a_file_may_have_the_name_of_its_folder_and_a_choice_that_of_another_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))  # as python train.py does with its folder
    Path("own_ideas").mkdir()
    text = "def dropout():\n    return 1\nACTIVATIONS = {'dropout': dropout}\n"
    Path("own_ideas/own_ideas.py").write_text(text)
    Path("later.py").write_text("def mine(kind, *, rate: float = 0.1):\n    return 2\nDROPOUTS = {'mine': mine}\n")
    load(["own_ideas/own_ideas.py", "later.py"])
    assert [*LOADED] == ["own_ideas", "later"]


@pytest.mark.usefixtures("tricks")
def test_two_files_of_one_name_are_refused_and_one_file_is_loaded_once() -> None:
    Path("copy").mkdir()
    Path("copy/my_tricks.py").write_text(TRICKS)
    load(["my_tricks.py", "copy/my_tricks.py", "../" + str(Path.cwd().name) + "/my_tricks.py"])  # the same text
    assert [*LOADED] == ["my_tricks"]
    Path("third").mkdir()
    Path("third/my_tricks.py").write_text(TRICKS + "\n")
    with pytest.raises(UserError, match=r"extend=third/my_tricks\.py: another my_tricks\.py is loaded, my_tricks\.py"):
        load(["third/my_tricks.py"])


@pytest.mark.parametrize("variable", EXTENDABLE)
def test_the_choices_of_the_package_keep_the_contract(variable: str) -> None:
    path = EXTENDABLE[variable]
    functions = list(registry_of(path).values())
    for function in functions:
        if function.__name__ != "own":  # an activation and a norm at once
            check_positional(Registered("f.py", "f.py", 1, path, variable, "", "name", function), functions)


@pytest.mark.parametrize("group", SHARED)
def test_shared_settings_are_those_of_the_presets(group: str) -> None:
    keys = {key for preset in presets(group).values() for key in SHARED[group] if key in preset}
    assert keys == SHARED[group].keys()
    for key, value in SHARED[group].items():
        values = [preset[key] for preset in presets(group).values()]
        assert (value in values and max(values, key=values.count) == value) or key == "val_size"
