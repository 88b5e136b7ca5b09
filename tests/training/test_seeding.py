from __future__ import annotations

import os

import pytest
import torch

from slrtune.config.errors import UserError
from slrtune.training.seeding import deterministic_kernels


def test_strict_kernels_are_on_inside_and_what_was_before_comes_back(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    for is_strict in (True, False):
        with pytest.raises(KeyError), deterministic_kernels(is_strict=is_strict):
            assert torch.are_deterministic_algorithms_enabled() is is_strict
            assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) is is_strict
            assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
            raise KeyError
        assert not torch.are_deterministic_algorithms_enabled()
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
        assert not torch.backends.cudnn.deterministic


def test_an_operation_without_a_deterministic_algorithm_is_named_with_the_cure():
    indices = torch.tensor([0, 0])
    with (
        pytest.raises(UserError, match=r"training\.deterministic: .*put_.*set it to false"),
        deterministic_kernels(is_strict=True),
    ):
        torch.zeros(4).put_(indices, torch.ones(2))  # the last to write wins
    with pytest.raises(RuntimeError, match="shape"), deterministic_kernels(is_strict=True):
        torch.ones(2) @ torch.ones(3, 3)
