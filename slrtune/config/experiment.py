"""One experiment = data + model + training + sweep settings, and the rules that cross sections."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from slrtune.config.base import Settings
from slrtune.config.broken_rule import BrokenRule
from slrtune.config.data import DataConfig
from slrtune.config.decoding import DecodingConfig
from slrtune.config.model import (
    VIT_SETTINGS,
    DenseViTConfig,
    ModelConfig,
    ModelSection,
    TimeSformerConfig,
)
from slrtune.config.objective import OBJECTIVES, Objective, objective_of
from slrtune.config.paths import absolute
from slrtune.config.sweep import ResourcesConfig, SweepConfig
from slrtune.config.text import TextConfig
from slrtune.config.training import TrainingConfig
from slrtune.config.translation_rules import TRANSLATION_RULES


class Experiment(Settings):
    """A whole, valid configuration: everything a trial needs."""

    name: str = "experiment"
    """Names the run's folder."""
    data: DataConfig = DataConfig()
    """Clips."""
    model: ModelConfig = ModelConfig()
    """Architecture."""
    training: TrainingConfig = TrainingConfig()
    """Recipe."""
    text: TextConfig = TextConfig()
    """Sentences, for models that translate."""
    decoding: DecodingConfig = DecodingConfig()
    """How a translator writes: in validation, and where nothing else is asked for."""
    sweep: SweepConfig = SweepConfig()
    """Search."""
    resources: ResourcesConfig = ResourcesConfig()
    """Share of the cluster per trial."""
    runs_dir: Path = Path("runs")
    """Where runs and sweeps are kept, relative to where slrtune is started."""

    @property
    def objective(self) -> Objective:
        """What its epochs are judged by."""
        return objective_of(self.training.judged_by, self.model.task)


Rule = Callable[[Experiment], Iterator[BrokenRule]]


def broken_rules(experiment: Experiment, *, check_paths: bool) -> list[BrokenRule]:
    """Every rule between keys that ``experiment`` breaks, in no particular order.

    Args:
        check_paths: whether the data must be there, now and on this machine.
    """
    rules = (*_RULES, _paths_exist) if check_paths else _RULES
    return [broken for rule in rules for broken in rule(experiment)]


_WITHOUT_ANNOTATIONS = (
    "fingerspelling", "fingerspelling_words", "auto", "class_folders", "csv",
)  # fmt: skip


def _data_has_its_folder(experiment: Experiment) -> Iterator[BrokenRule]:
    data = experiment.data
    if data.pack is not None:
        return  # it holds its own list of clips
    if not data.is_embedded and data.root is None:
        yield BrokenRule(
            "data.root",
            ("data.source",),
            f"must be given for data.source {data.source}; "
            "set data.root to the folder of the videos",
        )
    if data.source not in _WITHOUT_ANNOTATIONS and not data.annotations:
        yield BrokenRule(
            "data.annotations",
            ("data.source",),
            f"must be given for data.source {data.source}; set it to the file that lists the clips",
        )
    if (data.is_embedded or data.source == "class_folders") and data.annotations:
        yield BrokenRule(
            "data.annotations",
            ("data.source",),
            f"must be left out for data.source {data.source}; "
            "set data.source to auto or to the annotations' format",
        )


def _splits_can_be_drawn(experiment: Experiment) -> Iterator[BrokenRule]:
    data = experiment.data
    if data.split_by != "official" and data.val_fraction == 0:
        yield BrokenRule(
            "data.val_fraction",
            ("data.split_by",),
            f"must be > 0 for data.split_by {data.split_by}; try 0.2",
        )
    if data.split_by == "official" and data.test_fraction > 0:
        yield BrokenRule(
            "data.test_fraction",
            ("data.split_by",),
            "must be 0 for the data's own splits; set data.split_by to signer or stratified",
        )
    if data.val_fraction + data.test_fraction >= 1:
        yield BrokenRule(
            "data.val_fraction",
            ("data.test_fraction",),
            f"and data.test_fraction must leave clips to train on, but they are "
            f"{data.val_fraction} + {data.test_fraction}; lower one",
        )


