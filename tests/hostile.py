"""Hostile inputs by the hundred, each given to what would read it. A process of its own, so that a hang or a
crash is that of this process: ``python -m tests.hostile KIND COUNT SEED`` prints what became of them.
"""

import csv
import io
import json
import resource
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import polars as pl
import pyarrow as pa
import torch
import yaml
from safetensors.torch import save as safetensors_bytes

from infra_core.corpus.clean import ingest_rows
from infra_core.errors import InfraError
from infra_core.influence.tensors import factors_from_tensors
from infra_core.lm.load import load, save
from infra_core.recipe import CleanParams, Recipe, Source
from infra_core.recipe.rehearsal import STAND_INS
from infra_core.sources.catalog import catalog
from infra_core.sources.made import made_rows
from infra_core.sources.rows import chunk_shards, read_chunks
from infra_core.store.artifact import Manifest
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_table
from tasks._factors import read_layers
from tasks._stage import RunContext
from tests.tiny import qwen2, tokenizer

SECONDS, MEMORY = 30, 3 * 2**30  # for one input; beyond what this process has when it begins
RECIPE = Path(__file__).parents[1] / "deployments" / "recipes" / "tiny.yaml"
FORMATS = ("jsonl", "json", "csv", "parquet", "arrow", "jsonl.gz")
HOSTILE: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, -(10**400), 1e308, float("nan"), float("inf"), "", " ", "\x00", "\ud800",
    "../../etc/passwd", "a" * 100_000, "{x.__class__}", "{}", "%s" * 50, "<script>alert(1)</script>", "=c()",
    "\u202e", [], {}, [[]], {"": {"": ""}}, ["a", 1, None], {"__class__": "os"}, "9" * 5000, "((((" * 500,
    "\\boxed{" * 200,
)  # fmt: skip
IN_YAML = (
    "2024-13-45", "!!python/object/apply:os.system ['exit 9']", "&a [*a]", "[" * 3000, "!!binary '*'",
    "!!int x", "? {a: 1}", "&a [z,z,z,z,z,z,z,z,z]", "{<<: 1}", "0x" + "f" * 5000, "!!timestamp 9", "\t", "%",
    "--- 1\n--- 2", "'", "*nobody",
)  # fmt: skip


def mutated(random: Random, content: bytes) -> bytes:
    """Return bytes that are damaged in one to four places."""
    found = bytearray(content)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(found) + 1)
        end = min(len(found), at + random.choice((1, 4, 8, 64, len(found))))
        match random.randrange(6):
            case 0 if found:
                found[at % len(found)] ^= 1 << random.randrange(8)
            case 1:
                del found[at:]
            case 2:
                del found[at:end]
            case 3:
                found[at:at] = random.randbytes(random.choice((1, 8, 300)))
            case 4:
                found[at:end] = random.choice((b"\xff", b"\x00", b"\x7f")) * (end - at)
            case _:
                found[at:at] = found[at:end]
    return bytes(found)


def twisted(random: Random, value: Any) -> Any:
    """Return a tree of plain values of which one node is something else."""
    if random.random() < 0.2 or not isinstance(value, dict | list) or not value:
        return random.choice(HOSTILE)
    place = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
    found = dict(value) if isinstance(value, dict) else list(value)
    if random.random() < 0.2 and isinstance(found, dict):
        found[str(random.choice(HOSTILE))[:50]] = found.pop(place)
    else:
        found[place] = twisted(random, value[place])
    return found


def recipe(random: Random, folder: Path) -> None:
    """Give a recipe that is damaged, twisted, or holds what only YAML has."""
    text = RECIPE.read_text()
    way = random.randrange(3)
    if way == 0:
        content = mutated(random, text.encode())
    elif way == 1:
        given = yaml.safe_load(text)
        for _ in range(random.randint(1, 3)):
            given = twisted(random, given)
        content = yaml.safe_dump(given, allow_unicode=True).encode("utf-8", "surrogatepass")
    else:
        lines = text.splitlines()
        at = random.randrange(len(lines))
        lines[at] = lines[at].split(":")[0] + ": " + random.choice(IN_YAML)
        content = "\n".join(lines).encode()
    path = folder / "recipe.yaml"
    path.write_bytes(content)
    Recipe.load(path)


def manifest(random: Random, folder: Path) -> None:
    """Give a manifest that is damaged, twisted or nested without end."""
    part = {"sha256": "0" * 64, "bytes": 3, "at": "toy/0123456789abcdef/a/b"}
    whole = Manifest(
        "toy", 1, "0" * 16, {"a": [1]}, {"x": "1" * 16}, {"a/b": part}, {"run": "x"}, 1.0
    ).to_json()
    if random.random() < 0.5:
        content = mutated(random, whole.encode())
    else:
        content = json.dumps(twisted(random, json.loads(whole))).encode()
        if random.random() < 0.1:
            content = b"[" * 100_000 + content
    Manifest.from_json(content, "manifest.json")


def _raw(random: Random, count: int) -> tuple[str, list[dict[str, Any]]]:
    preset, procedure = random.choice(sorted(STAND_INS.items()))
    return preset, list(made_rows(f"made://{procedure}?rows={count}"))


