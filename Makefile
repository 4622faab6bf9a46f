# Every target does the set-up it needs. `make help` lists them.
SHELL := /bin/sh
VENV := .venv
PYTHON_VENV := $(VENV)/bin/python
PYTEST := $(PYTHON_VENV) -m pytest
# Written down so that a set-up that is done is not done again.
BASE := $(VENV)/.base-stamp
DEV := $(VENV)/.dev-stamp

.PHONY: generate-matrix help venv demo test test-newest test-debian13 test-sid test-reading test-youki test-arm64 unit check \
    binary test-binary fuzz lock bench peers matrix clean packages setup dev \
    soak conformance scoreboard runtime-tools containerd2 test-kubernetes

help:  ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 15

setup:
	@tools/packages.sh venv

$(BASE): pyproject.toml tools/venv.sh $(wildcard tools/lock/*.txt) | setup
	@tools/venv.sh $(VENV)
	@touch $@

$(DEV): $(BASE)
	@tools/venv.sh $(VENV) test,check
	@touch $@

venv: setup $(BASE)  ## .venv with pyshim, pyshim-hook and pyshimctl
	@$(PYTHON_VENV) -m compileall -q ocishim hooks

dev: venv $(DEV)

demo:  ## a CDI device reaches a container, step by step (root)
	@tools/packages.sh venv demo
	@[ "$$(id -u)" = 0 ] || { echo "demo: needs root, for device nodes, mounts and containers:" \
	    "sudo make demo" >&2; exit 1; }
	@$(MAKE) --no-print-directory venv
	@$(PYTHON_VENV) -m tools.demo

test: dev  ## every test: unit, integration, engines
	@tools/packages.sh demo test || echo "setup: tests that need what is missing will say so" >&2
	@tools/crictl.sh build/crictl || echo "setup: the tests of the CRI will say so" >&2
	@tools/containerd2.sh peers/containerd2 || echo "setup: containerd 2's tests will say so" >&2
	@tools/runc.sh build/runc || echo "setup: the tests of user namespaces will say so" >&2
	@failed=0; \
	$(PYTEST) tests --ignore=tests/integration -q -n 2 --junitxml=build/junit/unit.xml || failed=1; \
	$(PYTEST) tests/integration -q -n 2 --dist loadgroup --junitxml=build/junit/integration.xml \
	    || failed=1; \
	$(PYTHON_VENV) -m tools.tested test build/junit/unit.xml build/junit/integration.xml; \
	exit $$failed

test-newest:  ## check and test with the newest of every library instead of tools/lock's
	@rm -rf build/newest
	@LOCK=no $(MAKE) --no-print-directory --keep-going VENV=build/newest check test

test-debian13:  ## make demo and make test on a bare Debian 13 in build/debian13 (root, half an hour)
	@tools/debian.sh trixie build/debian13 "make demo && make test"

test-sid:  ## the same on the newest Debian, in build/sid
	@tools/debian.sh sid build/sid "make demo && make test"

test-kubernetes: dev binary  ## a cluster of one node, containerd 2 and 1.6 (root, half an hour after its builds); PODS_ROUNDS=3
	@tools/packages.sh demo test debian kubernetes
	@tools/containerd2.sh peers/containerd2
	@tools/runc.sh build/runc
	@tools/kubernetes.sh build/kubernetes
	@failed=0; \
	CI=true $(PYTEST) tests/kubernetes -q -o faulthandler_timeout=1200 --junitxml=build/junit/kubernetes.xml $(ARGS) || failed=1; \
	$(PYTHON_VENV) -m tools.tested test-kubernetes build/junit/kubernetes.xml; \
	exit $$failed

fuzz: dev  ## the readers of untrusted input, MINUTES=1 each, two at a time; what fails is in build/fuzz
	@tools/venv.sh $(VENV) test,check,fuzz
	@$(PYTHON_VENV) -m tests.fuzz --seconds $$(( $(or $(MINUTES),1) * 60 )) $(ARGS)

soak: dev  ## a node's life: creates, claims, upgrades, full disks, kills for MINUTES=10 (root)
	@tools/packages.sh demo
	@$(PYTHON_VENV) -m tools.soak --minutes $(or $(MINUTES),10)
	@$(PYTHON_VENV) -m tools.tested "soak MINUTES=$(or $(MINUTES),10)"

lock: setup  ## tools/lock anew: the newest versions, with hashes
	@tools/lock.sh

unit: dev  ## the tests that need no root
	@$(PYTEST) tests -q -n 2 --ignore=tests/integration $(ARGS)

test-youki: dev  ## the tests of a low-level runtime with youki, which it builds (root, minutes)
	@tools/packages.sh demo test
	@tools/youki.sh build/youki
	@CI=true $(PYTEST) -q -n 2 --as-runc build/youki/youki -k 'not crun and not runsc' \
	    $(addprefix tests/integration/test_,youki.py devices.py readonly.py overlay.py \
	    failures.py)

test-reading: dev  ## 100,000 texts and command lines, read by Go as runc does and by us (gets Go)
	@tools/reading.sh build/reading
	@$(PYTHON_VENV) -m tests.reading.run build/reading/runc-1.1 build/reading/runc-1.3 $(ARGS)

test-arm64: dev  ## arm64's file with containers, system calls, hooks, on a machine of qemu's (ten minutes)
	@tools/packages.sh arm64 binary binary-arm64
	@tools/binary.sh arm64
	@tools/arm64.sh build/arm64 $(PYTHON_VENV)
	@tools/arm64/boot.sh build/arm64 "tools/arm64/test.sh $(ARGS)" \
	    $$(ls build/pyshim-arm64 2>/dev/null || echo build/pyshim)

check: dev  ## ruff, its formatter, mypy --strict, shellcheck
	@tools/packages.sh check
	@$(PYTHON_VENV) -m ruff format --check --quiet .
	@$(PYTHON_VENV) -m ruff check .
	@$(PYTHON_VENV) -m mypy --strict
	@cd conformance && ../$(PYTHON_VENV) -m mypy --strict --explicit-package-bases \
	    *.py kit areas mutants adapters/call.py adapters/containerd.py adapters/podman.py
	@tools/files.sh '*.sh' | xargs -0 shellcheck .ci/run

binary:  ## build/pyshim, one static file that needs nothing of a node; ARCH=arm64: build/pyshim-arm64
	@tools/packages.sh binary $(if $(ARCH),binary-$(ARCH))
	@tools/binary.sh $(ARCH)

packages: $(BASE) binary  ## .deb, .rpm, tarball, wheel into build/packages; ARCH=arm64: that one's, too
	@tools/packages.sh packages
	@$(PYTHON_VENV) -m tools.packaging build/packages $$(ls build/pyshim build/pyshim-*64 2>/dev/null)

test-binary: dev binary  ## build/pyshim instead of the clone: what differs, and all with containers (root)
	@tools/packages.sh demo test packages || echo "setup: the tests of the packages will say so" >&2
	@rm -rf build/bin && mkdir -p build/bin && cp build/pyshim build/pyshim.* build/bin/
	@ln -s pyshim build/bin/pyshim-hook && ln -s pyshim build/bin/pyshimctl
	@tools/runc.sh build/runc || echo "setup: the tests of a bare node will say so" >&2
	@PYSHIM_BINARY=$(CURDIR)/build/bin/pyshim $(PYTEST) -q -n 2 --dist loadgroup $(or $(ARGS), \
	    $(addprefix tests/unit/test_,binary.py choice.py contract_transparency.py entry.py log.py) \
	    tests/test_system_calls.py tests/attack tests/integration)
	@$(if $(ARGS),,conformance/run.py --runtime build/bin/pyshim --hook build/bin/pyshim-hook \
	    --name pyshim/runc)

bench: dev binary  ## what pyshim adds, beside the peer (root); ARGS='--compare OLD.json', --curves, --budget
	@tools/packages.sh demo test || true
	@case "$(ARGS)" in *--curves*) tools/venv.sh $(VENV) bench ;; esac
	@$(PYTHON_VENV) -m bench $(ARGS)

peers:  ## NVIDIA's programs into peers/, for make bench (needs Go)
	@tools/peers.sh peers

containerd2:  ## containerd 2.x into peers/containerd2, for tests and the scoreboard (gets Go)
	@tools/containerd2.sh peers/containerd2

generate-matrix: dev peers  ## the table of docs/generate.md anew: drivers of many hosts, beside nvidia-ctk (root)
	@$(PYTHON_VENV) -m tools.generate_matrix $(ARGS)

conformance: dev  ## the conformance kit on pyshim before runc, and its mutants (root)
	@tools/packages.sh venv demo
	@conformance/run.py --runtime $(VENV)/bin/pyshim --hook $(VENV)/bin/pyshim-hook \
	    --name pyshim/runc $(ARGS)
	@PYSHIM_CONFIG=$(CURDIR)/conformance/overlay.toml conformance/check_mutants.py --all \
	    --runtime $(VENV)/bin/pyshim --hook $(VENV)/bin/pyshim-hook
	@$(PYTHON_VENV) -m tools.tested conformance

scoreboard: dev peers containerd2  ## conformance/scoreboard.md anew: pyshim beside others (root, Go, an hour)
	@tools/youki.sh build/youki
	@conformance/scoreboard.py $(ARGS)

runtime-tools: venv  ## runtime-tools' validation: runc alone and pyshim before it (root, Go)
	@tools/runtime_tools.sh build/runtime-tools
	@conformance/runtime_tools.py build/runtime-tools "$$(command -v runc)" $(VENV)/bin/pyshim

matrix: dev  ## the unit tests on every Python at hand
	@$(PYTHON_VENV) -m nox --no-error-on-missing-interpreters

clean:  ## remove what make made
	rm -rf $(VENV) build bench/out .nox .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find ocishim hooks tests tools bench conformance -name __pycache__ -prune -exec rm -rf {} +
