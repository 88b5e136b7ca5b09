"""A TensorBoard event file that outlives storage which is away or full for a while."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
import time
from io import BytesIO
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

_logger = logging.getLogger(__name__)
_numbers = itertools.count()


class EventFile:
    """Appends events, each at once. What cannot be written waits for the next one.

    TensorBoard's own writer has a thread for each file, which ends at the first error and takes all
    that comes later with it; and it makes missing parents of the folder: those of a mount that is
    away would be on the disk beneath.

    Args:
        folder: the run's; made where it is not there, its parents are not.
        suffix: of the file's name.
    """

    def __init__(self, folder: Path, suffix: str = "") -> None:
        number = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
        self._path = folder / f"events.out.tfevents.{number}{suffix}"
        self._waiting = b""
        self.write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    @property
    def is_written(self) -> bool:
        """Whether nothing waits any more."""
        return not self._waiting

    def write(self, event: Event) -> None:
        """Append an event, and what waited before it."""
        record = BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        self._waiting += record.getvalue()
        with contextlib.suppress(OSError):
            self._append()

    def close(self) -> None:
        """The last try; what cannot be written now never will be, and the log says so."""
        try:
            self._append()
        except OSError as error:
            _logger.warning("%s lacks its last events: %s", self._path, error)

    def _append(self) -> None:
        self._path.parent.mkdir(exist_ok=True)
        with self._path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                if file.write(self._waiting) < len(self._waiting):
                    raise OSError(f"{self._path}: not all of it could be written")
            except OSError:
                file.truncate(size)  # nothing that comes after half a record could be read
                raise
        self._waiting = b""
