"""Instance scores against kronfluence, an independent implementation: same model, rows, mask and damping."""

import copy

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from infra_core.influence import FactorParams, ScoreParams, attribute, fit_factors
from tests import tiny

pytest.importorskip("kronfluence", reason="pip install --no-deps kronfluence einconv einops opt-einsum")

from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task

TRAIN, QUERY = (24, 9, 17, 12, 30, 7, 21, 15, 11, 26, 19, 8), (10, 16, 23)


class Rows(Dataset):
    """Rows padded on the right to one length, as kronfluence wants them."""

    def __init__(self, examples):
        self.examples, self.length = examples, max(map(len, examples))

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        example, extra = self.examples[index], self.length - len(self.examples[index])
        ids = torch.cat([example.ids, torch.zeros(extra, dtype=torch.int64)])
        labels = torch.where(example.scored, example.ids, -100)
        labels = torch.cat([labels, torch.full((extra,), -100)])
        real = torch.arange(self.length) < len(example)
        return {"ids": ids, "labels": labels, "real": real.long()}


class Language(Task):
    """Summed NLL over scored tokens, both as training loss and as measurement."""

    def __init__(self, modules):
        super().__init__()
        self.modules = modules

    def compute_train_loss(self, batch, model, sample=False):
        assert not sample
        logits = model(input_ids=batch["ids"], attention_mask=batch["real"]).logits[:, :-1]
        labels = batch["labels"][:, 1:]
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum"
        )

    def compute_measurement(self, batch, model):
        return self.compute_train_loss(batch, model)

    def get_influence_tracked_modules(self):
        return self.modules

    def get_attention_mask(self, batch):
        # Positions 0..T-2: the last one predicts nothing, and our covariances leave it out.
        return torch.nn.functional.pad(batch["real"][:, 1:], (0, 1))


def kronfluence_scores(model, train, queries, modules, folder):
    task = Language(modules)
    prepared = prepare_model(copy.deepcopy(model), task)
    analyzer = Analyzer(
        "parity", prepared, task, cpu=True, disable_tqdm=True, output_dir=str(folder), disable_model_save=True
    )
    factors = FactorArguments(strategy="ekfac", use_empirical_fisher=True)
    analyzer.fit_all_factors("ekfac", Rows(train), per_device_batch_size=4, factor_args=factors)
    analyzer.compute_pairwise_scores(
        "scores",
        "ekfac",
        Rows(queries),
        Rows(train),
        per_device_query_batch_size=1,
        per_device_train_batch_size=4,
        score_args=ScoreArguments(damping_factor=None),  # 0.1 × mean eigenvalue
    )
    # Our f is the log-likelihood and our influence −∇fᵀ(H+λI)⁻¹∇L: with a loss for measurement both
    # minus signs cancel, and the two libraries agree without a further one.
    return analyzer.load_pairwise_scores("scores")["all_modules"].double().numpy()


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["mlp", "all"])
def test_instance_scores_agree_with_kronfluence(choice, tmp_path, record_property):
    """Pearson over all pairs; a forgotten bias column, mask, square or rotation gives less than 0.99."""
    model = tiny.qwen2(num_hidden_layers=3, attn_implementation="eager").eval()
    train, queries = tiny.examples(TRAIN, seed=1), tiny.examples(QUERY, seed=2)
    factors = fit_factors(model, train, FactorParams(modules=choice, fisher="empirical"))
    groups = {f"q{i}": [query] for i, query in enumerate(queries)}
    ours = attribute(model, factors, groups, train, ScoreParams(token_rule="position"))
    ours = ours["influence"].to_numpy().reshape(len(train), len(queries)).T
    theirs = kronfluence_scores(model, train, queries, list(factors), tmp_path)
    pearson = np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]
    record_property("pearson", pearson)
    assert pearson >= 0.9999
    np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3 * np.abs(theirs).max())
