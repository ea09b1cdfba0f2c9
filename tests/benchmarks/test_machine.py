"""The machine's own rate."""

import torch

from benchmarks.machine import gemm_rate
from benchmarks.workloads import QUICK


def test_the_gemm_rate_is_that_of_a_computer():
    assert 1e6 < gemm_rate(QUICK["a"], torch.float32, seconds=0.01) < 1e15
