# Every target installs what it needs; `make help` lists them.

PYTHON ?= python3
VENV := .venv
HEAVY_VENV := .venv-heavy
ICEBERG_VENV := .venv-iceberg
CLIENTS_VENV := .venv-clients
BIN := $(VENV)/bin
# A file of tests runs in one process, and there are as many processes as cores.
PYTEST := $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder
UV_VERSION := 0.13.9
PIP_INSTALL := -m pip install --no-compile --quiet --disable-pip-version-check

# Tests start hundreds of processes; without compiled files each would take three times as long.
unexport PYTHONDONTWRITEBYTECODE

# Stamps: made again when the lock they stand for changes.
RUNTIME := $(VENV)/.installed
TEST := $(VENV)/.installed-test
HEAVY := $(HEAVY_VENV)/.installed
KAFKA := .kafka/.installed
ICEBERG := .iceberg/.installed
CLIENTS := $(CLIENTS_VENV)/.installed
NPM_CLIENTS := .npm-clients/.installed
COLLECTOR := .collector/otelcol
MAVEN_COPY := org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies

.DEFAULT_GOAL := help
.PHONY: help env run demo check test test-all bench clients-page fields-page man-page openapi fbs lock release clean \
	torture-kill torture-faults torture-store torture-disk-full torture-overload torture-journal torture-publish torture-service torture-mutants torture-kafka torture-iceberg \
	kafka-jars iceberg-engines

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(RUNTIME) ## create the virtual environment .venv from requirements.lock

run: $(RUNTIME) ## serve on http://127.0.0.1:8080 with a development key
	@$(BIN)/parquet-sink serve

demo: $(TEST) ## post real data, flush, query the files
	@$(BIN)/python -m tests.demo

check: $(TEST) ## check lint, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: $(TEST) ## run the tests, except those marked heavy
	$(PYTEST) -m "not heavy"

test-all: $(TEST) $(HEAVY) $(KAFKA) $(ICEBERG) $(CLIENTS) $(NPM_CLIENTS) $(COLLECTOR) ## run all tests; also needs java, node, go, chromium and kubectl
	$(PYTEST)

kafka-jars: $(KAFKA) ## install an Apache Kafka broker for the tests in .kafka; needs java and mvn

iceberg-engines: $(ICEBERG) ## install DuckDB and Spark with Iceberg readers in .venv-iceberg and .iceberg; needs java and mvn

bench: $(TEST) ## run all benchmarks in less than 15 minutes; writes docs/performance.md
	@$(BIN)/python -m benchmarks.run

# The fault campaigns at their large sizes; `make test-all` runs small ones. SEED=7 for another seed,
# PROCESSES=8 to divide the whole-service campaign among 8 processes.
SEED ?= 20261122
PROCESSES ?= 1
WHOLE_SERVICE = $(BIN)/python -m tests.torture.whole_service --seed $(SEED) --processes $(PROCESSES)

torture-kill: $(TEST) ## 1,000 kills of the real service under load
	$(BIN)/python -m tests.torture.kill_campaign --kills 1000 --seed $(SEED)
	$(BIN)/python -m tests.torture.kill_campaign --kills 300 --seed $(SEED) --workers

torture-disk-full: $(TEST) ## fill the disk 500 times; needs root
	$(BIN)/python -m tests.torture.disk_full --rounds 500 --seed $(SEED)

torture-store: $(TEST) ## 200 kills and 2,000 faults of an S3 server
	$(BIN)/python -m tests.torture.kill_campaign --kills 200 --seed $(SEED) --bucket
	$(BIN)/python -m tests.object_store.fault_campaign --faults 2000 --seed $(SEED)

torture-kafka: $(TEST) $(KAFKA) ## 250 kills of front ends, writers and brokers
	$(BIN)/python -m tests.torture.kafka_campaign --kills 200 --seed $(SEED)
	$(BIN)/python -m tests.torture.kafka_campaign --kills 50 --seed $(SEED) --bucket

