# What a developer does here. `make` alone lists it.

# One set of features for all that is built for tests, so that each crate is built once.
WORKSPACE := --locked --workspace --all-features

help:

include .ci/tools.mk

.PHONY: help
help:
	@awk -F ' *## ' '/^## /{ print "\n" $$2 } /^[a-z-]+:.* ## /{ \
	    sub(/:.*/, "", $$1); printf "make %-20s %s\n", $$1, $$2 }' Makefile

## Every day

.PHONY: run test token bench bench-quick deploy

run: cargo-lambda ## start the API, its database and all it needs; API_PORT=9000 PAGE_PORT=9080 DYNAMODB_PORT=8000 ONE_TOKEN=1 LOGS=json
	@[ -e "$${CARGO_TARGET_DIR:-target}/debug/examples/local" ] || printf '%s\n' >&2 \
	    'The first run builds two programs, in about two minutes with two cores. Later it starts in a second or two.' \
	    'Step 1 of 2: building the local world, with its DynamoDB, about a minute.'
	@$(LOCAL) -- run

test: .need-cargo ## check format and lints, run all tests; DYNAMODB_ENDPOINT=… for another engine than the embedded one
	cargo fmt --all --check
	cargo clippy $(WORKSPACE) --all-targets -- --deny warnings
	cargo test $(WORKSPACE)

# Prints the token alone, so that it fits in $$(…).
token: .need-cargo ## print a token: GRANT=client_credentials, CUSTOMER=ron, ACCOUNT=acme PERSON=ron or CART=cart-1
	@$(LOCAL) --quiet -- token \
	    $(if $(CUSTOMER),--customer '$(CUSTOMER)') $(if $(CART),--cart '$(CART)') $(if $(ACCOUNT),--account '$(ACCOUNT)') \
	    $(if $(PERSON),--person '$(PERSON)') $(if $(GRANT),--grant '$(GRANT)') \
	    $(if $(CUSTOMER)$(CART)$(ACCOUNT)$(PERSON)$(GRANT),,--grant client_credentials)

bench: .need-cargo $(YARDSTICKS)/python $(YARDSTICKS)/node ## measure the function beside its yardsticks and write dev/figures.md; make bench-quick for a look
	cargo build --locked --release --bin cart-associations
	cd dev/yardsticks && cargo build --locked --release --package plain
	cd dev/yardsticks && cargo build --locked --profile floor --package nothing
	@cargo run --locked --profile driver --package dev --features bench --example bench -- $(BENCH_MODE)

bench-quick: BENCH_MODE := quick
bench-quick: bench

# Its recipe is below.
deploy: $(SAM_CLI) ## deploy a stage of deploy/stages/; STAGE=dev ROLLBACK=false PARAMETERS="Name=value" ZIP=…

LOCAL := cargo run --package dev --example local

## Deployment

.PHONY: build zip preview variables smoke test-deploy check-template

STAGE ?= dev
# deploy.py reads it from the environment, so that neither make nor a shell takes a part of a value for a command.
override PARAMETERS := $(value PARAMETERS)
export PARAMETERS
STAGE_ARCHITECTURE := $(shell sed -n 's/^Architecture: *//p' 'deploy/stages/$(STAGE).yaml' 2> /dev/null)
ARCHITECTURE ?= $(or $(STAGE_ARCHITECTURE),arm64)
RUST_TARGET_arm64 := aarch64-unknown-linux-gnu
RUST_TARGET_x86_64 := x86_64-unknown-linux-gnu

# A build is named by a hash of all that goes into it, so that prod gets the very files that were deployed to dev, and a
# commit that changes only a stage's parameters needs no build. Without commits it is named "uncommitted".
BUILT_FROM := src Cargo.toml Cargo.lock .cargo rust-toolchain.toml template.yaml deploy/watching.yaml Makefile .ci/tools.mk
BUILD = .aws-sam/$(ARCHITECTURE)-$(shell \
    if [ -z "$$(git status --porcelain -- $(BUILT_FROM) 2>&1)" ]; \
    then git rev-parse $(BUILT_FROM:%=HEAD:%) | git hash-object --stdin | cut -c 1-12; \
    else echo uncommitted; fi)

