# Every task is one line here; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(shell find protos -name '*.proto' -o -name generate.py)
INSTALLED := .venv/.installed
STUBS := gen/.built
# Every process of a mesh or a test would otherwise compile all sources anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help run test test-postgresql test-web check protos format lock bench bench-peers soak oscal clean

help: ## list the tasks
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 17

run: $(STUBS) ## the main job on this machine: collect a sample account, check its SSP, serve
	@$(BIN)/secmesh up

test: $(STUBS) ## the whole test suite
	@$(BIN)/python -m compileall -q -j 0 mesh services gateway cli client gen
	$(BIN)/pytest -n 3 --dist worksteal

test-postgresql: $(STUBS) ## what make test asks of the inventory service, with its store in PostgreSQL
	$(BIN)/pytest -n 3 --dist worksteal --inventory-store postgresql

test-web: $(STUBS) ## the pages in a real browser: needs chromium and chromedriver
	$(BIN)/pytest -rs tests/web

check: $(STUBS) ## contracts, style, types, imports, committed documents
	$(BIN)/buf lint gen/secmesh/image.binpb
	$(BIN)/buf format --diff --exit-code
	$(BIN)/python protos/breaking.py
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m gateway openapi --check
	$(BIN)/python -m mesh.contract errors --check

protos: ## build the stubs and the descriptor image anew
	@rm -f $(STUBS)
	@$(MAKE) --no-print-directory $(STUBS)

format: $(INSTALLED) ## bring contracts and code into form
	$(BIN)/buf format --write
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

lock: $(INSTALLED) ## resolve pyproject.toml into requirements.lock
	$(BIN)/uv pip compile --quiet pyproject.toml --all-extras --universal --generate-hashes --upgrade \
		--no-emit-index-url --no-emit-package secmesh-client --no-header --output-file requirements.lock

bench: $(STUBS) ## measure against peers and limits; prints ratios
	@missed=; for script in benchmarks/*.py; do \
		echo "== $$script"; $(BIN)/python $$script || missed="$$missed $$script"; done; \
	if [ -n "$$missed" ]; then echo "a limit was missed:$$missed" >&2; exit 1; fi

bench-peers: $(STUBS) ## ours and Prowler on one account: costs, and wrong verdicts when reads fail
	@$(BIN)/python -m benchmarks.peers

soak: $(STUBS) ## long runs with kills, many calls, many examples: SECMESH_SOAK_MINUTES=10 each
	$(BIN)/pytest -m soak tests/soak
	SECMESH_TEST_EXAMPLES=20 $(BIN)/pytest --timeout 0 -n 3 $$(grep -rl --include='*.py' 'examples(' tests/unit)

oscal: $(INSTALLED) ## hold exported documents against compliance-trestle: make oscal OSCAL="FILE ..."
	$(BIN)/uv run --quiet --no-project --isolated --with compliance-trestle==5.2.0 tests/trestle_check.py $(OSCAL)

clean: ## remove what the tasks made, but for .secmesh
	rm -rf .venv .venv-peers .venv-peers-crypto gen dist

$(INSTALLED): requirements.lock pyproject.toml client/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "secmesh needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock \
		|| { echo "A dependency could not be installed: docs/DEPENDENCIES.md lists the platforms with wheels." >&2; exit 1; }
	@# xds-protos holds older copies of this distribution's files, and who is installed last wins.
	awk '/^[^ #]/ {found = /^opentelemetry-proto==/} found' requirements.lock > .venv/again.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall --require-hashes -r .venv/again.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--editable ./client --editable .
	@touch $@

$(STUBS): $(INSTALLED) $(PROTOS)
	$(BIN)/python protos/generate.py
	@touch $@
