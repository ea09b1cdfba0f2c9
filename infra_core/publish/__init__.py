"""A mixture as a data set that others load and train on: rows, what changed, a card."""

from infra_core.publish.card import CardInputs, card
from infra_core.publish.rows import CHANGES, PUBLISHED, changes, published
from infra_core.publish.trainers import llama_factory

__all__ = ["CHANGES", "PUBLISHED", "CardInputs", "card", "changes", "llama_factory", "published"]
