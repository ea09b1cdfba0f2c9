"""The machine's own rate and the memory that work takes."""

import sys

import numpy as np
import pytest
import torch

from benchmarks.machine import gemm_rate, peak_memory
from benchmarks.workloads import QUICK

MEBIBYTE = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is Linux's")
def test_peak_memory_sees_what_was_freed_again_and_not_what_was_there_before():
    before = np.ones(96 * MEBIBYTE // 8)
    with peak_memory() as memory:
        during = np.ones(64 * MEBIBYTE // 8)
        del during
    assert before.any()
    assert 60 * MEBIBYTE < memory.above < 80 * MEBIBYTE


def test_the_gemm_rate_is_that_of_a_computer():
    assert 1e6 < gemm_rate(QUICK["a"], torch.float32, seconds=0.01) < 1e15
