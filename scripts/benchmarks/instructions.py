#!/usr/bin/env python3
"""Counts the instructions of the hot paths and compares them with those that were kept.

A count does not depend on how fast or how busy the machine is, but on the compiler: the kept
counts belong to one. With another nothing can be compared, and nothing fails.
"""
import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile

KEPT = "tests/benches/instructions.txt"
# Random names and seeds of hash tables move a count by less.
TOLERANCE = 0.05
COUNTED = "bayou_benches::counted::measured"


def said(words):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def compiler():
    """The compilers of what is counted: sqlite is C."""
    return "%s, cc %s, %s" % (said(["rustc", "--version"]), said(["cc", "-dumpfullversion"]), platform.machine())


def count(program, name):
    """The instructions of one run of a hot path."""
    with tempfile.TemporaryDirectory(prefix="bayou-count.") as folder:
        words = ["valgrind", "--tool=callgrind", "--toggle-collect=" + COUNTED, "--callgrind-out-file=/dev/null",
                 program, name]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env={**os.environ, "TMPDIR": folder})
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not collected or not int(collected[1]):
        sys.exit("error: %s was not counted:\n%s" % (name, done.stderr[-2000:]))
    return int(collected[1]) // int(done.stdout)


def kept():
    """Which compiler the kept counts belong to, and the counts."""
    with open(KEPT) as file:
        lines = [line.rstrip("\n") for line in file if not line.startswith("#")]
    return lines[0], {name: int(number) for name, number in (line.split() for line in lines[1:])}


def keep(counts):
    with open(KEPT, "w") as file:
        file.write("# Instructions of one run of each hot path: scripts/bench instructions --update\n")
        file.write(compiler() + "\n")
        file.writelines("%s %d\n" % pair for pair in counts.items())


def main():
    asked = argparse.ArgumentParser(prog="scripts/bench instructions", description=__doc__)
    asked.add_argument("--program", required=True, help=argparse.SUPPRESS)
    asked.add_argument("--update", action="store_true", help="keep what is counted now")
    asked = asked.parse_args()
    counts = {name: count(asked.program, name) for name in said([asked.program]).splitlines()}
    if asked.update:
        keep(counts)
    owner, before = kept()
    comparable = owner == compiler()
    worse = []
    for name, number in counts.items():
        ratio = number / before[name] if name in before else None
        print("%-22s %12d  %s" % (name, number, "%.3f of what was kept" % ratio if ratio else "new"))
        if ratio is None or abs(ratio - 1) > TOLERANCE:
            worse.append(name)
    if not comparable:
        print("The kept counts are of another compiler (%s): nothing is judged" % owner)
    elif worse:
        sys.exit("error: Not within %d %% of what was kept: %s; if that is meant, "
                 "scripts/bench instructions --update" % (TOLERANCE * 100, ", ".join(worse)))


if __name__ == "__main__":
    main()
