"""Choosing the kernel."""

import contextlib
import enum

import torch


class SDPBackend(enum.Enum):
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3


@contextlib.contextmanager
def sdpa_kernel(backend):
    torch.state["kernel"] = backend
    yield
    torch.state["kernel"] = None
