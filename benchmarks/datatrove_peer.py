"""datatrove's reader and MinHash on the same rows: signatures, buckets, clusters, each on two workers.

Words are split at white space, by far the fastest way there is: its own way for English is spaCy. Hashes are
sha1, since it pins an xxhash that others here do not run with.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.utils.hashing import HashConfig
from datatrove.utils.word_tokenizers import WordTokenizer

from benchmarks.stopwatch import Stopwatch

WORKERS = 2
CONFIG = MinhashConfig(hash_config=HashConfig(hash_fc="sha1"))


class AtSpaces(WordTokenizer):
    """Words are what stands between spaces."""

    def word_tokenize(self, text: str) -> list[str]:
        """Return the words."""
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        """Return the text: sentences are not asked for."""
        return [text]

    def span_tokenize(self, text: str) -> Iterator[tuple[int, int]]:
        """Return the whole text's span."""
        yield 0, len(text)


def whole_row(reader: Any, data: dict[str, Any], path: str, number: int) -> dict[str, Any]:
    """Take prompt and response for the document, as who deduplicates documents does."""
    return {"text": f"{data['problem']}\n{data['solution']}", "id": f"{path}/{number}", "metadata": {}}


def prompt(reader: Any, data: dict[str, Any], path: str, number: int) -> dict[str, Any]:
    """Take the prompt alone, as our signatures do."""
    return {"text": data["problem"], "id": f"{path}/{number}", "metadata": {}}


TEXTS = {"rows": whole_row, "prompts": prompt}


def deduplicate(source: Path, scratch: Path, text: str) -> dict[str, float]:
    """Read the rows, sign them, and find which to remove; seconds by step. Nothing is filtered or written."""
    watch = Stopwatch()
    steps: dict[str, tuple[list[PipelineStep], int]] = {
        "signatures": (
            [
                JsonlReader(str(source), adapter=TEXTS[text], recursive=True),
                MinhashDedupSignature(f"{scratch}/signatures", config=CONFIG, language=AtSpaces()),
            ],
            WORKERS,
        ),
        "buckets": (
            [MinhashDedupBuckets(f"{scratch}/signatures", f"{scratch}/buckets", config=CONFIG)],
            CONFIG.num_buckets,
        ),
        "clusters": ([MinhashDedupCluster(f"{scratch}/buckets", f"{scratch}/remove", config=CONFIG)], 1),
    }
    for name, (pipeline, tasks) in steps.items():
        Path(scratch, name if name != "clusters" else "remove").mkdir(parents=True, exist_ok=True)
        with watch.timing(name):
            LocalPipelineExecutor(
                pipeline, tasks=tasks, workers=min(WORKERS, tasks), logging_dir=f"{scratch}/logs/{name}"
            ).run()
    return watch.seconds
