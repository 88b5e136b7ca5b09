"""Checkpoints that survive a power cut: written whole or not at all, and read only when whole."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import shutil
import textwrap
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from slrtune.config.differences import changed_settings
from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.mirror import mirror_of
from slrtune.config.patience import patiently
from slrtune.text.tokenizer import TextTokenizer
from slrtune.training.exhibit import EXHIBIT_FILE

_SECTIONS = ("data", "model", "training", "text", "decoding")  # what a checkpoint depends on
_logger = logging.getLogger(__name__)


class CorruptCheckpointError(Exception):
    """A checkpoint file that is cut short or damaged."""


class CheckpointStore:
    """The checkpoints of one trial.

    - ``last.pt``: all that continuing needs, after every epoch; ``previous.pt``: the one before.
    - ``best.pt``: the best weights so far, with all that using them needs: keys ``model``
      (weights), ``experiment`` (JSON of :class:`Experiment`), ``glosses`` (a label is an index),
      ``tokenizer`` (JSON of a translator's :class:`TextTokenizer`; None for other models),
      ``clip_s`` (median length of a translator's training clips, where known), ``num_keypoints``
      (of a frame, where they are learnt) and ``metrics`` (of its epoch; which one is
      ``metrics["epoch"]``).

    In the working folder of an address, each file is there, too, before saving it has ended.
    """

    def __init__(
        self,
        folder: Path,
        experiment: Experiment,
        glosses: Sequence[str],
        tokenizer: TextTokenizer | None = None,
        clip_s: float | None = None,
        num_keypoints: int = 0,
    ) -> None:
        self._folder, self._is_there = folder, folder.exists()
        self._mirror, self._beside = mirror_of(folder), mirror_of(folder.parent)
        self._is_last_whole_there = False
        self.patience_s = experiment.resources.storage_patience_s
        self.last = folder / "last.pt"
        self.previous = folder / "previous.pt"
        self.best = folder / "best.pt"
        self._experiment = experiment
        self._identity = {
            "experiment": experiment.model_dump_json(),
            "glosses": list(glosses),
            "tokenizer": tokenizer.to_json() if tokenizer is not None else None,
            "clip_s": clip_s,
            "num_keypoints": num_keypoints,
        }

    def save_best(self, model: dict[str, Any], metrics: dict[str, float]) -> None:
        """Put ``best.pt`` in place: weights and metrics of an epoch."""
        content = {**self._identity, "model": model, "metrics": metrics}
        self._write_temporary(self.best, content).replace(self.best)
        flush_folder(self._folder)
        self._upload(self.best)

    def save_last(self, state: dict[str, Any]) -> None:
        """Put ``last.pt`` in place; at every moment it or ``previous.pt`` is whole."""
        temporary = self._write_temporary(self.last, {**self._identity, **state})
        if self.last.exists():
            self.last.replace(self.previous)
        temporary.replace(self.last)
        flush_folder(self._folder)
        self._upload(self.last)
        self._upload_exhibit()

    def take_from_address(self) -> None:
        """Go on from what is at the address, where there is one: what lies here may be older, as
        the trial may have trained on another machine since."""
        mirror = self._mirror
        if mirror is not None:
            names = (self.last.name, self.previous.name)
            patiently(lambda: mirror.take(*names), mirror.address, self.patience_s)

    def load_last(self) -> dict[str, Any] | None:
        """State of the newest whole checkpoint; None where there is none.

        A damaged ``last.pt`` is set aside as ``last.pt.corrupt``, lest the next save make it
        ``previous.pt``.

        Raises:
            UserError: all checkpoints are damaged, or belong to another experiment.
        """
        found = [path for path in (self.last, self.previous) if path.exists()]
        for path in found:
            try:
                state = read_checkpoint(path)
            except CorruptCheckpointError as error:
                _logger.warning("%s; trying the checkpoint before it", error)
                continue
            self.check_identity(path, state)
            self._is_last_whole_there = path is self.last
            if path is self.previous and self.last.exists():
                self.last.replace(self.last.with_name("last.pt.corrupt"))
            return state
        if found:
            raise UserError(
                f"checkpoints must be whole, but {' and '.join(map(str, found))} "
                f"are damaged; delete {self.last.parent} to train this trial from the start"
            )
        return None

    def _upload(self, path: Path) -> None:
        """With a patience of its own: what is safe on the disk is not written again.

        Raises:
            StorageError: the store was away for too long.
        """
        mirror = self._mirror
        if mirror is None:
            return

        def upload() -> None:
            # At every moment last.pt or previous.pt is whole at the address, as it is here.
            if path is self.last and self._is_last_whole_there:
                mirror.copy(self.last.name, self.previous.name)
            mirror.upload(path.name)

        patiently(upload, mirror.address, self.patience_s)
        self._is_last_whole_there |= path is self.last

    def _upload_exhibit(self) -> None:
        """What the driver draws pictures from: without them, the trial goes on all the same."""
        try:
            if self._beside is not None:
                self._beside.upload_changed(EXHIBIT_FILE)
        except OSError as error:
            _logger.warning("%s is not at its address: %s", EXHIBIT_FILE, error)

    def remove_copy(self) -> None:
        """Nothing is needed here any more, where all of it is at an address."""
        if self._mirror is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _write_temporary(self, path: Path, content: dict[str, Any]) -> Path:
        """Write ``content`` beside ``path``, safe on the disk; nothing is left of a failed try."""
        if not self._is_there:
            self._folder.mkdir(exist_ok=True, parents=self._mirror is not None)
            self._is_there = True
        # From now on, a folder that is not there is a mount that is away: made anew, it would be
        # on the disk beneath.
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            with temporary.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        return temporary

    def check_identity(
        self,
        path: Path,
        state: dict[str, Any],
        may_differ: Callable[[str], bool] = lambda key: False,
    ) -> None:
        """Refuse what was made with other settings than the trial's.

        Args:
            path: for the message.
            state: content of the checkpoint.
            may_differ: settings that may have changed all the same; a trial that goes on by itself
                has none.

        Raises:
            UserError: with the settings that differ.
        """
        changed = changed_settings(json.loads(state["experiment"]), self._experiment, _SECTIONS)
        changed = {key: values for key, values in changed.items() if not may_differ(key)}
        for key in ("glosses", "tokenizer"):
            if state.get(key) != self._identity[key]:
                changed[key] = state.get(key), self._identity[key]
        if changed:
            differences = "; ".join(
                f"{key} was {_shorten(before)} and is now {_shorten(now)}"
                for key, (before, now) in list(changed.items())[:3]
            )
            more = f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise UserError(
                f"a trial continues only with the settings it began with, but for {path} "
                f"{differences}{more}; restore them, choose another folder, or delete "
                f"{path.parent} to train from the start"
            )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Content of a checkpoint file, with tensors on the CPU.

    Raises:
        CorruptCheckpointError: the file is cut short or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not look at the checksums
        if damaged is not None:
            raise CorruptCheckpointError(f"{path} is damaged (checksum of {damaged})")
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CorruptCheckpointError(f"{path} is damaged ({error})") from error
    return content


def _shorten(value: Any) -> str:
    return textwrap.shorten(repr(value), width=100, placeholder=" ...")


def flush_folder(folder: Path) -> None:
    """Make renames in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
