"""Class folders: `root/<split>/<gloss>/<clip>` or `root/<gloss>/<clip>`."""

from __future__ import annotations

from pathlib import Path

from slrtune.config.errors import UserError
from slrtune.data.formats.files import NO_SUCH_FILE
from slrtune.data.formats.names import UNSPLIT, gloss_name, is_split_name
from slrtune.data.manifest import FOUND, MISSING, ClipRecord
from slrtune.data.video import VIDEO_SUFFIXES, is_image_folder, natural_key


def index_class_folders(root: Path) -> list[ClipRecord]:
    """One record per clip; a folder named as a split that holds gloss folders is a split.

    Raises:
        UserError: split folders and gloss folders side by side, or splits without gloss folders.
    """
    splits = [folder for folder in _folders(root) if _is_split(folder)]
    glosses = [folder for folder in _folders(root) if folder not in splits and _clips(folder)]
    if splits and glosses:
        raise UserError(
            f"{root}: must hold either split folders or gloss folders, but has both "
            f"({splits[0].name} and {glosses[0].name}); move one kind elsewhere"
        )
    if glosses and all(is_split_name(folder.name) for folder in glosses):
        named = " and ".join(folder.name for folder in glosses[:2])
        raise UserError(
            f"{root}: must hold <split>/<gloss>/<clip> or <gloss>/<clip>, a clip being a video or "
            f"a folder of images, but {named} look like splits whose clips have no folder of their "
            "gloss; put each clip into <split>/<gloss>/, images into <split>/<gloss>/<clip>/"
        )
    if not splits:
        return [record for folder in glosses for record in _records(root, folder, UNSPLIT)]
    return [
        record
        for split in splits
        for folder in _folders(split)
        for record in _records(root, folder, split.name)
    ]


def _is_split(folder: Path) -> bool:
    # a gloss may be called "test": then its folder holds clips, not folders of clips
    return is_split_name(folder.name) and any(
        not is_image_folder(inner) for inner in _folders(folder)
    )


def _records(root: Path, folder: Path, split: str) -> list[ClipRecord]:
    return [
        _record(clip, clip.relative_to(root).as_posix(), gloss_name(folder.name), split)
        for clip in _clips(folder)
    ]


def _record(clip: Path, path: str, gloss: str, split: str) -> ClipRecord:
    if clip.exists():
        return ClipRecord(path, gloss, split, status=FOUND)
    # a folder may list links that lead nowhere
    return ClipRecord(path, gloss, split, status=MISSING, reason=NO_SUCH_FILE)


def _clips(folder: Path) -> list[Path]:
    return [
        entry
        for entry in _visible(folder)
        if entry.suffix.lower() in VIDEO_SUFFIXES or is_image_folder(entry)
    ]


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _visible(folder) if entry.is_dir()]


def _visible(folder: Path) -> list[Path]:
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(entries, key=lambda entry: natural_key(entry.name))
