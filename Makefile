# Two commands do everything on a fresh Debian or Raspberry Pi OS machine: `make demo` and `make test`.
# Nothing here needs root but `apt-get install` of what is missing, and that is said before it is done.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test bench campaign powercuts privacy fuzz soak vm-test deb package-test arm64 lint format catalogues lock wheel clean

demo: $(STAMP)  ## a simulated boutique, a real broker, 20 seconds
	$(BIN)/touchpoint demo

test: $(STAMP) tests/asyncapi/node_modules tests/gs1/node_modules lint  ## everything that CI checks
	tests/needs mosquitto gcc fuse3 dbus-daemon strace fiu-utils libfaketime ghostscript poppler-utils zbar-tools systemd age prometheus
	$(BIN)/python -m pytest -n auto --cov --cov-report=term

bench: $(STAMP)  ## each part beside its limit or a peer, side by side (a quarter of an hour): make bench [BENCH="peers --large --json FILE"]
	tests/needs mosquitto dbus-daemon poppler-utils
	$(BIN)/python -m tests.benchmarks $(or $(BENCH),--svg tests/benchmarks/figures.svg)

SEEDS ?= 0-9
campaign: $(STAMP)  ## faults by the hundred: make campaign SEEDS=0-99 [KIND="both broker"]; goes on where it was stopped
	tests/needs mosquitto gcc
	$(BIN)/python -m tests.campaign --seeds $(SEEDS) $(KIND:%=--kind %)

N ?= 100
powercuts: $(STAMP)  ## power cuts by the hundred: make powercuts N=100; needs root; goes on where it was stopped
	tests/needs mosquitto fuse3
	$(BIN)/python -m tests.disk --cuts $(N)

privacy: $(STAMP)  ## what is promised about customers, at length: 1,000 random days, and a day of 500 customers searched byte by byte
	tests/needs mosquitto strace
	SCHEDULES=1000 $(BIN)/python -m pytest -n0 -s tests/privacy
	$(BIN)/python -m tests.privacy

fuzz: $(STAMP)  ## whatever strangers can send, guided by coverage: make fuzz [FUZZ="--seconds 600 downlink jws"] (x86-64)
	$(BIN)/pip install --quiet --disable-pip-version-check atheris==3.0.0
	$(BIN)/python -m tests.fuzz $(FUZZ)

HOURS ?= 2
soak: $(STAMP)  ## the gateway for hours in a simulated boutique, then a week replayed: does anything grow? make soak HOURS=2
	tests/needs mosquitto dbus-daemon
	mkdir -p build
	$(BIN)/python -m tests.soak --hours $(HOURS) --svg build/soak.svg --csv build/soak.csv
	$(BIN)/python -m tests.soak --replay 7 --svg build/week.svg

vm-test: deb  ## the package in a simulated Pi, with faults, power cuts and upgrades; needs root; an hour: make vm-test [VM="devices --json"]
	tests/needs mosquitto mmdebstrap qemu-system-x86 qemu-utils e2fsprogs
	$(BIN)/python -m tests.vm $(VM)

deb: $(STAMP)  ## the Debian package of this machine's architecture and Debian, with its software bill of materials, in dist/
	tests/needs debhelper python3-pip
	$(BIN)/pip install --quiet --disable-pip-version-check cyclonedx-bom==7.5.0
	systemd/debian/build $(BIN)/python

package-test: deb  ## the package in a clean Debian without a network; needs root; some minutes
	tests/needs mmdebstrap lintian
	$(BIN)/python -m tests.package

arm64: $(STAMP)  ## show that every library has a wheel for a Pi with 64 bits
	$(BIN)/python systemd/debian/runtime.py > build/arm64.txt
	$(BIN)/python -m tests.package.arm64 build/arm64.txt

lint: $(STAMP)  ## style, types, and which module may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

catalogues: $(STAMP)  ## the texts of the command line into the German and French catalogues, and these compiled
	$(BIN)/python -m tests.language.catalogues

format: $(STAMP)  ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(STAMP)  ## pin every dependency by version and hash, without registry addresses
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-header --no-emit-index-url --no-emit-find-links --upgrade --output-file requirements.lock

wheel: $(STAMP)  ## the distribution, in dist/
	rm -f dist/*.whl
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

$(STAMP): pyproject.toml requirements.lock
	tests/needs python3-venv
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

tests/%/node_modules: tests/%/package-lock.json
	tests/needs npm
	cd tests/$* && npm ci --silent --ignore-scripts --no-audit --no-fund
	touch $@

clean:  ## remove what was built or installed here
	rm -rf .venv dist build tests/*/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
