"""Which clips there are, by folder or annotation file, without decoding any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.duplicates import mark_duplicates
from slrtune.data.formats.class_folders import index_class_folders
from slrtune.data.formats.detect import READERS, detect_format
from slrtune.data.formats.files import VideoFiles
from slrtune.data.formats.generic_csv import unused_of
from slrtune.data.formats.listing import Listing
from slrtune.data.keypoints import with_keypoints
from slrtune.data.manifest import FOUND, OUT_OF_RANGE, ClipRecord

LABEL_TABLE = "labels.csv"


def index_clips(config: DataConfig, root: Path) -> tuple[ClipRecord, ...]:
    """Every clip that folders or annotations list, in an order that depends on nothing else.

    A listed clip whose file is absent gets the status ``missing``, a second copy of one
    ``duplicate``, one that ends before it begins ``out_of_range``.

    Args:
        root: folder of the videos; for the embedded data sets where they were rendered.

    Raises:
        UserError: no such folder, no clip in it, an annotation file that breaks its format, or a
            clip in two splits.
    """
    if not root.is_dir():
        raise UserError(f"data.root: must be a folder, but {root} is none; correct the path")
    files = _annotation_files(config, root)
    if files:
        videos = VideoFiles(root)
        records = [
            record
            for file in files
            for record in _read(config, Listing(root, file, videos, config.columns))
        ]
    else:
        records = index_class_folders(root)
    if not records:
        raise UserError(_nothing_found(root, files))
    records = [_checked_window(record) for record in with_keypoints(records, root, config)]
    return tuple(mark_duplicates(root, records, config))


def unused_columns(config: DataConfig) -> dict[Path, tuple[str, ...]]:
    """Columns that nothing is read from, by file, of the `csv` tables that have some."""
    assert config.root is not None
    unused = {}
    for file in _annotation_files(config, config.root):
        if _format(config, file) == "csv" and (names := unused_of(file, config.columns)):
            unused[file] = names
    return unused


def _annotation_files(config: DataConfig, root: Path) -> tuple[Path, ...]:
    """The files to read; none = the folders themselves are the labels."""
    if config.annotations:
        if config.source == "class_folders":
            raise UserError(
                "data.annotations: must be left out for data.source class_folders; "
                "take data.source auto or the annotations' format"
            )
        return tuple(file.expanduser() for file in config.annotations)
    has_table = (root / LABEL_TABLE).is_file()
    if has_table and (config.is_embedded or config.source in ("auto", "csv")):
        return (root / LABEL_TABLE,)
    if not config.is_embedded and config.source not in ("auto", "class_folders"):
        raise UserError(f"data.annotations: must be given for data.source {config.source}")
    return ()


def _read(config: DataConfig, listing: Listing) -> list[ClipRecord]:
    return READERS[_format(config, listing.file)](listing)


def _format(config: DataConfig, file: Path) -> str:
    if config.source == "auto" or config.is_embedded:
        return detect_format(file, has_mapping=bool(config.columns))
    return config.source


def _checked_window(record: ClipRecord) -> ClipRecord:
    if record.status != FOUND:
        return record
    for start, end, unit in (
        (record.start_frame, record.end_frame, "frame"),
        (record.start_s, record.end_s, "second"),
    ):
        if min(start or 0, end or 0) < 0 or (end is not None and end <= (start or 0)):
            reason = f"ends ({unit} {end}) before it begins ({start or 0})"
            return replace(record, status=OUT_OF_RANGE, reason=reason)
    return record


def _nothing_found(root: Path, files: tuple[Path, ...]) -> str:
    if files:
        named = ", ".join(map(str, files))
        return f"data.annotations: must list clips, but {named} lists none; take another file"
    beside = sorted(
        entry.name for entry in root.iterdir() if entry.suffix.lower() in (".json", ".csv", ".tsv")
    )
    hint = f"; if {beside[0]} lists them, give it as --annotations" if beside else ""
    return (
        f"data.root: must hold clips, but none was found in {root}; expected "
        "<split>/<gloss>/<clip> or <gloss>/<clip>, a clip being a video or a folder of images"
        + hint
    )
