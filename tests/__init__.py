"""Claims about the project; one folder a package, and oracles that import nothing of ours."""
