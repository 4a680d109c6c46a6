"""Test images found in the cache by their dataset's fingerprint, with the names of their files."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from records import make
from support import CLASSES, TEST_IMAGES, composed

from sweeper.data.cache import Cached, load, prepare
from sweeper.groups import DataConfig
from sweeper.runs.directory import RunDirectory
from sweeper.runs.stored_images import find_test_images, read_test_images


@pytest.fixture(scope="module")
def data(small: list[str]) -> DataConfig:
    return composed(*small).data


@pytest.fixture
def cached(data: DataConfig, tmp_path: Path) -> Cached:
    return prepare(replace(data, cache=str(tmp_path / "cache")))


@pytest.fixture
def record(cached: Cached, tmp_path: Path) -> RunDirectory:
    data = {"cache": str(tmp_path / "cache")}
    run = {"dataset": {"fingerprint": cached.fingerprint}, "config": {"data": data}}
    return make(tmp_path, "mlp-0a1", [0.5], run=run)


def test_the_images_are_those_of_the_dataset(cached: Cached, record: RunDirectory) -> None:
    found, test = find_test_images(record), load(cached).test
    assert found is not None
    assert np.array_equal(found.images, test.images.numpy()) and np.array_equal(found.labels, test.labels.numpy())
    assert found.files == [f"test/{name}/{number:03}.png" for name in CLASSES for number in range(TEST_IMAGES)]


def test_the_cache_may_have_moved(cached: Cached, record: RunDirectory, tmp_path: Path) -> None:
    shutil.move(tmp_path / "cache", tmp_path / "moved")
    assert find_test_images(record) is None
    assert find_test_images(record, str(tmp_path / "moved")) is not None


def test_a_cache_without_names_gets_them(cached: Cached, data: DataConfig, tmp_path: Path) -> None:
    names = cached.folder / "test_files.json"
    names.unlink()
    without = read_test_images(cached.folder)
    assert without is not None and without.files == []
    names.write_text(json.dumps(["one.png"]))  # of other images
    foreign = read_test_images(cached.folder)
    assert foreign is not None and foreign.files == []
    names.unlink()
    prepare(replace(data, cache=str(tmp_path / "cache")))
    again = read_test_images(cached.folder)
    assert again is not None and len(again.files) == len(again.labels)


def test_the_names_are_the_newest(cached: Cached, record: RunDirectory) -> None:
    for number, name in ((1, "newest"), (2, "zzz")):
        folder = shutil.copytree(cached.folder, cached.folder.parent / name)
        names = json.loads((folder / "test_files.json").read_text())
        (folder / "test_files.json").write_text(json.dumps([f"{name}.png", *names[1:]]))
        os.utime(folder / "index.json", (9e9 - number, 9e9 - number))
    found = find_test_images(record)
    assert found is not None and found.files[0] == "newest.png"


def test_damage_is_noticed(cached: Cached, record: RunDirectory) -> None:
    for damage in (b"torn", b""):
        (cached.folder / "test_images.npy").write_bytes(damage)
        assert find_test_images(record) is None
    (cached.folder / "index.json").write_text("[]")
    assert find_test_images(record) is None


@pytest.mark.parametrize("run", [{}, {"dataset": 3}, {"dataset": {"fingerprint": "x"}, "config": {"data": "\ud800"}}])
def test_a_foreign_record_has_no_images(run: dict[str, object], tmp_path: Path) -> None:
    assert find_test_images(make(tmp_path, "mlp-0a1", run=run)) is None
