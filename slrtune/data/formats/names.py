"""Names as the field writes them: glosses, splits."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

SPLIT_NAMES = frozenset({"train", "val", "validation", "valid", "dev", "test"})
UNSPLIT = "train"
"""The split of clips that name none; `data.val_fraction` can hold some of them out."""


def gloss_name(label: str) -> str:
    """The same label is the same gloss however it was typed (macOS spells names decomposed)."""
    return unicodedata.normalize("NFC", label.strip())


def is_split_name(name: str) -> bool:
    """Whether a folder or a part of a file's name says a split, in any spelling: `Train`."""
    return name.lower() in SPLIT_NAMES


def split_of_path(path: str, file: Path) -> str:
    """The first folder of a listed path where it is named as a split, else the file's."""
    first_folder = PurePosixPath(path.replace("\\", "/")).parts[0]
    return first_folder if is_split_name(first_folder) else split_of_file(file)


def split_of_file(file: Path) -> str:
    """The split that a file's name says, such as `MSASL_val.json`; else that of unsplit clips."""
    parts = re.split(r"[^a-z]+", file.stem.lower())
    named: Sequence[str] = [part for part in parts if part in SPLIT_NAMES]
    return named[-1] if named else UNSPLIT
