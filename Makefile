# On a machine with Python 3.11+, pip, make and git:
#   make demo   make test   make test-faults   make test-fake-gpu   make bench   make help
# and on one with a GPU also
#   make test-gpu   make bench-gpu

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# A stamp for each set of extras, with a "+" between them: only a change of pyproject.toml or setup.py installs it again.
COMMA := ,
installed = $(VENV)/.installed-$(1)

# `make demo` runs on the GPU where there is one. nvidia-smi prints the newest CUDA that the driver serves. Without a GPU,
# the targets that need one say what is missing. Libraries of CUDA 12 and of CUDA 13 have files of the same names, so that
# all that is installed here is for one of them: also what the tests need without a GPU, and PyTorch.
ifneq (,$(filter-out help clean,$(MAKECMDGOALS)))
CUDA := $(shell nvidia-smi 2>/dev/null | sed -n 's/.*CUDA[A-Za-z ]*Version: *\([0-9][0-9]*\)\..*/\1/p' | head -n 1)
CUDA_EXTRA := $(if $(CUDA),$(shell test $(CUDA) -ge 13 && echo cuda13 || { test $(CUDA) -eq 12 && echo cuda12; }))
endif
IS_12 := $(filter cuda12,$(CUDA_EXTRA))
TEST_EXTRA := $(if $(IS_12),test-cuda12,test)
OTHER_CUDA := $(wildcard $(if $(IS_12),$(VENV)/.installed-test $(VENV)/.installed-*cuda13*,$(VENV)/.installed-*cuda12*))

# All at once, so that pip finds versions of the CUDA libraries on which PyTorch and numba-cuda agree.
GPU_TEST_EXTRAS := $(TEST_EXTRA)$(if $(CUDA_EXTRA),+$(CUDA_EXTRA)+torch$(if $(IS_12),-cuda12))

.PHONY: help demo test test-faults test-fake-gpu test-gpu format bench bench-gpu clean
.DEFAULT_GOAL := help

help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(call installed,image)  ## create, write and read a volume, on the GPU where there is one
	@$(if $(CUDA_EXTRA),$(MAKE) --no-print-directory $(call installed,$(CUDA_EXTRA)) || \
	  echo "The extra $(CUDA_EXTRA) could not be installed; the demo runs on the CPU." >&2,:)
	$(BIN)/wkgpu demo

test: $(call installed,$(TEST_EXTRA))  ## run the linter, the type checker and the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile
	$(BIN)/python tests/install_check.py --newest $(VENV)-newest
	$(BIN)/python tests/fake_driver

test-faults: $(call installed,$(TEST_EXTRA))  ## interrupt, kill and damage at random, and write docs/faults.md; some minutes
	$(BIN)/python tests/faults $(FAULTS)

test-fake-gpu: $(call installed,$(TEST_EXTRA))  ## run tests for a GPU on a driver without one; make test does it too, where it can
	$(BIN)/python tests/fake_driver $(FAKE)

test-gpu: $(call installed,$(GPU_TEST_EXTRAS))  ## run the tests that need a GPU
	$(BIN)/wkgpu doctor --device cuda
	$(BIN)/pytest -m gpu

format: $(call installed,$(TEST_EXTRA))  ## format the code, apply lint fixes, and list all members in the README
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python tests/members.py

bench: $(call installed,bench)  ## measure against webknossos and wkw; some minutes and some GB of scratch space
	$(BIN)/python -m benchmarks $(BENCH)

bench-gpu: $(call installed,bench) $(if $(CUDA_EXTRA),$(call installed,$(CUDA_EXTRA)))  ## measure on the GPU; some minutes
	$(BIN)/python -m benchmarks.gpu $(BENCH)

clean:  ## remove .venv and all else that make has made
	rm -rf $(VENV) $(VENV)-newest build dist demo-output *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Some systems split ensurepip off Python: then the pip that is there installs one into the new environment.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "wkgpu needs Python 3.11 or newer, but '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Install a newer Python, or name the one to use: make $(or $(MAKECMDGOALS),test) PYTHON=python3.12" >&2; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
	  $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install pip; } || { \
	  rm -rf $(VENV); exit 1; }

$(call installed,%): pyproject.toml setup.py | $(BIN)/python
	@$(if $(OTHER_CUDA),echo "$(VENV) has libraries of another CUDA than the driver's: run make clean first." >&2; exit 1)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(subst +,$(COMMA),$*)]'
	@touch $@
