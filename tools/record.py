"""A runtime that notes what it is given, then becomes another: how tests/data/engines was recorded.

    python -m tools.record FOLDER /usr/sbin/runc

makes FOLDER/runc (or whatever the other is called). Give it to an engine as its runtime: each call
is a line of FOLDER/calls, config.json of each create, run and restore is FOLDER/N.config.json, N
the call's number. It needs nothing of its environment, which conmon empties.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

_PROGRAM = """\
#!/bin/sh
to={to}
printf '%s\\n' "$*" >>"$to/calls"
bundle=$PWD before= creates=
for word; do
    case $before in --bundle | -bundle | -b) bundle=$word ;; esac
    case $word in
        --bundle=* | -bundle=*) bundle=${{word#*=}} ;;
        create | run | restore) creates=yes ;;
    esac
    before=$word
done
if [ -n "$creates" ] && [ -e "$bundle/config.json" ]; then
    number=$(/usr/bin/wc -l <"$to/calls")
    /bin/cp "$bundle/config.json" "$to/$number.config.json"
fi
exec {runtime} "$@"
"""


def write(folder: Path, runtime: str, name: str = "") -> Path:
    """Make the recorder before the program `runtime`; what it notes goes into `folder` too."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / (name or Path(runtime).name)
    words = {"to": shlex.quote(str(folder.absolute())), "runtime": shlex.quote(runtime)}
    program.write_text(_PROGRAM.format(**words))
    program.chmod(0o755)
    return program


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(write(Path(sys.argv[1]), sys.argv[2]))