build: $(SAM_CLI) $(ZIG) cargo-lambda ## build what is deployed, with sam, and check it; ARCHITECTURE=arm64 or x86_64
	@command -v rustup > /dev/null && rustup target add '$(RUST_TARGET_$(ARCHITECTURE))' || true
	PATH="$(CURDIR)/$(ZIG)/bin:$(CURDIR)/$(SAM_CLI)/bin:$$PATH" SAM_CLI_TELEMETRY=0 sam build \
	    --build-dir '.aws-sam/building' --parameter-overrides 'Architecture=$(ARCHITECTURE)'
	.ci/check-artifact .aws-sam/building/Function '$(ARCHITECTURE)'
	@rm -rf '$(BUILD)' && mv .aws-sam/building '$(BUILD)' && echo '$(BUILD)'

zip: build ## build the zip of a release, which make deploy ZIP=… takes; ARCHITECTURE=arm64 or x86_64
	@mkdir -p target && rm -f 'target/cart-associations-$(ARCHITECTURE).zip'
	cd '$(BUILD)/Function' && python3 -m zipfile -c '$(CURDIR)/target/cart-associations-$(ARCHITECTURE).zip' bootstrap
	.ci/check-artifact 'target/cart-associations-$(ARCHITECTURE).zip' '$(ARCHITECTURE)'

# For one deployment: ROLLBACK=false, PARAMETERS="Name=value …". The next one has the stage's own values again.
preview: $(SAM_CLI) ## show what make deploy would change; STAGE=dev
deploy preview:
	@SAM_CLI_TELEMETRY=0 '$(SAM_CLI)/bin/python3' deploy/deploy.py $@ '$(STAGE)' --build '$(BUILD)' \
	    $(if $(ZIP),--zip '$(ZIP)') 'Architecture=$(ARCHITECTURE)' \
	    $(if $(ROLLBACK),'RollBackOnAlarms=$(ROLLBACK)')

# For the commands of docs/procedures.md: eval "$(make -s variables STAGE=prod)"
variables: $(SAM_CLI) ## print the shell variables that docs/procedures.md uses; STAGE=dev
	@'$(SAM_CLI)/bin/python3' deploy/deploy.py variables '$(STAGE)'

# With a STAGE, it also asks AWS what runs, and tries the API all the same. Else anybody's Python will do.
NAMED_STAGE := $(if $(filter command environment,$(firstword $(origin STAGE))),$(STAGE))
smoke: $(if $(NAMED_STAGE),$(SAM_CLI)) ## try a deployment; STAGE=… API_URL=https://… and tokens: BACK_END_TOKEN, ACCESS_TOKEN with CUSTOMER_TOKEN or ACCOUNT_TOKEN
	@$(if $(NAMED_STAGE),'$(SAM_CLI)/bin/python3' deploy/deploy.py live '$(NAMED_STAGE)';) \
	    live=$$?; python3 deploy/smoke.py && exit "$$live"

# Where the tests in Python import each other from.
test-deploy test-page test-page-one-token screenshot test-clients test-events test-smoke test-samples test-import: \
    export PYTHONPATH := tests/outside

test-deploy: $(SAM_CLI) $(ZIG) ## run make deploy with the SAM CLI on a stand-in for AWS
	'$(SAM_CLI)/bin/python3' tests/outside/transform.py target/transformed
	'$(SAM_CLI)/bin/python3' -m unittest --verbose transformed templates operations test_deploy

