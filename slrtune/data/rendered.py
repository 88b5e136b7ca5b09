"""The source videos of a configuration; those of embedded data sets are rendered on first use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.disk_bound import locked
from slrtune.data.synth.dataset import RENDERER_VERSION, SynthSettings, render_dataset
from slrtune.data.synth.sentences import SentenceSettings

Progress = Callable[[str, int, int], None]
"""Told (what is being done, done, total)."""

RENDERED = "fingerspelling-"
"""How the folders of rendered videos begin."""


def source_root(config: DataConfig, on_progress: Progress, num_workers: int) -> Path:
    """The folder of the source videos; the embedded data sets are rendered on first use."""
    if not config.is_embedded:
        if config.root is None:
            raise UserError(f"data.root: must be given for data.source {config.source}")
        return config.root.expanduser()
    settings = _synth_settings(config)
    folder = rendered_folder(config)

    def render(partial_folder: Path) -> None:
        report = partial(on_progress, "rendering fingerspelling videos")
        render_dataset(partial_folder, settings, num_workers=num_workers, on_progress=report)

    _build_once(folder, render)
    return folder


def _build_once(folder: Path, build: Callable[[Path], None]) -> None:
    """Have ``build`` fill ``folder`` unless it is there; whole or not at all."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(folder.name + ".lock")):
        if folder.is_dir():
            return
        # may be what a killed process left: rendering goes on there
        partial_folder = folder.with_name(folder.name + ".partial")
        partial_folder.mkdir(exist_ok=True)
        build(partial_folder)
        partial_folder.rename(folder)


def _synth_settings(config: DataConfig) -> SynthSettings | SentenceSettings:
    if config.source == "fingerspelling":
        return SynthSettings(seed=config.synth_seed, num_signers=config.synth_num_signers)
    return SentenceSettings(
        seed=config.synth_seed,
        num_signers=config.synth_num_signers,
        letter_s=config.synth_letter_s,
        clips_per_signer=config.synth_clips_per_signer,
        max_words=config.synth_max_words,
    )


def rendered_folder(config: DataConfig) -> Path:
    """Where the videos of an embedded data set are, or will be."""
    text = repr((RENDERER_VERSION, _synth_settings(config)))
    return cache_dir(config) / f"{RENDERED}{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def cache_dir(config: DataConfig) -> Path:
    """Where rendered videos and packs are kept."""
    return config.cache_dir.expanduser()
