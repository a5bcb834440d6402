# `make app` opens the dashboard, `make test` runs every test. Both make .venv first.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check
# Touched after an install, so that pip runs again only when the requirements change.
APP_STAMP := $(VENV)/.installed-app
DEV_STAMP := $(VENV)/.installed-dev

# The analysis that the dashboard opens with: made once here, it is there at the first visit.
FIRST_LOOK := echo "Analysing the default model ..."; $(RUN) -m analysis analyze > /dev/null 2>&1

.PHONY: help app test check bench assets profiles clean
.DELETE_ON_ERROR:

help:
	@echo "make app     open the dashboard in a browser"
	@echo "make test    run every test (needs Chromium); ARGS=--cov reports coverage"
	@echo "make check   ruff, mypy and the spell checker"
	@echo "make bench   time and memory against the plain recipe (takes long)"
	@echo "make assets  train the bundled models again (takes hours)"
	@echo "make profiles  train every layer of them alone again (takes an hour)"
	@echo "make clean   remove .venv and the tools' caches; analyses and runs stay"

app: $(APP_STAMP)
	$(RUN) -m streamlit run app/server.py

# One thread each: two processes of torch with all cores each hold each other up.
test: $(DEV_STAMP)
	@.ci/find-chromium > /dev/null
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(DEV_STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m codespell_lib

bench: $(DEV_STAMP)
	$(RUN) -m tests.benchmarks $(ARGS)

assets: $(APP_STAMP)
	$(RUN) -m assets.make_assets

profiles: $(APP_STAMP)
	$(RUN) -m assets.make_profiles

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache test-results

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "BettiScope needs Python 3.11 or newer, and '$(PYTHON)' is not one." \
	    "Name one that is: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "'$(PYTHON)' cannot make a virtual environment." \
	    "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(APP_STAMP): requirements.txt | $(RUN)
	$(PIP) install -r requirements.txt
	-@$(FIRST_LOOK)
	@touch $@

$(DEV_STAMP): requirements.txt requirements-dev.txt | $(RUN)
	$(PIP) install -r requirements.txt -r requirements-dev.txt
	-@$(FIRST_LOOK)
	@touch $(APP_STAMP) $@
