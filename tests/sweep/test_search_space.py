"""The space of a search is that of the command: a range ends before its end, an integer setting has integers."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweeper.errors import UserError
from sweeper.sweep.search_space import as_text, describe_space, ends_of, space_of


def parsed(*texts: str) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(texts))


@pytest.mark.parametrize(
    ("override", "distribution"),
    [
        ("optimizer.lr=interval(0,1)", FloatDistribution(0, 1)),
        ("optimizer.lr=tag(log,interval(1e-4,1e-1))", FloatDistribution(1e-4, 1e-1, log=True)),
        ("epochs=interval(1,9)", IntDistribution(1, 9)),
        ("batch_size=tag(log,interval(8,512))", IntDistribution(8, 512, log=True)),
        ("data.val_size=range(10,40,10)", IntDistribution(10, 30, step=10)),
        ("epochs=range(9,1,-4)", IntDistribution(5, 9, step=4)),
        ("dropout.rate=range(0,0.5,0.1)", FloatDistribution(0, 0.4, step=0.1)),
        ("epochs=range(3,4)", CategoricalDistribution(["3"])),
        ("activation=relu,selu,relu", CategoricalDistribution(["relu", "selu"])),
        ("model.hidden=[8],[16,8]", CategoricalDistribution(["[8]", "[16,8]"])),
        ("patience=null,3", CategoricalDistribution(["null", "3"])),
    ],
)
def test_a_swept_override_is_a_distribution(override: str, distribution: BaseDistribution) -> None:
    assert space_of(parsed(override)) == {override.partition("=")[0]: distribution}


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["seed=range(0,2)"], "nothing to search: .* seed and data are not searched"),
        (["seed=0,1", "data=digits,cifar10", "epochs=3"], "nothing to search"),
        (["epochs=interval(1.5,3)"], r"epochs=interval\(1.5,3\): the ends must be integers"),
        (["optimizer.lr=interval(2,1)"], r"optimizer.lr=interval\(2,1\): "),
        (["optimizer.lr=tag(log,interval(0,1))"], r"optimizer.lr=tag\(log,interval\(0,1\)\): "),
        (["optimizer.lr=tag(ln,interval(1,2))"], "tag ln has no effect; the only tag is log"),
        (["dropout.rate=tag(log,range(0.1,0.5,0.1))"], "tag log needs integers in steps of 1"),
        (["activation=interval(0,1)"], "activation.* has no interval; list its values"),
        (["select=interval(0,1)"], "select is not a number, so it has no interval"),
    ],
)
def test_what_cannot_be_searched_is_a_sentence(overrides: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        space_of(parsed(*overrides))


def test_the_last_of_two_overrides_counts() -> None:
    assert space_of(parsed("epochs=1,2", "batch_size=8,16", "epochs=3")) == space_of(parsed("batch_size=8,16"))


def test_values_are_typed_without_rounding_errors() -> None:
    assert [as_text(value) for value in (0.1 + 0.2, 1e-5, 3, "[8]", 0.00012345678912)] == [
        *("0.3", "1e-05", "3", "[8]"),
        "0.00012345679",
    ]


def test_the_ends_are_checked_and_described() -> None:
    space = space_of(parsed("optimizer.lr=tag(log,interval(1e-4,1))", "activation=relu,selu", "epochs=range(2,9,2)"))
    assert [ends_of(distribution) for distribution in space.values()] == [["0.0001", "1"], ["relu", "selu"], ["2", "8"]]
    assert describe_space(space).splitlines() == [
        "  optimizer.lr: 0.0001 to 1, logarithmic",
        "  activation: relu, selu",
        "  epochs: 2 to 8 in steps of 2",
    ]