check-template: $(SAM_CLI) $(CHECKOV) ## check template.yaml, and what SAM makes of it, with sam validate, cfn-lint and checkov
	SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 '$(SAM_CLI)/bin/sam' validate --lint
	'$(SAM_CLI)/bin/python3' tests/outside/transform.py target/transformed
	'$(SAM_CLI)/bin/cfn-lint' --append-rules cfn_lint_serverless.rules \
	    --template template.yaml deploy/*.yaml target/transformed/*.json
	'$(CHECKOV)/bin/checkov' --framework cloudformation --compact --quiet --skip-download \
	    --file template.yaml deploy/*.yaml target/transformed/*.json

## The API from outside, in a local world of its own

.PHONY: test-api test-page test-page-one-token screenshot test-clients test-generated test-events test-issuers test-smoke test-samples test-import

# Runs a command in a local world.
WITH_WORLD = cargo build $(WORKSPACE) --quiet --bin cart-associations --example local && target/debug/examples/local with

test-api: $(SCHEMATHESIS) ## try what docs/openapi.yaml says on the running function (schemathesis)
	$(WITH_WORLD) env SCHEMATHESIS='$(SCHEMATHESIS)/bin/schemathesis' tests/outside/schemathesis

test-page: $(SELENIUM) $(AXE) $(ELASTIC_PATH) ## try the pages of make run in a browser (chromium, chromium-driver)
screenshot: $(SELENIUM) $(AXE) $(ELASTIC_PATH) ## write docs/demo.png, the picture in README.md, with a test of the page
screenshot: export DEMO_SCREENSHOT := docs/demo.png
test-page screenshot: .need-chromium .need-chromedriver
	export NODE_CLIENTS='$(ELASTIC_PATH)' AXE='$(AXE)/node_modules/axe-core/axe.min.js'; \
	    $(WITH_WORLD) '$(SELENIUM)/bin/python' -m unittest --verbose \
	    $(if $(filter screenshot,$@),demo.Demo.test_the_story,reference demo)

# Its stories again, where the access token names the customer.
test-page: test-page-one-token
test-page-one-token: $(SELENIUM) $(AXE) $(ELASTIC_PATH) .need-chromium .need-chromedriver
	export ONE_TOKEN=1 AXE='$(AXE)/node_modules/axe-core/axe.min.js'; \
	    $(WITH_WORLD) '$(SELENIUM)/bin/python' -m unittest --verbose \
	    demo.Demo.test_the_story reference.Reference.test_the_caller_can_be_changed

test-clients: test-generated $(ELASTIC_PATH) ## run the clients in docs/api.md (curl, Node, Python, Rust) and docs/elastic-path.md
	export NODE_CLIENTS='$(ELASTIC_PATH)' ALLOWED_ORIGINS=http://localhost:3000; \
	    $(WITH_WORLD) python3 -m unittest --verbose clients elastic_path

test-generated: $(GENERATORS) ## call the API with clients generated for TypeScript, Python and Go; a part of make test-clients
	$(WITH_WORLD) env OPENAPI_TS='$(OPENAPI_TS)' OPENAPI_PYTHON='$(OPENAPI_PYTHON)' POSTMAN='$(OPENAPI_TO_POSTMAN)' \
	    OAPI_CODEGEN='$(CURDIR)/$(OAPI_CODEGEN)' tests/outside/generated

# On AWS's DynamoDB Local, with its stream, AWS's Event Ruler, and the JSONata of Step Functions. Two local worlds.
test-events: $(SAM_CLI) $(EVENT_RULER) $(JSONATA) ## try which events the template makes of writes (Java 17, Maven, Node)
	'$(SAM_CLI)/bin/python3' tests/outside/transform.py target/transformed
	cargo build $(WORKSPACE) --quiet --bin cart-associations --example local
	ASSOCIATION_LIFETIME_DAYS=30 EVENT_RULER='$(EVENT_RULER)' NODE_PATH='$(JSONATA)/node_modules' \
	    tests/dynamodb-local/run target/debug/examples/local with \
	    sh -c 'OTHER_API_URL=$$API_URL OTHER_TOKEN=$$BACK_END_TOKEN exec "$$@"' - target/debug/examples/local with \
	    '$(SAM_CLI)/bin/python3' -m unittest --verbose events

test-issuers: $(KEYCLOAK) $(OIDC_PROVIDER) $(MOTO) ## use tokens of Keycloak, oidc-provider, moto's Cognito (Java 17, Maven, Node)
	cargo build $(WORKSPACE) --quiet --bin cart-associations --example local
	KEYCLOAK='$(KEYCLOAK)' OIDC_PROVIDER='$(CURDIR)/$(OIDC_PROVIDER)' '$(MOTO)/bin/python' tests/issuers/issuers.py

test-smoke: .need-cargo ## run make smoke
	$(WITH_WORLD) python3 -m unittest --verbose test_smoke

test-samples: cargo-lambda ## send the sample events with cargo lambda invoke, as docs/development.md lists them
	$(WITH_WORLD) python3 -m unittest --verbose samples

# The function's own log is in the way of what the tests print.
test-import: .need-cargo ## run the import of docs/migrating.md, with faults and killed half way
	@mkdir -p target
	$(WITH_WORLD) python3 -m unittest --verbose test_import > target/import.log

## More checks

.PHONY: test-dynamodb-local bench-instructions load check-api check-dependencies check-fuzz check-workflows check-costs
.PHONY: sbom dynamodb

test-dynamodb-local: .need-cargo ## run the integration tests on the DynamoDB Local of AWS (Java 17, Maven)
	tests/dynamodb-local/run cargo test $(WORKSPACE) --test it

# Counting does not need a fast benchmark, so this one is built as the tests are.
bench-instructions: .need-cargo .need-valgrind ## count the instructions of a start and of a request, and check their limit (valgrind)
	cargo build --locked --release --bin cart-associations
	cargo build $(WORKSPACE) --quiet --example bench
	@target/debug/examples/bench instructions

load: .need-cargo .need-wrk ## put copies of the built function under load and faults (wrk); LOAD_SECONDS=30 LOAD_COPIES=4 LOAD_AT_ONCE=1
	cargo build --locked --release --bin cart-associations
	@cargo run --locked --package dev --example load

check-api: $(REDOCLY) ## lint docs/openapi.yaml
	REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
	    '$(REDOCLY)/node_modules/.bin/redocly' lint --config docs/redocly.yaml docs/openapi.yaml

check-dependencies: .need-cargo $(CARGO_DENY) ## check licences, sources, duplicates and known weaknesses of all crates
	PATH='$(CARGO_DENY)/bin':"$$PATH" .ci/check-dependencies

# Only this linter needs Go. Without it, this prints that nothing was checked.
check-workflows: $(filter $(ACTIONLINT),$(OF_GO)) ## lint the workflows of GitHub Actions (Go)
	@if command -v go > /dev/null; then \
	    '$(ACTIONLINT)/actionlint' .github/workflows/*.yml; \
	else \
	    echo 'NOT CHECKED: the workflows; their linter needs Go' >&2; \
	fi

# In the target folder of the tests, which have built most of it. Only cargo-fuzz itself needs nightly.
check-fuzz: .need-cargo ## lint the fuzz targets
	cd fuzz && cargo clippy --locked --all-targets --target-dir ../target -- --deny warnings

check-costs: ## check that the tables of docs/costs.md are computed
	python3 docs/costs.py --check

# Of the crates that are in the function on arm64, and of those that built it.
sbom: .need-cargo $(CARGO_CYCLONEDX) ## write the bill of materials of the function, CycloneDX, to target/sbom.json
	@mkdir -p target
	'$(CARGO_CYCLONEDX)/bin/cargo-cyclonedx' cyclonedx --format json --spec-version 1.5 \
	    --target aarch64-unknown-linux-gnu --override-filename sbom
	@rm dev/sbom.json && mv sbom.json target/sbom.json && echo target/sbom.json

dynamodb: .need-cargo ## start the database alone and write .local/env, for a cargo lambda watch of your own
	@$(LOCAL) -- dynamodb
