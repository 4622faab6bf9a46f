#!/bin/sh
# What make test-arm64 runs on the emulated machine: where the processor matters. The libraries are
# in /srv/site; pyshim's programs look for them in their virtual environment.
python3 -m venv --without-pip .venv
cp -r /srv/site/. .venv/lib/python3.11/site-packages
# Not these: they ask for a speed that an emulated processor has not.
slow='not a_deadline and not damage_is_told_as_such'
[ "$#" -gt 0 ] || set -- tests/unit/linux tests/unit/hooks tests/integration/test_devices.py
.venv/bin/python -m pytest -q -n 2 -p no:cacheprovider --color=no --tb=short -k "not crun and $slow" "$@"
