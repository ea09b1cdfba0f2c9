"""The `tiny` recipe, shrunk to what a test can wait for: same stages, fewer rows, hardly any training."""

from pathlib import Path

import yaml

RECIPES = Path(__file__).resolve().parents[2] / "deployments" / "recipes"


def shrunk_tiny(folder: Path, **changes: object) -> Path:
    """Write the shrunk recipe into `folder` and return its path; `changes` replace top-level sections."""
    recipe = yaml.safe_load((RECIPES / "tiny.yaml").read_text())
    recipe["name"] = "shrunk"
    del recipe["validity"]  # a test that validates says how
    for source in (*recipe["base"]["sources"], *recipe["corpus"]["sources"], *recipe["corpus"]["reserve"]):
        source["rows"] = 48
    for benchmark in recipe["benchmarks"].values():
        benchmark["rows"] = 12
    recipe["base"]["model"] |= {"hidden_size": 32, "layers": 2, "heads": 2, "kv_heads": 1, "mlp_size": 64}
    recipe["base"]["train"] |= {"epochs": 1, "batch_tokens": 2048}
    recipe["train"] |= {"epochs": 1, "batch_tokens": 2048, "seeds": 2}
    recipe["queries"] |= {"objective": "reference", "max_new_tokens": 24}  # it solves nothing
    recipe["factors"]["sequences"] = 32
    recipe["evaluate"] |= {"max_new_tokens": 24, "draws": 1}
    path = folder / "shrunk.yaml"
    path.write_text(yaml.safe_dump(recipe | changes, sort_keys=False))
    return path


def quick_tiny(folder: Path, **changes: object) -> Path:
    """Write the shrunk recipe with one training seed and short answers into a folder, made if need be."""
    folder.mkdir(exist_ok=True)
    path = shrunk_tiny(folder, **changes)
    recipe = yaml.safe_load(path.read_text())
    recipe["train"] |= {"seeds": 1}
    recipe["evaluate"] |= {"max_new_tokens": 8}
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path
