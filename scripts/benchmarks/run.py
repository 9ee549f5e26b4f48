#!/usr/bin/env python3
"""Measures bayou beside its peers and bounds. Called by scripts/bench, which says how."""
import argparse
import json
import mmap
import os
import platform
import shutil
import subprocess
import sys
import time

import report
from client import Server
from data import Data
from systems import SYSTEMS, System
from workloads import WORKLOADS, perform

PROFILES = "0,20,20/90"
SYSTEMS_OF_A_FULL_RUN = "bayou,bayou-ro,bayou-local,rclone,rclone-tuned,s3fs,server,native,bindfs"


def arguments():
    asked = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    asked.add_argument("--systems", default=SYSTEMS_OF_A_FULL_RUN, help="of %s" % ", ".join(SYSTEMS))
    asked.add_argument("--workloads", default=",".join(WORKLOADS), help="of %s" % ", ".join(WORKLOADS))
    asked.add_argument("--profiles", default=PROFILES,
                       help="ms a request, or ms a request/MB/s a connection; default %s" % PROFILES)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--scale", type=float, default=1.0, help="of counts and sizes; 0.01 is a smoke run")
    asked.add_argument("--limit", type=float, default=60, help="seconds that a step may take")
    asked.add_argument("--program", required=True, help=argparse.SUPPRESS)
    asked.add_argument("--work", required=True, help=argparse.SUPPRESS)
    asked.add_argument("--data", required=True, help=argparse.SUPPRESS)
    asked.add_argument("--out", required=True, help="file of JSON lines, to which is added; "
                       "target/bench/measured.jsonl if not named")
    asked.add_argument("--markdown", help="a file whose part between the two marks is replaced by the tables")
    asked.add_argument("--report", action="store_true", help="measure nothing, only report what is in --out")
    asked.add_argument("--strict", action="store_true", help="fail if any step has failed")
    return asked.parse_args()


def own_memory():
    """Has a virtual machine own most of its free memory, before anything is measured."""
    with open("/proc/meminfo") as info:
        available = next(int(line.split()[1]) << 10 for line in info if line.startswith("MemAvailable"))
    with mmap.mmap(-1, max(available * 2 // 3, 1)) as memory:
        for at in range(0, len(memory), mmap.PAGESIZE):
            memory[at] = 1


def fill_seeds(server, data, workloads):
    """Puts each data set into a bucket of the server's, once; the systems get copies."""
    for name in {WORKLOADS[workload][1] for workload in workloads}:
        server.ask("copy_bucket", source=None, target="seed-" + name)
        for file, size in data.files(name).items():
            server.put("seed-" + name, file, data.content(file, size))


def machine():
    """What the figures belong to."""
    with open("/proc/cpuinfo") as info:
        names = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    with open("/proc/meminfo") as info:
        memory = int(info.readline().split()[1]) / (1 << 20)
    return {"machine": "%d x %s, %.0f GiB" % (os.cpu_count(), names[0] if names else platform.machine(), memory),
            "kernel": platform.release(), "date": time.strftime("%Y-%m-%d", time.gmtime())}


def versions(names, program):
    said = {}
    for name in names:
        needs = SYSTEMS[name].get("needs", program if name.startswith("bayou") else None)
        if needs:
            done = subprocess.run([needs, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            said[name] = done.stdout.strip().splitlines()[0] if done.stdout.strip() else "?"
    here = os.path.dirname(os.path.abspath(__file__))
    commit = subprocess.run(["git", "-C", here, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)
    if commit.returncode == 0:
        said["commit"] = commit.stdout.strip()
    return said


def rounds(asked):
    """Every run in its order: a system never follows itself while others wait."""
    names, first = asked.systems.split(","), asked.profiles.split(",")[0]
    for profile in asked.profiles.split(","):
        for workload in asked.workloads.split(","):
            for turn in range(asked.rounds):
                for name in names:
                    how = SYSTEMS[name]
                    if workload not in how.get("only", WORKLOADS) or (how.get("bound") and profile != first):
                        continue
                    yield profile, workload, turn, name


def measure(asked, out):
    """Runs everything; returns the number of steps that failed."""
    data = Data(asked.data, asked.scale)
    server = Server(os.path.join(asked.work, "server.log"))
    failures, slow = 0, set()
    try:
        fill_seeds(server, data, asked.workloads.split(","))
        for profile, workload, turn, name in rounds(asked):
            if (profile, workload, name) in slow:
                continue  # past its limit once is enough
            system = System(name, asked.program, os.path.join(asked.work, "systems"), server)
            about = {"profile": profile, "workload": workload, "round": turn, "system": name,
                     "bucket": "%s-%s" % (name, workload)}
            began = time.monotonic()
            records = perform(system, data, about, asked.limit)
            for record in records:
                record["bound"] = system.is_bound
                out.write(json.dumps(record) + "\n")
                failures += "failed" in record
                if record.get("failed", "").startswith("not done in"):
                    slow.add((profile, workload, name))
            out.flush()
            shutil.rmtree(system.cache, ignore_errors=True)
            print("%-6s %-10s %d %-12s %5.1f s  %s" % (profile, workload, turn, name, time.monotonic() - began,
                                                      " ".join(map(report.in_short, records))), flush=True)
    finally:
        server.stop()
    return failures


def main():
    asked = arguments()
    unknown = set(asked.systems.split(",")) - SYSTEMS.keys() | set(asked.workloads.split(",")) - WORKLOADS.keys()
    if unknown:
        sys.exit("error: Unknown: %s" % ", ".join(sorted(unknown)))
    failures = 0
    if not asked.report:
        os.makedirs(asked.work, exist_ok=True)
        with open(asked.out, "a") as out:
            about = {"about": {**machine(), "scale": asked.scale, "limit": asked.limit,
                               "versions": versions(asked.systems.split(","), asked.program)}}
            out.write(json.dumps(about) + "\n")
            if asked.scale == 1:
                own_memory()
            failures = measure(asked, out)
    text = report.tables(asked.out)
    if asked.markdown:
        report.replace_between_marks(asked.markdown, text)
    elif not asked.strict:
        print("\n" + text)
    if failures and asked.strict:
        sys.exit("error: %d steps have failed" % failures)


if __name__ == "__main__":
    main()
