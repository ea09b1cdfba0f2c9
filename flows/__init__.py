"""Compositions of stages, and the `infra` command."""
