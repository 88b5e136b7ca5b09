from __future__ import annotations

import pytest
from torch import Tensor

from slrtune.config.errors import UserError
from slrtune.models import VideoModel, create_model, list_models, register_model


def test_an_unknown_model_is_refused_with_a_guess() -> None:
    with pytest.raises(UserError, match="but is 'timesfromer'; did you mean 'timesformer'"):
        create_model("timesfromer", num_classes=2)


def test_both_architectures_are_known() -> None:
    assert {"cnn_transformer", "timesformer"} <= set(list_models())


def test_a_name_cannot_be_taken_twice() -> None:
    with pytest.raises(ValueError, match=r"already registered by slrtune\.models\.timesformer"):

        @register_model("timesformer")
        class Impostor(VideoModel):
            def forward(self, frames: Tensor, frame_mask: Tensor | None = None) -> Tensor:
                return frames