def _paths_exist(experiment: Experiment) -> Iterator[BrokenRule]:
    data = experiment.data
    if data.pack is not None:
        return  # a pack may be used where its videos are not
    named = [("root", data.root), ("keypoints", data.keypoints)]
    for key, path in [*named, *(("annotations", file) for file in data.annotations)]:
        if path is not None and not absolute(path).exists():
            yield BrokenRule(
                f"data.{key}", (), f"must exist, but there is no {path}; correct the path"
            )


def _splits_differ(experiment: Experiment) -> Iterator[BrokenRule]:
    data = experiment.data
    if data.train_split == data.val_split:
        yield BrokenRule(
            "data.val_split",
            ("data.train_split",),
            f"must differ from data.train_split, but both are {data.val_split!r}; "
            "accuracy on training clips means nothing",
        )


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


def _decoder_width_is_even(experiment: Experiment) -> Iterator[BrokenRule]:
    section = experiment.model.dense_vit
    if experiment.model.name == "dense_vit" and section.is_shape_known and section.widths[1] % 2:
        yield BrokenRule(
            "model.dense_vit.decoder_dim",
            (),
            f"must be even, but is {section.widths[1]}; positions are pairs of sine and cosine",
        )


def _pack_holds_the_image(experiment: Experiment) -> Iterator[BrokenRule]:
    data = experiment.data
    if data.pack_size_px is not None and data.pack_size_px < data.image_size:
        yield BrokenRule(
            "data.pack_size_px",
            ("data.image_size",),
            f"must be >= data.image_size, but {data.pack_size_px} < {data.image_size}; "
            "raise it or set it to null",
        )


def _batches_divide(experiment: Experiment) -> Iterator[BrokenRule]:
    training, workers = experiment.training, experiment.resources.workers_per_trial
    micro = training.micro_batch_size
    if training.batch_size % workers:
        yield BrokenRule(
            "training.batch_size",
            ("resources.workers_per_trial",),
            f"must be a multiple of resources.workers_per_trial, but {training.batch_size} "
            f"clips do not share out to {workers} workers; change either",
        )
    elif isinstance(micro, int) and training.batch_size % (workers * micro):
        yield BrokenRule(
            "training.micro_batch_size",
            ("training.batch_size", "resources.workers_per_trial"),
            f"times {workers} worker(s) must divide training.batch_size, but "
            f"{training.batch_size} / {workers * micro} leaves a remainder; "
            "change either",
        )


def _grace_ends_before_training(experiment: Experiment) -> Iterator[BrokenRule]:
    sweep, epochs = experiment.sweep, experiment.training.max_epochs
    graces = {"asha": sweep.asha.grace_epochs, "median": sweep.median.grace_epochs}
    grace = graces.get(sweep.scheduler)
    if grace is not None and grace > epochs:
        yield BrokenRule(
            f"sweep.{sweep.scheduler}.grace_epochs",
            ("training.max_epochs", "sweep.scheduler"),
            f"must be <= training.max_epochs, but {grace} > {epochs}; lower it",
        )


def _model_is_judged_by_its_task(experiment: Experiment) -> Iterator[BrokenRule]:
    objective, task = experiment.objective, experiment.model.task
    if objective.task != task:
        names = ", ".join(name for name, other in OBJECTIVES.items() if other.task == task)
        yield BrokenRule(
            "training.judged_by",
            ("model.name",),
            f"must be auto, {names} for model {experiment.model.name}, which does {task}, but is "
            f"{experiment.training.judged_by}; set it to auto",
        )


def _sampler_has_one_objective(experiment: Experiment) -> Iterator[BrokenRule]:
    sweep = experiment.sweep
    if sweep.sampler in ("gp", "cmaes") and sweep.objective == "pareto":
        yield BrokenRule(
            "sweep.sampler",
            ("sweep.objective",),
            "must be tpe, random, grid or auto with the objective pareto, but is "
            f"{sweep.sampler}; set it to auto",
        )


