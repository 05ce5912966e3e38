# Every target makes what it needs first, so `make test` works on a machine with nothing but
# Python 3.11, git and make. `make` alone lists the targets.

PYTEST_ARGS ?=
# More than the cores: half of the tests wait for hosts (tests/scheduling.py), each worker for its own fleet.
WORKERS ?= 4
# COVERAGE=1 measures which branches the tests take: twice the CPU time. `make test-oldest`, as in CI, fails where they
# are fewer than pyproject.toml says.
COVERAGE ?=
MEASURED := $(if $(COVERAGE),--cov --cov-report=term)
BENCH ?=
FLEET ?=
export FLEET

PY := .venv/bin/python
# The folders of Python that are there.
CHECKED := $(sort $(dir $(wildcard $(addsuffix /*.py,tests benchmarks examples scripts)))) server client

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1	\2/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: dev
dev: .venv/.installed ## make .venv and install tendhost into it, for development

.venv/.installed: pyproject.toml scripts/environment.sh
	@scripts/environment.sh
	@touch $@

.PHONY: protos
protos: dev ## generate the Python stubs from protos/, the drawing of the states, and the lists in docs/
	$(PY) scripts/generate_protos.py
	$(PY) scripts/draw_states.py
	$(PY) scripts/list_errors.py
	$(PY) scripts/list_permissions.py
	$(PY) scripts/draw_tree.py

.PHONY: format
format: dev ## format the code and fix what ruff can fix
	$(PY) -m ruff check --fix $(CHECKED)
	$(PY) -m ruff format $(CHECKED)

.PHONY: lint
lint: dev ## check style, imports, the contract and the freshness of its stubs
	$(PY) -m ruff check $(CHECKED)
	$(PY) -m ruff format --check $(CHECKED)
	.venv/bin/lint-imports --no-logo
	$(PY) scripts/generate_protos.py --check
	$(PY) scripts/draw_states.py --check
	$(PY) scripts/list_errors.py --check
	$(PY) scripts/list_permissions.py --check
	$(PY) scripts/draw_tree.py --check
	$(PY) scripts/lock.py --check
	scripts/buf.sh lint
	scripts/breaking.sh

.PHONY: types
types: dev ## check the types (mypy --strict)
	$(PY) -m mypy $(CHECKED)

.PHONY: test
test: dev packages ## run every test; FLEET=simulated does without real hosts
	@! command -v go >/dev/null || scripts/grpcurl.sh || echo "grpcurl cannot be built: what needs it is skipped"
	@! command -v go >/dev/null || scripts/go_example.sh || echo "examples/go cannot be built: what needs it is skipped"
	$(PY) -m pytest -n $(WORKERS) --dist loadfile $(if $(MEASURED),$(MEASURED) --cov-fail-under=0) $(PYTEST_ARGS)

# Where nothing but our own code and Python's is at work, versions make no difference.
OLDEST := tests/rpc tests/contract $(addprefix tests/unit/,client domain/schedules outbound remote rpc store)
# These files mostly run shells, or processes of their own, and take a third of the time.
OLDEST += $(addprefix --ignore=tests/,contract/remote/test_job.py contract/remote/test_login_shells.py \
	rpc/test_hostile_requests.py rpc/test_schedule_crashes.py rpc/test_upgrades.py \
	unit/domain/schedules/test_clock_changes.py unit/remote/test_shell.py)

.PHONY: test-oldest
test-oldest: .tools/oldest/.installed packages ## test with the oldest dependencies that pyproject.toml allows
	.tools/oldest/bin/python -m pytest -n $(WORKERS) --dist loadfile $(if $(MEASURED),$(MEASURED) $(if $(PYTEST_ARGS),--cov-fail-under=0)) $(OLDEST) $(PYTEST_ARGS)

.PHONY: oldest
oldest: .tools/oldest/.installed

.tools/oldest/.installed: pyproject.toml scripts/oldest_versions.py .venv/.installed
	@echo "Installing tendhost with the oldest dependencies it allows into .tools/oldest"
	@$(PY) -m venv --clear .tools/oldest
	@$(PY) scripts/oldest_versions.py >.tools/oldest/constraints.txt
	@.tools/oldest/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint .tools/oldest/constraints.txt --editable '.[server,notify,oidc,postgres,test]'
	@touch $@

.PHONY: test-long
test-long: dev packages ## run the tests that take many minutes, in further circumstances
	$(PY) -m pytest -m long

.PHONY: demo
demo: dev packages ## watch tendhost patch a fleet of its own; FLEET=simulated needs no root
	$(PY) -m examples.demo

.PHONY: mutants
mutants: .venv/.mutants ## see whether tests notice small changes of domain and engine; MUTANTS=20, SEED=1, PATHS=…
	$(PY) scripts/mutants.py $(if $(MUTANTS),--mutants $(MUTANTS)) $(if $(SEED),--seed $(SEED)) $(PATHS)

.venv/.mutants: pyproject.toml .venv/.installed
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[server,dev,mutants]'
	@touch $@

.PHONY: fuzz
fuzz: .venv/.fuzz ## fuzz every parser for 10 minutes; SECONDS=60 for the short form, TARGETS=cron
	$(PY) -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(TARGETS)

.venv/.fuzz: pyproject.toml .venv/.installed
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[server,dev,fuzz]'
	@touch $@

.PHONY: bench
bench: dev ## run the benchmarks, or one of them with BENCH=name
	$(PY) -m benchmarks $(BENCH)

.PHONY: faults
faults: dev packages ## update real hosts under every fault there is; RUNS=20 for the short form; REPLICAS=3: several servers
	$(PY) -m tests.faults$(if $(REPLICAS),.replicas --replicas $(REPLICAS)) $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED))

.PHONY: fresh
fresh: ## run make demo and make test on a bare Debian 12 and 13; SUITES=trixie, TARGETS=demo
	@TARGETS="$(TARGETS)" PYTEST_ARGS="$(PYTEST_ARGS)" scripts/fresh.sh $(SUITES)

.PHONY: tools
tools: dev ## build grpcurl and examples/go into .tools, for the tests that use them (needs Go)
	@scripts/grpcurl.sh
	@scripts/go_example.sh

.PHONY: lock
lock: .venv/.release ## pin what pyproject.toml asks for in deploy/*.txt, with hashes; UPGRADE=1 takes the newest
	$(PY) scripts/lock.py $(if $(UPGRADE),--upgrade)

.PHONY: sbom
sbom: .venv/.release ## write the pinned packages with their licences to dist/sbom.cdx.json (CycloneDX)
	@scripts/sbom.sh

.venv/.release: pyproject.toml .venv/.installed
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[server,dev,release]'
	@touch $@

.PHONY: dist
dist: dev ## build the sdist and the wheel into dist/
	.venv/bin/hatchling build -d dist

.PHONY: clean
clean: ## remove everything that make and the tests made
	rm -rf .venv .tools dist .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: packages
packages: dev
	@scripts/test_packages.sh
