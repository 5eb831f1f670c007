"""A stand-in for PyTorch, for testing bench/peers/torch_sdpa where there is neither PyTorch nor a GPU.

Plain Python, small shapes. It computes attention, asserts that it is asked as PyTorch has to be asked, and tells in the
file that FAKE_TORCH_LOG names what was asked. FAKE_TORCH plants what can be wrong with a real one:
    no-gpu      no CUDA device
    no-cudnn    the cuDNN kernel refuses, in two lines
    wrong       the flash kernel's result is off in one value
    nan         one value of the flash kernel's result is NaN
    no-memory   tensors can't be allocated
"""

import contextlib
import itertools
import math
import os
import random
import struct

__version__ = "2.99.0+fake"
PLANTED = os.environ.get("FAKE_TORCH", "")
generator = random.Random()
state = {"kernel": None, "inference": False, "synchronized": True}


def tell(line):
    with open(os.environ["FAKE_TORCH_LOG"], "a", encoding="utf-8") as log:
        log.write(line + "\n")


# ---- types ------------------------------------------------------------------------------------------------------


class dtype:
    def __init__(self, name, rounded):
        self.name = name
        self.rounded = rounded


def to_bfloat16(value):
    if not math.isfinite(value):
        return value
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    bits += 0x7FFF + (bits >> 16 & 1)
    return struct.unpack("<f", struct.pack("<I", bits & 0xFFFF0000))[0]


float64 = dtype("float64", float)
float32 = dtype("float32", lambda value: struct.unpack("<f", struct.pack("<f", value))[0])
float16 = dtype("float16", lambda value: struct.unpack("<e", struct.pack("<e", value))[0])
bfloat16 = dtype("bfloat16", to_bfloat16)


# ---- tensors ----------------------------------------------------------------------------------------------------


class Tensor:
    """Values in row-major order."""

    def __init__(self, shape, values, kind):
        self.shape = tuple(shape)
        self.values = values
        self.dtype = kind
        assert math.prod(self.shape) == len(values)

    def of(self, values, shape=None):
        return Tensor(self.shape if shape is None else shape, [self.dtype.rounded(v) for v in values], self.dtype)

    def rows(self):
        width = self.shape[-1]
        return [self.values[i:i + width] for i in range(0, len(self.values), width)]

    def __getitem__(self, index):
        if isinstance(index, tuple) and None in index:
            return self.of(self.values, [1 if i is None else self.shape[0] for i in index])
        if isinstance(index, list):
            return self.of(itertools.chain.from_iterable(self.rows()[i] for i in index), (len(index), self.shape[1]))
        batch, head = index
        size = self.shape[2] * self.shape[3]
        start = (batch * self.shape[1] + head) * size
        return self.of(self.values[start:start + size], self.shape[2:])

    def to(self, kind):
        return Tensor(self.shape, [kind.rounded(v) for v in self.values], kind)

    def double(self):
        return self.to(float64)

    def transpose(self, first, second):
        assert {first, second} == {0, 1}
        return self.of(itertools.chain.from_iterable(zip(*self.rows())), self.shape[::-1])

    def __matmul__(self, other):
        assert self.dtype is other.dtype
        columns = other.transpose(0, 1).rows()
        products = [sum(a * b for a, b in zip(row, column)) for row in self.rows() for column in columns]
        return self.of(products, (self.shape[0], other.shape[1]))

    def __mul__(self, factor):
        return self.of(v * factor for v in self.values)

    def __add__(self, term):
        return self.of(v + term for v in self.values)

    def __sub__(self, other):
        if isinstance(other, Tensor):
            assert self.dtype is other.dtype and self.shape == other.shape
            return self.of(a - b for a, b in zip(self.values, other.values))
        return self + -other

    def __gt__(self, other):
        """For a row of keys against a column of queries, as a mask needs it."""
        assert self.shape[0] == 1 and other.shape[1] == 1
        return [key > query for query in other.values for key in self.values]

    def masked_fill(self, mask, value):
        return self.of(value if hidden else v for v, hidden in zip(self.values, mask))

    def softmax(self, axis):
        assert axis == -1
        values = []
        for row in self.rows():
            exps = [math.exp(v - max(row)) for v in row]
            values += [e / sum(exps) for e in exps]
        return self.of(values)

    def abs(self):
        return self.of(abs(v) for v in self.values)

    def max(self):
        return self.of([math.nan if any(map(math.isnan, self.values)) else max(self.values)], (1,))

    def item(self):
        return self.values[0]


def randn(shape, device, dtype):
    assert device == "cuda"
    if PLANTED == "no-memory":
        raise cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
    values = [dtype.rounded(generator.gauss(0, 1)) for _ in range(math.prod(shape))]
    return Tensor(shape, values, dtype)


def arange(count, device):
    assert device == "cuda"
    return Tensor((count,), list(range(count)), float64)


def tensor(values, device):
    assert device == "cuda"
    return Tensor((len(values),), values, float64)


def manual_seed(seed):
    generator.seed(seed)


@contextlib.contextmanager
def inference_mode():
    state["inference"] = True
    yield
    state["inference"] = False


# ---- the GPU ----------------------------------------------------------------------------------------------------


class cuda:
    class OutOfMemoryError(RuntimeError):
        pass

    class Event:
        clock = 0

        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            cuda.Event.clock += 1
            self.time = cuda.Event.clock
            state["synchronized"] = False

        def elapsed_time(self, later):
            assert state["synchronized"], "events are read after the GPU has reached them"
            assert later.time == self.time + 1, "one call lies between two events"
            return 0.25

    @staticmethod
    def is_available():
        return PLANTED != "no-gpu"

    @staticmethod
    def get_device_name():
        return "a made-up card"

    @staticmethod
    def synchronize():
        state["synchronized"] = True


class backends:
    class cuda:
        class matmul:
            allow_tf32 = True

    class cudnn:
        @staticmethod
        def version():
            return 91002


from torch import nn  # noqa: E402 (it needs what is above)
