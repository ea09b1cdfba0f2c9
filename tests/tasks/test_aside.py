"""Tensors put aside come back as they were, to whoever looks into the folder."""

import pytest
import torch

from tasks._aside import Aside, aside


def test_what_one_puts_there_another_finds(tmp_path):
    mine, yours = Aside(tmp_path), Aside(tmp_path)
    tensors = {"b": torch.arange(6).reshape(2, 3).mT, "a": torch.zeros(0), "c.1": torch.ones(2).bfloat16()}
    mine.update(tensors)
    assert list(mine) == list(tensors)  # in the order they came
    assert sorted(yours) == sorted(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(yours[name], tensor)
        assert yours[name].dtype == tensor.dtype
    del yours["b"]
    assert "b" not in mine
    assert list(mine) == ["a", "c.1"]
    with pytest.raises(KeyError):
        mine["b"]


def test_what_is_put_aside_is_gone_afterwards_and_fits_the_disk():
    with aside() as (shelf, room):
        shelf["x"] = torch.ones(3)
        folder = shelf.folder
        assert room > 0
        assert len(shelf) == 1
    assert not folder.exists()
