"""What of a configuration can change while a trial trains, and what a population asks of a space.

A trial that takes over another's weights must be able to load them: what decides about the shapes
of a model, its data or its steps stays as it was with the weights. What only says how they learn,
or how clips are changed on the way to them, may differ from one epoch to the next.
"""

from __future__ import annotations

from slrtune.config.search_space import SearchSpace

_CHANGEABLE = {
    "training.learning_rate", "training.encoder_learning_rate", "training.weight_decay",
    "training.min_learning_rate_ratio", "training.label_smoothing", "training.max_grad_norm",
    "training.mixup_alpha", "training.cutmix_alpha", "training.class_balance",
    "training.ctc_weight", "training.ce_weight",
    "data.augmentation.crop_scale_min", "data.augmentation.rotation_degrees",
    "data.augmentation.color_jitter", "data.augmentation.grey_share",
    "data.augmentation.blur_share", "data.augmentation.erase_share",
    "data.sampling.temporal_jitter", "data.sampling.speed_perturbation",
    "data.sampling.frame_drop_share",
}  # fmt: skip
# Of any model: they have no weights of their own.
_CHANGEABLE_OF_MODELS = ("dropout", "drop_path")


def can_change(key: str) -> bool:
    """Whether a trial may go on with another value of ``key`` than it began with."""
    of_model = key.startswith("model.") and key.endswith(_CHANGEABLE_OF_MODELS)
    return key in _CHANGEABLE or of_model


def population_mistakes(space: SearchSpace) -> list[tuple[str, str]]:
    """What of a space does not go with ``sweep.scheduler pbt``: a key, and what is wrong with it;
    an empty key is the whole space."""
    if space.base.sweep.scheduler != "pbt":
        return []
    found = []
    searched = {parameter.key for parameter in space.parameters}
    if "training.max_epochs" in searched:
        rule = "must not be searched with sweep.scheduler pbt, whose trials train together; set it"
        found.append(("training.max_epochs", f"{rule} in the experiment"))
    if not any(map(can_change, searched)):
        rule = (
            "one parameter at least must be able to change while a trial trains, for "
            "sweep.scheduler pbt: a learning rate, weight decay, dropout, label smoothing or an "
            "augmentation; add one, or use asha"
        )
        found.append(("", rule))
    return found


def population_text(space: SearchSpace, num_at_a_time: int | None = None) -> str:
    """What a population based sweep will do, in a sentence or three.

    Args:
        space: what is searched.
        num_at_a_time: trials that the cluster runs at a time; None = it is not known yet.
    """
    sweep = space.base.sweep
    meetings = sweep.pbt.meetings(space.max_epochs)
    changed = [p.key for p in space.parameters if can_change(p.key)]
    fixed = [p.key for p in space.parameters if not can_change(p.key)]
    kept = f"; what comes with the weights: {', '.join(fixed)}" if fixed else ""
    size = sweep.max_trials
    if num_at_a_time is None:
        turns = "; they take turns where the cluster has room for fewer at a time"
    elif num_at_a_time < size:
        turns = f", {num_at_a_time} at a time: they take turns, and nobody overtakes"
    else:
        turns = ", all at a time"
    return (
        f"Population of {size}{turns}. All meet after epochs {', '.join(map(str, meetings))}, "
        "where the weak go on from the weights of the strong. "
        f"What is perturbed: {', '.join(changed)}{kept}"
    )
