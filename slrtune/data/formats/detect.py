"""Which format an annotation file is in, by its content rather than its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slrtune.config.errors import UserError
from slrtune.data.formats.asl_citizen import index_asl_citizen, looks_like_asl_citizen
from slrtune.data.formats.generic_csv import index_csv, looks_like_csv
from slrtune.data.formats.headerless import index_headerless, looks_headerless
from slrtune.data.formats.how2sign import index_how2sign, looks_like_how2sign
from slrtune.data.formats.isltranslate import index_isltranslate, looks_like_isltranslate
from slrtune.data.formats.listing import Listing, load_json
from slrtune.data.formats.msasl import index_msasl, looks_like_msasl
from slrtune.data.formats.own_manifest import index_manifest
from slrtune.data.formats.phoenix import index_phoenix, looks_like_phoenix
from slrtune.data.formats.table import Table, read_header
from slrtune.data.formats.wlasl import index_wlasl, looks_like_wlasl
from slrtune.data.manifest import ClipRecord
from slrtune.data.video import VIDEO_SUFFIXES

READERS: dict[str, Callable[[Listing], list[ClipRecord]]] = {
    "csv": index_csv,
    "wlasl": index_wlasl,
    "msasl": index_msasl,
    "asl_citizen": index_asl_citizen,
    "phoenix": index_phoenix,
    "how2sign": index_how2sign,
    "isltranslate": index_isltranslate,
    "headerless": index_headerless,
    "manifest": index_manifest,
}
_TABLES: dict[str, Callable[[Table], bool]] = {
    "how2sign": looks_like_how2sign,
    "phoenix": looks_like_phoenix,
    "asl_citizen": looks_like_asl_citizen,
    "isltranslate": looks_like_isltranslate,
    "headerless": looks_headerless,
}


def detect_format(file: Path, *, has_mapping: bool = False) -> str:
    """The name of the reader of ``file``, a key of `READERS`.

    Args:
        has_mapping: columns are mapped by hand, so the table is the user's own.

    Raises:
        UserError: it is in none of the formats.
    """
    if file.suffix.lower() in VIDEO_SUFFIXES:
        raise UserError(
            f"{file}: must be a file that lists clips, or a folder of clips, but is a video; "
            f"name its folder, {file.parent}"
        )
    start = _start_of(file)
    if start.startswith(b"PAR1"):
        return "manifest"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{"):
        return _detect_json(file)
    if has_mapping:
        return "csv"
    columns = read_header(file)
    for name, looks_like in _TABLES.items():
        if looks_like(Table(columns, ())):
            return name
    if looks_like_csv(columns) or file.suffix.lower() in (".csv", ".tsv", ".txt"):
        return "csv"  # whose reader says which columns it misses
    raise UserError(
        f"{file}: must be an annotation file of a known format, but is none "
        f"(it begins with {start[:30]!r}); name the format with --format (data.source)"
    )


def _detect_json(file: Path) -> str:
    content = load_json(file)
    if content in ([], {}):
        raise UserError(f"{file}: must list clips, but is empty; take another file")
    if looks_like_wlasl(content):
        return "wlasl"
    if looks_like_msasl(content):
        return "msasl"
    raise UserError(
        f"{file}: must be WLASL's or MS-ASL's JSON of clips, but looks like neither; take the "
        "original (WLASL_v0.3.json, nslt_100.json, MSASL_train.json)"
    )


def _start_of(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(64)
    except OSError as error:
        raise UserError(f"{file}: must be a file that can be read, but {error}") from error
