"""The door to Ray: connect quietly, leave nothing behind."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from slrtune.config.errors import UserError


@contextlib.contextmanager
def ray_session(
    *,
    address: str | None = None,
    use_dashboard: bool = False,
) -> Iterator[None]:
    """A connection to Ray; a cluster that it started is gone when it ends.

    Args:
        address: an existing cluster (``auto`` or ``host:port``); None starts one on this machine.
        use_dashboard: needed by Ray's placement group cleaner, which the plain pattern relies on.

    Raises:
        UserError: the cluster at ``address`` cannot be reached.
    """
    import ray

    with contextlib.nullcontext() if address else _temporary_files_of_workers():
        _connect(address, use_dashboard)
        _let_sigterm_act_like_ctrl_c()
        try:
            yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _temporary_files_of_workers() -> Iterator[None]:
    """Workers that Ray ends by force leave theirs (a decoder's sockets): in a folder that goes."""
    elsewhere = {
        # What is to stay: the logs of Ray, what PyTorch has compiled.
        "RAY_TMPDIR": tempfile.gettempdir(),
        "TORCHINDUCTOR_CACHE_DIR": f"{tempfile.gettempdir()}/torchinductor_uid_{os.getuid()}",
    }
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="slrtune-", ignore_cleanup_errors=True) as folder:
        os.environ.update({**elsewhere, **os.environ, "TMPDIR": folder})
        try:
            yield
        finally:
            for name in (*elsewhere, "TMPDIR"):
                os.environ.pop(name, None)
                if name in before:
                    os.environ[name] = before[name]


def _connect(address: str | None, use_dashboard: bool) -> None:
    import ray

    try:
        ray.init(
            address=address or "local",
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


def own_folder_of_ray() -> str:
    """A new folder name for what Ray Tune or Ray Train keep of a run, which nobody reads.

    It lies with Ray's logs, under the same name on every node. In a sweep's folder, Ray would make
    the whole of it anew while the storage is away: on the disk beneath.
    """
    import ray

    session = ray._private.worker.global_worker.node.get_session_dir_path()
    return str(Path(session) / "slrtune" / uuid.uuid4().hex)


def _let_sigterm_act_like_ctrl_c() -> None:
    """Slurm and Docker end a job with SIGTERM, which Ray answers with an abort and a stack dump."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))


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
    logging.raiseExceptions = False  # a log on a full disk is no news for the screen
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
        with contextlib.suppress(OSError):  # the rest of the log does not fit the disk
            handler.close()
