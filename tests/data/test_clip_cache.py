from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slrtune.data.clip_cache import (
    CacheParameters,
    ClipCache,
    build_clip_cache,
    decode_clip,
)
from slrtune.data.manifest import ClipRecord
from slrtune.data.resize import resize_short_side
from slrtune.data.video import decode
from slrtune.data.window import ClipTooShortError, clip_window
from slrtune.data.workers import WorkerCrash, map_crash_proof
from tests.data.videos import write_half_video, write_images, write_video

PARAMETERS = CacheParameters(size_px=20, max_frames=8)


def build(root: Path, *records: ClipRecord) -> tuple[list[ClipRecord], ClipCache]:
    path = root / "clips.arrow"
    outcome = build_clip_cache(path, root, records, PARAMETERS, 1, lambda done, total: None)
    return outcome, ClipCache(path)


def test_the_cache_gives_back_the_decoded_and_resized_frames(tmp_path: Path) -> None:
    video, images = write_video(tmp_path / "a.mp4", 6), write_images(tmp_path / "b", 5)
    _, cache = build(tmp_path, ClipRecord("a.mp4", "x", "train"), ClipRecord("b", "y", "train"))
    assert (len(cache), cache.parameters) == (2, PARAMETERS)
    for position, path in enumerate((video, images)):
        clip_id, frames = cache.read(position)
        decoded = torch.from_numpy(decode(path)).permute(0, 3, 1, 2).contiguous()
        expected = resize_short_side(decoded, 20).permute(0, 2, 3, 1)
        assert clip_id == position
        assert frames.shape == (6 - position, 20, 30, 3)
        np.testing.assert_array_equal(frames, expected.numpy())


def test_cached_frames_cannot_be_written_to(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    _, cache = build(tmp_path, ClipRecord("a.mp4", "x", "train"))
    with pytest.raises(ValueError, match="read-only"):
        cache.read(0)[1][0] = 0


def test_a_clip_that_cannot_be_decoded_is_listed_and_the_others_are_used(tmp_path: Path) -> None:
    write_half_video(tmp_path / "half.mp4")
    write_video(tmp_path / "one.mp4", 1)
    write_video(tmp_path / "good.mp4", 6)
    missing = ClipRecord("gone.mp4", "x", "train", status="missing", reason="no such file")
    found = [ClipRecord(f"{name}.mp4", "x", "train") for name in ("half", "one", "good")]
    outcome, cache = build(tmp_path, missing, *found)
    assert [record.status for record in outcome] == ["missing", "unreadable", "too_short", "ok"]
    assert "of 79 frames" in outcome[1].reason
    assert outcome[2].reason == "has 1 frame(s), needs at least 2"
    assert outcome[3] == replace(found[2], num_frames=6, fps=25.0, width=48, height=32, status="ok")
    assert (len(cache), cache.read(0)[0]) == (1, 3)


def test_a_long_clip_is_thinned_evenly_and_keeps_first_and_last(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 22)
    thinned = decode_clip(path, None, None, PARAMETERS)
    every_third = decode(path, range(0, 22, 3))
    resized = resize_short_side(torch.from_numpy(every_third).permute(0, 3, 1, 2), 20)
    assert thinned.info.num_frames == 22
    np.testing.assert_array_equal(thinned.frames, resized.permute(0, 2, 3, 1).numpy())


def test_only_the_window_of_the_sign_is_decoded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 22)
    clip = decode_clip(path, 4, 9, PARAMETERS)
    resized = resize_short_side(torch.from_numpy(decode(path, range(4, 9))).permute(0, 3, 1, 2), 20)
    np.testing.assert_array_equal(clip.frames, resized.permute(0, 2, 3, 1).numpy())
    with pytest.raises(ClipTooShortError):
        decode_clip(path, 4, 5, PARAMETERS)


@pytest.mark.parametrize(
    ("window", "num_frames", "expected"),
    [
        ((None, None), 50, (0, 50)),
        ((2, None), 50, (2, 50)),
        ((10, 30), 50, (10, 30)),
        ((10, 60), 55, (10, 55)),  # the original, a little shorter than annotated
        ((1145, 1241), 96, (0, 96)),  # WLASL's preprocess.py has cut this one
        ((1145, 1241), 115, (0, 115)),  # the same at another frame rate
    ],
)
def test_a_window_counts_in_the_original_and_means_all_of_a_cut_file(
    window: tuple[int | None, int | None], num_frames: int, expected: tuple[int, int]
) -> None:
    assert clip_window(*window, num_frames) == expected


def die_on_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number * 10


def test_an_item_that_kills_its_process_costs_that_item_alone() -> None:
    results = list(map_crash_proof(die_on_three, range(8), num_workers=2))
    crashes = [number for number, result in enumerate(results) if isinstance(result, WorkerCrash)]
    assert crashes == [3]
    assert [r for r in results if isinstance(r, int)] == [0, 10, 20, 40, 50, 60, 70]
