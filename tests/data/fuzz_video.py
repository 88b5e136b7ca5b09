"""Read every damaged file: `python -m tests.data.fuzz_video FOLDER [SEED]` prints a JSON line each.

A process of its own, so that a crash or a hang of a decoder is seen by who started it.
"""

from __future__ import annotations

import json
import resource
import sys
from functools import cache
from pathlib import Path

import numpy as np

from slrtune.data.video import VideoError, read
from tests.data.odd_videos import damaged_files, plain_frames

_sound_frames = cache(plain_frames)


def main(folder: Path, seed: int) -> None:
    for name, file, source in damaged_files(folder, seed):
        print(json.dumps({"file": name, **_outcome(file, source), **_held()}), flush=True)


def _outcome(file: Path, source: Path | None) -> dict[str, object]:
    try:
        info, frames = read(file, lambda timeline: range(timeline.num_frames))
    except VideoError as error:
        return {"outcome": "refused", "reason": error.reason}
    if source is None or len(frames) != info.num_frames:
        return {"outcome": "wrong", "reason": f"{info}, {len(frames)} frames"}
    if _are_some_of(frames, _sound_frames(source)):
        return {"outcome": "right", "reason": ""}
    # a flipped bit may leave a valid stream of other pictures: no decoder can know
    as_stored = plain_frames(file)
    same = frames.shape == as_stored.shape and bool((frames == as_stored).all())
    return {"outcome": "as stored" if same else "wrong", "reason": f"{info}"}


def _are_some_of(frames: np.ndarray, sound: np.ndarray) -> bool:
    """Whether all are in ``sound`` in this order; it may come twice (two files in one)."""
    rest = iter([*sound, *sound])
    return all(any(np.array_equal(frame, other) for other in rest) for frame in frames)


def _held() -> dict[str, int]:
    return {
        "open_files": len(list(Path("/dev/fd").iterdir())),
        "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