torture-faults: $(TEST) ## 1,000 faults of files, manifest, folders and clock among kills; bucket and catalog
	$(BIN)/python -m tests.torture.fault_campaign --rounds 1000 --seed $(SEED)
	$(BIN)/python -m tests.torture.fault_campaign --rounds 200 --seed $(SEED) --bucket
	$(BIN)/python -m tests.torture.fault_campaign --rounds 100 --seed $(SEED) --tables

torture-overload: $(TEST) ## ten times the load for 30 s
	$(BIN)/python -m tests.torture.overload --seconds 30 --seed $(SEED)

torture-journal: $(TEST) ## crashes, errors, power cuts, corruption of the journal
	$(BIN)/python -m tests.journal.campaigns crash_everywhere --size 20 --seed $(SEED)
	$(BIN)/python -m tests.journal.campaigns error_everywhere --size 20 --seed $(SEED)
	$(BIN)/python -m tests.journal.campaigns power_loss --size 200000 --seed $(SEED)
	$(BIN)/python -m tests.journal.campaigns crash_in_recovery --size 20000 --seed $(SEED)
	$(BIN)/python -m tests.journal.campaigns corrupt_everything --size 10 --seed $(SEED)
	$(BIN)/python -m tests.journal.campaigns corrupt_in_several_places --size 10000 --seed $(SEED)
	$(BIN)/python -m tests.journal.campaigns crash_in_repair --size 5000 --seed $(SEED)

torture-publish: $(TEST) ## the same for publishing alone
	$(BIN)/python -m tests.parquet.crash_campaign crash_everywhere --size 1 --seed $(SEED)
	$(BIN)/python -m tests.parquet.crash_campaign error_everywhere --size 1 --seed $(SEED)
	$(BIN)/python -m tests.parquet.crash_campaign power_loss --size 20000 --seed $(SEED)
	$(BIN)/python -m tests.parquet.crash_campaign crash_in_recovery --size 5000 --seed $(SEED)
	$(BIN)/python -m tests.parquet.crash_campaign power_loss --size 5000 --seed $(SEED) --final

torture-service: $(TEST) ## the same for append, publishing and recovery together, and random operations
	$(WHOLE_SERVICE) crash_everywhere --size 20
	$(WHOLE_SERVICE) error_everywhere --size 20
	$(WHOLE_SERVICE) failed_syncs --size 200
	$(WHOLE_SERVICE) any_fault_while_blocked --size 1000
	$(WHOLE_SERVICE) power_loss --size 200000
	$(WHOLE_SERVICE) crash_in_recovery --size 20000
	$(WHOLE_SERVICE) model --size 20000 --steps 100

torture-iceberg: $(TEST) $(ICEBERG) ## ten minutes of two nodes on one Iceberg catalog, and kills with a catalog
	$(BIN)/python -m tests.catalog.two_nodes --seconds 600 --kills 20 --seed $(SEED)
	$(BIN)/python -m tests.torture.kill_campaign --kills 100 --seed $(SEED) --catalog

torture-query: $(TEST) ## 1,000 rounds of batches, flushes, kills and queries; over a bucket and with workers, too
	$(BIN)/python -m tests.query.query_campaign --rounds 1000 --seed $(SEED)
	$(BIN)/python -m tests.query.query_campaign --rounds 1000 --seed $(SEED) --bucket
	$(BIN)/python -m tests.query.query_campaign --rounds 1000 --seed $(SEED) --workers

torture-mutants: $(TEST) ## remove each protection in turn, and check that the tests notice
	$(BIN)/python -m tests.torture.mutants

clients-page: $(RUNTIME) ## generate docs/clients.md from the table of clients
	$(BIN)/python -m tests.clients.page

fields-page: $(RUNTIME) ## generate the fields in docs/json.md from the schemas
	$(BIN)/python -m tests.api.fields_page

openapi: $(RUNTIME) ## generate openapi/openapi.json from the code
	$(BIN)/parquet-sink openapi openapi/openapi.json

man-page: $(TEST) ## write the man page from the help of the commands
	$(BIN)/python deploy/man_page.py

release: $(TEST) ## build wheels, source archives, an SBOM, checksums and release notes of the commit in dist/
	$(BIN)/python deploy/release.py dist

