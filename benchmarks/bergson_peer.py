"""bergson given the very rows, mask, loss and damping that ours are, through what `bergson ekfac` runs."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from bergson.config.config import (
    HessianConfig,
    HessianPipelineConfig,
    IndexConfig,
    PreprocessConfig,
    QuerySetConfig,
    ScoreConfig,
)
from bergson.data import DataConfig, load_scores
from bergson.hessians.pipeline import hessian_pipeline
from datasets import Dataset
from numpy.typing import NDArray
from tokenizers import Tokenizer, models
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.workloads import PEERS_BATCH_TOKENS
from infra_core.corpus.example import TokenizedExample


def fit_and_score(
    model: PreTrainedModel,
    train: Sequence[TokenizedExample],
    queries: Sequence[TokenizedExample],
    folder: Path,
) -> tuple[NDArray[np.float64], float]:
    """Fit EK-FAC of the MLP modules on the rows, score them; return scores, queries down, and seconds.

    bergson takes folders: the model and the rows are saved first, outside the seconds. Inside them it loads
    the model anew for each of its steps and hands factors and gradients on by files. Its scores are positive
    where ours are.
    """
    model.save_pretrained(folder / "model")
    nothing = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))  # rows are tokens already
    PreTrainedTokenizerFast(tokenizer_object=nothing).save_pretrained(folder / "tokenizer")
    for name, rows in (("train", train), ("queries", queries)):
        _dataset(rows).save_to_disk(folder / name)
    index = IndexConfig(
        run_path=str(folder / "run"),
        model=str(folder / "model"),
        tokenizer=str(folder / "tokenizer"),
        data=DataConfig(dataset=str(folder / "train")),
        precision="fp32",
        token_batch_size=min(PEERS_BATCH_TOKENS, model.config.max_position_embeddings),  # more it refuses
        loss_reduction="sum",
        filter_modules="*self_attn*",  # what matches is left out; the head always is
    )
    hessian = HessianConfig(method="kfac", ev_correction=True, hessian_dtype="fp32", use_dataset_labels=True)
    pipeline = HessianPipelineConfig(
        query=QuerySetConfig(dataset=str(folder / "queries"), aggregation="none")
    )
    start = time.perf_counter()
    hessian_pipeline(index, hessian, ScoreConfig(), PreprocessConfig(), pipeline)
    seconds = time.perf_counter() - start
    return load_scores(folder / "run" / "scores")[:].astype(np.float64).T, seconds


def _dataset(rows: Sequence[TokenizedExample]) -> Dataset:
    return Dataset.from_list([
        {
            "input_ids": row.ids.tolist(),
            "labels": torch.where(row.scored, row.ids, -100).tolist(),
            "length": len(row),
        }
        for row in rows
    ])
