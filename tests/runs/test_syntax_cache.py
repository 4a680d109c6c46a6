"""Modules that are kept are those that parsing returns; anything else in their file costs time only."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.runs import fingerprint, syntax_cache
from sweeper.runs.syntax import Module, parse
from sweeper.runs.syntax_cache import parse_all

TEXTS = {
    "a": "from sweeper.data import batches as b\nX, Y = 1, b.CHUNK\ndef f(x: 'X', *, y: int = Y) -> None: ...\n",
    "b": "from sweeper.a import f\nclass C: pass\nALL: Registry = {'f': f, 'both': [f, C]}\n",
    "invalid": "def f(:",
}
EXPECTED = {name: parse(text) for name, text in TEXTS.items()}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were parsed."""
    texts: list[str] = []

    def note(text: str) -> Module:
        texts.append(text)
        return parse(text)

    monkeypatch.setattr(syntax_cache, "parse", note)
    return texts


def test_only_what_changed_is_parsed_again(tmp_path: Path, parsed: list[str]) -> None:
    file = tmp_path / "folder" / "kept.json"
    assert parse_all(TEXTS, file) == EXPECTED
    assert parsed == [*TEXTS.values()]
    parsed.clear()
    assert parse_all(TEXTS, file) == EXPECTED
    assert not parsed
    changed = TEXTS | {"a": TEXTS["a"].replace("= 1,", "= 2,")}
    assert parse_all(changed, file) == EXPECTED | {"a": parse(changed["a"])} != EXPECTED
    assert parsed == [changed["a"]]
    parsed.clear()
    assert parse_all(TEXTS, file) == EXPECTED
    assert parsed == [TEXTS["a"]]  # what a change replaced is not kept
    assert [*file.parent.iterdir()] == [file]


def test_modules_of_the_package_are_kept_as_they_are_parsed(tmp_path: Path) -> None:
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (fingerprint.PACKAGE / "models").glob("*.py")}
    first = parse_all(texts, tmp_path / "kept.json")
    assert parse_all(texts, tmp_path / "kept.json") == first
    assert "resnet18" in first["resnet"].definitions


def test_another_parser_parses_again(tmp_path: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    parse_all(TEXTS, tmp_path / "kept.json")
    monkeypatch.setattr(syntax_cache, "PARSER", "another")
    parsed.clear()
    parse_all(TEXTS, tmp_path / "kept.json")
    assert parsed == [*TEXTS.values()]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "torn": lambda content: content[:-40],
    "another value": lambda content: content.replace(b'"f"', b'"g"', 1),
    "no text": lambda content: b"\xff" + content,
    "foreign": lambda content: b"[1, 2]\n",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_replaced(damage: str, tmp_path: Path, parsed: list[str]) -> None:
    file = tmp_path / "kept.json"
    parse_all(TEXTS, file)
    content = file.read_bytes()
    file.write_bytes(DAMAGE[damage](content))
    assert file.read_bytes() != content
    parsed.clear()
    assert parse_all(TEXTS, file) == EXPECTED
    assert parsed == [*TEXTS.values()]
    assert file.read_bytes() == content


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert parse_all(TEXTS, tmp_path / "file" / "kept.json") == EXPECTED
    assert parse_all(TEXTS, tmp_path / "missing" / "missing" / "kept.json") == EXPECTED
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
