from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from slrtune.config.errors import UserError
from slrtune.data.augment import evaluation_view
from slrtune.data.dataset import WholeClipDataset
from slrtune.data.feature_cache import (
    FeatureDataset,
    FeatureReader,
    FeatureStore,
    feature_file_bytes,
    write_features,
)
from slrtune.data.prepared import PreparedData

KIB = 2**10
GIB_OF_100_KIB = 100 / 2**20


def writer(num_kib: int, calls: list[Path] | None = None) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        if calls is not None:
            calls.append(path)
        path.write_bytes(bytes(num_kib * KIB))

    return build


def stored(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.arrow")}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_come_back_bit_by_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    clips = [(7, torch.randn(5, 6).to(dtype)), (3, torch.randn(9, 6).to(dtype))]
    write_features(tmp_path / "f.arrow", dtype, 6, clips)
    reader = FeatureReader(tmp_path / "f.arrow")
    chosen = np.array([0, 2, 2, 4])
    for clip_id, features in clips:
        read = reader.read(clip_id, lambda num_cached: chosen)
        assert read.dtype == dtype
        assert torch.equal(read, features[torch.from_numpy(chosen)])
    size = (tmp_path / "f.arrow").stat().st_size
    assert size <= feature_file_bytes([5, 9], 6 * dtype.itemsize)


def test_a_file_is_built_once_and_found_again(tmp_path: Path) -> None:
    calls: list[Path] = []
    store = FeatureStore(tmp_path, 1.0)
    for _ in range(2):
        file = store.open("a", 4 * KIB, writer(4, calls))
        assert file.path.stat().st_size == 4 * KIB
    assert len(calls) == 1


def test_the_least_recently_used_file_makes_room(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, GIB_OF_100_KIB)
    for number, key in enumerate("abc"):
        store.open(key, 30 * KIB, writer(30)).close()
        os.utime(tmp_path / f"{key}.arrow", (number, number))
    store.open("a", 30 * KIB, writer(30)).close()  # used again: now b is the oldest
    store.open("d", 30 * KIB, writer(30)).close()
    assert stored(tmp_path) == {"a", "c", "d"}


def test_files_in_use_stay_and_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, GIB_OF_100_KIB)
    in_use = store.open("a", 60 * KIB, writer(60))
    with pytest.raises(UserError, match=r"data\.cache_size_gib: .* that are in use; raise it"):
        store.open("b", 60 * KIB, writer(60))
    assert stored(tmp_path) == {"a"}
    with pytest.raises(UserError, match=r"do not fit into 9.5.*e-05 GiB; raise it"):
        FeatureStore(tmp_path / "other", GIB_OF_100_KIB).open("b", 101 * KIB, writer(101))
    in_use.close()
    store.open("b", 60 * KIB, writer(60))
    assert stored(tmp_path) == {"b"}


def test_a_set_that_can_never_fit_removes_no_other(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, GIB_OF_100_KIB)
    store.open("a", 60 * KIB, writer(60)).close()
    with pytest.raises(UserError):
        store.open("b", 101 * KIB, writer(101))
    assert stored(tmp_path) == {"a"}


def test_a_builder_that_died_leaves_nothing_that_counts(tmp_path: Path) -> None:
    def die(path: Path) -> None:
        path.write_bytes(bytes(90 * KIB))
        raise KeyboardInterrupt

    store = FeatureStore(tmp_path, GIB_OF_100_KIB)
    with pytest.raises(KeyboardInterrupt):
        store.open("a", 90 * KIB, die)
    assert stored(tmp_path) == set()
    store.open("b", 90 * KIB, writer(90))
    assert list(tmp_path.glob("*.partial")) == []


def test_of_many_that_ask_at_once_one_builds(tmp_path: Path) -> None:
    calls: list[Path] = []
    build = writer(4, calls)
    start = threading.Barrier(4)

    def ask() -> None:
        start.wait()
        FeatureStore(tmp_path, 1.0).open("a", 4 * KIB, build)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


@pytest.mark.parametrize("is_training", [True, False])
def test_features_are_those_of_the_frames_that_pixels_would_be(
    prepared: PreparedData, tmp_path: Path, is_training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "slrtune.data.dataset.needed_part",
        lambda frames, image_size, change: (evaluation_view(frames, image_size), None),
    )
    pixels = prepared.dataset("train", is_training=is_training, seed=3)
    whole = WholeClipDataset(pixels, prepared.config.image_size)
    clips = [
        (clip_id, frames.flatten(1)) for clip_id, frames in (whole[i] for i in range(len(whole)))
    ]
    path = tmp_path / "features.arrow"
    write_features(path, torch.uint8, clips[0][1].shape[1], clips)
    features = FeatureDataset(path, pixels.clips, prepared.config, is_training=is_training, seed=3)
    for key in [(2, index, repeat) for index in range(len(pixels)) for repeat in (0, 1)]:
        expected, sample = pixels[key], pickle.loads(pickle.dumps(features))[key]
        assert torch.equal(sample.frames, expected.frames.flatten(1))
        assert sample[1:] == expected[1:]
