"""How a trial takes over the weights of another: a population's weak go on from the strong.

The driver lays the winner's last checkpoint into the loser's folder (`hand_over`); the loser's own
worker makes it its own before it goes on (`take_over`). Weights and optimizer are then the
winner's. The history stays the loser's: what it has reported was of the weights that it had then,
and its ``best.pt`` is still its own.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from slrtune.config.errors import UserError
from slrtune.config.population import can_change
from slrtune.training.checkpoint import (
    CheckpointStore,
    CorruptCheckpointError,
    flush_folder,
    read_checkpoint,
)  # fmt: skip

_INHERITED = "inherited.pt"
_logger = logging.getLogger(__name__)


def hand_over(winner: Path, loser: Path) -> None:
    """Lay the winner's last checkpoint into the loser's checkpoint folder, whole or not at all.

    Neither of them may train now.
    """
    partial = loser / f".{_INHERITED}.tmp"
    partial.unlink(missing_ok=True)
    source = winner / "last.pt"
    try:
        os.link(source, partial)  # a checkpoint is replaced, and never written to again
    except OSError:
        shutil.copyfile(source, partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
    partial.replace(loser / _INHERITED)
    flush_folder(loser)


def withdraw(loser: Path) -> None:
    """Take back what was handed over, where it was."""
    (loser / _INHERITED).unlink(missing_ok=True)


def take_over(store: CheckpointStore) -> None:
    """Make a checkpoint that was handed over the trial's last one, if there is one.

    It may have been made with other settings than the trial's, where these can change while a trial
    trains, and only there. A worker that dies on the way does the same again.

    Raises:
        UserError: it is damaged, or of a trial that cannot be continued with these settings.
    """
    path = store.last.with_name(_INHERITED)
    if not path.exists():
        return
    try:
        state = read_checkpoint(path)
    except CorruptCheckpointError as error:
        raise UserError(f"the weights to go on from must be whole, but {error}") from None
    store.check_identity(path, state, may_differ=can_change)
    own = _own_history(store, len(state["history"]))
    inherited = {name: state[name] for name in ("model", "stepper", "partial_epoch")}
    store.save_last({**inherited, "history": state["history"] if own is None else own})
    path.unlink()
    flush_folder(path.parent)


def _own_history(store: CheckpointStore, num_epochs: int) -> list[dict[str, float]] | None:
    """The trial's own figures of as many epochs; None where its checkpoints are lost."""
    for path in (store.last, store.previous):
        try:
            content: dict[str, Any] = read_checkpoint(path)
        except (CorruptCheckpointError, FileNotFoundError) as error:
            _logger.warning("%s cannot be read: %s", path, error)
            continue
        history: list[dict[str, float]] = content["history"]
        if len(history) == num_epochs:
            return history
    _logger.warning("%s: the figures of its earlier epochs are lost", store.last.parent)
    return None
