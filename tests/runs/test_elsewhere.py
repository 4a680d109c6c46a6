"""Overrides of commands that use a trained run."""

from pathlib import Path

import pytest

from sweeper.errors import UserError
from sweeper.runs.elsewhere import Elsewhere, split_overrides


def test_overrides_are_separated_from_other_words() -> None:
    words, where = split_overrides(["0a1", "data.root=/a=b", "data.cache=c", "device=cpu"])
    assert words == ["0a1"]
    assert where == Elsewhere({"root": "/a=b", "cache": "c"}, "cpu")
    assert split_overrides(["extend=[w/a.py,b.py]"])[1].extend == ("w/a.py", "b.py")
    assert split_overrides(["0a1", "A=1"]) == (["0a1", "A=1"], Elsewhere())


def test_a_file_is_no_override(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("device=cpu").touch()
    assert split_overrides(["device=cpu"]) == (["device=cpu"], Elsewhere())


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("seed=3", "seed=3: seed is no setting of this command; choose from data.root, device"),
        ("data.cache=x", "data.cache=x: data.cache has no effect on this command; choose from data.root, device"),
        ("device=tpu", "device=tpu is invalid: must be one of auto, cpu, cuda; CUDA_VISIBLE_DEVICES=N chooses a GPU"),
        ("data.root=", "data.root=: data.root needs a value"),
    ],
)
def test_what_has_no_effect_is_refused(word: str, sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        split_overrides([word], ["data.root", "device"])
    assert str(raised.value) == sentence