fbs: ## generate tests/fbs from openapi/*.fbs; needs flatc (Debian: flatbuffers-compiler)
	flatc --python --gen-onefile -o tests/fbs openapi/*.fbs

lock: $(RUNTIME) ## update the requirements*.lock files from pyproject.toml; LOCK_FLAGS=--upgrade for newer versions
	$(BIN)/python $(PIP_INSTALL) uv==$(UV_VERSION)
	$(COMPILE) pyproject.toml --extra s3 --extra kafka --extra iceberg --extra query -o requirements.lock
	$(COMPILE) --group build -o requirements-build.lock
	$(COMPILE) pyproject.toml --extra s3 --extra kafka --extra iceberg --extra query --group test --group check --group release -c requirements.lock -o requirements-test.lock
	$(COMPILE) pyproject.toml --group heavy -c requirements-test.lock -o requirements-heavy.lock
	$(COMPILE) --group iceberg-engines -o requirements-iceberg.lock
	$(COMPILE) --group clients -o requirements-clients.lock

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links $(LOCK_FLAGS)

clean: ## remove virtual environments and caches
	rm -rf $(VENV) $(HEAVY_VENV) $(ICEBERG_VENV) $(CLIENTS_VENV) .npm-clients .collector .kafka .iceberg .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(KAFKA): tests/support/kafka_jars.xml tests/support/kafka_jars.sha256
	mvn --batch-mode --quiet --file tests/support/kafka_jars.xml $(MAVEN_COPY) \
		-DincludeScope=runtime -DoutputDirectory=$(CURDIR)/.kafka/jars
	cd .kafka/jars && sha256sum --check --quiet ../../tests/support/kafka_jars.sha256
	@touch $@

$(ICEBERG): requirements-iceberg.lock $(wildcard tests/support/iceberg_jars.* tests/support/rest_catalog_jars.*)
	$(call make_venv,$(ICEBERG_VENV))
	$(ICEBERG_VENV)/bin/python $(PIP_INSTALL) --require-hashes -r requirements-iceberg.lock
	mvn --batch-mode --quiet --file tests/support/iceberg_jars.xml $(MAVEN_COPY) \
		-DexcludeTransitive=true -DoutputDirectory=$(CURDIR)/.iceberg/jars
	cd .iceberg/jars && sha256sum --check --quiet ../../tests/support/iceberg_jars.sha256
	mvn --batch-mode --quiet --file tests/support/rest_catalog_jars.xml $(MAVEN_COPY) \
		-DincludeScope=runtime -DoutputDirectory=$(CURDIR)/.iceberg/rest
	cd .iceberg/rest && sha256sum --check --quiet ../../tests/support/rest_catalog_jars.sha256
	@touch $@

# $(call make_venv,DIRECTORY)
define make_venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1): make PYTHON=python3.13 ..."; exit 1; }
@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	{ echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
endef

$(RUNTIME): requirements.lock requirements-build.lock pyproject.toml
	$(call make_venv,$(VENV))
	$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements.lock -r requirements-build.lock
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(TEST): $(RUNTIME) requirements-test.lock
	$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements-test.lock
	@touch $@

$(CLIENTS): requirements-clients.lock
	$(call make_venv,$(CLIENTS_VENV))
	$(CLIENTS_VENV)/bin/python $(PIP_INSTALL) --require-hashes -r requirements-clients.lock
	@touch $@

$(NPM_CLIENTS): $(wildcard tests/clients/npm/*)
	mkdir -p .npm-clients && cp tests/clients/npm/* .npm-clients
	npm ci --prefix .npm-clients --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(COLLECTOR): $(wildcard tests/clients/collector/*)
	cd tests/clients/collector && go build -trimpath -buildvcs=false -ldflags '-s -w' -o $(CURDIR)/$@ .

$(HEAVY): requirements-heavy.lock
	$(call make_venv,$(HEAVY_VENV))
	$(HEAVY_VENV)/bin/python $(PIP_INSTALL) --require-hashes -r requirements-heavy.lock
	@touch $@
