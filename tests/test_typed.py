"""The command line as people type it: what Hydra reads of it is what was meant."""

import os
import re
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep
from processes import REPOSITORY

from sweeper.typed import extensions, rewrite

NAMES = (
    *(
        "photos (1)",
        "a#b",
        "müller",
        "漢字",
        "it's",
        'say "hi"',
        "back\\slash",
        'both\'s "quotes"',
        "a=b",
        "x;y",
        "a&b",
    ),
    *("a#b", "100 %", "a\\", '\\"', "é" * 9, "old [1]", "a{b}", "tab\there", "~x", "a(b", "!", "<>"),
    *("nul\\\\", "'", "$HOME", "1e3", "1_000", "true", "inf", "007"),
)


def value_of(override: str) -> str | list[str]:
    """Return the text, or the texts, that a setting of texts has of an override."""
    value = OverridesParser.create().parse_override(override).value()
    items = value.list if isinstance(value, ChoiceSweep) else [value]
    texts = [str(getattr(item, "text", item)) for item in items]
    return texts if isinstance(value, ChoiceSweep) else texts[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("folder", ["", "w/"])
def test_a_path_is_read_as_it_is_typed(folder: str, name: str) -> None:
    if not folder and name[0] in "'\"":
        return  # its quotes are Hydra's
    (rewritten,) = rewrite([f"data.root={folder}{name}"])
    assert value_of(rewritten) == f"{folder}{name}"
    assert rewrite([rewritten]) == [rewritten]


def test_scripts_quote_a_path() -> None:
    code = 'source scripts/sweep.sh; echo "$DATA $OUT $WEIGHTS"; for name; do quoted "$name"; echo; done'
    command = ["bash", "-uc", f"DATA='~/d' OUT=o WEIGHTS='~/w'; {code}", "bash", *NAMES, "a'\\", "a\\'b", "\\\\"]
    env = {"HOME": "/home/me", "PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=True)
    folders, *quoted = done.stdout.splitlines()
    assert folders == "/home/me/d o /home/me/w"
    assert [value_of(f"data.root={text}") for text in quoted] == command[4:]


@pytest.mark.parametrize(
    ("typed", "files"),
    [
        ("a.py", ["a.py"]),
        ("w/a.py,b.py", ["w/a.py", "b.py"]),
        ("[w/a.py,b.py]", ["w/a.py", "b.py"]),
        ("['a b/a.py',b.py]", ["a b/a.py", "b.py"]),
        ("it's (1)/ü.py", ["it's (1)/ü.py"]),
        ('say "hi"\\/[x]/a.py', ['say "hi"\\/[x]/a.py']),
        ("~/a.py", [str(Path.home() / "a.py")]),
        ("null", []),
        ("[]", []),
        ("", []),
    ],
)
def test_files_to_extend_with_become_a_list(typed: str, files: list[str]) -> None:
    assert extensions([f"extend={typed}", "seed=1"]) == files
    (rewritten,) = rewrite([f"extend={typed}"])
    assert OverridesParser.create().parse_override(rewritten).value() == files
    assert rewrite([rewritten]) == [rewritten]


def test_a_quoted_text_among_several_stays_as_it_is() -> None:
    """As scripts write paths: `model.weights=null,'FILE'`."""
    for argument in ("model.weights=null,'w/a.pt'", "data.root='w/a','w/b'", 'data.root=w/a,"w b"'):
        assert rewrite([argument]) == [argument]


def test_several_paths_are_several_values() -> None:
    (rewritten,) = rewrite(["data.root=w/müller,w/plain,a b,null"])
    assert value_of(rewritten) == ["w/müller", "w/plain", "a b", "None"]


@pytest.mark.parametrize(
    "argument",
    [
        *("model=mlp", "data.root=plain/path", "data.root='a b'", 'data.root="ü"', "data.root=choice(ü,b)", "epochs=ü"),
        *("data.root=${oc.env:ÜB}", "sweep.exclude=[{model:ü}]", "~loss", "+data.root=ü", "data.root=", "seed=0,1,"),
    ],
)
def test_what_hydra_reads_or_does_not_take_for_a_text_stays(argument: str) -> None:
    assert rewrite([argument]) == [argument]


def test_the_home_folder_is_replaced_in_paths_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert rewrite(["data.root=~/imgs", "output_dir=~"]) == ["data.root=/home/me/imgs", "output_dir=/home/me"]
    assert value_of(rewrite(["data.root=~other"])[0]) == "~other"
    assert rewrite(["--config-dir=~/my"]) == ["--config-dir=/home/me/my"]


def test_the_time_is_that_of_the_start() -> None:
    before = datetime.now().replace(microsecond=0)
    (one, two) = rewrite(["output_dir=out/${now:%Y-%m-%d}/${now:%H-%M-%S}", "+x=${now:%Y-%m-%d}-${now:%H-%M-%S}"])
    assert re.fullmatch(r"output_dir=out/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d", one)
    assert one.removeprefix("output_dir=out/").replace("/", "-") == two.removeprefix("+x=")
    assert before <= datetime.strptime(two.removeprefix("+x="), "%Y-%m-%d-%H-%M-%S") <= datetime.now()


def test_flags_come_first_wherever_they_are_typed(tmp_path: Path) -> None:
    typed = ["model=mlp", "-m", "seed=0,1", "--config-dir", "my", "epochs=3"]
    assert rewrite(typed) == ["-m", "--config-dir", "my", "model=mlp", "seed=0,1", "epochs=3"]
    assert rewrite(["--cfg", "job", "model=mlp"]) == ["--cfg", "job", "model=mlp"]


@pytest.mark.parametrize("key", ["extend", "+extend", "++extend"])
def test_files_of_choices_are_found_however_hydra_is_told_to_set_them(key: str) -> None:
    assert extensions([f"{key}=[a.py,w/b.py]"]) == ["a.py", "w/b.py"]
    assert rewrite([f"{key}=a.py,my files/b.py"]) == [f'{key}=[a.py,"my files/b.py"]']
