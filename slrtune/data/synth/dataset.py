"""The embedded data sets: fingerspelling of synthetic signers as MP4 files and a table."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import re
import string
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from slrtune.config.errors import UserError
from slrtune.data.synth.background import paint_background
from slrtune.data.synth.motion import SPELLED_LETTER_S, pose_track, smooth_noise
from slrtune.data.synth.mp4 import write_mp4
from slrtune.data.synth.scene import render_frames
from slrtune.data.synth.signer import make_signer

SETTINGS_FILE = "synth.json"
LABELS_FILE = "labels.csv"
#: Stands for ``SETTINGS_FILE`` until the last clip is there, so that an interrupted data set can
#: be continued with the same settings only.
_PARTIAL_SETTINGS_FILE = "synth.partial.json"
#: Raised with every change of the pictures: files of another renderer are not mixed in.
RENDERER_VERSION = 1
_WORD = re.compile(r"[A-Z]{1,40}")
# decord 0.6 cannot read videos 16, 24, 48 or 72 pixels wide; whole H.264 blocks from 64 on are safe
_BLOCK_PX = 16
_HELD_OUT_SHARE = 3 / 16  # of the signers, for val and again for test


@dataclass(frozen=True)
class SpelledClip:
    """One clip of a data set: a file and what it shows.

    Attributes:
        path: relative to the data set, beginning with the split.
        text: letters A to Z and single spaces.
        label: the same as the data set's table says it.
    """

    path: str
    text: str
    signer: int
    label: str


class SpellingSettings(Protocol):
    """What a data set is rendered from: a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    LABEL_COLUMN: ClassVar[str]

    @property
    def seed(self) -> int: ...
    @property
    def size_px(self) -> int: ...
    @property
    def fps(self) -> int: ...
    @property
    def letter_s(self) -> float: ...
    def clips(self) -> list[SpelledClip]: ...


@dataclass(frozen=True)
class SynthSettings:
    """Letters or words in class folders.

    Attributes:
        seed: of everything random: signers, poses, backgrounds.
        num_signers: synthetic people, split into train, val and test (16 into 10, 3 and 3).
        size_px: width and height of the square videos.
        fps: frames per second.
        words: what is spelled, each by every signer once; a letter is a word of length one. The
            label of a clip is its word.
    Raises:
        UserError: a value breaks a rule.
    """

    seed: int = 0
    num_signers: int = 16
    size_px: int = 128
    fps: int = 25
    words: tuple[str, ...] = tuple(string.ascii_uppercase)

    LABEL_COLUMN: ClassVar[str] = "label"
    letter_s: ClassVar[float] = SPELLED_LETTER_S  # of words: a single letter is held longer

    def __post_init__(self) -> None:
        check_pictures(self.seed, self.num_signers, self.size_px, self.fps)
        if not self.words:
            raise UserError("synth: words must not be empty; give at least one word or letter")
        for word in self.words:
            if not _WORD.fullmatch(word):
                raise UserError(
                    f"synth: a word must be 1 to 40 letters A to Z, but is {word!r}; the manual "
                    "alphabet has no other signs: write it in upper case without spaces"
                )
        repeated = sorted({word for word in self.words if self.words.count(word) > 1})
        if repeated:
            raise UserError(f"synth: words must differ, but {repeated[0]!r} is there twice")

    def clips(self) -> list[SpelledClip]:
        """Each word by every signer once."""
        return [
            SpelledClip(f"{split}/{word}/{word}_{signer_name(signer)}.mp4", word, signer, word)
            for word in self.words
            for signer, split in enumerate(signer_splits(self.num_signers))
        ]


def check_pictures(seed: int, num_signers: int, size_px: int, fps: int) -> None:
    """What all data sets ask of their signers and pictures.

    Raises:
        UserError: a value breaks a rule.
    """
    if seed < 0:
        raise UserError(f"synth: seed must be >= 0, but is {seed}; give 0 or more")
    if num_signers < 3:
        raise UserError(
            f"synth: num_signers must be >= 3, but is {num_signers}; train, val and test "
            "each need a signer of their own"
        )
    if size_px % _BLOCK_PX or size_px < 4 * _BLOCK_PX:
        raise UserError(
            f"synth: size_px must be a multiple of {_BLOCK_PX} from {4 * _BLOCK_PX} on, but is "
            f"{size_px}; H.264 codes blocks of this size: try "
            f"{max(4 * _BLOCK_PX, size_px // _BLOCK_PX * _BLOCK_PX)}"
        )
    if not 5 <= fps <= 60:
        raise UserError(f"synth: fps must be between 5 and 60, but is {fps}; try 25")


def signer_splits(num_signers: int) -> list[str]:
    """The split of each signer; no signer is in two splits."""
    num_held_out = max(1, round(num_signers * _HELD_OUT_SHARE))
    num_train = num_signers - 2 * num_held_out
    return ["train"] * num_train + ["val"] * num_held_out + ["test"] * num_held_out


