# Linli on a laptop and in an account. `make help` lists the targets.

PYTHON ?= python3
WHO ?=
SEED ?= 1
ARGS ?=
PARAMETERS ?=
TEMPLATES = template.yaml $(wildcard infra/*.yaml)

# A profile of a real account must not reach the local runtime.
SOURCES = PYTHONPATH=functions:layers/shared/python
LOCAL = env -u AWS_PROFILE -u AWS_SESSION_TOKEN -u AWS_ENDPOINT_URL $(SOURCES) .venv/bin/python
BOOTSTRAP = $(PYTHON) infra/local/bootstrap.py
UV_COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate
# The managed runtime brings these.
RUNTIME_PACKAGES = boto3 botocore jmespath s3transfer python-dateutil six urllib3

.DEFAULT_GOAL := help
.PHONY: help run reset env env-all build build-cloud test check translate fmt demo token admin openapi contracts calendar deploy preflight \
	lock soak bench clean migrate reconcile snapshot faults redrive class-from device-check

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: env ## start everything on this machine and stay until Ctrl-C (LINLI_PORT, LINLI_MQTT_PORT)
	@$(LOCAL) -m infra.local.run

demo: env ## walk through the loop against the running Linli, or start one
	@$(LOCAL) -m infra.local.demo

token: env ## print an access token: make token WHO=<account>
	@$(LOCAL) -m infra.local.access_token $(WHO)

class-from: env ## draft a device class from LwM2M objects: ARGS="--name meter infra/seed/lwm2m/3331.xml"
	@$(SOURCES) .venv/bin/python -m infra.edge class-from $(ARGS)

device-check: env ## try a device against docs/device.md: ARGS="--class smoke_detector" or "--device-id ID --wait 300"
	@$(SOURCES) .venv/bin/python -m infra.local.device_check $(ARGS)

admin: env ## appoint the first administrator of the deployment in use: ARGS="--username U --area 34"
	@$(SOURCES) .venv/bin/python -m infra.local.admin $(ARGS)

migrate: env ## bring old rows of the deployment in use up to this version: ARGS="--dry-run"
	@$(SOURCES) .venv/bin/python -m infra.local.migrate $(ARGS)

reconcile: env ## find what tables restored to different moments disagree on, and repair it: ARGS="--dry-run"
	@$(SOURCES) .venv/bin/python -m infra.local.reconcile $(ARGS)

snapshot: env ## record what this release leaves in its tables, for the upgrade test of the next ones
	@$(LOCAL) -m infra.local.snapshot

redrive: env ## parked messages and dead letters of the deployment in use: ARGS="list" (or explain, replay, dead-letters, -h)
	@$(SOURCES) .venv/bin/python -m infra.local.redrive $(ARGS)

reset: env ## remove the local state, so that the next run starts empty
	@$(LOCAL) -m infra.local.run --reset

build: env ## build for this machine (sam build)
	@$(LOCAL) -m infra.local.build local

build-cloud: env ## build for Lambda (ARCH=arm64|x86_64, PYTHON313=a Python 3.13)
	@$(LOCAL) -m infra.local.build cloud

test: env-all ## all tests, with the gates on the built artifacts
	@$(LOCAL) -m infra.local.build local host cloud
	@$(LOCAL) -m pytest

soak: env-all ## the long tests: many messages, restarts and races for about half an hour
	@$(LOCAL) -m infra.local.build local
	@$(LOCAL) -m pytest -m soak

bench: env ## ratios within one run, as a table into docs/bench (20 minutes, on a quiet machine)
	@$(BOOTSTRAP) bench
	@$(LOCAL) -m infra.local.build local
	@$(LOCAL) -m tests.load.bench

faults: env ## replay one seed of the fault suite, or several: make faults SEED=123, SEED=1-20
	@PYTHONHASHSEED=0 $(LOCAL) -m tests.faults.run $(SEED)

check: env-all translate ## formatting, types, imports, templates, policies, API document, calendar
	@.venv/bin/ruff format --check --quiet . && echo "  ruff format    ok"
	@.venv/bin/ruff check --quiet . && echo "  ruff check     ok"
	@$(LOCAL) -m mypy --no-error-summary && echo "  mypy           ok"
	@$(SOURCES) .venv/bin/lint-imports > .local/logs/imports.log || { cat .local/logs/imports.log; exit 1; }
	@echo "  imports        ok"
	@for template in $(TEMPLATES); do \
		env AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam validate --lint \
			--template $$template > .local/logs/validate.log 2>&1 || { cat .local/logs/validate.log; exit 1; }; \
	done
	@echo "  sam validate   ok"
	@.venv-sam/bin/cfn-lint --config-file infra/local/cfnlint.yaml --template $(TEMPLATES)
	@echo "  cfn-lint       ok"
	@.venv-checkov/bin/checkov --config-file infra/local/checkov.yaml && echo "  checkov        ok"
	@$(LOCAL) -m infra.local.contracts --check && echo "  contracts      ok"
	@$(LOCAL) -m infra.local.workdays --check && echo "  calendar       ok"

translate: build
	@$(LOCAL) -m infra.local.translate

fmt: env ## format the code and sort the imports
	@.venv/bin/ruff format --quiet . && .venv/bin/ruff check --quiet --fix .

openapi: env ## write the OpenAPI document and the fact schemas anew
	@$(LOCAL) -m infra.local.contracts

contracts: openapi

calendar: env ## write the working calendar anew from infra/seed/cn-workdays-*.csv
	@$(LOCAL) -m infra.local.workdays

preflight: env ## what the account and region in use lack for a deploy
	@.venv/bin/python -m infra.local.preflight $(PARAMETERS)

deploy: env build-cloud ## deploy to the account in use, after the preflight: PARAMETERS="Name=value …"
	@.venv/bin/python -m infra.local.preflight --deploy $(PARAMETERS)

lock: ## resolve every lock anew from its .in file
	@$(BOOTSTRAP) product
	$(UV_COMPILE) infra/local/locks/product.in -o infra/local/locks/product.txt
	$(UV_COMPILE) infra/local/locks/sam.in -o infra/local/locks/sam.txt
	$(UV_COMPILE) infra/local/locks/checkov.in -o infra/local/locks/checkov.txt
	$(UV_COMPILE) --constraints infra/local/locks/product.txt infra/local/locks/bench.in -o infra/local/locks/bench.txt
	for list in core web geo; do \
		$(UV_COMPILE) --constraints infra/local/locks/product.txt $(addprefix --no-emit-package ,$(RUNTIME_PACKAGES)) \
			layers/deps/$$list.in -o layers/deps/$$list.txt || exit 1; \
	done

env:
	@$(BOOTSTRAP) product sam

env-all:
	@$(BOOTSTRAP) product sam checkov

clean: ## remove build outputs and caches, keep state and environments
	@rm -rf .local/build .local/logs .aws-sam .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find functions layers infra tests -name __pycache__ -type d -prune -exec rm -rf {} +
