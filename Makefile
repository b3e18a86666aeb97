# Everything a developer or a reader does here. `make help` lists it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
# A virtual environment holds absolute paths, so a moved or renamed folder needs its own stamp.
INSTALLED := $(VENV)/installed-$(shell pwd | cksum | cut -d' ' -f1)
export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help install demo test lint bench notebooks wheel clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED)  ## make .venv with everything the other targets need

$(INSTALLED): pyproject.toml constraints.txt tfembed/encoders/minilm_requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11 to 3.13 is needed; found '$(PYTHON)'. Run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv "$(VENV)"
	"$(PY)" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,notebooks,serve,index,bulk]'
	"$(PY)" -m tfembed encoders --install minilm
	@rm -f $(VENV)/installed-* && touch "$@"

demo: $(INSTALLED)  ## the main job: intents and digits, trained, exported, checked
	@"$(PY)" -m tfembed demo

test: $(INSTALLED)  ## the whole test suite
	"$(PY)" -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED)  ## ruff and mypy
	"$(PY)" -m ruff check .
	"$(PY)" -m ruff format --check .
	"$(PY)" -m mypy

bench: $(INSTALLED)  ## every benchmark, into benchmarks/RESULTS.md; set TFEMBED_SHARED for those on real data
	"$(PY)" scripts/run_benchmarks.py

notebooks: $(INSTALLED)  ## run every notebook from top to bottom
	"$(PY)" scripts/run_notebooks.py

wheel: $(INSTALLED)  ## install the wheel as a user does, at the newest and the lowest versions, and use it
	"$(PY)" scripts/check_installation.py

clean:  ## remove the environment, caches, runs and exports
	rm -rf "$(VENV)" dist runs *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find saved_models -mindepth 1 -maxdepth 1 -type d -exec rm -rf {} +
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
