"""Problems are tried once, judged by what the row carries, and not tried again for a pool that grew."""

import json

import pytest

from infra_core.corpus.schema import ANSWERS, CORPUS, PASS_RATES
from infra_core.recipe import AttemptParams, CleanParams, ScratchBase, Source, TrainParams
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_table, read_tables, table_names
from tasks._stage import RunContext
from tasks.attempt import AttemptRun, attempt
from tasks.base import base
from tasks.ingest import catalogued, ingest
from tasks.train import train

SHAPE = ScratchBase(
    kind="scratch", hidden_size=16, layers=1, heads=2, kv_heads=1, mlp_size=32, context=64, seed=0
)
COLUMNS = {"prompt": "asked", "response": "told", "answer": "told", "difficulty": "level"}
PARAMS = AttemptRun(
    attempts=AttemptParams(draws=2, temperature=0.01, max_new_tokens=4),
    judges={},
    only_unlabelled=False,
    seed=0,
)


def pool(ctx, folder, *files):
    """Rows (prompt, response, level) in files of one source."""
    folder.mkdir(exist_ok=True)
    for name, rows in enumerate(files):
        lines = (dict(zip(("asked", "told", "level"), row, strict=True)) for row in rows)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = Source(name="sevens", domain="math", uri=str(folder / "*.jsonl"), mapping=COLUMNS)
    return ingest(ctx, params=catalogued([source], CleanParams(), need_response=True))


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A model that says 7 to whatever it is asked."""
    folder = tmp_path_factory.mktemp("taught")
    ctx = RunContext(ArtifactStore(str(folder / "store")), micro_batch_tokens=512)
    corpus = pool(ctx, folder / "taught", [(f"say {chr(97 + n)}", "7", None) for n in range(12)])
    steps = TrainParams(learning_rate=1e-2, epochs=30, batch_tokens=200, max_tokens=64, seed=0)
    return ctx, folder, train(ctx, base=base(ctx, params=SHAPE), corpus=corpus, params=steps)


def rates(ctx, tried, corpus):
    """Pass rate by (prompt, response)."""
    texts = read_tables(ctx.store, corpus, CORPUS).select("example_id", "prompt", "response").iter_rows()
    names = {name: tuple(both) for name, *both in texts}
    found = [read_table(ctx.store, tried, name, PASS_RATES) for name in table_names(ctx.store, corpus)]
    return {names[name]: rate for frame in found for name, rate, _ in frame.iter_rows()}


def test_a_rate_is_the_share_of_right_draws_and_every_response_to_a_problem_has_it(taught):
    """7 is right of one problem and wrong of the other; that has two rows, and is asked once."""
    ctx, folder, model = taught
    corpus = pool(ctx, folder / "two", [("say a", "7", None), ("say b", "9", None), ("say b", "9.0", None)])
    tried = attempt(ctx, checkpoint=model, corpus=corpus, params=PARAMS)
    assert rates(ctx, tried, corpus) == {("say a", "7"): 1.0, ("say b", "9"): 0.0, ("say b", "9.0"): 0.0}
    [name] = table_names(ctx.store, corpus)
    answers = read_table(ctx.store, tried, f"answers-{name}", ANSWERS)
    assert answers.height == 2 * 2
    assert set(answers["response"]) == {"7"}


def test_what_is_labelled_or_too_long_is_not_tried(taught):
    ctx, folder, model = taught
    rows = [("say a", "7", "Easy"), ("say c", "7", None), ("x" * 70, "7", None)]
    corpus = pool(ctx, folder / "some", rows)
    only = PARAMS.model_copy(update={"only_unlabelled": True})
    tried = attempt(ctx, checkpoint=model, corpus=corpus, params=only)
    assert rates(ctx, tried, corpus) == {("say c", "7"): 1.0}


def test_a_file_more_is_the_only_one_that_is_tried(taught):
    """Parts of the first pool lie where they were written; the new one is this artifact's own."""
    ctx, folder, model = taught
    first = [("say a", "7", None)]
    attempt(ctx, checkpoint=model, corpus=pool(ctx, folder / "grown", first), params=PARAMS)
    corpus = pool(ctx, folder / "grown", first, [("say d", "8", None)])
    tried = attempt(ctx, checkpoint=model, corpus=corpus, params=PARAMS)
    parts = ctx.store.manifest(tried).parts
    assert sorted("at" in parts[name] for name in table_names(ctx.store, corpus)) == [False, True]
    assert rates(ctx, tried, corpus) == {("say a", "7"): 1.0, ("say d", "8"): 0.0}
