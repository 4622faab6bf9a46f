"""Run a program and print the peak resident memory, in KiB, of the largest process it was.

Usage: python3 -I -S meter.py STDIN PROGRAM [ARG...]

A small parent: a process' peak counts what it was before its exec (getrusage(2), ru_maxrss), and
the benchmark itself is larger than all it measures. Run with an environment that is the program's.
"""

import os
import sys


def main() -> int:
    """Exit with the program's status."""
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(sys.argv[1], os.O_RDONLY), 0)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.execv(sys.argv[2], sys.argv[2:])
    _, status, usage = os.wait4(pid, 0)
    print(usage.ru_maxrss)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
