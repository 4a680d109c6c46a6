"""Tests of my_courses: python -m pytest test_my_courses.py."""

import pytest
from torch import nn

from my_courses import my_courses
from sweeper.data.batches import Step
from sweeper.errors import UserError


def test_the_statistics_stop_after_a_fraction_of_training() -> None:
    norm = nn.BatchNorm1d(3)
    course = my_courses(nn.Sequential(norm), my_courses=0.5)
    momenta = []
    for index in range(4):
        course(norm, Step(index, 4, 0))
        momenta.append(norm.momentum)
    assert momenta == [0.1, 0.1, 0.0, 0.0]


def test_a_network_without_batch_norm_is_refused() -> None:
    with pytest.raises(UserError, match="needs batch norm"):
        my_courses(nn.Linear(2, 2), my_courses=0.5)
