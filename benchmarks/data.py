"""Packs against their alternatives, all in one run: ``python -m benchmarks.data``.

- reading a packed raw clip of 16 x 3 x 224 x 224, against plain decord on the MP4 that it came from
  and against a NumPy memory map of the same bytes, in turn, on one core with a warm page cache;
- what `pack_storage: jpeg` costs and saves;
- packing with one process and with two, in turn;
- the share of a training step that waits for clips, on the default experiment with a pack.

A clip counts as read when its frames are in memory of the reader's own: uint8 (16, 224, 224, 3).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import decord
import numpy as np
import torch

from benchmarks.measure import take_turns
from benchmarks.record import write_record
from slrtune.config.data import DataConfig
from slrtune.config.overrides import read_overrides
from slrtune.config.storage import Folder
from slrtune.config.validate import load_experiment
from slrtune.data.index import index_clips
from slrtune.data.pack.build import build_pack, by_processes
from slrtune.data.pack.parameters import PackParameters
from slrtune.data.pack.reader import Pack, PackReader
from slrtune.data.pack.source import plan_pack
from slrtune.data.prepare import pack_data
from slrtune.data.synth.dataset import SynthSettings, render_dataset
from slrtune.training.trial import train_trial

_SIZE_PX, _NUM_FRAMES = 224, 16
_RAW = PackParameters(_SIZE_PX, _NUM_FRAMES)
_STORAGES = {
    "raw": _RAW,
    "jpeg 95": replace(_RAW, storage="jpeg", jpeg_quality=95),
    "jpeg 90": replace(_RAW, storage="jpeg", jpeg_quality=90),
    "jpeg 75": replace(_RAW, storage="jpeg", jpeg_quality=75),
}
_TIMES = 16
"""Each clip is packed so often that starting processes is not what is measured."""
_EXPERIMENT = Path(__file__).parent.parent / "experiments" / "fingerspelling.yaml"


def pack_to(
    out: Path, root: Path, parameters: PackParameters, num_workers: int, times: int = 1
) -> PackReader:
    """Pack the clips of the class folders ``root``, each of them ``times`` times."""
    plan = plan_pack(
        root,
        [*index_clips(DataConfig(source="class_folders", root=root), root)] * times,
        parameters,
    )
    build_pack(plan, Folder(out), by_processes(num_workers), lambda *_: None)
    pack = Pack.find(out)
    assert pack is not None
    return PackReader(pack)


def clips_per_s(actions: Mapping[str, Callable[[], object]], num_clips: int) -> dict[str, float]:
    """Medians over rounds in which each action, which reads all clips, has a turn."""
    times = take_turns(actions, num_rounds=5, device=torch.device("cpu"))
    return {
        name: round(num_clips / statistics.median(wall_s for wall_s, _ in times[name]), 1)
        for name in actions
    }


def measure_reading(root: Path, scratch: Path) -> dict[str, Any]:
    """Clips/s of a pack, of a memory map of its bytes, and of decord on the files; storages."""
    scratch.mkdir()
    readers = {
        name: pack_to(scratch / name, root, parameters, 2) for name, parameters in _STORAGES.items()
    }
    raw = readers["raw"]
    every = np.arange(_NUM_FRAMES)
    shape = (len(raw), _NUM_FRAMES, _SIZE_PX, _SIZE_PX, 3)
    written = np.lib.format.open_memmap(scratch / "clips.npy", "w+", np.uint8, shape)
    for position in range(len(raw)):
        written[position] = raw.read(position)[1][every]
    written.flush()
    mapped = np.load(scratch / "clips.npy", mmap_mode="r")
    order = np.random.default_rng(0).permutation(len(raw)).tolist()
    records = [record for record in raw.pack.records() if record.is_usable]
    chosen = [raw.clip(position)[1].source_frames.tolist() for position in range(len(raw))]

    def decode() -> None:
        for position in order:
            path = str(root / records[position].path)
            video = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
            video.get_batch(chosen[position]).asnumpy()

    def copy() -> None:
        for position in order:
            mapped[position][every]

    def read(reader: PackReader) -> Callable[[], None]:
        def run() -> None:
            for position in order:
                reader.read(position)[1][every]

        return run

    actions: dict[str, Callable[[], object]] = {
        "decord": decode,
        "numpy memory map": copy,
        **{name: read(reader) for name, reader in readers.items()},
    }
    rates = clips_per_s(actions, len(raw))
    source_kb = sum((root / record.path).stat().st_size for record in records) / 1000
    return {
        "num_clips": len(raw),
        "clips_per_s": rates,
        "raw_over_decord": round(rates["raw"] / rates["decord"], 1),
        "raw_over_memory_map": round(rates["raw"] / rates["numpy memory map"], 2),
        "kb_per_clip": {
            "mp4": round(source_kb / len(raw)),
            **{
                name: round(reader.pack.facts.num_bytes / 1000 / len(raw))
                for name, reader in readers.items()
            },
        },
        "mean_error_of_255": {
            name: round(_mean_error(raw, reader), 2) for name, reader in readers.items()
        },
    }


def _mean_error(raw: PackReader, other: PackReader) -> float:
    every = np.arange(_NUM_FRAMES)
    errors = [
        np.abs(raw.read(p)[1][every].astype(np.int16) - other.read(p)[1][every]).mean()
        for p in range(0, len(raw), 8)
    ]
    return float(np.mean(errors))


def measure_packing(root: Path, scratch: Path, num_rounds: int = 2) -> dict[str, Any]:
    """Clips/s of packing with one process and with two, in turn: the fastest rounds.

    What else runs on the machine takes from two processes, and hardly from one of two cores.
    """
    parameters = PackParameters(_SIZE_PX - 32, max_frames=64)  # with a resize, as usual
    times: dict[int, list[float]] = {1: [], 2: []}
    num_clips = _TIMES * len(
        pack_to(scratch / "warm", root, parameters, 2)
    )  # starts the fork server
    for number in range(num_rounds):
        for num_workers in times:
            started_s = time.perf_counter()
            pack_to(scratch / f"{number}-{num_workers}", root, parameters, num_workers, _TIMES)
            times[num_workers].append(time.perf_counter() - started_s)
    one, two = (round(num_clips / min(times[n]), 2) for n in (1, 2))
    ratio = round(two / one, 2)
    return {"clips_per_s": {"1 process": one, "2 processes": two}, "two_over_one": ratio}


def measure_waiting(scratch: Path, num_epochs: int = 3) -> dict[str, Any]:
    """Share of the training time that the default experiment waits for clips, by model.

    Of the last epoch: in the first one, the libraries are still warming up.
    """
    shares: dict[str, float] = {}
    for model in ("cnn_transformer", "timesformer"):
        settings = [
            f"model.name={model}",
            f"training.max_epochs={num_epochs}",
            "sweep.scheduler=none",
            f"data.cache_dir={scratch}/cache",
            "data.synth_num_signers=8",  # fewer clips: an epoch is shorter, its steps are the same
        ]
        experiment = load_experiment(_EXPERIMENT, read_overrides(settings))
        out = str(scratch / "pack")
        pack_data(experiment.data, out, lambda *_: None)
        data = experiment.data.model_copy(update={"pack": out})
        last: dict[str, float] = {}

        def keep(metrics: dict[str, float], last: dict[str, float] = last) -> bool:
            last.update(metrics)
            return True

        packed = experiment.model_copy(update={"data": data})
        train_trial(packed, scratch / model, keep)
        shares[model] = round(last["data_wait_share"], 4)
    return {"data_wait_share": shares}


def main() -> None:
    """Measure all, print, write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry-run", action="store_true", help="write no record")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        videos = scratch / "videos"
        settings = SynthSettings(num_signers=6, size_px=_SIZE_PX, words=tuple("ABCDEFGH"))
        render_dataset(videos, settings)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "reading": lambda: measure_reading(videos, scratch / "reading"),
            "packing": lambda: measure_packing(videos, scratch / "packing"),
            "training": lambda: measure_waiting(scratch / "training"),
        }
        for part, measure in parts.items():
            figures[part] = measure()
            print(part)
            for key, value in figures[part].items():
                print(f"  {key:<20} {value}", flush=True)
    if not arguments.dry_run:
        print(f"written to {write_record('data', figures)}")


if __name__ == "__main__":
    main()
