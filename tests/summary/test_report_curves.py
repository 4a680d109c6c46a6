"""The report's curves: names by what differs only, and data that stays small."""

from typing import Any

import pytest

from sweeper.summary.learning_curves import Band, Curve, with_short_names
from sweeper.summary.report_curves import MAX_POINTS, MIN_POINTS, curve_data, name_parts, short_name


def curve(name: str = "c", epochs: int = 3, **settings: Any) -> Curve:
    values = [index / 10 for index in range(epochs)]
    band = Band(values, values, values, [0.0] * epochs)
    settings = {key.replace("__", "."): value for key, value in settings.items()}
    named = ", ".join(f"{key}={value}" for key, value in settings.items()) or name
    return Curve(named, settings, "finished", [0], [*range(1, epochs + 1)], [1] * epochs, band, band, values, None)


def test_names_have_what_differs_only() -> None:
    curves = [curve(model="mlp", norm="none", optimizer="adam"), curve(model="cnn", norm="none", optimizer="adam")]
    assert [one.name for one in with_short_names(curves)] == ["model=mlp", "model=cnn"]
    assert with_short_names(curves[:1]) == curves[:1]
    stale = [curves[0], curve(model="cnn", norm="none", optimizer="adam")]
    stale[1].name += " (stale, code 1234)"
    assert [one.name for one in with_short_names(stale)] == ["model=mlp", "model=cnn (stale, code 1234)"]


def test_parts_of_names_stand_alone_where_they_are_clear() -> None:
    curves = [
        curve(model="cnn", norm="batch", dropout__rate=0.0, optimizer__lr=0.1, loss="ce"),
        curve(model="mlp", norm="none", dropout__rate=0.5, optimizer__lr=0.2, loss="ce"),
        curve(model="mlp", norm="none", dropout__rate=0.5, optimizer__lr=None, loss="ce"),
    ]
    assert name_parts(curves) == [
        ["cnn", "batch", "dropout=0", "lr=0.1"],
        ["mlp", "norm=none", "dropout=0.5", "lr=0.2"],
        ["mlp", "norm=none", "dropout=0.5", ""],
    ]
    twice = [curve(first="a", second="a"), curve(first="b", second="a")]
    assert name_parts(twice) == [["a"], ["b"]]
    both = [curve(first="a", second="b"), curve(first="b", second="a")]
    assert name_parts(both) == [["first=a", "second=b"], ["first=b", "second=a"]]


@pytest.mark.parametrize(
    "setting, short", [("optimizer.lr", "lr"), ("dropout.rate", "dropout"), ("norm", "norm"), ("rate", "rate")]
)
def test_short_names(setting: str, short: str) -> None:
    assert short_name(setting) == short


def test_long_curves_are_thinned_and_what_is_missing_is_null() -> None:
    data = curve_data([curve(f"c{number}", epochs=1000, lr=number) for number in range(100)])
    assert data is not None and data["thinned"]
    sizes = {len(one["epochs"]) for one in data["curves"]}
    assert max(sizes) <= max(MIN_POINTS, MAX_POINTS // 100) and data["curves"][0]["epochs"][-1] == 1000
    assert data["curves"][0]["val_loss"] is None and "low" not in data["curves"][0]["val_acc"]
    assert curve_data([]) is None
