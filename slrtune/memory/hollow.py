"""Tensors on the CPU that take no memory, and operators that compute nothing but shapes.

PyTorch's ``FakeTensorMode`` knows the shape, type and strides of every operator's result, at a
tenth of a millisecond and more per operator. Here each operator asks it once per kind of arguments;
the tensors themselves are plain ones, all over the same empty pages of memory.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

_PAGES_BYTES = (2**40, 2**38, 2**36, 2**34)  # of address space, not of memory; first that is given
_MAX_KINDS = 100_000


@dataclass(frozen=True)
class _Kind:
    """All that decides the result of an operator about one tensor."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def empty(self) -> Tensor:
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=self.device)


class HollowMode(TorchDispatchMode):
    """While active, operators make hollow tensors: views for real, all others without computing.

    Values are zeros. Operators whose result's shape depends on values raise, as under
    ``FakeTensorMode``.
    """

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        role = _role(func)
        if role == "view":
            return func(*args, **kwargs)
        if role == "in place":
            return None if not func._schema.returns else kwargs.get("out", args[0])
        key = (func, _key(args), _key(tuple(kwargs.items())))
        result = _results.get(key)
        if result is None:
            if len(_results) >= _MAX_KINDS:
                _results.clear()
            result = _results[key] = _result_of(func, args, kwargs)
        if result is _ALIAS:
            return func(*args, **kwargs)
        return (
            tree_map_only(_Kind, _hollow, result) if type(result) is not _Kind else _hollow(result)
        )


_ALIAS = object()
_results: dict[Any, Any] = {}


@cache
def _role(func: Any) -> str:
    """Whether results share memory with arguments (view), are arguments (in place), or are new."""
    aliases = [returned.alias_info for returned in func._schema.returns]
    is_written = any(arg.alias_info and arg.alias_info.is_write for arg in func._schema.arguments)
    if is_written and all(alias is not None for alias in aliases):
        return "in place"
    if not any("Tensor" in str(returned.type) for returned in func._schema.returns):
        return "view"  # such as item(): looks at its argument and makes no tensor
    is_view = any(alias is not None and not alias.is_write for alias in aliases)
    return "view" if is_view and not is_written else "new"


def _key(values: Any) -> Any:
    """Something hashable that is equal for arguments with equal results."""
    if isinstance(values, Tensor):
        return tuple(values.shape), values.stride(), values.dtype, values.device.type
    if isinstance(values, (list, tuple)):
        return tuple([_key(value) for value in values])
    # 1, 1.0 and True are equal, their results are not
    return type(values), values


def _result_of(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    inputs: set[int] = set()

    def fake(tensor: Tensor) -> Tensor:
        twin = torch.empty_strided(
            tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
        )
        inputs.add(twin.untyped_storage()._cdata)
        return twin

    with FakeTensorMode():
        fake_args, fake_kwargs = tree_map_only(Tensor, fake, (tuple(args), dict(kwargs)))
        result = func(*fake_args, **fake_kwargs)
        if _shares(result, inputs):
            return _ALIAS  # such as a reshape that needs no copy
        return tree_map_only(Tensor, _kind, result)


def _shares(result: Any, storages: set[int]) -> bool:
    found = []
    tree_map_only(Tensor, lambda t: found.append(t.untyped_storage()._cdata), result)
    return not storages.isdisjoint(found)


def _kind(tensor: Tensor) -> _Kind:
    return _Kind(tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)


@cache
def _pages() -> mmap.mmap:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    if sys.platform == "linux":
        flags |= 0x4000  # MAP_NORESERVE, which the module names from Python 3.13 on
    for size in _PAGES_BYTES:
        try:
            return mmap.mmap(-1, size, flags=flags)
        except OSError:  # a limit on address space, such as `ulimit -v`
            continue
    raise MemoryError(f"no {_PAGES_BYTES[-1] / 2**30:g} GiB of address space to predict memory in")


def _hollow(kind: _Kind) -> Tensor:
    """A tensor of its own storage over memory that nobody writes."""
    length = 1
    for size, stride in zip(kind.shape, kind.stride, strict=True):
        if size == 0:
            return kind.empty()
        length += (size - 1) * stride
    if kind.device.type != "cpu":
        return kind.empty()
    flat = torch.frombuffer(_pages(), dtype=kind.dtype, count=length)
    return flat.as_strided(kind.shape, kind.stride)
