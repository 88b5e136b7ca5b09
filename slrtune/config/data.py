"""`data:` which clips there are and what the model sees of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from slrtune.config.base import Settings


class AugmentationConfig(Settings):
    """Training augmentation. One draw per clip: every frame of a clip is changed the same way."""

    crop_scale_min: float = Field(default=0.7, gt=0.0, le=1.0)
    """Smallest share of the centre square's area that a random resized crop keeps; 1 = all of it
    (its aspect ratio still varies by up to 10 %)."""
    rotation_degrees: float = Field(default=10.0, ge=0.0, le=180.0)
    """Rotation is drawn from -x..+x degrees; 0 = none."""
    color_jitter: float = Field(default=0.3, ge=0.0, le=1.0)
    """Strength of brightness, contrast and saturation jitter; 0 = none."""
    grey_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the clips that lose their colours."""
    blur_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the clips that are blurred, by a Gaussian of sigma 0.1 to 2 pixels at 224."""
    erase_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the clips in which a rectangle of 2 to 20 % of the picture is painted over, at the
    same place in all frames (random erasing). It may hide a hand for the whole clip."""
    use_horizontal_flip: bool = False
    """Mirror half of the clips. Off: in sign languages handedness carries meaning."""


class SamplingConfig(Settings):
    """How training frames are taken from a clip's cached frames. Validation is always uniform."""

    stride: float = Field(default=2.0, ge=1.0, le=64.0)
    """dense_strided, random_start: frames from one to the next; smaller where the clip is too
    short for num_frames of them."""
    temporal_jitter: float = Field(default=0.5, ge=0.0, le=1.0)
    """random_start: each frame moves by up to this share of half a stride, earlier or later."""
    speed_perturbation: float = Field(default=0.2, ge=0.0, le=3.0)
    """random_start: clips are played up to 1 + x times as fast or as slow; 0 = as they are."""
    frame_drop_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Any strategy: share of the frames that are lost; the one before stays on screen instead."""


class DataConfig(Settings):
    """Where the clips come from, how they are cached, and the shape that the model sees."""

    source: Literal["fingerspelling", "class_folders", "wlasl"] = "fingerspelling"
    """`fingerspelling`: the embedded synthetic data set, rendered on first use.
    `class_folders`: `root/<split>/<gloss>/*.mp4` or `root/<gloss>/*.mp4`; a folder of images may
    stand for a video.
    `wlasl`: a folder of WLASL videos (`root`) and an official annotation file (`annotations`)."""
    root: Path | None = None
    """Folder of the videos, relative to where slrtune is started. Not for `fingerspelling`."""
    annotations: Path | None = None
    """WLASL: `WLASL_v0.3.json` or `nslt_{100,300,1000,2000}.json`. Class folders: a CSV with the
    columns path (relative to `root`), label and perhaps split, signer, which then lists the clips;
    null = `root/labels.csv` where there is one, else the folders themselves."""
    cache_dir: Path = Path("~/.cache/slrtune")
    """Where rendered videos and decoded clips are kept, shared by all trials and sweeps."""
    synth_seed: int = Field(default=0, ge=0)
    """Fingerspelling: seed of the rendered videos."""
    synth_num_signers: int = Field(default=16, ge=3, le=99)
    """Fingerspelling: synthetic signers, shared out to train, val and test without overlap."""
    train_split: str = "train"
    """Name of the split to train on."""
    val_split: str = "val"
    """Name of the split that a sweep is judged by. Never tune on the split you report."""
    val_fraction: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of `train_split` held out as `val_split`, by gloss, where the data have no such split;
    0 = the data must have one."""
    split_seed: int = Field(default=0, ge=0)
    """Which clips `val_fraction` holds out; the same for all trials."""
    num_frames: int = Field(default=16, ge=1, le=1024)
    """T: frames per clip that the model sees."""
    image_size: int = Field(default=224, ge=16, le=1024)
    """H = W: pixels that the model sees."""
    cache_size_px: int | None = Field(default=None, ge=16, le=2048)
    """Short side of the cached frames; null = 1.15 x image_size, room for random crops. Disk:
    about 4/3 x cache_size_px^2 x 3 bytes per cached frame of a 4:3 video."""
    cache_max_frames: int = Field(default=64, ge=1)
    """Longer clips are thinned evenly to this many cached frames."""
    cache_size_gib: float = Field(default=50.0, gt=0.0)
    """training.cache_features: the most disk that the feature files in cache_dir take up together.
    The least recently used ones make room for a new one. Decoded clips are not counted."""
    train_sampling: Literal["random_segment", "uniform", "dense_strided", "random_start"] = (
        "random_segment"
    )
    """Training frames. random_segment: a random one from each of T equal segments (Wang et al.
    2016, TSN). uniform: always the middle ones. dense_strided: every `sampling.stride`-th from a
    random start, a part of a longer clip. random_start: the same with jitter and changed speed.
    Validation is always uniform."""
    sampling: SamplingConfig = SamplingConfig()
    """Details of train_sampling."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """Random changes of training clips."""
    num_loader_workers: int = Field(default=0, ge=0, le=64)
    """Loader processes per training worker; 0 reads in the training process."""
