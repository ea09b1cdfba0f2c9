"""How far resident memory rises, and falls again."""

import sys

import numpy as np
import pytest

from infra_core.runtime.memory import peak_memory

MEBIBYTE = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is Linux's")
def test_peak_memory_sees_what_was_freed_again_and_not_what_was_there_before():
    before = np.ones(96 * MEBIBYTE // 8)
    with peak_memory() as memory:
        during = np.ones(64 * MEBIBYTE // 8)
        del during
    assert before.any()
    assert 60 * MEBIBYTE < memory.above < 80 * MEBIBYTE
