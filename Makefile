# Every command of the project; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
SEEDS ?= 300
CUTS ?= 200
ROUNDS ?= 10
FLIPS ?= 200
TESTERS ?= 3  # processes: one more than a small machine has cores, for many tests wait
KILLS ?= 100
OPERATIONS ?= 100000
HISTORY := build/histories/run.jsonl
export BUCKETLOG_TEST_REQUIRED ?= kafka
BROKER := $(BIN)/python -m tests.kafka.broker  # for the command that follows

.PHONY: help install serve cluster test test-kafka test-cluster check simulate power-cuts kills histories nightly bench bench-peers bench-cluster bench-datanodes lock clean
.DEFAULT_GOAL := help

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: .venv/installed  ## set up .venv (done by the other commands when needed)

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

serve: install  ## start the store on 127.0.0.1:9000, data in ./data
	$(BIN)/bucketlog serve --data data

cluster: install  ## start a cluster on this machine, data in ./data-cluster, gateways on ports 9000 and 9001 (Java 17 and Maven)
	$(BIN)/python -m tests.kafka.local --data data-cluster

test: install  ## run all tests that need nothing but Python
	$(BIN)/pytest -n $(TESTERS) --dist worksteal -m "not kafka and not faults and not nightly"
	$(BIN)/pytest -n $(TESTERS) --dist worksteal -m "faults and not kafka and not nightly"

test-kafka: install  ## run the tests on Apache Kafka, with a broker of their own (Docker, or Java 17 and Maven)
	$(BROKER) $(BIN)/pytest -n $(TESTERS) --dist worksteal -m "kafka and not cluster and not timed and not nightly" tests/kafka/test_secured.py tests  # the longest first
	$(BROKER) $(BIN)/pytest -m "kafka and timed and not cluster and not nightly"
	BUCKETLOG_TEST_STORE=cluster $(BROKER) $(BIN)/pytest -n 2 --dist worksteal tests/clients tests/gateway

test-cluster: install  ## run data nodes under faults on Apache Kafka: ROUNDS of each, and FLIPS of bits
	BUCKETLOG_TEST_ROUNDS=$(ROUNDS) BUCKETLOG_TEST_FLIPS=$(FLIPS) $(BROKER) $(BIN)/pytest -n $(TESTERS) --dist worksteal -m "cluster and not timed"
	BUCKETLOG_TEST_ROUNDS=$(ROUNDS) $(BROKER) $(BIN)/pytest -s -m "cluster and timed"

check: install  ## formatting, lints, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

simulate: install  ## run the simulation over SEEDS seeds, new ones with each commit
	$(BIN)/python -m tests.simulation --fresh --seeds $(SEEDS)

power-cuts: install  ## cut the power CUTS times under a real store with 16 clients
	BUCKETLOG_TEST_CUTS=$(CUTS) $(BIN)/pytest tests/faults/test_power_cut.py

kills: install  ## kill a real store with 16 clients KILLS times
	BUCKETLOG_TEST_KILLS=$(KILLS) $(BIN)/pytest tests/faults/test_kill.py

histories: install  ## OPERATIONS of clients on hot keys of a real store whose power is cut, judged here and by Porcupine (Go)
	$(BIN)/python -m tests.linearizability run --power-cuts --operations $(OPERATIONS) --out $(HISTORY)
	cd tests/linearizability/porcupine && go run . -timeout 10m $(CURDIR)/$(HISTORY)

nightly: install  ## run the long forms of all tests, each to its end, and tell of them in build/nightly.md
	$(BIN)/python -m tests.nightly

bench: install  ## measure the store's speed and record it in benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.bench --record

bench-peers: install  ## measure the store beside MinIO, as ratios, and record them in benchmarks/RESULTS-PEERS.md
	$(BIN)/python -m benchmarks.peers --record

bench-cluster: install  ## measure a cluster on Kafka and record it in benchmarks/RESULTS-CLUSTER.md
	$(BIN)/python -m benchmarks.cluster --record

bench-datanodes: install  ## measure clusters of 1, 2 and 4 data nodes, and how fast an emptied one is full again
	$(BIN)/python -m benchmarks.datanodes --record

lock: install  ## write requirements.lock anew from pyproject.toml
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --extra dev --no-annotate --no-header --no-emit-index-url --python-version 3.11 -o requirements.lock pyproject.toml

clean:  ## remove what the other commands made, except ./data
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
