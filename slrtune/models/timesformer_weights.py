"""Loading published weights into a TimeSformer.

A model in the layout of Hugging Face's ``transformers`` is a folder (or hub repository) with
``config.json`` and ``model.safetensors`` or ``pytorch_model.bin``; for timm's, see ``vit_weights``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from torch import Tensor

from slrtune.config.errors import UserError
from slrtune.models.positions import resize_patch_positions, resize_time_positions
from slrtune.models.transformer import EncoderBlock
from slrtune.models.vit_weights import fetch_vit, is_vit_layout, timm_name, video_weights
from slrtune.models.weights import hub_download, load_weights, read_weights

if TYPE_CHECKING:
    from slrtune.models.timesformer import TimeSformer

DEFAULT_HUB_NAME = "facebook/timesformer-base-finetuned-k400"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")

# Parts of Hugging Face's parameter names and ours, replaced in this order.
RENAMED_PARTS = (
    ("timesformer.", ""),
    ("embeddings.cls_token", "class_token"),
    ("embeddings.position_embeddings", "position_embedding"),
    ("embeddings.time_embeddings", "time_embedding"),
    ("embeddings.patch_embeddings.projection.", "patch_embed."),
    ("encoder.layer.", "blocks."),
    ("attention.attention.", "attention."),
    ("attention.output.dense.", "attention.proj."),
    ("intermediate.dense.", "mlp.fc1."),
    (".output.dense.", ".mlp.fc2."),
    ("temporal_dense.", "temporal_fc."),
    ("temporal_layernorm.", "temporal_norm."),
    ("layernorm_before.", "norm1."),
    ("layernorm_after.", "norm2."),
    ("layernorm.", "norm."),
    ("classifier.", "head."),
)


def load_timesformer_weights(
    model: TimeSformer, pretrained: bool | str, load_head: bool = False
) -> None:
    """Load published weights, with positions resized to the model's image and clip size.

    Args:
        model: the model to fill.
        pretrained: a TimeSformer of Hugging Face's ``transformers``: a local folder or weights
            file, a hub name such as ``facebook/timesformer-base-finetuned-k400``, or True for that
            one. Or a ViT of timm: a local weights file, or a name such as ``vit_base_patch16_224``
            or ``timm/vit_base_patch16_224.augreg_in21k``; see :func:`video_weights`.
        load_head: load the classifier too; its classes must then be the model's.

    Raises:
        UserError: weights missing, unreadable, or of another architecture or size.
    """
    source = DEFAULT_HUB_NAME if pretrained is True else str(pretrained)
    read, settings = _read(source)
    _check_same_architecture(model, settings, source)
    if is_vit_layout(read):
        weights = video_weights(read, model)
    else:
        weights = {_our_name(name): value for name, value in read.items()}
    _resize_positions(model, weights)
    if not load_head:
        weights = {name: value for name, value in weights.items() if not name.startswith("head.")}
        weights |= {f"head.{name}": value for name, value in model.head.state_dict().items()}
    load_weights(model, weights, source)


def _read(source: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights under their published names, and what is known of their architecture."""
    path = Path(source)
    if path.is_dir():
        weights_files = [path / name for name in WEIGHT_FILES if (path / name).is_file()]
        if not weights_files or not (path / "config.json").is_file():
            raise UserError(
                f"pretrained: the folder {source} must hold config.json and "
                f"{' or '.join(WEIGHT_FILES)}, as transformers' save_pretrained writes them"
            )
        return read_weights(weights_files[0]), _settings(path / "config.json")
    if path.is_file():
        weights, config_file = read_weights(path), path.with_name("config.json")
        # Beside a ViT of timm lies another kind of config.json.
        is_described = config_file.is_file() and not is_vit_layout(weights)
        return weights, _settings(config_file) if is_described else {}
    name = timm_name(source)
    if name is not None:
        return fetch_vit(name)
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source) or path.suffix in {
        ".safetensors",
        ".bin",
        ".pth",
    }:
        raise UserError(
            f"pretrained: {source} is neither a file, a folder, a hub name (owner/name), nor a "
            "timm model"
        )
    with hub_download(f"the weights of timesformer ({source})"):
        config_file = Path(hf_hub_download(source, "config.json"))
        weights_file = _fetch_weights(source)
    return read_weights(weights_file), _settings(config_file)


def _fetch_weights(hub_name: str) -> Path:
    try:
        return Path(hf_hub_download(hub_name, WEIGHT_FILES[0]))
    except EntryNotFoundError:
        return Path(hf_hub_download(hub_name, WEIGHT_FILES[1]))


def _settings(config_file: Path) -> dict[str, Any]:
    """Our settings of the architecture in a ``config.json`` of transformers."""
    try:
        config: dict[str, Any] = json.loads(config_file.read_text())
    except (ValueError, OSError) as error:
        raise UserError(f"pretrained: cannot read {config_file}: {error}") from error
    # Ours: theirs, or the default of transformers' TimesformerConfig.
    return {
        "embed_dim": config.get("hidden_size", 768),
        "depth": config.get("num_hidden_layers", 12),
        "num_heads": config.get("num_attention_heads", 12),
        "patch_size": config.get("patch_size", 16),
        "qkv_bias": config.get("qkv_bias", True),
        "attention_type": config.get("attention_type", "divided_space_time"),
    }


def _check_same_architecture(model: TimeSformer, theirs: dict[str, Any], source: str) -> None:
    """Heads and attention type cannot be seen in the shapes of the weights, so compare settings."""
    block = model.blocks[0]
    assert isinstance(block, EncoderBlock)
    ours = {
        "embed_dim": model.head.in_features,
        "depth": len(model.blocks),
        "num_heads": block.attention.num_heads,
        "patch_size": model.patch_embed.kernel_size[0],
        "qkv_bias": block.attention.qkv.bias is not None,
        "attention_type": model.attention_type,
    }
    differences = [
        f"{key}: {value} (not {ours[key]})" for key, value in theirs.items() if ours[key] != value
    ]
    if differences:
        raise UserError(
            f"pretrained: {source} is another architecture than the model; "
            f"set {', '.join(differences)}"
        )


def _our_name(name: str) -> str:
    for theirs, ours in RENAMED_PARTS:
        name = name.replace(theirs, ours)
    return name


def _resize_positions(model: TimeSformer, weights: dict[str, Tensor]) -> None:
    if "position_embedding" in weights:
        side = int((model.position_embedding.shape[1] - 1) ** 0.5)
        weights["position_embedding"] = resize_patch_positions(
            weights["position_embedding"], side, side
        )
    if "time_embedding" in weights and model.time_embedding is not None:
        weights["time_embedding"] = resize_time_positions(
            weights["time_embedding"], model.time_embedding.shape[1]
        )
