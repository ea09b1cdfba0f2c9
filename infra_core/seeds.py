"""One seed a recipe; every consumer derives its own by name, so that adding one never moves another."""

import hashlib
import random

import numpy as np


def derive_seed(seed: int, *names: str | int) -> int:
    """Return the 63-bit seed of the consumer called `names` under the recipe's `seed`.

    Examples
    --------
    >>> derive_seed(0, "flip", "math") == derive_seed(0, "flip", "math")
    True
    >>> derive_seed(0, "flip", "math") == derive_seed(0, "flip", "code")
    False
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a numpy generator for the consumer called `names`."""
    return np.random.default_rng(derive_seed(seed, *names))


def python_random(seed: int, *names: str | int) -> random.Random:
    """Return a `random.Random` for the consumer called `names`; for text, where numpy is clumsy."""
    return random.Random(derive_seed(seed, *names))  # noqa: S311 - not for secrets
