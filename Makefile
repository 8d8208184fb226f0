# System for Artificial Intelligence · 人工智能系统
#
#   make book    both sites, in site/            make test    everything that must hold
#   make serve   the sites on this machine, built anew when a file changes
#
# Each makes what it needs: the Python environment .venv from requirements.txt, node_modules from package-lock.json.

PYTHON ?= python3
BIN := .venv/bin
TESTS := code/tests
TWO := -n 2 --dist loadgroup
NOTEBOOKS := _build/notebooks/en
, := ,
say = @printf '\n── %s\n' "$(1)"

export PYTHONUTF8 := 1
export PUPPETEER_SKIP_DOWNLOAD := 1

.PHONY: book test serve env lint parity unit nbval browser lighthouse notebooks lock clean

book: env
	$(BIN)/python book/build.py

test:
	@start=$$(date +%s); \
	$(MAKE) --no-print-directory lint unit book nbval browser lighthouse || exit 1; \
	printf '\n── all passed in %s min: lint, parity of the languages, unit tests, both sites with warnings as errors,\n' \
	  $$(( ($$(date +%s) - start + 30) / 60 )); \
	printf '   every notebook against its published outputs (nbval), every page of both sites in a browser, Lighthouse\n'

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
	$(BIN)/python -m sphinx_sysai.parity

unit: env
	$(call say,unit tests)
	$(BIN)/python -m pytest $(TWO) $(TESTS) --ignore=$(TESTS)/browser

notebooks: book

nbval: book
	$(call say,nbval: every notebook$(,) run afresh$(,) against its published outputs)
	SYSAI_LANGUAGE=en $(BIN)/python -m pytest --nbval --nbval-sanitize-with $(TESTS)/nbval.cfg -p no:cacheprovider $(NOTEBOOKS)

browser: book
	$(call say,every page of both sites in a browser)
	$(BIN)/python -m pytest $(TWO) $(TESTS)/browser

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
