# Two commands do everything, set-up included:  make demo   make test
#
#   make demo     the main job on real data              make lint    ruff: rules and format
#   make test     the test suite                         make docs    the documentation, as HTML
#   make slow     the tests marked slow                  make bench   side by side with peers
#   make papers   tables and figures of the papers       make zoo     every architecture against finite networks
#   make venv     only the set-up                        make clean   remove all that these made
#
# PYTHON chooses the interpreter (default: the first that works of python3, python3.14 … python3.11), VENV the folder of the
# environment, JOBS the number of test processes, ARGS what is passed on:  make test ARGS="-k relu"
# The environment is made anew when pyproject.toml changes or another PYTHON is asked for.

VENV ?= .venv
JOBS ?= 2
ARGS ?=
PYTHON ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready$(if $(PYTHON),-$(subst /,-,$(PYTHON)))
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# processes that share the cores: threads of BLAS that wait by spinning would cost more than they bring
PYTEST := OPENBLAS_NUM_THREADS=1 XLA_FLAGS=--xla_cpu_parallel_codegen_split_count=1 $(BIN)/python -m pytest

.PHONY: help demo test slow lint docs bench papers zoo venv clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed -n 1,10p

demo: $(READY)
	$(BIN)/widelimit demo $(ARGS)

test: $(READY)
	$(PYTEST) -n $(JOBS) --dist worksteal $(ARGS)

slow: $(READY)
	$(PYTEST) -m slow -n $(JOBS) --dist worksteal $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: $(VENV)/.ready-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html $(ARGS)
	@echo "open docs/_build/html/index.html"

bench: $(READY)
	$(BIN)/python benchmarks/run.py $(ARGS)

# one by one, or some of them:  make papers PAPERS=papers/permutations/run.py
PAPERS ?= $(sort $(wildcard papers/*/run.py))

papers: $(READY)
	@set -e; for paper in $(PAPERS); do echo "── $$paper ──"; $(BIN)/python $$paper $(ARGS); done

# some rows:  make zoo ARGS="--only resnet"
zoo: $(READY)
	$(BIN)/python -m zoo.run $(ARGS)

venv: $(READY)

$(READY): pyproject.toml
	@set -e; \
	if [ -d "$(VENV)" ] && [ ! -f "$(VENV)/pyvenv.cfg" ] && [ -n "$$(ls -A "$(VENV)")" ]; then \
	  echo "make: '$(VENV)' exists and is no virtual environment; name another folder: make VENV=.venv" >&2; exit 1; fi; \
	found="$$(.ci/pythons $(PYTHON))"; \
	found="$$(printf '%s\n' "$$found" | head -n 1)"; \
	echo "widelimit: setting up $(VENV) with Python $$found (a minute or two, once)"; \
	"$${found#* }" -m venv --clear "$(VENV)"
	@$(PIP) --editable ".[all,test,lint]"
	@touch $(VENV)/.ready $(READY)

$(VENV)/.ready-docs: $(READY)
	@$(PIP) --editable ".[docs]"
	@touch $@

clean:
	rm -rf .venv .venv-* .cache benchmarks/.peer-env build dist docs/_build .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
