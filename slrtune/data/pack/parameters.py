"""What decides the bytes of a pack: the settings that were packed with, and how two differ."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from slrtune.config.data import DataConfig

PACK_VERSION = 1
"""Raise it when the same settings give other bytes."""

Storage = Literal["raw", "jpeg"]


@dataclass(frozen=True)
class PackParameters:
    """Field by field what `DataConfig` calls ``pack_*``.

    Attributes:
        size_px: short side of the packed frames; the aspect ratio is kept.
        max_frames: longer clips are thinned evenly to this many frames.
        storage: ``raw`` = uint8 RGB as it is; ``jpeg`` = a picture per frame.
        jpeg_quality: None for ``raw``.
        crop_margin: room around the signer's box; None = the whole picture.
    """

    size_px: int
    max_frames: int
    storage: Storage = "raw"
    jpeg_quality: int | None = None
    crop_margin: float | None = None
    version: int = PACK_VERSION

    @classmethod
    def of(cls, config: DataConfig) -> PackParameters:
        """The parameters that ``config`` asks for."""
        return cls(
            size_px=config.pack_size_px or round(1.15 * config.image_size),
            max_frames=config.pack_max_frames,
            storage=config.pack_storage,
            jpeg_quality=config.pack_jpeg_quality if config.pack_storage == "jpeg" else None,
            crop_margin=config.pack_crop_margin,
        )

    def differences(self, wanted: PackParameters) -> list[str]:
        """One phrase per field in which this pack is not what is wanted."""
        mine, theirs = asdict(self), asdict(wanted)
        return [
            f"{_key(name)} is {_shown(mine[name])} in the pack and {_shown(theirs[name])} in the "
            "configuration"
            for name in mine
            if mine[name] != theirs[name]
        ]


def _key(name: str) -> str:
    return "the format version" if name == "version" else f"data.pack_{name}"


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
