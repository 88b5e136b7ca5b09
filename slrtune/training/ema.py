"""Exponential moving average of the weights (Polyak & Juditsky 1992): what is judged and kept.

Lists of tensors rather than a second module (timm's ModelEmaV3, torch's AveragedModel): the average
is swapped into the model to be validated, so that there is one compiled model, one set of
activations and one name for every weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_WARMUP_POWER = 2 / 3


class WeightAverage:
    """The moving average of a model's weights and BatchNorm statistics.

    Args:
        model: on its device already. Whole numbers, such as batch counters, are not averaged.
        decay: share of the average that an update keeps, once it has warmed up.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay = model, decay
        self._num_updates = 0
        self._averages = {name: tensor.detach().clone() for name, tensor in self._current().items()}

    def _current(self) -> dict[str, Tensor]:
        # shared tensors come once, unlike in a state_dict
        everything = (*self._model.named_parameters(), *self._model.named_buffers())
        return {name: tensor for name, tensor in everything if tensor.is_floating_point()}

    @property
    def current_decay(self) -> float:
        """The decay of the next update: from 0, so that the first weights are soon forgotten.

        1 - (1 + updates)^(-2/3), as timm's ModelEmaV3: 0.99 after 1000 updates, 0.999 after 31,600.
        """
        return min(self._decay, 1.0 - (1 + self._num_updates) ** -_WARMUP_POWER)

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the model's weights of now."""
        averages = list(self._averages.values())
        torch._foreach_lerp_(averages, list(self._current().values()), 1.0 - self.current_decay)
        self._num_updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """While active, the model's weights are the average; nothing is copied."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, tensor in self._current().items():
            self._averages[name], tensor.data = tensor.data, self._averages[name]

    def state_dict(self) -> dict[str, Any]:
        """All that continuing needs."""
        return {"averages": self._averages, "num_updates": self._num_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        for name, average in self._averages.items():
            average.copy_(state["averages"][name])
        self._num_updates = state["num_updates"]
