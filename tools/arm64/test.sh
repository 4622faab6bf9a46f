#!/bin/sh
# What make test-arm64 runs on the emulated machine: where the processor matters. The libraries are
# in /srv/site; pyshim's programs look for them in their virtual environment. Without arguments the
# containers are by the static file for arm64, build/bin/pyshim.
python3 -m venv --without-pip .venv
cp -r /srv/site/. .venv/lib/python3.11/site-packages
# Not these: they ask for a speed that an emulated processor has not.
slow='not a_deadline and not damage_is_told_as_such'
run() {
    .venv/bin/python -m pytest -q -n 2 -p no:cacheprovider --color=no --tb=short -k "not crun and $slow" "$@"
}

[ "$#" = 0 ] || { run "$@"; exit; }
failed=0
run tests/unit/linux tests/unit/hooks || failed=1
ln -s pyshim build/bin/pyshim-hook
ln -s pyshim build/bin/pyshimctl
PYSHIM_BINARY=$PWD/build/bin/pyshim run tests/integration/test_devices.py tests/integration/test_bare_node.py ||
    failed=1
exit $failed
