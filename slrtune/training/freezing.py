"""An encoder that does not learn in the first epochs."""

from __future__ import annotations

from torch import nn

from slrtune.models.registry import VideoModel


class EncoderFreeze:
    """Freezes the encoder of a model for the first ``num_epochs`` epochs.

    What is frozen follows from the epoch alone, so a resumed trial goes on as it would have.
    """

    def __init__(self, model: VideoModel, num_epochs: int) -> None:
        self._num_epochs = num_epochs
        prefixes = model.encoder_prefixes
        self._parameters = [
            parameter
            for name, parameter in model.named_parameters()
            if name.startswith(prefixes) and parameter.requires_grad
        ]
        self._modules: list[nn.Module] = [
            module for name, module in model.named_modules() if f"{name}.".startswith(prefixes)
        ]

    def begin_epoch(self, epoch: int) -> bool:
        """Freeze or thaw for a 0-based epoch, after ``model.train()``; whether anything changed.

        A frozen encoder is in evaluation mode: BatchNorm keeps its statistics and uses them.
        """
        is_frozen = epoch < self._num_epochs
        has_changed = False
        for parameter in self._parameters:
            has_changed |= parameter.requires_grad is is_frozen
            parameter.requires_grad_(not is_frozen)
        if is_frozen:
            for module in self._modules:
                module.eval()
        return has_changed
