"""Stages: what is worth remembering. The only code that sees both Prefect and `infra_core`."""
