"""The clips below a folder, listed once: 20 000 look-ups on a network disk would take minutes."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from slrtune.data.formats.names import is_split_name
from slrtune.data.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES, natural_key

_MAX_DEPTH = 8
NO_SUCH_FILE = "no such file"


class VideoFiles:
    """Videos and image folders below ``root``, found by path, by file name or by id."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._outside: dict[Path, dict[str, str]] = {}

    @cached_property
    def _by_path(self) -> dict[str, str]:
        return {_key(path): path for path in _clips_below(self._root)}

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for key, path in self._by_path.items():
            found[_stem(key)].append(path)
        return found

    @cached_property
    def _by_end(self) -> dict[tuple[str, str], list[str]]:
        """By the last folder and the stem: PHOENIX 2014 calls each of its clips `<name>/1`."""
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for key, path in self._by_path.items():
            found[_last_folder(key), _stem(key)].append(path)
        return found

    def find(self, name: str, split: str = "") -> tuple[str | None, str]:
        """Where the clip called ``name`` is, relative to the root, or None and the reason.

        ``name`` may be a path, the end of one, or just the file's name; its suffix may be another
        than the file's or missing. Where several fit, that in a folder called as ``split``, else
        the one nearest to the root is meant; if this leaves several folders, none is.
        """
        key = _key(name)
        if key in self._by_path:
            return self._by_path[key], ""
        if Path(name).is_absolute():
            return (name, "") if Path(name).exists() else (None, NO_SUCH_FILE)
        folders = PurePosixPath(key).parts[:-1]
        named = self._by_stem.get(_stem(key), ())
        if folders:
            named = self._by_end.get((folders[-1], _stem(key)), ())
        fitting = [path for path in named if _lies_in(_key(path), folders)]
        in_split = [path for path in fitting if _is_of_split(path, split)]
        chosen = _nearest(in_split or fitting)
        if not chosen:
            return None, NO_SUCH_FILE
        if len({PurePosixPath(path).parent for path in chosen}) > 1:
            return None, (
                f"several files have this name: {chosen[0]}, {chosen[1]}; write the folder of the "
                "one that is meant before its name"
            )
        # of one video in two containers the .mp4 is the converted one: the .swf of WLASL
        return min(chosen, key=lambda path: not path.lower().endswith(".mp4")), ""

    def find_from(self, folder: Path, name: str) -> str | None:
        """Where the path ``name`` leads from ``folder``, relative to the root; None = nowhere.

        Outside the root its folder is listed once, and the path begins with ``..``.
        """
        path = Path(os.path.abspath(folder / _key(name)))  # noqa: PTH100 - takes the .. away
        root = Path(os.path.abspath(self._root))  # noqa: PTH100
        if path.is_relative_to(root):
            return self._by_path.get(_key(path.relative_to(root).as_posix()))
        if path.parent not in self._outside:
            self._outside[path.parent] = _names_in(path.parent)
        real_name = self._outside[path.parent].get(path.name)
        if real_name is None:
            return None
        # `..` leads up from where a link points to
        real = (path.parent / real_name).resolve()
        return PurePosixPath(os.path.relpath(real, self._root.resolve())).as_posix()


def _names_in(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        return {}
    return {_key(entry.name): entry.name for entry in os.scandir(folder)}


def _clips_below(root: Path) -> Iterator[str]:
    waiting, seen = [("", 0)], set()
    while waiting:
        folder, depth = waiting.pop()
        inner, videos, has_images = [], [], False
        with os.scandir(root / folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = f"{folder}/{entry.name}" if folder else entry.name
                suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a million names
                if suffix in IMAGE_SUFFIXES:
                    has_images = True
                elif suffix in VIDEO_SUFFIXES and entry.is_file():
                    videos.append(path)
                elif entry.is_dir():
                    # a link may lead back up
                    number = entry.stat() if entry.is_symlink() else None
                    if number is None or (number.st_dev, number.st_ino) not in seen:
                        inner.append((path, depth + 1))
                    if number is not None:
                        seen.add((number.st_dev, number.st_ino))
        yield from sorted(videos, key=natural_key)
        if has_images and folder and not videos:
            yield folder
        if depth < _MAX_DEPTH:
            waiting += sorted(inner, key=lambda item: natural_key(item[0]), reverse=True)


def _key(name: str) -> str:
    """macOS spells file names decomposed, Windows writes paths with backslashes."""
    path = unicodedata.normalize("NFC", name.strip()).replace("\\", "/")
    return path.removeprefix("./")


def _stem(key: str) -> str:
    last = key.rsplit("/", 1)[-1]
    stem, dot, suffix = last.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in VIDEO_SUFFIXES | {".swf"} else last


def _last_folder(key: str) -> str:
    return key.rsplit("/", 2)[-2] if "/" in key else ""


def _lies_in(path: str, folders: tuple[str, ...]) -> bool:
    return not folders or PurePosixPath(path).parts[:-1][-len(folders) :] == folders


def _is_of_split(path: str, split: str) -> bool:
    folders = {part.lower() for part in PurePosixPath(path).parts[:-1] if is_split_name(part)}
    same = {"dev", "val", "valid", "validation"}
    return bool(folders & (same if split.lower() in same else {split.lower()}))


def _nearest(paths: list[str]) -> list[str]:
    nearest = min((path.count("/") for path in paths), default=0)
    return [path for path in paths if path.count("/") == nearest]
