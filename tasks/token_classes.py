"""What each token of each response is: a connector, an operator or digit, LaTeX, syntax, a name."""

from collections.abc import Sequence

from infra_core.attributes.token_class import token_classes as classes_of
from infra_core.corpus.schema import TOKENED, distinct
from infra_core.lm.load import load_tokenizer
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import write_table
from tasks._checkpoint import model_folder
from tasks._row_local import of_texts, part_by_part
from tasks._shares import share_out
from tasks._stage import RunContext, stage


@stage(version=1)
def token_classes(ctx: RunContext, out: WorkDir, *, corpus: Artifact, base: Artifact) -> None:
    """Divide every response into words, part by part; `base` says which tokens they take."""
    pending = out.pending(of_texts(ctx, corpus, tokenizer=base.key))
    share_out(ctx, out, classes_of_parts, pending, (corpus, base))


def classes_of_parts(
    ctx: RunContext, out: WorkDir, names: Sequence[str], given: tuple[Artifact, Artifact]
) -> None:
    """Divide the responses of some parts."""
    corpus, base = given
    tokenizer = load_tokenizer(model_folder(ctx, base))
    for name, rows in part_by_part(ctx, corpus, names, "token classes"):
        write_table(out, name, classes_of(distinct(rows), tokenizer), TOKENED)
