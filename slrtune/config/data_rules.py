"""Rules of the data and of where results go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from slrtune.config.broken_rule import BrokenRule
from slrtune.config.paths import absolute

if TYPE_CHECKING:
    from slrtune.config.experiment import Experiment


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


def _splits_differ(experiment: Experiment) -> Iterator[BrokenRule]:
    data = experiment.data
    if data.train_split == data.val_split:
        yield BrokenRule(
            "data.val_split",
            ("data.train_split",),
            f"must differ from data.train_split, but both are {data.val_split!r}; "
            "accuracy on training clips means nothing",
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


def _pack_holds_the_image(experiment: Experiment) -> Iterator[BrokenRule]:
    data = experiment.data
    if data.pack_size_px is not None and data.pack_size_px < data.image_size:
        yield BrokenRule(
            "data.pack_size_px",
            ("data.image_size",),
            f"must be >= data.image_size, but {data.pack_size_px} < {data.image_size}; "
            "raise it or set it to null",
        )


def paths_exist(experiment: Experiment) -> Iterator[BrokenRule]:
    data = experiment.data
    if data.pack is not None:
        return  # a pack may be used where its videos are not
    named = [("root", data.root), ("keypoints", data.keypoints)]
    for key, path in [*named, *(("annotations", file) for file in data.annotations)]:
        if path is not None and not absolute(path).exists():
            yield BrokenRule(
                f"data.{key}", (), f"must exist, but there is no {path}; correct the path"
            )


DATA_RULES = (
    _data_has_its_folder,
    _splits_differ,
    _splits_can_be_drawn,
    _pack_holds_the_image,
)
