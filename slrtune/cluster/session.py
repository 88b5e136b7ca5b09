"""The door to Ray: connect quietly, leave nothing behind."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from slrtune.config.errors import UserError


@contextlib.contextmanager
def ray_session(
    *,
    address: str | None = None,
    num_cpus: int | None = None,
    use_dashboard: bool = False,
) -> Iterator[None]:
    """A connection to Ray; a cluster that it started is gone when it ends.

    Args:
        address: an existing cluster (``auto`` or ``host:port``); None starts one on this machine.
        num_cpus: cores of the started cluster; None = all.
        use_dashboard: needed by Ray's placement group cleaner, which the plain pattern relies on.

    Raises:
        UserError: the cluster at ``address`` cannot be reached.
    """
    import ray

    try:
        ray.init(
            address=address or "local",
            num_cpus=num_cpus if address is None else None,
            include_dashboard=use_dashboard if address is None else None,
            dashboard_host="127.0.0.1",
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
    except (ConnectionError, ValueError) as error:
        raise UserError(
            f"--address {address}: no Ray cluster answers there ({error}); "
            "check `ray status` on its head node, or leave --address out"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def library_logs_to(path: Path) -> Iterator[None]:
    """Warnings and logs of libraries go to a file, so that the screen shows the sweep.

    Inside `ray_session`: connecting takes the handlers of Ray's logger away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in ("ray", "optuna", "py.warnings"))]
    before = [(logger, list(logger.handlers), logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers = [handler]
        logger.propagate = False
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
        handler.close()


def python_command() -> str:
    """How to call this installation from a shell, for messages."""
    return "slrtune" if Path(sys.argv[0]).name == "slrtune" else f"{sys.executable} -m slrtune"
