"""How many landmarks the frames of a data set have, where they are to be learnt."""

from __future__ import annotations

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.data.prepared import PreparedData

_KEY, _REGIONS = "training.keypoint_weight", "model.dense_vit.region_attention"


def num_keypoints(experiment: Experiment, prepared: PreparedData) -> int:
    """K of every clip of training and validation that has landmarks; 0 = they are not learnt.

    Raises:
        UserError: no training clip has any, they are no points, or clips have different ones.
    """
    regions = experiment.model.dense_vit.region_attention
    key = _KEY if experiment.training.keypoint_weight else _REGIONS
    if not experiment.training.keypoint_weight and not regions:
        return 0
    data = experiment.data
    shapes: dict[tuple[int, ...], str] = {}
    for split in (data.train_split, data.val_split):
        clips = prepared.dataset(split, is_training=False, seed=0)
        for index, clip in enumerate(clips.clips):
            shape = clips.keypoints_shape(index)
            if shape is not None:
                shapes.setdefault(shape[1:], prepared.records[clip.clip_id].path)
        if not shapes:
            raise UserError(
                f"{key}: needs clips with landmarks, but those of split '{split}' have none; set "
                f"data.keypoints to the folder of their .npy files, or leave {key} out"
            )
    (shape, path), *others = shapes.items()
    others = [other for other in others if other[0][0] != shape[0]]
    for each, where in shapes.items():
        if each[1] < 2:
            raise UserError(
                f"{key}: needs arrays (frames, landmarks, 2 or more), but those of {where} are "
                f"(frames, {each[0]}); reshape them, and pack again"
            )
    if others:
        raise UserError(
            f"{key}: all clips must have as many landmarks, but {path} has {shape[0]} and "
            f"{others[0][1]} has {others[0][0][0]}; make them alike, and pack again"
        )
    landmarks: int = shape[0]
    for first, last in regions:
        if not 0 <= first < last <= landmarks:
            raise UserError(
                f"{_REGIONS}: must be ranges of the {landmarks} landmarks of each frame, but is "
                f"[{first}, {last}]; take numbers from 0 to {landmarks}, the first below the last"
            )
    for pair in data.keypoint_swaps:
        if not all(0 <= number < landmarks for number in pair):
            raise UserError(
                f"data.keypoint_swaps: must be pairs of the {landmarks} landmarks of each frame, "
                f"but is {list(pair)}; take numbers from 0 to {landmarks - 1}"
            )
    return landmarks
