"""A recipe file as it stands: read, not yet checked."""

from pathlib import Path

import yaml

from infra_core.errors import RequestError


def read(path: str | Path) -> object:
    """Return what the YAML of a recipe file says.

    Raises
    ------
    RequestError
        If it cannot be read, or is not YAML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"recipe {path} cannot be read ({error}); give a name in deployments/recipes/ or a path"
        ) from error
    try:
        return yaml.safe_load(text)
    # YAML's own, and what its constructors meet in an impossible date, a wrong tag, endless nesting.
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise RequestError(f"recipe {path} is not YAML: {in_a_line(str(error))}") from error


def in_a_line(text: str) -> str:
    """Return a message without its line breaks, and not without end."""
    return " ".join(text.split())[:2000]
