from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slrtune.config.errors import UserError
from slrtune.data.index import index_clips
from slrtune.data.keypoints import with_keypoints
from slrtune.data.manifest import ClipRecord, write_manifest
from slrtune.data.probe import probe_clips
from slrtune.data.video import Timeline
from slrtune.data.window import ClipTooShortError, OutOfRangeError, clip_window
from tests.data.conftest import make_config
from tests.data.videos import write_images, write_video


def clip(path: str = "a.mp4", **values: object) -> ClipRecord:
    return ClipRecord(path, "x", "train", **values)  # type: ignore[arg-type]


def test_every_status_is_told_with_its_reason(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 50)  # 25 fps
    write_video(tmp_path / "one.mp4", 1)
    write_images(tmp_path / "images", 5)
    (tmp_path / "text.mp4").write_text("no video")
    records = [
        clip(), clip(start_s=0.5, end_s=1.0), clip("images"), clip("one.mp4"), clip("text.mp4"),
        clip(start_s=3.0, end_s=9.0), clip(start_frame=48), clip(start_frame=49),
        clip(start_frame=50), clip("gone.mp4", status="missing", reason="no such file"),
    ]  # fmt: skip
    probed = probe_clips(tmp_path, records)
    assert [record.status for record in probed] == [
        "ok", "ok", "ok", "too_short", "unreadable", "out_of_range", "ok", "too_short",
        "out_of_range", "missing",
    ]  # fmt: skip
    assert probed[5].reason == "3 s to 9 s of a file of 1.96 s"
    assert (probed[0].num_frames, probed[0].fps, probed[0].width) == (50, 25.0, 48)
    assert probed[0].content_hash == probed[1].content_hash is not None
    assert all(record.reason for record in probed if not record.is_usable)


@pytest.mark.parametrize(
    ("window", "num_frames", "error"),
    [
        ((50, None), 50, OutOfRangeError),
        ((40, 70), 50, OutOfRangeError),  # a third of it
        ((1000, 1010), 50, OutOfRangeError),  # too long a file to be the cut sign
        ((10, 11), 50, ClipTooShortError),
        ((None, None), 1, ClipTooShortError),
    ],
)
def test_a_sign_outside_its_file_is_refused(
    window: tuple[int | None, int | None], num_frames: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        clip_window(clip(start_frame=window[0], end_frame=window[1]), Timeline(num_frames, None))


@pytest.mark.parametrize(
    ("start_s", "end_s", "num_frames", "expected"),
    [
        (0.4, 0.8, 50, (10, 20)),
        (0.4, None, 50, (10, 50)),
        (1.0, 2.4, 50, (25, 50)),  # the original, a little shorter than annotated
    ],
)
def test_seconds_count_in_the_original(
    start_s: float, end_s: float | None, num_frames: int, expected: tuple[int, int]
) -> None:
    timeline = Timeline(num_frames, np.arange(num_frames) / 25)
    assert clip_window(clip(start_s=start_s, end_s=end_s), timeline) == expected


def test_landmarks_are_found_by_the_path_of_the_clip_and_must_fit_it(tmp_path: Path) -> None:
    for name in ("train/a/1", "train/a/2", "train/a/3"):
        write_video(tmp_path / "root" / f"{name}.mp4", 6, shade=int(name[-1]))
        (tmp_path / "kp" / name).parent.mkdir(parents=True, exist_ok=True)
    np.save(tmp_path / "kp/train/a/1.npy", np.zeros((6, 21, 3)))
    np.save(tmp_path / "kp/train/a/2.npy", np.zeros((4, 21, 3)))
    root = tmp_path / "root"
    records = index_clips(make_config(keypoints=tmp_path / "kp"), root)
    first, second, third = probe_clips(root, records)
    assert first.keypoints == "../kp/train/a/1.npy"
    assert second.status == "unreadable"
    assert "must have a row for each of 6 frames" in second.reason
    assert (third.keypoints, third.reason, third.status) == (None, "", "ok")
    with pytest.raises(UserError, match=r"data\.keypoints: must be a folder"):
        with_keypoints(records, root, make_config(keypoints=tmp_path / "nowhere"))


def test_a_written_manifest_lists_the_clips_again(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for take in range(2):
        write_video(root / f"train/a/{take}.mp4", 6, shade=take)
    (root / "train/a/bad.mp4").write_text("no video")
    records = probe_clips(root, index_clips(make_config(), root))
    write_manifest(tmp_path / "m.parquet", records)
    (root / "train/a/0.mp4").unlink()
    again = index_clips(make_config(annotations=tmp_path / "m.parquet"), root)
    assert [record.status for record in again] == ["missing", "found", "unreadable"]
    assert again[1].num_frames == 6
