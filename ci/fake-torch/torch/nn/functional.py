"""Attention in float64, rounded at the end."""

import math

import torch
from torch.nn.attention import SDPBackend


def scaled_dot_product_attention(q, k, v, is_causal, scale, enable_gqa=False):
    kernel = torch.state["kernel"]
    assert kernel is not None, "a kernel is chosen"
    assert torch.state["inference"], "no gradients are kept"
    assert not torch.backends.cuda.matmul.allow_tf32, "fp32 is fp32"
    fp32 = q.dtype is torch.float32
    assert fp32 == (kernel in (SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)), "only kernels that have the type"
    group_size = q.shape[1] // k.shape[1]
    assert enable_gqa == (group_size > 1), "groups are asked for where there are any, and only there"
    torch.tell(f"{kernel.name} {q.dtype.name} {q.shape} {k.shape} {v.shape} causal={is_causal} scale={scale}")
    if torch.PLANTED == "no-cudnn" and kernel is SDPBackend.CUDNN_ATTENTION:
        raise RuntimeError("No available kernel.\n  Aborting execution.")
    values = []
    for batch in range(q.shape[0]):
        for head in range(q.shape[1]):
            scores = q[batch, head].double() @ k[batch, head // group_size].double().transpose(0, 1) * scale
            if is_causal:
                hidden = [key > query for query in range(q.shape[2]) for key in range(k.shape[2])]
                scores = scores.masked_fill(hidden, -math.inf)
            values += (scores.softmax(-1) @ v[batch, head // group_size].double()).values
    if kernel is SDPBackend.FLASH_ATTENTION:
        if torch.PLANTED == "wrong":
            values[-1] += 0.5
        if torch.PLANTED == "nan":
            values[-1] = math.nan
    return torch.Tensor((*q.shape[:3], v.shape[3]), [q.dtype.rounded(value) for value in values], q.dtype)
