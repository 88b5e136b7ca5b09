"""What a reader of a format is given, and the errors of a whole file at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from slrtune.config.errors import UserError
from slrtune.data.formats.files import VideoFiles
from slrtune.data.manifest import FOUND, MISSING

_MAX_NAMED = 10


class Place(TypedDict):
    """Where a clip is, or that it is not there: fields of a `ClipRecord`."""

    path: str
    status: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """One annotation file and the videos it speaks of.

    Attributes:
        root: folder of the videos.
        file: the annotation file.
        videos: all clips below the root.
        columns: for CSV: our name of a column -> the file's.
    """

    root: Path
    file: Path
    videos: VideoFiles
    columns: Mapping[str, str] = field(default_factory=dict)

    def locate(self, *names: str, split: str = "") -> Place:
        """The first of ``names`` that is there; else the first, as missing.

        A name that is not below the root is also read as a path from the annotations' folder.
        """
        reasons = []
        for name in names:
            path, reason = self.videos.find(name, split)
            if path is not None:
                return Place(path=path, status=FOUND, reason="")
            reasons.append(reason)
        for name in names:
            path = self.videos.find_from(self.file.parent, name)
            if path is not None:
                return Place(path=path, status=FOUND, reason="")
        return Place(path=names[0], status=MISSING, reason=reasons[0])

    def neighbour(self, name: str) -> Path | None:
        """A file beside the annotations or in the root, such as a list of classes."""
        for folder in (self.file.parent, self.root):
            if (folder / name).is_file():
                return folder / name
        return None


def load_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: must be a JSON file in UTF-8, but {error}") from error


def refuse(file: Path, mistakes: Sequence[str]) -> None:
    """Raise all mistakes of a file as one error, if there are any.

    Args:
        mistakes: each begins with its place: ``12: path must not be empty; complete the row``.
    """
    if not mistakes:
        return
    named = [f"{file}:{mistake}" for mistake in mistakes[:_MAX_NAMED]]
    if len(mistakes) > _MAX_NAMED:
        named.append(f"{file}: … and {len(mistakes) - _MAX_NAMED} more like these")
    raise UserError("\n".join(named))
