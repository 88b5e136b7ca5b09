from __future__ import annotations

import unicodedata
from pathlib import Path

from slrtune.data.formats.files import VideoFiles
from tests.data.formats.listed import touch


def test_a_clip_is_found_by_path_by_the_end_of_a_path_and_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "a/b/-1.MP4", "a/c/take/001.jpg")
    files = VideoFiles(tmp_path)
    for name in ("a/b/-1.MP4", "./a/b/-1.mp4", "b/-1.mp4", "b\\-1", "-1", "-1.avi"):
        assert files.find(name) == ("a/b/-1.MP4", ""), name
    assert files.find("take") == files.find("c/take.mp4") == ("a/c/take", "")
    assert files.find("x/-1.mp4") == files.find("b") == (None, "no such file")


def test_names_are_the_same_composed_and_decomposed(tmp_path: Path) -> None:
    touch(tmp_path, unicodedata.normalize("NFD", "café/कि.mp4"))
    found, _ = VideoFiles(tmp_path).find("café/कि.mp4")
    assert found is not None and (tmp_path / found).is_file()


def test_one_name_in_two_folders_is_told_apart_by_split_or_nearness_or_not_at_all(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "train/1.mp4", "dev/1.mp4", "x/2.mp4", "y/2.mp4", "3.mp4", "old/3.mp4")
    files = VideoFiles(tmp_path)
    assert files.find("1.mp4", "val") == ("dev/1.mp4", "")
    assert files.find("3") == ("3.mp4", "")
    found, reason = files.find("2")
    assert found is None
    assert reason.startswith("several files have this name: x/2.mp4, y/2.mp4; write the folder")
    assert files.find("y/2") == ("y/2.mp4", "")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.mp4", "root/0.mp4")
    (tmp_path / "root/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/circle").symlink_to(tmp_path / "root")
    (tmp_path / "root/gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    files = VideoFiles(tmp_path / "root")
    assert files.find("1") == ("linked/1.mp4", "")
    assert files.find("0") == ("0.mp4", "")
    assert files.find("gone") == (None, "no such file")


def test_a_dot_in_a_name_is_no_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "v1.5.mp4", "take.2/1.png")
    assert VideoFiles(tmp_path).find("v1.5") == ("v1.5.mp4", "")
    assert VideoFiles(tmp_path).find("take.2") == ("take.2", "")
