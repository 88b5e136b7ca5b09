"""Video files to text, one after the other; a bad file is told and stops nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from slrtune.config.data import DataConfig
from slrtune.config.decoding import DecodingConfig
from slrtune.data.dataset import load_clip
from slrtune.data.video import VideoError
from slrtune.data.workers import MAX_CLIP_S, WorkerCrash, available_cpus, map_crash_proof
from slrtune.deploy.translator import Translator, Written


@dataclass(frozen=True)
class TranslatedVideo:
    """What became of one file.

    Attributes:
        path: as it was named.
        written: None for a bad file.
        reason: why a file is bad; empty otherwise.
        decode_s, encode_s, write_s: seconds for reading the video, the encoder, and the text.
    """

    path: Path
    written: Written | None
    reason: str = ""
    decode_s: float = 0.0
    encode_s: float = 0.0
    write_s: float = 0.0


def translate_videos(
    translator: Translator, paths: Sequence[Path], decoding: DecodingConfig
) -> Iterator[TranslatedVideo]:
    """Translate files in their order, each as it was said to be read.

    Videos are decoded by processes of their own, while the last one is translated: one that
    crashes or hangs its decoder costs itself alone.
    """
    data = translator.trained.experiment.data
    num_workers = max(min(available_cpus() - 1, len(paths)), 1)
    clips = map_crash_proof(partial(_clip, data), paths, num_workers, max_item_s=MAX_CLIP_S)
    for path, clip in zip(paths, clips, strict=True):
        if isinstance(clip, WorkerCrash):
            yield TranslatedVideo(path, None, clip.reason)
        elif isinstance(clip, str):
            yield TranslatedVideo(path, None, clip)
        else:
            frames, decode_s = clip
            yield _translated(translator, path, frames, decode_s, decoding)


def _translated(
    translator: Translator,
    path: Path,
    frames: np.ndarray,
    decode_s: float,
    decoding: DecodingConfig,
) -> TranslatedVideo:
    started_s = time.perf_counter()
    memory = translator.encode(torch.from_numpy(frames)[None])
    float(memory.tokens[0, 0, 0])  # waits for the GPU
    encoded_s = time.perf_counter()
    (written,) = translator.write(memory, decoding)
    write_s = time.perf_counter() - encoded_s
    return TranslatedVideo(
        path, written, decode_s=decode_s, encode_s=encoded_s - started_s, write_s=write_s
    )


def _clip(data: DataConfig, path: Path) -> tuple[np.ndarray, float] | str:
    """Frames uint8 (T, C, S, S) and the seconds it took, or why there are none."""
    started_s = time.perf_counter()
    try:
        frames = load_clip(path, data).numpy()
    except VideoError as error:
        return error.reason
    except OSError as error:  # it went away, or its disk fails
        return f"cannot be read ({error.strerror or error})"
    return frames, time.perf_counter() - started_s
