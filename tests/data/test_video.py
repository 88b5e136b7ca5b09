from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slrtune.data import decoders
from slrtune.data.video import VideoError, decode, probe
from tests.data.videos import picture, write_audio, write_half_video, write_images, write_video


def without_decord(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "decord", None)


def turn_by_90_degrees(path: Path) -> None:
    """Rewrite the display matrix in the track header, as a phone held upright does."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    one = 1 << 16
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize("indices", [None, [0], [7, 3, 3, 11]])
def test_decord_and_pyav_give_the_same_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, indices: list[int] | None
) -> None:
    path = write_video(tmp_path / "clip.mp4")
    by_decord = decode(path, indices)
    without_decord(monkeypatch)
    np.testing.assert_array_equal(by_decord, decode(path, indices))


def test_a_frame_index_means_that_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", options={"crf": "0"})
    for index, frame in zip((2, 9), decode(path, [2, 9]), strict=True):
        assert frame.mean(axis=(0, 2)).argmax() == index  # the bright column


def test_a_rotated_phone_video_is_upright_in_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "clip.mp4")
    lying = decode(path)
    turn_by_90_degrees(path)
    by_decord = decode(path)
    assert by_decord.shape == (12, 48, 32, 3)
    np.testing.assert_array_equal(by_decord, np.rot90(lying, -1, axes=(1, 2)))
    without_decord(monkeypatch)
    np.testing.assert_array_equal(by_decord, decode(path))


def test_a_stream_that_only_pyav_reads_is_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.ts")
    assert probe(path).num_frames == 12


def test_probing_tells_frames_rate_and_size(tmp_path: Path) -> None:
    info = probe(write_video(tmp_path / "-odd name ñ.mp4"))
    assert (info.num_frames, info.fps, info.width, info.height) == (12, 25.0, 48, 32)


def test_an_image_folder_is_a_clip_in_natural_order(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "clip")
    (folder / "notes.txt").write_text("no frame")
    assert probe(folder).num_frames == 12
    np.testing.assert_array_equal(decode(folder, [10, 2]), np.stack([picture(10), picture(2)]))


def test_images_of_different_sizes_are_no_clip(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "clip", 3)
    write_images(tmp_path / "other", 1)
    Image.fromarray(picture(0, width=10)).save(folder / "image_1.png")
    with pytest.raises(VideoError, match="frames differ in size"):
        decode(folder)


def zero_bytes(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("this is not a video\n" * 50)


def index_missing(path: Path) -> None:
    content = write_video(path).read_bytes()  # the index is at the end
    path.write_bytes(content[: len(content) // 2])


def empty_folder(path: Path) -> None:
    path.mkdir()


def damaged_image(path: Path) -> None:
    write_images(path, 2)
    (path / "image_1.png").write_bytes(b"torn")


def playlist(path: Path) -> None:
    segment = write_video(path.with_name("segment.ts"))
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", str(segment), "#EXT-X-ENDLIST"]
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (zero_bytes, "^zero bytes$"),
        (text, "not a readable video"),
        (index_missing, "not a readable video"),
        (write_half_video, "truncated or damaged"),
        (write_audio, "^no video stream$"),
        (playlist, "playlist|not a readable video"),
        (empty_folder, "without images"),
        (damaged_image, r"image image_1\.png cannot be read"),
        (lambda path: None, "^no such file$"),
    ],
)
def test_an_unusable_file_is_refused_with_its_reason(
    tmp_path: Path, spoil: object, reason: str
) -> None:
    path = tmp_path / "clip.mp4"
    spoil(path)  # type: ignore[operator]
    with pytest.raises(VideoError, match=reason):
        probe(path)
    with pytest.raises(VideoError, match=reason):
        decode(path)


def test_a_frame_beyond_the_end_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4")
    with pytest.raises(VideoError, match="has 12 frames, no frame 12"):
        decode(path, [0, 12])
