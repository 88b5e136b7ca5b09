"""Rules of the architectures' shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from slrtune.config.broken_rule import BrokenRule
from slrtune.config.model import VIT_SETTINGS, DenseViTConfig, ModelSection, TimeSformerConfig

if TYPE_CHECKING:
    from slrtune.config.experiment import Experiment


def _heads_divide_the_width(experiment: Experiment) -> Iterator[BrokenRule]:
    name, section = experiment.model.name, experiment.model.section
    for width_key, width, heads_key, num_heads in _widths_and_heads(section):
        if width % num_heads:
            yield BrokenRule(
                f"model.{name}.{heads_key}",
                (f"model.{name}.{width_key}",),
                f"must divide model.{name}.{width_key}, but {width} / {num_heads} "
                "leaves a remainder; change either",
            )


def _widths_and_heads(section: ModelSection) -> Iterator[tuple[str, int, str, int]]:
    if not isinstance(section, DenseViTConfig):
        yield "embed_dim", section.embed_dim, "num_heads", section.num_heads
        return
    if section.is_shape_known:
        shape, (hidden_dim, decoder_dim) = section.shape, section.widths
        if shape.num_heads is not None:
            yield "embed_dim", shape.features, "num_heads", shape.num_heads
        yield "hidden_dim", hidden_dim, "pool_heads", section.pool_heads
        yield "decoder_dim", decoder_dim, "decoder_heads", section.decoder_heads


def _patches_tile_the_image(experiment: Experiment) -> Iterator[BrokenRule]:
    name, section = experiment.model.name, experiment.model.section
    patch_size = None
    if isinstance(section, TimeSformerConfig):
        patch_size = section.patch_size
    elif isinstance(section, DenseViTConfig) and section.is_shape_known:
        patch_size = section.shape.patch_size
    image_size = experiment.data.image_size
    if patch_size is not None and image_size % patch_size:
        yield BrokenRule(
            f"model.{name}.patch_size",
            ("data.image_size",),
            f"must divide data.image_size, but {image_size} / {patch_size} leaves a remainder; "
            "change either",
        )


def _temporal_kernel_has_a_middle(experiment: Experiment) -> Iterator[BrokenRule]:
    section = experiment.model.section
    for key in ("temporal_conv_kernel_size", "temporal_kernel_size"):
        if getattr(section, key, 1) % 2 == 0:
            yield BrokenRule(
                f"model.{experiment.model.name}.{key}",
                (),
                f"must be odd, but is {getattr(section, key)}; a convolution needs a frame in its "
                "middle",
            )


def _light_encoder_has_no_patches(experiment: Experiment) -> Iterator[BrokenRule]:
    section = experiment.model.dense_vit
    if experiment.model.name == "dense_vit" and not section.is_shape_known:
        given = next(key for key in VIT_SETTINGS if getattr(section, key) is not None)
        yield BrokenRule(
            f"model.dense_vit.{given}",
            ("model.dense_vit.size",),
            f"must be null for size {section.size}, a CNN; set it to null or change "
            "model.dense_vit.size",
        )


def _decoder_width_is_even(experiment: Experiment) -> Iterator[BrokenRule]:
    section = experiment.model.dense_vit
    if experiment.model.name == "dense_vit" and section.is_shape_known and section.widths[1] % 2:
        yield BrokenRule(
            "model.dense_vit.decoder_dim",
            (),
            f"must be even, but is {section.widths[1]}; positions are pairs of sine and cosine",
        )


MODEL_RULES = (
    _heads_divide_the_width,
    _patches_tile_the_image,
    _temporal_kernel_has_a_middle,
    _light_encoder_has_no_patches,
    _decoder_width_is_even,
)
