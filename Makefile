# Everything a person does with this source; `make help` lists it.

PREFIX      ?= /usr/local
DESTDIR     ?=
CARGO       ?= cargo
MASTER_PORT ?= 2121
SLAVE_PORTS ?= 2122 2123
SECONDS     ?= 60
ROUNDS      ?= 200
CLIENTS     ?= 5000
RACES       ?= 1000000
SEEDS       ?= 10
RESTARTS    ?= 20
SLAVES      ?= 50
CUTS        ?= 500
BENCH_TMP   ?= $(if $(wildcard /dev/shm/.),/dev/shm,/tmp)

PROGRAMS     = ftpmaster ftpslave ftpclient
TARGET_DIR   = $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)

.PHONY: all build sample run test faults kill-loop races guards abuse check install uninstall clean fuzz coverage failover restart soak power-cuts sweep bench help

all: build

build: ## build the three programs, optimised (the default)
	@$(CARGO) build --release --locked --bins </dev/null

sample: ## make the sample binary of _FTPROOT
	@sh scripts/make-sample.sh _FTPROOT/data/sample.bin

run: build sample ## start a master and two slaves over _FTPROOT, open the client in _CLIENTROOT
	@BIN_DIR='$(TARGET_DIR)/release' RUN_DIR='$(TARGET_DIR)/run' MASTER_PORT='$(MASTER_PORT)' \
	    SLAVE_PORTS='$(SLAVE_PORTS)' sh scripts/run.sh

test: ## run every test
	$(CARGO) test --workspace --locked

faults: SECONDS = 120
faults: CLIENTS = 0
faults: ## storms of every fault over a cluster, SEEDS=10 one after another, SECONDS=120 each, CLIENTS=8 to 64 or drawn (takes root or user namespaces); MINI_FTP_SEED= replays
	TMPDIR='$(BENCH_TMP)' MINI_FTP_MUST=1 MINI_FTP_SEEDS=$(SEEDS) MINI_FTP_SECONDS=$(SECONDS) MINI_FTP_CLIENTS=$(CLIENTS) \
	    $(CARGO) test --release --locked -p mini-ftp --test suite faults::storm -- --nocapture

kill-loop: ## kill somebody at a random moment of a transfer, ROUNDS=200 times, and compare
	MINI_FTP_ROUNDS=$(ROUNDS) MINI_FTP_MEBIBYTES=64 \
	    $(CARGO) test --release --locked -p mini-ftp --test suite kill_loop -- --nocapture

power-cuts: ## cut the power of a disk under uploads, renames and removals, CUTS=500 times, and compare (takes root)
	MINI_FTP_MUST=1 MINI_FTP_CUTS=$(CUTS) \
	    $(CARGO) test --release --locked -p mini-ftp --test suite faults::power_cuts -- --nocapture

sweep: ## have every system call of every operation fail once, in client, slave and master, and see that nobody is lied to (takes root or user namespaces, and strace)
	MINI_FTP_MUST=1 MINI_FTP_EVERY=1 \
	    $(CARGO) test --release --locked -p mini-ftp --test suite faults::sweep -- --nocapture --test-threads 4

races: ## swap folders for links under every operation of the storage, RACES=1000000 times each
	TMPDIR='$(BENCH_TMP)' MINI_FTP_RACES=$(RACES) \
	    $(CARGO) test --release --locked -p storage races -- --nocapture

abuse: ## stall with CLIENTS=5000, guess 200 passwords a second, SECONDS=60 long, and time a good user (a part takes root or user namespaces)
	MINI_FTP_CLIENTS=$(CLIENTS) MINI_FTP_GUESSES=200 MINI_FTP_SECONDS=$(SECONDS) MINI_FTP_MILLISECONDS=1000 \
	    $(CARGO) test --release --locked -p mini-ftp --test suite abuse::attack -- --nocapture --test-threads 1

failover: ## lose the slave of a running get and put, ROUNDS=200 times each, and time how it goes on (takes root or user namespaces)
	TMPDIR='$(BENCH_TMP)' MINI_FTP_MUST=1 MINI_FTP_ROUNDS=$(ROUNDS) MINI_FTP_MILLISECONDS=2500 \
	    $(CARGO) test --release --locked -p mini-ftp --test suite faults::failover -- --nocapture

restart: ## kill the master of SLAVES=50, RESTARTS=20 times, and time how it is back
	MINI_FTP_ROUNDS=$(RESTARTS) MINI_FTP_SLAVES=$(SLAVES) MINI_FTP_CLIENTS=32 MINI_FTP_MILLISECONDS=2000 \
	    $(CARGO) test --release --locked -p mini-ftp --test suite faults::restart -- --nocapture

soak: SECONDS = 600
soak: ## mixed load, SECONDS=600 long, and whether memory, descriptors and threads stay what they were
	TMPDIR='$(BENCH_TMP)' MINI_FTP_SECONDS=$(SECONDS) \
	    $(CARGO) test --release --locked -p mini-ftp --test suite faults::soak -- --nocapture

guards: ## take every guard out of a copy of the source, and see its test fail; WORD= picks some
	python3 scripts/guards.py '$(WORD)'

check: ## format, lints and documentation, every warning an error
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked

install: build ## install the programs below PREFIX (and DESTDIR)
	install -d '$(DESTDIR)$(PREFIX)/bin'
	for program in $(PROGRAMS); do \
	    install -m 755 "$(TARGET_DIR)/release/$$program" '$(DESTDIR)$(PREFIX)/bin/' || exit 1; \
	done

uninstall: ## remove what install put there
	for program in $(PROGRAMS); do rm -f "$(DESTDIR)$(PREFIX)/bin/$$program" || exit 1; done

clean: ## remove everything that was built
	$(CARGO) clean
	rm -rf fuzz/target _FTPROOT/data/sample.bin

fuzz: ## feed the decoders made-up bytes, SECONDS=60 for each target (needs a nightly toolchain)
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	@SECONDS_EACH='$(SECONDS)' sh scripts/fuzz.sh

coverage: ## lines and branches of the decoders that tests and fuzzing seeds reach (needs a nightly toolchain)
	@rustup component list --installed --toolchain nightly | grep -q '^llvm-tools' || \
	    rustup component add --toolchain nightly llvm-tools
	@python3 scripts/coverage.py

bench: ## measure beside the machine's limits and other programs; BENCH_ONLY=regex BENCH_RUNS=5 (docs/PERFORMANCE.md)
	TMPDIR='$(BENCH_TMP)' $(CARGO) bench --locked --bench transfers

help: ## show this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name does; do \
	    printf '  make %-10s %s\n' "$$name" "$$does"; \
	done
	@printf '\nmake run takes MASTER_PORT=%s and SLAVE_PORTS="%s"; make install takes PREFIX=%s and DESTDIR.\n' \
	    '$(MASTER_PORT)' '$(SLAVE_PORTS)' '$(PREFIX)'
