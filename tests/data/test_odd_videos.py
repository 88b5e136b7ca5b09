"""Right frames or one clear reason, for whatever a file may be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from slrtune.data import decoders
from slrtune.data.video import VideoError, decode, probe, read, timeline_of
from tests.data.odd_videos import (
    ODD_KINDS,
    drop_packets,
    encode_kind,
    packet_places,
    plain_frames,
    set_display_matrix,
    write_kind,
)

ONE = 1 << 16
NUM_DAMAGED = 300


@pytest.mark.parametrize("kind", ODD_KINDS)
def test_any_frames_of_any_kind_of_video_are_those_of_a_plain_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = write_kind(tmp_path / "clip", kind)
    expected = plain_frames(path)
    last = len(expected) - 1
    for decord in (decoders.decord, None):
        monkeypatch.setattr(decoders, "decord", decord)
        assert probe(path).num_frames == timeline_of(path).num_frames == len(expected)
        for indices in (range(last + 1), [last], [0], [last, 0, last // 2, 0], [last * 2 // 3]):
            np.testing.assert_array_equal(decode(path, indices), expected[list(indices)])


def test_damaged_files_give_right_frames_or_a_reason_and_neither_crash_nor_hang_nor_leak(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "tests.data.fuzz_video", str(tmp_path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=240)
    files = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, f"the decoder died of the file after {files[-1]}"
    outcomes = Counter(file["outcome"] for file in files)
    assert len(files) >= NUM_DAMAGED
    assert [file for file in files if file["outcome"] == "wrong"] == []
    assert outcomes["as stored"] < 0.15 * len(files), outcomes
    assert all(file["reason"] for file in files if file["outcome"] == "refused")
    early, late = files[len(files) // 4], files[-1]
    assert late["open_files"] <= early["open_files"]
    assert late["peak_kib"] - early["peak_kib"] < 200 * 1024


@pytest.mark.parametrize("kind", ["h264", "h264 in matroska", "h264 in mpeg-ts", "h265"])
def test_a_lost_picture_that_others_build_on_is_found(tmp_path: Path, kind: str) -> None:
    sound = write_kind(tmp_path / "sound", kind)
    with pytest.raises(VideoError, match="truncated or damaged"):
        decode(drop_packets(sound, tmp_path / f"lossy{sound.suffix}", {6, 7}))


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((0, ONE, -ONE, 0), lambda frames: np.rot90(frames, -1, axes=(1, 2))),
        ((-ONE, 0, 0, -ONE), lambda frames: np.rot90(frames, 2, axes=(1, 2))),
        ((0, -ONE, ONE, 0), lambda frames: np.rot90(frames, 1, axes=(1, 2))),
        ((-ONE, 0, 0, ONE), lambda frames: frames[:, :, ::-1]),
        ((ONE, 0, 0, -ONE), lambda frames: frames[:, ::-1]),
        ((0, ONE, ONE, 0), lambda frames: frames.swapaxes(1, 2)),
    ],
)
def test_turned_and_mirrored_videos_are_as_a_player_shows_them(
    tmp_path: Path, matrix: tuple[int, int, int, int], expected: object
) -> None:
    path = write_kind(tmp_path / "clip", "h264")
    stored = decode(path)
    set_display_matrix(path, *matrix)
    np.testing.assert_array_equal(decode(path), expected(stored))  # type: ignore[operator]


def test_an_angle_that_is_no_quarter_turn_is_refused(tmp_path: Path) -> None:
    path = write_kind(tmp_path / "clip", "h264")
    set_display_matrix(path, 46341, 46341, -46341, 46341)
    with pytest.raises(VideoError, match="no quarter turn"):
        probe(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_window_in_seconds_goes_by_the_timestamps(tmp_path: Path, suffix: str) -> None:
    ticks = [0, 1, 2, 10, 20, 21, 22, 30, 40, 50]  # 1/25 s
    path = encode_kind(tmp_path / f"clip.{suffix}", ticks=ticks, num_frames=10)
    timeline = timeline_of(path)
    assert timeline.times_s is not None
    np.testing.assert_allclose(timeline.times_s, np.array(ticks) / 25, atol=1e-3)
    assert timeline.between(0.4, 0.84) == (3, 5)  # from the frame at 0.4 s, without that at 0.84 s
    assert timeline.between(0.6, 0.7) == (3, 4)  # the frame on screen
    assert timeline.between(None, 0.08) == (0, 2)
    assert timeline.between(1.6, None) == (8, 10)
    assert timeline.between(60, 61) == (10, 10)


def test_an_avi_has_times_by_its_constant_rate(tmp_path: Path) -> None:
    times_s = timeline_of(write_kind(tmp_path / "clip", "h264 in avi")).times_s
    np.testing.assert_allclose(times_s, np.arange(20) / 25)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_only_the_stretch_around_the_frames_is_decoded(tmp_path: Path, suffix: str) -> None:
    options = {"x264-params": "keyint=25:min-keyint=25:scenecut=0"}
    path = encode_kind(tmp_path / f"clip.{suffix}", num_frames=200, options=options)
    expected = plain_frames(path)
    content, places = bytearray(path.read_bytes()), packet_places(path)
    start, size = places[30]
    content[start + 12 : start + size] = bytes(size - 12)
    path.write_bytes(content)
    for first, last in ((103, 109), (5, 20), (175, 199)):
        _, frames = read(path, lambda timeline, window=(first, last): range(*window))
        np.testing.assert_array_equal(frames, expected[first:last])
    with pytest.raises(VideoError, match="truncated or damaged"):
        decode(path, [40])


def test_more_frames_than_memory_may_hold_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "MAX_CLIP_GIB", 1e-5)
    with pytest.raises(VideoError, match="20 frames of 65x49 take"):
        decode(write_kind(tmp_path / "clip", "4:2:0, odd size"))


def test_decoding_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "MAX_DECODE_S", -1.0)
    with pytest.raises(VideoError, match="takes longer than"):
        probe(write_kind(tmp_path / "clip", "h264"))
