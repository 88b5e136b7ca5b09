"""`data:` which clips there are and what the model sees of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

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
    use_gpu: bool = True
    """Where a trial trains on a GPU, change its batches there (the same draws, pixels that differ
    by rounding); the loader then only reads. Off, or without a GPU: on the CPU, by the loader."""


class SamplingConfig(Settings):
    """How training frames are taken from a clip's packed frames. Validation is always uniform."""

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
    """Where the clips come from, how they are packed, and the shape that the model sees."""

    source: Literal[
        "fingerspelling", "fingerspelling_words", "auto", "class_folders", "csv", "wlasl", "msasl",
        "asl_citizen", "phoenix", "how2sign", "isltranslate", "headerless", "manifest",
    ] = "fingerspelling"  # fmt: skip
    """`fingerspelling`: the embedded synthetic data set, letters A to Z, rendered on first use.
    `fingerspelling_words`: the same signers spell words and short sentences, for translation.
    `auto`: your own data in `root`, their format told by the content of `annotations`.
    `class_folders`: `root/<split>/<gloss>/*.mp4` or `root/<gloss>/*.mp4`, without annotations.
    Each other: the format of `annotations`, see docs/data.md. In all of them a folder of images may
    stand for a video."""
    root: Path | None = None
    """Folder of the videos, relative to where slrtune is started. Not for embedded data sets."""
    annotations: tuple[Path, ...] = ()
    """Files that list the clips: a path or a list of them, such as one for each split. None =
    `root/labels.csv` where there is one, else the class folders themselves. Also a manifest that
    `slrtune data index --out` wrote."""
    columns: dict[str, str] = Field(default_factory=dict)
    """`csv`: our name of a column -> the file's, such as `{path: clip, label: sign}`, where its
    header does not say it. Ours: path, label, sentence, split, signer, label_id, start_frame,
    end_frame, start_s, end_s, left, top, right, bottom, keypoints."""
    keypoints: Path | None = None
    """Folder of per-frame landmarks, `<path of the clip>.npy`, first axis = frames. Optional."""
    keypoints_unit: Literal["fraction", "px"] = "fraction"
    """What the first two numbers of a landmark are: x and y as shares of the video's width and
    height, as MediaPipe gives them, or pixels. Read when training, see training.keypoint_weight."""
    keypoint_swaps: tuple[tuple[int, int], ...] = ()
    """Pairs of landmarks, by their numbers from 0, that change places when a clip is mirrored (left
    wrist, right wrist). Of use with augmentation.use_horizontal_flip only."""
    split_by: Literal["official", "signer", "stratified"] = "official"
    """`official`: splits as the data list them. `signer`: drawn anew, no signer in two splits.
    `stratified`: drawn anew, every gloss in equal shares. Both from `split_seed`, `val_fraction`
    and `test_fraction`."""
    drop_leaks: bool = False
    """A clip that is in two splits (same file or same content) is left out of training, or of
    validation where it is in both val and test. Off: it is an error."""
    cache_dir: Path = Path("~/.cache/slrtune")
    """Where rendered videos and packed clips are kept, shared by all trials and sweeps."""
    synth_seed: int = Field(default=0, ge=0)
    """Fingerspelling: seed of the rendered videos."""
    synth_num_signers: int = Field(default=16, ge=3, le=99)
    """Fingerspelling: synthetic signers, shared out to train, val and test without overlap."""
    synth_clips_per_signer: int = Field(default=28, ge=1, le=1000)
    """`fingerspelling_words`: sentences of each signer of train; the others spell half as many."""
    synth_max_words: int = Field(default=3, ge=1, le=3)
    """`fingerspelling_words`: the most words of a sentence, which has at most 12 characters."""
    synth_letter_s: float = Field(default=0.4, ge=0.2, le=1.5)
    """`fingerspelling_words`: how long a letter is held; there are 10 frames a second."""
    train_split: str = "train"
    """Name of the split to train on."""
    val_split: str = "val"
    """Name of the split that a sweep is judged by. Never tune on the split you report."""
    val_fraction: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of all clips that becomes `val_split` where splits are drawn; with official splits
    share of `train_split` held out, by gloss, where the data have no `val_split`. 0 = none."""
    test_fraction: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of all clips that becomes the split `test` where splits are drawn (`split_by`)."""
    split_seed: int = Field(default=0, ge=0)
    """Which clips or signers `val_fraction` and `test_fraction` take; the same for all trials."""
    num_frames: int = Field(default=16, ge=1, le=1024)
    """T: frames per clip that the model sees."""
    image_size: int = Field(default=224, ge=16, le=1024)
    """H = W: pixels that the model sees."""
    pack: str | None = None
    """A folder, or an address such as `s3://bucket/pack`, that `slrtune data pack --out` wrote:
    train on it. It must have been packed with these settings. The videos need not be there: leave
    `root` out then. null = clips are packed into cache_dir on first use."""
    pack_size_px: int | None = Field(default=None, ge=16, le=2048)
    """Short side of the packed frames; null = 1.15 x image_size, room for random crops. Disk:
    about 4/3 x pack_size_px^2 x 3 bytes per packed `raw` frame of a 4:3 video."""
    pack_max_frames: int = Field(default=64, ge=1)
    """Longer clips are thinned evenly to this many packed frames."""
    pack_storage: Literal["raw", "jpeg"] = "raw"
    """How packed frames are stored. `raw`: uint8, read without decoding. `jpeg`: a tenth of the
    disk, but each frame is decoded at each reading (docs/data.md has the figures)."""
    pack_jpeg_quality: int = Field(default=90, ge=1, le=95)
    """Quality of `pack_storage: jpeg`."""
    pack_crop_margin: float | None = Field(default=0.1, ge=0.0, le=10.0)
    """Where the data give the signer's box: pack a square around it with this share of its longer
    side as room on each side. null = always the whole picture."""
    cache_size_gib: float = Field(default=50.0, gt=0.0)
    """The most disk that clips packed into cache_dir take up together, and the most that the
    feature files of training.cache_features do. The least recently used make room for new ones."""
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
    """Loader processes per training worker; 0 = a thread of the training process, which starts at
    once and is enough where clips are packed raw."""

    @property
    def is_embedded(self) -> bool:
        """Whether the videos are rendered rather than the user's own."""
        return self.source in ("fingerspelling", "fingerspelling_words")

    @field_validator("annotations", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        if value is None:
            return ()
        return (value,) if isinstance(value, str | Path) else value
