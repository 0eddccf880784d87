"""Number formats and devices, and what is said when this machine has none of that name."""

from __future__ import annotations

import pytest
import torch

from bottega.core import BottegaError
from bottega.training.precision import autocast, bf16_is_fast, pick_device, use_bf16


def test_precision_by_name():
    assert use_bf16("bf16", "cpu") is True
    assert use_bf16("fp32", "cpu") is False
    assert use_bf16("auto", "cpu") is bf16_is_fast("cpu")
    with pytest.raises(BottegaError, match="train.precision is 'fp16'; use 'fp32', 'bf16' or 'auto'"):
        use_bf16("fp16", "cpu")


def test_autocast_is_bfloat16_or_nothing():
    a = torch.ones(2, 2)
    with autocast(True, a.device):
        assert (a @ a).dtype == torch.bfloat16
    with autocast(False, a.device):
        assert (a @ a).dtype == torch.float32


def test_the_processor_is_always_there():
    assert pick_device("cpu").type == "cpu"
    assert pick_device().type in {"cpu", "cuda", "mps"}


@pytest.mark.parametrize("name", ["gpu", "cuda:x", ""])
def test_an_unknown_device_is_named(name):
    with pytest.raises(BottegaError, match=f"unknown device '{name}'; use auto, cpu, cuda"):
        pick_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_named():
    with pytest.raises(BottegaError, match="no 'cuda' device that torch can use; .*--device cpu"):
        pick_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA")
def test_a_cuda_device_too_many_is_named():
    with pytest.raises(BottegaError, match=r"there is no 'cuda:99'"):
        pick_device("cuda:99")


def test_a_device_without_memory_is_refused():
    with pytest.raises(BottegaError, match="no 'meta' device"):
        pick_device("meta")
