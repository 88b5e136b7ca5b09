"""Starting a TimeSformer from an image model: a vision transformer (ViT) in timm's layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from slrtune.config.errors import UserError
from slrtune.models.weights import hub_download

if TYPE_CHECKING:
    from slrtune.models.timesformer import TimeSformer

RENAMED_PARTS = (
    ("cls_token", "class_token"),
    ("pos_embed", "position_embedding"),
    ("patch_embed.proj.", "patch_embed."),
    (".attn.", ".attention."),
)


def timm_name(source: str) -> str | None:
    """``source`` as the name of a timm architecture with or without a weights tag, if it is one."""
    name = source.removeprefix("hf_hub:").removeprefix("timm/")
    return name if timm.is_model(name.partition(".")[0]) else None


def fetch_vit(name: str) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Published weights of a timm ViT, and its TimeSformer settings.

    Raises:
        UserError: no such weights, no network, or the architecture is no ViT.
    """
    with hub_download(f"the weights of {name} (timm/{name})"):
        network = timm.create_model(name, pretrained=True)
    if not isinstance(network, VisionTransformer):
        raise UserError(
            f"pretrained: {name} is not a vision transformer; name one, such as "
            "vit_base_patch16_224"
        )
    settings = {
        "embed_dim": network.embed_dim,
        "depth": len(network.blocks),
        "num_heads": network.blocks[0].attn.num_heads,
        "patch_size": network.patch_embed.patch_size[0],
    }
    return network.state_dict(), settings


def is_vit_layout(weights: Mapping[str, Tensor]) -> bool:
    """Whether the names of the weights are those of a timm ViT."""
    return "patch_embed.proj.weight" in weights


def video_weights(weights: Mapping[str, Tensor], model: TimeSformer) -> dict[str, Tensor]:
    """The weights of an image model under our names, and those of time such that it is not felt.

    Temporal attention starts as a copy of the spatial one (as the paper's authors do) behind a
    ``temporal_fc`` of zeros in every block, and positions in time start at zero. So, with the
    image model in evaluation mode:

    - ``space_only``: the encoded class token, before the final norm, is the image model's averaged
      over the frames, for any clip.
    - ``divided_space_time``: the same for a clip of equal frames, so the logits are the image
      model's. For other clips the class token is averaged over the frames in every block instead
      of once at the end: that is the architecture.
    - ``joint_space_time``: neither, since the patches of all frames share one softmax with a single
      class token.
    """
    ours = {_our_name(name): value for name, value in weights.items()}
    for name, value in model.state_dict().items():
        if ".temporal_fc." in name or name == "time_embedding":
            ours[name] = torch.zeros_like(value)
        elif ".temporal_" in name:
            spatial = name.replace("temporal_norm", "norm1").replace("temporal_", "")
            if spatial in ours:
                ours[name] = ours[spatial].clone()
    return ours


def _our_name(name: str) -> str:
    for theirs, ours in RENAMED_PARTS:
        name = name.replace(theirs, ours)
    return name
