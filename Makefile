# make help says what there is. Variables you may set:
#   PYTHON   the interpreter that makes the environment (3.11 or newer)
#   VENV     where it is made; an existing environment is used as it is
#   ARGS     further arguments of pytest (make test), the notebooks' runner (make full) or JupyterLab
#   EDITS    a folder of your own edits;  MODELS   other models: a preset, a folder, or two hub names
#   SEED, STEPS, DEVICE   the other parameters of the notebooks. Any of these five makes a book of your
#            own, with no number of ours in it:
#   OUT      where that goes: notebooks, tables, figures and pages (default: _build/own)
#   SITE     the address at which the book will stand, https://host/path/: adds sitemap and cards
#   JOBS     how many notebooks are executed side by side; by default one for each core, at most 4
# Where packages come from is pip's business: PIP_INDEX_URL, PIP_FIND_LINKS, pip.conf are honoured.

# Idle threads sleep; spinning, they take the cores of whatever runs beside.
export OMP_WAIT_POLICY ?= PASSIVE

MODERN := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c '$(MODERN)' >/dev/null 2>&1 && echo $$python; done) python3)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.cirp-installed
# Peers that ours is compared with; what they pin, or ask for and do not need, is left out.
PEERS := daam==0.2.0 attention-map-diffusers==1.0.0

# A notebook is executed again if it, the package, the data or the full run's results are newer
# than its last execution. What quick runs write (.cache, data/results/quick) is not among these,
# so no notebook makes another one stale.
NOTEBOOKS := $(sort $(wildcard notebooks/[0-9]*.py))
EXECUTED := $(NOTEBOOKS:notebooks/%.py=book/notebooks/%.ipynb)
# make's own lists of files break at spaces and colons: one file has the time of the newest source.
SOURCES := _build/sources.stamp
ENGINE := book/_extra/_static/explorer/engine.json
$(shell $(PYTHON) cirp/commands/newest.py $(SOURCES) cirp data >&2)
PAGES := _config.yml $(shell find book -type f ! -path 'book/notebooks/*' ! -path '*/explorer/*' ! -name '*.pyc') \
	$(wildcard figures/*)

# One notebook on each core takes less time than one after the other on all of them: their models
# are small.
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 1)
WORKERS ?= $(JOBS)
JOBS ?= $(shell echo $$(($(CORES) < 4 ? $(CORES) : 4)))
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += --jobs=$(JOBS)
endif

# Read by book/_ext/publish.py.
export CIRP_SITE ?= $(SITE)

# A book of one's own. Its variables reach the command through the environment, so that no quote in
# them means anything to the shell.
OUT ?= _build/own
export EDITS MODELS SEED STEPS DEVICE OUT
OWN := $(strip $(EDITS)$(MODELS)$(SEED)$(STEPS)$(DEVICE))

.DELETE_ON_ERROR:
.PHONY: help book test lab lint full clean lock wheel

help:
	@echo "make book   set up, execute the stale notebooks (quick), build the book: _build/html"
	@echo "make test   set up and run the fast tests (ARGS='-m slow' for the slow ones)"
	@echo "make lab    open the notebooks in JupyterLab"
	@echo "make lint   ruff, and who may import whom"
	@echo "make full   all images, 150 steps: rewrites data/results and figures, then the book; hours"
	@echo "make clean  remove executed notebooks and the built book"
	@echo "make wheel  build the wheel, install it alone, and use it in an empty folder"
	@echo "make lock   resolve all dependencies anew and rewrite constraints.txt"

ifeq ($(OWN),)
book: _build/book.stamp
	@echo "The book: _build/html/index.html"
else
book: $(INSTALLED)
	@$(BIN)/cirp book --out "$$OUT" $${EDITS:+--edits "$$EDITS"} $${MODELS:+--models "$$MODELS"} \
		$${SEED:+-p "seed=$$SEED"} $${STEPS:+-p "steps=$$STEPS"} $${DEVICE:+-p "device=$$DEVICE"} $(ARGS)
endif

# --all: an incremental build would not repeat the warnings of pages that have not changed.
# What the explorer of the pages runs on: the miniature as ONNX, for the browser.
$(ENGINE): $(SOURCES) | $(INSTALLED)
	@$(BIN)/cirp page-engine
	@touch $@

_build/book.stamp: $(EXECUTED) $(PAGES) $(ENGINE) | $(INSTALLED)
	$(BIN)/jupyter-book build book --all -W -n --keep-going --quiet
	@touch $@

book/notebooks/%.ipynb: notebooks/%.py $(SOURCES) | $(INSTALLED)
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-$$(($(CORES) / $(JOBS) + ($(CORES) < $(JOBS))))} \
		$(BIN)/cirp notebooks $*

full: $(INSTALLED)
	@test -z "$(OWN)" || { echo "make full is of the book's own edits; yours:" \
		"make book EDITS=... ARGS='--parameter profile=full'" >&2; exit 1; }
	$(BIN)/cirp tables
	$(BIN)/cirp notebooks --parameter profile=full \
		--provenance data/results/provenance $(ARGS)
	@touch $(EXECUTED) # they are up to date with the results that they have just written
	$(MAKE) book

test: $(INSTALLED)
	$(BIN)/python -m pytest -q -n $(WORKERS) $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

# The chapters are .py files; this makes JupyterLab open them as the notebooks they are.
VIEWER := {"@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"python": "Jupytext Notebook"}}}

lab: $(INSTALLED)
	@mkdir -p $(VENV)/share/jupyter/lab/settings
	@echo '$(VIEWER)' > $(VENV)/share/jupyter/lab/settings/overrides.json
	$(BIN)/jupyter lab notebooks $(ARGS)

clean:
	rm -rf book/notebooks _build
	@echo "Kept, because they are expensive: $(VENV), .cache, data/results, figures."

# Twice, each in a folder of its own: the core alone, then with the extra that the explorer needs.
wheel: $(INSTALLED)
	rm -rf _build/wheel && mkdir -p _build/wheel/core _build/wheel/lab
	$(BIN)/python -m pip wheel -qq --no-deps -w _build/wheel .
	$(PYTHON) -m venv _build/wheel/env
	_build/wheel/env/bin/python -m pip install -qq -c constraints.txt _build/wheel/*.whl
	cd _build/wheel/core && ../env/bin/python ../../../tests/wheel.py
	_build/wheel/env/bin/python -m pip install -qq -c constraints.txt "$$(echo _build/wheel/*.whl)[lab]"
	cd _build/wheel/lab && ../env/bin/python ../../../tests/wheel.py lab

lock:
	rm -rf _build/lock && mkdir -p _build
	$(PYTHON) -m venv _build/lock
	_build/lock/bin/python -m pip install -q ".[book,dev]"
	{ sed -n '/^#/p' constraints.txt && _build/lock/bin/python -m pip freeze --exclude cirp \
		| sed 's/+[^+]*$$//'; } > _build/constraints.txt
	mv _build/constraints.txt constraints.txt
	rm -rf _build/lock

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c '$(MODERN)' 2>/dev/null || { \
		echo "'$(PYTHON)' is not Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=..." >&2; \
		exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu:" \
			"apt install python3-venv" >&2; \
		exit 1; }
	@echo "Installing into $(VENV); the first time this takes some minutes ..."
	@$(BIN)/python -m pip install -qq -c constraints.txt -e ".[book,dev]"
	@$(BIN)/python -m pip install -qq --no-deps $(PEERS)
	@touch $@
