"""Storage that is away for a while, or full: wait for it, and give up with a word."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")

# What a network file system says while its server is away, a mount that is gone, a full disk.
_PASSING = {
    errno.EIO, errno.ESTALE, errno.ENOENT, errno.ENOTDIR, errno.ENOTCONN, errno.ENODEV,
    errno.ENXIO, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH,
    errno.ECONNREFUSED, errno.ECONNRESET, errno.EREMOTEIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT,
    errno.EFBIG,
}  # fmt: skip
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.5, 10.0


class StorageError(Exception):
    """A folder could not be used for longer than anybody would wait. No fault of a trial."""


def patiently(access: Callable[[], _T], path: Path | str, patience_s: float) -> _T:
    """``access()``, again and again while storage is away or full.

    Args:
        access: reads or writes; leaves nothing half done when it fails.
        path: of what, for the message; or its address.
        patience_s: after which it is given up.

    Raises:
        StorageError: it failed for ``patience_s``.
        OSError: of a kind that no waiting would mend.
    """
    started_s, pause_s = time.monotonic(), _FIRST_PAUSE_S
    while True:
        try:
            return access()
        except (OSError, RuntimeError) as error:
            # PyTorch and Optuna's lock make a RuntimeError of it.
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError) or cause.errno not in _PASSING:
                raise
            waited_s = time.monotonic() - started_s
            reason = f"{path}: cannot be used ({cause.strerror})"
            if waited_s + pause_s > patience_s:
                raise StorageError(f"{reason}, for {waited_s:.0f} s") from error
            _logger.warning("%s; trying again for up to %.0f s", reason, patience_s)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _MAX_PAUSE_S)
