# Two commands for a newcomer: `make demo` shows the main job, `make test` runs everything that CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types suite bench bench-large clean

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

test: lint types suite

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

suite: $(VENV)/.dev
	$(BIN)/python -m pytest

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[all]'
	touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

# The peers have opinions on versions, so they get an environment of their own. About 10 minutes, 10 GiB of disk.
BENCH := .venv-bench/bin/python
RESULTS := benchmarks/results

bench: .venv-bench/.installed
	mkdir -p $(RESULTS)
	$(BENCH) benchmarks/files.py
	$(BENCH) benchmarks/stages.py
	$(BENCH) benchmarks/growth.py
	$(BENCH) benchmarks/streams.py
	$(BENCH) benchmarks/messages.py
	$(BENCH) benchmarks/sm4.py | tee $(RESULTS)/sm4.md
	$(BENCH) benchmarks/startup.py
	$(BENCH) benchmarks/counters.py
	$(BENCH) benchmarks/report.py

# 20 GiB both ways: 60 GiB of disk.
bench-large: .venv-bench/.installed
	mkdir -p $(RESULTS)
	$(BENCH) benchmarks/large_file.py 20 | tee $(RESULTS)/large-file.txt
	{ echo '```'; cat $(RESULTS)/large-file.txt; echo '```'; } > $(RESULTS)/large-file.md
	$(BENCH) benchmarks/report.py

.venv-bench/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --upgrade pip
	.venv-bench/bin/python -m pip install --quiet --editable '.[cli,emulator]' --group bench
	touch $@

clean:
	rm -rf $(VENV) .venv-bench dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
