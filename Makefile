# System for Artificial Intelligence · 人工智能系统
#
#   make book    both sites, in site/            make test    everything that must hold
#   make serve   the sites on this machine, built anew when a file changes
#
# `make test CHAPTER=11` tests what concerns one chapter, in a copy of the book (book/build_chapter.py).
# Each makes what it needs: the Python environment .venv from requirements.txt, node_modules from package-lock.json.

PYTHON ?= python3
BIN := .venv/bin
TESTS := code/tests
TWO := -n 2 --dist loadgroup
PARTS := lint unit book nbval browser lighthouse
BUILD := book/build.py
, := ,
# A part's heading; and when it began, for the table of code/tests/seconds.py.
say = @printf '\n── %s\n' "$(1)"; mkdir -p _build/times; echo "$@ $$(date +%s)" >> _build/times/starts

ifdef CHAPTER
COPY := _build/chapter-$(CHAPTER)/
PARTS := lint unit book nbval browser
BUILD := book/build_chapter.py $(CHAPTER)
ONLY := --chapter $(CHAPTER)
PAGES := $(wildcard $(addprefix chapters/$(CHAPTER)-*/,chapter.md exercises/*/statement.md exercises/*/explanation.md))
export SYSAI_SITE := $(CURDIR)/$(COPY)site
endif
NOTEBOOKS := $(COPY)_build/notebooks/en

export PYTHONUTF8 := 1
export PUPPETEER_SKIP_DOWNLOAD := 1

.PHONY: book test serve env lint parity unit nbval browser lighthouse notebooks lock clean

book: env
	$(call say,both sites)
	$(BIN)/python $(BUILD)

test:
	@rm -rf _build/times
	@$(MAKE) --no-print-directory $(PARTS)
	@printf '\n── all passed: $(PARTS). In seconds:\n\n'
	@$(BIN)/python $(TESTS)/seconds.py $(CHAPTER)

serve: env
	$(BIN)/python book/serve.py

env: .venv/installed node_modules/installed

.venv/installed: requirements.txt pyproject.toml book/pyproject.toml
	$(call say,Python environment in .venv)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is " \
	  + sys.version.split()[0] + ": run `make PYTHON=python3.11 ...` with the one you have")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --editable . --editable book
	@touch $@

node_modules/installed: package.json package-lock.json | .venv/installed
	$(call say,parts of the pages in node_modules)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm ci --ignore-scripts
	@touch $@

lint: env
	$(call say,ruff)
	$(BIN)/ruff check book chapters code
	$(BIN)/ruff format --check book chapters code
	$(MAKE) --no-print-directory parity

parity: env
	$(call say,parity of the two languages)
	$(BIN)/python -m sphinx_sysai.parity $(PAGES)

unit: env
	$(call say,unit tests)
	$(BIN)/python -m pytest $(TWO) --no-loadscope-reorder --seconds _build/times/unit.json $(ONLY) $(TESTS) --ignore=$(TESTS)/browser

notebooks: book

nbval: book
	$(call say,nbval: every notebook$(,) run afresh$(,) against its published outputs)
	PYTHONPATH="$(TESTS)$${PYTHONPATH:+:$$PYTHONPATH}" SYSAI_LANGUAGE=en $(BIN)/python -m pytest -p seconds --seconds _build/times/nbval.json \
	  --nbval --nbval-sanitize-with $(TESTS)/nbval.cfg -p no:cacheprovider $(NOTEBOOKS)

browser: book
	$(call say,every page of both sites in a browser)
	$(BIN)/python -m pytest $(TWO) --seconds _build/times/browser.json $(ONLY) $(TESTS)/browser

lighthouse: book
	$(call say,Lighthouse)
	$(BIN)/python $(TESTS)/browser/lighthouse.py

# Newer versions within pyproject.toml's ranges, into a fresh environment and then into the lock.
lock:
	rm -rf .venv && $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --upgrade --editable '.[test,triton]' --editable book
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip | sed -e 's/+cpu$$//' \
	  -e 's/^\(triton==.*\)/\1 ; sys_platform == "linux"/' > requirements.txt
	@touch .venv/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm update --ignore-scripts

clean:
	rm -rf _build site
