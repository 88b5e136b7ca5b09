"""`training:` how one trial trains."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from slrtune.config.base import Settings
from slrtune.config.objective import JudgedBy


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
    layer_decay: float | None = Field(default=None, gt=0.0, le=1.0)
    """Layer-wise decay of the encoder's learning rate (BEiT, Bao et al. 2022): each layer learns at
    this times the rate of the layer after it; 0.65 to 0.8 is usual for ViTs. null = all alike."""
    weight_decay: float = Field(default=0.05, ge=0.0)
    """AdamW's decoupled weight decay; never on biases, norms and positions."""
    warmup_epochs: float = Field(default=1.0, ge=0.0)
    """Epochs of linear warmup before the cosine decay."""
    min_learning_rate_ratio: float = Field(default=0.01, ge=0.0, le=1.0)
    """Last learning rate over the peak."""
    label_smoothing: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Cross-entropy label smoothing (Szegedy et al. 2016)."""
    ctc_weight: float = Field(default=0.3, ge=0.0, le=10.0)
    """Translation: weight of the CTC loss, by which the video's tokens learn to spell the text."""
    ce_weight: float = Field(default=0.7, ge=0.0, le=10.0)
    """Translation: weight of the decoder's cross-entropy."""
    gloss_ctc_weight: float = Field(default=0.0, ge=0.0, le=10.0)
    """Translation: weight of a second CTC loss over the glosses, where the data have both glosses
    and sentences (PHOENIX). 0 = the glosses are not looked at."""
    gloss_weight: float = Field(default=0.0, ge=0.0, le=10.0)
    """Translation: weight of telling which glosses a clip shows, in whatever order, from the mean
    of its tokens, where the data have both glosses and sentences. 0 = not learnt."""
    keypoint_weight: float = Field(default=0.0, ge=0.0, le=100.0)
    """Translation: weight of finding the landmarks of each frame from its features, where the data
    have them (data.keypoints): the encoder learns to look at hands and face. 10 is about as strong
    as the text. 0 = the landmarks are not looked at."""
    mixup_alpha: float = Field(default=0.0, ge=0.0, le=10.0)
    """Mixup (Zhang et al. 2018): a clip is blended with another one of its micro-batch, in a share
    drawn from Beta(x, x), and so is its label. 0 = off, 0.2 to 0.8 is usual. A clip and its frames
    have one share. With cutmix as well, a coin decides for each clip."""
    cutmix_alpha: float = Field(default=0.0, ge=0.0, le=10.0)
    """CutMix (Yun et al. 2019): a box of another clip of the micro-batch replaces the same box in
    all frames of a clip; the label follows its area, whose share is from Beta(x, x). 0 = off."""
    class_balance: float = Field(default=0.0, ge=0.0, le=1.0)
    """How far rare glosses are seen more often: a gloss of n clips is drawn as if it had
    n^(1 - x). 0 = each clip once per epoch, 1 = all glosses equally often. Clips of frequent
    glosses are then left out of some epochs; an epoch's length stays."""
    ema_decay: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Validate and keep an exponential moving average of the weights, with this decay per step
    after a warm-up; 0.99 to 0.9999 is usual. It costs the memory of one more copy of the weights.
    null = the weights themselves."""
    freeze_epochs: int = Field(default=0, ge=0)
    """The encoder (CNN or ViT) does not learn in the first x epochs, and works as in validation:
    its BatchNorm statistics stay and nothing in it is dropped. From max_epochs on: never learns."""
    cache_features: bool = False
    """With an encoder that never learns: compute the features of every packed frame once, keep
    them on the disk (see data.cache_size_gib) and train on them, several times faster. Frames are
    still sampled at random over time, but pixels are not augmented: all of data.augmentation is
    without effect."""
    contrastive_epochs: int = Field(default=0, ge=0)
    """Translation: in the first x epochs no text is learnt, but to tell the clips of a micro-batch
    apart: two views of a clip, which differ in place, speed, brightness and colours, must be more
    alike than those of others (SimCLR, Chen et al. 2020). A view more of each clip takes twice the
    memory and time in all epochs of such a trial's pretraining."""
    max_grad_norm: float | None = Field(default=1.0, gt=0.0)
    """Gradients are scaled down to this global norm; null = never."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """auto = bf16 on GPUs that have it, fp16 on others, float32 on CPU."""
    compile: bool = False
    """Compile the model with torch.compile: faster steps on GPUs, after minutes of compiling."""
    deterministic: bool = False
    """Use only algorithms that give the same bits every time; a model that needs another one fails.
    Slower. Without it, runs on a CPU repeat bit by bit anyway, those on a GPU nearly."""
    empty_cache_each_epoch: bool = False
    """Give unused memory back after training and after validation of each epoch: less
    fragmentation and more room for others on the device, a little time."""
    judged_by: JudgedBy = "auto"
    """The validation metric that makes an epoch, and a trial, the best: top1 or top1_per_class for
    recognition; bleu, chrf (more is better) or wer (less is better) for translation. auto = top1
    for recognition, bleu for translation."""
    checkpoint_every_steps: int | None = Field(default=None, ge=1)
    """Also save in mid-epoch, after every x optimizer steps: for epochs of hours on machines that
    may be taken away. null = after each epoch only."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many epochs without a better `judged_by`; null = never."""
    max_nonfinite_steps: int = Field(default=10, ge=1)
    """Steps in a row with a NaN or infinite loss or gradient (skipped) before the trial fails."""
