"""Reading published weights: from a file or the Hugging Face hub, with errors a user can mend."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import timm.models
from huggingface_hub import constants
from huggingface_hub.utils import get_session
from torch import Tensor, nn

from slrtune.config.errors import UserError

HUB_TIMEOUT_S = 5.0


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a ``.safetensors`` file, or a ``.pth`` / ``.bin`` file without running its pickle.

    A training checkpoint is opened at its ``state_dict`` or ``model`` entry, and the ``module.``
    prefix of data parallel training is removed.

    Raises:
        UserError: the file is missing or holds no weights.
    """
    if not Path(path).is_file():
        raise UserError(f"pretrained: no weights file at {path}; correct the path")
    try:
        weights = timm.models.load_state_dict(str(path), weights_only=True)
    except Exception as error:  # a damaged file raises anything from EOFError to SafetensorError
        raise UserError(
            f"pretrained: cannot read weights from {path} ({_reason(error)}); "
            "give a .safetensors file or a .pth file that holds tensors only"
        ) from error
    return {name: value for name, value in weights.items() if isinstance(value, Tensor)}


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Copy ``weights`` into ``module``: all of its parameters and buffers, and nothing else.

    Raises:
        UserError: names or shapes differ; gives counts and the first names.
    """
    wanted = module.state_dict()
    # Counters of BatchNorm are absent from old checkpoints and do not matter to inference.
    missing = [n for n in wanted if n not in weights and not n.endswith("num_batches_tracked")]
    unexpected = [name for name in weights if name not in wanted]
    misshapen = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in weights and weights[name].shape != value.shape
    ]
    problems = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for kind, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshapen),
        )
        if names
    ]
    if problems:
        raise UserError(
            f"pretrained: the weights in {source} do not fit the model: {'; '.join(problems)}; "
            "use weights of the same architecture and size"
        )
    module.load_state_dict(dict(weights), strict=False)


@contextmanager
def hub_download(what: str) -> Iterator[None]:
    """Turn any failure to fetch ``what`` into one UserError that names the cures.

    Without a connection the client would try each file six times, about 23 s and a warning line
    each; so ask once whether the hub answers and otherwise look in the local cache only.
    """
    offline_before = constants.HF_HUB_OFFLINE
    logger = logging.getLogger("huggingface_hub")
    level_before = logger.level
    try:
        logger.setLevel(logging.ERROR)
        constants.HF_HUB_OFFLINE = offline_before or not _hub_answers()
        yield
    except Exception as error:  # the client, timm and the file readers share no base class
        raise UserError(
            f"pretrained: cannot load {what} ({_reason(error)}); connect to the network or "
            "fill the Hugging Face cache, or set pretrained: path/to/weights.safetensors, "
            "or pretrained: false to start from random weights"
        ) from error
    finally:
        logger.setLevel(level_before)
        constants.HF_HUB_OFFLINE = offline_before


def _hub_answers() -> bool:
    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_TIMEOUT_S)
    except Exception:
        return False
    return True


def _reason(error: Exception) -> str:
    """The first sentence of an error: the rest is advice that does not know slrtune's settings."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].partition(". ")[0].rstrip(".")
