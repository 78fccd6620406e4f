# Event Link. `make demo` shows it, `make test` tests it, `make help` tells the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SYSTEM_POSTGRES = $(lastword $(sort $(wildcard /usr/lib/postgresql/*/bin)))
PORT ?= 8000
CITY = env -u DATABASE_URL EVENTLINK_DATA_DIR=.eventlink/demo ENVIRONMENT=development
DEMO = $(CITY) $(BIN)/eventlink

# Install a Debian package where we may; fails elsewhere.
debian = [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends $(1) >/dev/null

.DEFAULT_GOAL := help
.PHONY: help setup check test demo serve token train bench lock clean

help: ## Tell what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Make the virtual environment with the pinned dependencies

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null || { $(call debian,python3-venv) && $(PYTHON) -m venv $(VENV); } || \
		{ rm -rf $(VENV); echo "this Python cannot make virtual environments; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'import lightgbm' 2>/dev/null || { $(call debian,libgomp1); } || \
		{ echo "LightGBM does not load, most likely for want of libgomp; on Debian: apt-get install libgomp1"; exit 1; }
	@touch $@

check: setup ## Lint, type-check, check the floors, and hold tables against migrations
	$(BIN)/ruff check backend
	$(BIN)/ruff format --check backend
	$(BIN)/mypy
	$(BIN)/lint-imports
	env -u DATABASE_URL EVENTLINK_DATA_DIR=.eventlink/check $(BIN)/alembic upgrade head
	env -u DATABASE_URL EVENTLINK_DATA_DIR=.eventlink/check $(BIN)/alembic check

test: setup ## Run all tests, on the embedded PostgreSQL and on the system's where there is one
	$(BIN)/pytest -n auto --dist worksteal backend/tests
ifneq ($(SYSTEM_POSTGRES),)
	$(BIN)/pytest -n auto --dist worksteal -m "not once" --postgres-bin $(SYSTEM_POSTGRES) \
		--platform-columns backend/tests/integration
endif

demo: setup ## Simulate a city on the embedded PostgreSQL, train, publish, show
	@$(DEMO) migrate
	@$(DEMO) simulate --replace
	@$(DEMO) recompute
	@$(DEMO) show --sample 3 --top 5 --language en
	@echo
	@echo "How to go on:"
	@echo "  make serve    serve this city, to be opened in a browser, with a worker that keeps it fresh"
	@echo "For other commands on this city, with DATABASE_URL unset:"
	@echo "  export EVENTLINK_DATA_DIR=.eventlink/demo ENVIRONMENT=development"
	@echo "  $(BIN)/eventlink show 17"
	@echo "  $(BIN)/eventlink create-admin admin@example.org"
	@echo "For data of your own:"
	@echo "  export DATABASE_URL=postgresql://user:password@host:5432/database"
	@echo "  $(BIN)/eventlink migrate && $(BIN)/eventlink import DIR && $(BIN)/eventlink recompute"
	@echo "To read on: $(BIN)/eventlink --help, README.md, docs/"

serve: setup ## Serve the demo's city, to be opened in a browser, with a worker that keeps it fresh (PORT=8000)
	@$(CITY) PATH="$(BIN):$$PATH" backend/scripts/serve_demo.sh $(PORT)

token: setup ## Print an access token of one of the demo's people
	@$(DEMO) token 17 2>/dev/null || { echo "no city yet; run make demo first" >&2; exit 1; }

train: setup ## Train and publish on the database of DATABASE_URL
	$(BIN)/eventlink recompute

bench: setup ## Time the phases of a recompute at several sizes
	$(BIN)/python backend/benchmarks/recompute.py

lock: setup ## Renew requirements.lock from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --extra dev --output-file requirements.lock pyproject.toml

clean: ## Remove what make made: environment, caches, the demo's data
	rm -rf $(VENV) .eventlink/demo .eventlink/check .mypy_cache .ruff_cache .pytest_cache \
		.import_linter_cache .hypothesis
	find backend -name __pycache__ -type d -prune -exec rm -rf {} +