def render_clip(text: str, signer: int, settings: SpellingSettings) -> np.ndarray:
    """Spell ``text`` (letters A to Z, spaces) by signer number ``signer``: (T, H, W, 3) uint8.

    Depends on the seed, the signer, the text, its tempo and the picture's size and rate only.
    """
    person = make_signer(settings.seed, signer)
    rng = np.random.default_rng([settings.seed, signer, *text.encode()])
    poses = pose_track(text, person, settings.fps, rng, settings.letter_s)
    margin_px = settings.size_px // 16
    background = paint_background(
        person.skin,
        settings.size_px + 2 * margin_px,
        np.random.default_rng(person.background_seed),
    )
    shake = smooth_noise(len(poses), 2, settings.fps, rng) * person.shake * settings.size_px
    camera = np.clip(shake, -margin_px, margin_px)
    return render_frames(poses, person, background, camera, settings.size_px)


def render_dataset(
    out: Path,
    settings: SpellingSettings = SynthSettings(),
    num_workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render the clips of ``settings`` into ``out``, and return ``out``.

    Writes the videos, ``labels.csv`` (path, label or sentence, signer, split) and last
    ``synth.json``. A complete data set of the same settings is left alone; an interrupted one
    is continued. The bytes do not depend on ``num_workers``.

    Args:
        num_workers: processes; all CPU cores this process may use if None.
        on_progress: called with (clips done, clips in all) after each clip.
    Raises:
        UserError: ``out`` holds something else, or a data set of other settings.
    """
    if num_workers is not None and num_workers < 1:
        raise UserError(f"synth: num_workers must be >= 1, but is {num_workers}; give 1 or more")
    if _is_complete(out, settings):
        return out
    out.mkdir(parents=True, exist_ok=True)
    (out / _PARTIAL_SETTINGS_FILE).write_text(_settings_text(settings), encoding="utf-8")
    clips = settings.clips()
    waiting = [clip for clip in clips if not (out / clip.path).exists()]
    for folder in {(out / clip.path).parent for clip in waiting}:
        folder.mkdir(parents=True, exist_ok=True)

    num_done = len(clips) - len(waiting)

    def count() -> None:
        nonlocal num_done
        num_done += 1
        if on_progress is not None:
            on_progress(num_done, len(clips))

    _render_all(out, waiting, settings, num_workers or _num_cores(), count)
    _write_labels(out, clips, settings.LABEL_COLUMN)
    (out / _PARTIAL_SETTINGS_FILE).replace(out / SETTINGS_FILE)
    return out


def _settings_text(settings: SpellingSettings) -> str:
    return json.dumps({"renderer": RENDERER_VERSION, **asdict(settings)}, indent=2) + "\n"


def _is_complete(out: Path, settings: SpellingSettings) -> bool:
    """Whether ``out`` is already done; raises UserError if it may not be written to."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: the data set needs a folder, but this is a file; name another one")
    for name in (SETTINGS_FILE, _PARTIAL_SETTINGS_FILE):
        file = out / name
        if not file.exists():
            continue
        if file.read_text(encoding="utf-8") != _settings_text(settings):
            raise UserError(
                f"{file}: this folder holds a synthetic data set of other settings; give the same "
                "settings, name another folder, or delete this one"
            )
        return name == SETTINGS_FILE
    if out.exists() and any(out.iterdir()):
        raise UserError(
            f"{out}: the folder is not empty and has no {SETTINGS_FILE}, so its files are not from "
            "here and stay untouched; name a new or an empty folder"
        )
    return False


def signer_name(signer: int) -> str:
    """As files and tables name signer number ``signer``."""
    return f"signer{signer:02d}"


def _render_one(out: Path, clip: SpelledClip, settings: SpellingSettings) -> None:
    write_mp4(out / clip.path, render_clip(clip.text, clip.signer, settings), settings.fps)


def _render_all(
    out: Path,
    clips: list[SpelledClip],
    settings: SpellingSettings,
    num_workers: int,
    count: Callable[[], None],
) -> None:
    num_workers = min(num_workers, len(clips))
    if num_workers <= 1:
        for clip in clips:
            _render_one(out, clip, settings)
            count()
        return
    # spawn: a forked copy of a process with threads (torch, Ray) may hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, mp_context=context) as pool:
        try:
            jobs = [pool.submit(_render_one, out, clip, settings) for clip in clips]
            for future in as_completed(jobs):
                future.result()
                count()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _write_labels(out: Path, clips: list[SpelledClip], label_column: str) -> None:
    with (out / LABELS_FILE).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", label_column, "signer", "split"])
        for clip in clips:
            split = clip.path.split("/")[0]
            rows.writerow([clip.path, clip.label, signer_name(clip.signer), split])
