"""What the influence engine costs, beside its peers and beside what this machine can do: `make bench`."""
