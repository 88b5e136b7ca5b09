# Two commands on a fresh machine: `make sweep` and `make test`. Both install on first use only.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help sweep test lint types check system-tools clean

help:  ## Show the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/'

sweep: $(VENV)/.installed  ## Install if needed, and run the default sweep (no data needed).
	$(BIN)/slrtune sweep

test: $(VENV)/.installed-dev  ## Install if needed, and run the tests.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4

lint: $(VENV)/.installed-dev  ## Style and mistakes.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev  ## Static types.
	$(BIN)/mypy

check: lint types test  ## All that CI runs.

# A browser for TensorBoard and the report, and what hosts need for `ray up`.
system-tools:  ## Debian, as root: what the tests of browser and cluster need besides Python.
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    chromium chromium-driver openssh-server openssh-client rsync iproute2 >/dev/null

clean:  ## Remove the virtual environment and what tools leave.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache *.egg-info

# A stamp is younger than what decides the installation, so repeated calls skip what is done.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("slrtune needs Python >= 3.11, but $(PYTHON) is " + sys.version.split()[0] + "; call make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@echo "Installing slrtune into $(VENV): about 6 GB with PyTorch's CUDA build, a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev]'
	@touch $@