def _warmup_ends_before_training(experiment: Experiment) -> Iterator[BrokenRule]:
    training = experiment.training
    if training.warmup_epochs > training.max_epochs:
        yield BrokenRule(
            "training.warmup_epochs",
            ("training.max_epochs",),
            f"must be <= training.max_epochs, but {training.warmup_epochs:g} > "
            f"{training.max_epochs}; lower it",
        )


def _mixing_has_pairs(experiment: Experiment) -> Iterator[BrokenRule]:
    training, workers = experiment.training, experiment.resources.workers_per_trial
    per_worker = training.batch_size // workers
    size = training.micro_batch_size if isinstance(training.micro_batch_size, int) else per_worker
    for key in ("mixup_alpha", "cutmix_alpha"):
        if getattr(training, key) and size == 1:
            yield BrokenRule(
                f"training.{key}",
                (
                    "training.micro_batch_size",
                    "training.batch_size",
                    "resources.workers_per_trial",
                ),
                "must be 0 with micro-batches of one clip, which has no other to be mixed with; "
                "set it to 0 or raise training.micro_batch_size",
            )


def _cached_features_stay_true(experiment: Experiment) -> Iterator[BrokenRule]:
    training = experiment.training
    if not training.cache_features:
        return
    if training.freeze_epochs < training.max_epochs:
        yield BrokenRule(
            "training.cache_features",
            ("training.freeze_epochs", "training.max_epochs"),
            "needs an encoder that never learns, but training.freeze_epochs "
            f"{training.freeze_epochs} < training.max_epochs {training.max_epochs}; raise "
            "training.freeze_epochs or set training.cache_features to false",
        )
    if experiment.model.name != "cnn_transformer":
        yield BrokenRule(
            "training.cache_features",
            ("model.name",),
            f"needs a model that sees each frame alone, but {experiment.model.name} does not; set "
            "model.name to cnn_transformer or training.cache_features to false",
        )
    if training.cutmix_alpha:
        yield BrokenRule(
            "training.cutmix_alpha",
            ("training.cache_features",),
            "must be 0 with training.cache_features: features have no boxes; set it to 0 "
            "(training.mixup_alpha blends features, too)",
        )


def _automatic_choices_do_not_meet(experiment: Experiment) -> Iterator[BrokenRule]:
    training = experiment.training
    if training.micro_batch_size != "auto":
        return
    for key in ("mixup_alpha", "cutmix_alpha"):
        if getattr(training, key):
            yield BrokenRule(
                f"training.{key}",
                ("training.micro_batch_size",),
                "must be 0 with training.micro_batch_size auto: clips are mixed within a "
                "micro-batch, so the result would depend on the GPU; give "
                "training.micro_batch_size a number or set it to 0",
            )
    if experiment.resources.gpu_packing == "auto":
        yield BrokenRule(
            "resources.gpu_packing",
            ("training.micro_batch_size",),
            "must be none with training.micro_batch_size auto, which fills a GPU with one trial; "
            "give training.micro_batch_size a number or set it to none",
        )


def _runs_are_on_a_file_system(experiment: Experiment) -> Iterator[BrokenRule]:
    path = str(experiment.runs_dir)
    if re.match(r"[a-z0-9]+:/", path):  # pathlib makes one slash of two
        yield BrokenRule(
            "runs_dir",
            (),
            f"must be a folder on a disk or on storage that every node mounts, but is {path}; "
            "checkpoints are locked and renamed in place, which object stores cannot do: mount the "
            "bucket, or use NFS",
        )


_RULES: tuple[Rule, ...] = (
    _runs_are_on_a_file_system,
    _data_has_its_folder,
    _splits_differ,
    _splits_can_be_drawn,
    _heads_divide_the_width,
    _patches_tile_the_image,
    _temporal_kernel_has_a_middle,
    _light_encoder_has_no_patches,
    _decoder_width_is_even,
    _pack_holds_the_image,
    _batches_divide,
    _grace_ends_before_training,
    _model_is_judged_by_its_task,
    _sampler_has_one_objective,
    _warmup_ends_before_training,
    _mixing_has_pairs,
    _automatic_choices_do_not_meet,
    _cached_features_stay_true,
    *TRANSLATION_RULES,
)
