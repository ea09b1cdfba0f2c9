"""Infra computes here: what a stage does, without knowing who schedules it or where its result is kept."""
