"""Addresses of object stores as paths: each has a working folder on this machine, and back.

``s3://bucket/runs/s?region=eu-north-1`` is
``~/.cache/slrtune-remote-runs/s3/region=eu-north-1/bucket/runs/s``. Whoever gets the path knows the
address: no code between has to carry both. `slrtune.config.mirror` copies between them.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

_ROOT = "slrtune-remote-runs"
_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
_NO_OPTIONS = "_"
_SAFE = "=&:,@ "
_SECRET_OPTION = re.compile(r"(^|[&_-])(key|secret|token|password|credential)", re.IGNORECASE)


def is_address(text: str) -> bool:
    """Whether it names a place by its scheme."""
    return "://" in text


def folder_of(text: str) -> Path:
    """The folder that ``text`` means on this machine: its own, or the working folder of an address.

    Raises:
        ValueError: an address that cannot be used; the message is a rule, and holds no key.
    """
    if not is_address(text):
        return here(Path(text))
    scheme, _, rest = text.partition("://")
    place, _, options = rest.partition("?")
    if scheme == "file":
        return Path(f"/{unquote(place).lstrip('/')}")
    authority, _, path = place.partition("/")
    user, is_signed, _ = authority.rpartition("@")
    if ":" in user or (is_signed and scheme == "s3") or _SECRET_OPTION.search(options):
        raise ValueError(
            "an address without keys, which would stand in every record of a sweep: give them by "
            "the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE…) or by the role of the machine"
        )
    parts = path.strip("/").split("/") if path.strip("/") else []
    if scheme not in _SCHEMES or not authority or {".", "..", ""} & set(parts):
        raise ValueError(
            f"a folder, or an address such as s3://bucket/runs ({', '.join(_SCHEMES)} or file)"
        )
    names = (scheme, quote(options, safe=_SAFE) or _NO_OPTIONS, authority, *parts)
    return Path.home().joinpath(".cache", _ROOT, *names)


def address_of(folder: Path) -> str | None:
    """The address whose working folder it is, or that of what lies in one; None of any other."""
    parts = folder.parts
    if _ROOT not in parts or len(parts) < parts.index(_ROOT) + 4:
        return None
    scheme, options, *place = parts[parts.index(_ROOT) + 1 :]
    query = "" if options == _NO_OPTIONS else f"?{unquote(options)}"
    return f"{scheme}://{'/'.join(place)}{query}"


def here(folder: Path) -> Path:
    """The same working folder as this user has it; another process may have another home."""
    parts = folder.parts
    if _ROOT not in parts:
        return folder
    return Path.home().joinpath(".cache", *parts[parts.index(_ROOT) :])


def shown(folder: Path) -> str:
    """As the user would name it."""
    return address_of(folder) or str(folder)


def masked(text: str) -> str:
    """Without the keys that an address may carry."""
    hidden = re.sub(r"://[^/?\s]*@", "://…@", text)
    return re.sub(r"((?:key|secret|token|password|credential)\w*=)[^&\s]*", r"\1…", hidden)
