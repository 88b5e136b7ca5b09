"""`training:` how one trial trains."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from slrtune.config.base import Settings


class TrainingConfig(Settings):
    """The recipe: optimizer, schedule, precision, stopping."""

    seed: int = Field(default=42, ge=0)
    """Seed of weights, shuffling, sampling and augmentation."""
    max_epochs: int = Field(default=50, ge=1)
    """Passes over the training split."""
    batch_size: int = Field(default=32, ge=1)
    """Clips per optimizer step, over all workers and accumulated micro-batches."""
    micro_batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    """Clips per forward-backward on one worker; the rest is gradient accumulation. auto = the
    largest that fits resources.memory_budget_gib. null = batch_size / workers, no accumulation."""
    learning_rate: float = Field(default=3e-4, gt=0.0, le=10.0)
    """Peak learning rate of everything but the encoder."""
    encoder_learning_rate: float | None = Field(default=None, gt=0.0, le=10.0)
    """Peak learning rate of the encoder (CNN or ViT); null = learning_rate."""
    weight_decay: float = Field(default=0.05, ge=0.0)
    """AdamW's decoupled weight decay; never on biases, norms and positions."""
    warmup_epochs: float = Field(default=1.0, ge=0.0)
    """Epochs of linear warmup before the cosine decay."""
    min_learning_rate_ratio: float = Field(default=0.01, ge=0.0, le=1.0)
    """Last learning rate over the peak."""
    label_smoothing: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Cross-entropy label smoothing (Szegedy et al. 2016)."""
    max_grad_norm: float | None = Field(default=1.0, gt=0.0)
    """Gradients are scaled down to this global norm; null = never."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """auto = bf16 on GPUs that have it, fp16 on others, float32 on CPU."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many epochs without a better validation top-1; null = never."""
    max_nonfinite_steps: int = Field(default=10, ge=1)
    """Steps in a row with a NaN or infinite loss or gradient (skipped) before the trial fails."""
