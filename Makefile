# What a developer does here. `make` alone lists it.

CARGO_LAMBDA_VERSION := 1.9.2
CARGO_LAMBDA_HOME := .local/cargo-lambda-$(CARGO_LAMBDA_VERSION)

# A cargo-lambda that is installed already comes first.
export PATH := $(PATH):$(CURDIR)/$(CARGO_LAMBDA_HOME)/bin

.PHONY: help run dynamodb token test test-dynamodb-local load bench bench-quick bench-instructions \
    bench-instructions-write check-template cargo-lambda

help:
	@echo 'make run       start the API, its database and all it needs; API_PORT=9000 DYNAMODB_PORT=8000'
	@echo 'make dynamodb  start the database alone and write .local/env, for a cargo lambda watch of your own'
	@echo 'make test      check format and lints, run all tests; DYNAMODB_ENDPOINT=… for another engine than the embedded one'
	@echo 'make test-dynamodb-local  run the integration tests on the DynamoDB Local of AWS (Java 17, Maven)'
	@echo 'make load      put copies of the built function under load and faults (wrk); LOAD_SECONDS=30 LOAD_COPIES=4'
	@echo 'make bench     measure the function beside its yardsticks and write benches/figures.md; make bench-quick for a look'
	@echo 'make bench-instructions  compare the instructions of a request with those checked in (valgrind);'
	@echo '               make bench-instructions-write checks in those of now'
	@echo 'make check-template  check template.yaml with sam validate and cfn-lint'
	@echo 'make token     print an access token; GRANT=client_credentials (or implicit, or another)'
	@echo 'make token CUSTOMER=ron  print a customer token for ron'

run: cargo-lambda
	@cargo run --example local -- run

dynamodb: .need-cargo
	@cargo run --example local -- dynamodb

# Prints the token alone, so that it fits in $$(…).
token: .need-cargo
	@cargo run --quiet --example local -- token \
	    $(if $(CUSTOMER),--customer '$(CUSTOMER)') \
	    $(if $(GRANT)$(CUSTOMER),$(if $(GRANT),--grant '$(GRANT)'),--grant client_credentials)

test: .need-cargo
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- --deny warnings
	cargo test --locked

test-dynamodb-local: .need-cargo
	tests/dynamodb-local/run cargo test --locked --test it

load: .need-cargo
	@command -v wrk > /dev/null || { echo 'error: wrk is missing; on Debian, apt-get install wrk' >&2; exit 1; }
	cargo build --locked --release --bin cart-associations
	@cargo run --locked --example load

bench bench-quick: .need-cargo
	cargo build --locked --release --bin cart-associations
	cd benches/yardsticks && cargo build --locked --release --package plain
	cd benches/yardsticks && cargo build --locked --profile floor --package nothing
	@cargo run --locked --profile bench --example bench -- $(if $(filter bench-quick,$@),quick)

# Counting takes no fast benchmark, so this one is built as the tests are.
bench-instructions bench-instructions-write: .need-cargo
	@command -v valgrind > /dev/null || { echo 'error: valgrind is missing; on Debian, apt-get install valgrind' >&2; exit 1; }
	cargo build --locked --release --bin cart-associations
	@cargo run --locked --example bench -- instructions $(if $(filter %-write,$@),write)

# Python's tools for the template, in a folder of their own.
SAM_CLI := .local/sam-cli-1.170.0

check-template: $(SAM_CLI)/bin/sam
	SAM_CLI_TELEMETRY=0 '$(SAM_CLI)/bin/sam' validate --lint
	'$(SAM_CLI)/bin/cfn-lint' template.yaml

$(SAM_CLI)/bin/sam:
	python3 -m venv '$(SAM_CLI)'
	'$(SAM_CLI)/bin/pip' install --quiet --disable-pip-version-check aws-sam-cli==1.170.0 cfn-lint==1.58.0 \
	    || { rm -rf '$(SAM_CLI)'; exit 1; }

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
