"""Slow, obvious versions written from the papers; they import nothing of ours."""