def _ingest(place: Path, preset: str) -> None:
    need = preset in {"bespoke_stratos", "openr1_math", "open_code_reasoning", "limo"}
    given = {"name": "hostile", "domain": "math", "uri": str(place), "mapping": {"preset": preset}}
    source = Source.model_validate(given)
    for shard in catalog(source.uri, None):
        for _, rows in read_chunks(shard, chunk_shards(shard, source.name)):
            kept, dropped = ingest_rows(rows, source, CleanParams(), need_response=need)
            assert len(kept) + len(dropped) >= len(rows), "a row is neither kept nor dropped"
            assert dropped["reason"].str.len_chars().min() != 0


def rows(random: Random, folder: Path) -> None:
    """Give rows of published schemas of which some values are something else."""
    preset, raw = _raw(random, 3)
    path = folder / "rows.jsonl"
    lines = [json.dumps(twisted(random, row)) for row in raw]
    path.write_text("\n".join([*lines, json.dumps(raw[0])]), encoding="utf-8", errors="surrogatepass")
    _ingest(path, preset)


def file(random: Random, folder: Path) -> None:
    """Give a file of rows, in any format, that is damaged."""
    preset, raw = _raw(random, 4)
    kind = random.choice(FORMATS)
    path = folder / f"rows.{kind}"
    path.write_bytes(mutated(random, _written(kind, raw)))
    _ingest(path, preset)


def _written(kind: str, raw: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    match kind:
        case "jsonl":
            return "\n".join(map(json.dumps, raw)).encode()
        case "json":
            return json.dumps(raw).encode()
        case "jsonl.gz":
            return pa.compress("\n".join(map(json.dumps, raw)).encode(), codec="gzip", asbytes=True)
        case "csv":
            text = io.StringIO()
            writer = csv.DictWriter(text, list(raw[0]))
            writer.writeheader()
            writer.writerows(raw)
            return text.getvalue().encode()
        case "parquet":
            pl.DataFrame(raw, strict=False).write_parquet(out)
        case "arrow":
            pl.DataFrame(raw, strict=False).write_ipc_stream(out)
    return out.getvalue()


def _as_part(name: str, content: bytes) -> tuple[RunContext, Any]:
    """File bytes as a part whose manifest vouches for them."""
    store = ArtifactStore(f"memory://{uuid4().hex}")

    def build(out: Any) -> None:
        with out.open(name) as part:
            part.write(content)

    return RunContext(store=store), store.materialize("toy", 1, None, {}, build, {})


TABLE = {"name": pl.String(), "value": pl.Float32(), "many": pl.List(pl.Float32())}


def table(random: Random, folder: Path) -> None:
    """Give a table of the store that is damaged, and whose manifest says that it should be."""
    out = io.BytesIO()
    values = {"name": ["a", "b"] * 50, "value": [1.0, None] * 50, "many": [[1.0], []] * 50}
    pl.DataFrame(values, schema=TABLE).write_parquet(out, compression="zstd")
    ctx, artifact = _as_part("table.parquet", mutated(random, out.getvalue()))
    read_table(ctx.store, artifact, "table.parquet", TABLE)


def header(random: Random, content: bytes) -> bytes:
    """Return safetensors whose header is damaged or twisted, or whose length is a lie."""
    length = int.from_bytes(content[:8], "little")
    told, tensors = content[8 : 8 + length], content[8 + length :]
    match random.randrange(3):
        case 0:
            told = mutated(random, told)
            length = len(told)
        case 1:
            told = json.dumps(twisted(random, json.loads(told))).encode()
            length = len(told)
        case _:
            length = random.choice((0, 1, length - 1, length + 1, 2**31, 2**63, 2**64 - 1))
    return length.to_bytes(8, "little") + told + tensors


def factors(random: Random, folder: Path) -> None:
    """Give a layer's factors with a hostile header."""
    tensors = {f"layer:{name}": torch.eye(3) for name in ("q_a", "q_g", "eigenvalues")}
    whole = safetensors_bytes(tensors | {"layer:n_sequences": torch.tensor(4)})
    ctx, artifact = _as_part("layer.safetensors", header(random, whole))
    read_layers(ctx, artifact, factors_from_tensors, ["layer"])


def weights(random: Random, folder: Path) -> None:
    """Give a model whose weights have a hostile header."""
    model = folder / "model"
    if not model.exists():
        save(qwen2(), tokenizer(), model)
        (folder / "whole").write_bytes((model / "model.safetensors").read_bytes())
    (model / "model.safetensors").write_bytes(header(random, (folder / "whole").read_bytes()))
    load(model)


KINDS: dict[str, Callable[[Random, Path], None]] = {
    given.__name__: given for given in (recipe, manifest, rows, file, table, factors, weights)
}


def main(kind: str, count: str, seed: str) -> None:
    """Give so many inputs of a kind to their reader; what is not refused in a sentence ends this process."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    became: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        for number in range(int(count)):
            signal.alarm(SECONDS)  # nobody handles it: whatever hangs is ended
            try:
                KINDS[kind](Random(f"{kind}/{seed}/{number}"), Path(folder))  # noqa: S311 - not for secrets
                became["read"] += 1
            except InfraError as error:
                told = str(error)
                assert told.splitlines() == [told], f"input {number} of seed {seed}: {told!r}"
                became["refused"] += 1
            except BaseException:  # noqa: BLE001 - that is what is looked for
                traceback.print_exc(limit=-8)
                sys.exit(f"input {number} of seed {seed} is not refused in a sentence")
    print(json.dumps(became))  # noqa: T201 - the answer


if __name__ == "__main__":
    main(*sys.argv[1:])
