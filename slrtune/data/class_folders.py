"""Class folders, `root/<split>/<gloss>/<clip>` or `root/<gloss>/<clip>`, or a CSV of labels."""

from __future__ import annotations

import csv
import unicodedata
from pathlib import Path, PurePosixPath

from slrtune.config.errors import UserError
from slrtune.data.manifest import FOUND, MISSING, ClipRecord
from slrtune.data.video import VIDEO_SUFFIXES, is_image_folder, natural_key

SPLIT_NAMES = frozenset({"train", "val", "validation", "valid", "dev", "test"})
UNSPLIT = "train"
"""The split of clips that name none; `data.val_fraction` can hold some of them out."""


def index_class_folders(root: Path) -> list[ClipRecord]:
    """One record per clip; a folder named as a split that holds gloss folders is a split.

    Raises:
        UserError: split folders and gloss folders side by side.
    """
    splits = [folder for folder in _folders(root) if _is_split(folder)]
    glosses = [folder for folder in _folders(root) if folder not in splits and _clips(folder)]
    if splits and glosses:
        raise UserError(
            f"{root}: must hold either split folders or gloss folders, but has both "
            f"({splits[0].name} and {glosses[0].name}); move one kind elsewhere"
        )
    if not splits:
        return [record for folder in glosses for record in _records(root, folder, UNSPLIT)]
    return [
        record
        for split in splits
        for folder in _folders(split)
        for record in _records(root, folder, split.name)
    ]


def index_label_table(root: Path, table: Path) -> list[ClipRecord]:
    """One record per row of a CSV with the columns path, label and perhaps signer, split.

    Paths are relative to ``root``. Without a split column the first folder of the path decides
    where it is named as a split; else the clip counts as training data.

    Raises:
        UserError: the file cannot be read, or misses a column or a value.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _require_columns(table, reader.fieldnames or [])
            return [_row_record(root, table, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table}: must be a UTF-8 CSV file, but {error}") from error


def gloss_name(label: str) -> str:
    """The same label is the same gloss however it was typed (macOS spells names decomposed)."""
    return unicodedata.normalize("NFC", label.strip())


def _require_columns(table: Path, columns: object) -> None:
    found = list(columns) if isinstance(columns, list) else []
    absent = [name for name in ("path", "label") if name not in found]
    if absent:
        raise UserError(
            f"{table}: must have the columns path and label, but has {', '.join(found) or 'none'}; "
            "rename its columns, or the file if it is no list of clips"
        )


def _row_record(root: Path, table: Path, line: int, row: dict[str, str | None]) -> ClipRecord:
    path, label = (row["path"] or "").strip(), gloss_name(row["label"] or "")
    if not path or not label:
        raise UserError(f"{table}:{line}: path and label must not be empty; complete the row")
    first_folder = PurePosixPath(path).parts[0]
    split = (row.get("split") or "").strip() or (
        first_folder if first_folder in SPLIT_NAMES else UNSPLIT
    )
    return _record(root, path, label, split, (row.get("signer") or "").strip() or None)


def _is_split(folder: Path) -> bool:
    # a gloss may be called "test": then its folder holds clips, not folders of clips
    return folder.name in SPLIT_NAMES and any(
        not is_image_folder(inner) for inner in _folders(folder)
    )


def _records(root: Path, folder: Path, split: str) -> list[ClipRecord]:
    return [
        _record(root, clip.relative_to(root).as_posix(), gloss_name(folder.name), split)
        for clip in _clips(folder)
    ]


def _record(root: Path, path: str, gloss: str, split: str, signer: str | None = None) -> ClipRecord:
    if (root / path).exists():  # a folder may list links that lead nowhere
        return ClipRecord(path, gloss, split, signer, status=FOUND)
    return ClipRecord(path, gloss, split, signer, status=MISSING, reason="no such file")


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
