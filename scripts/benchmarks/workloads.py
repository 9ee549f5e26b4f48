"""What is done with a system, step by step. One workload begins with a bucket that is known.

cold: just mounted, with an empty cache. disk: in the cache on the local disk, but not in
memory. warm: once more at once. again: unmounted, and mounted with the cache that it had.
"""
import multiprocessing
import os
import subprocess
import time

import ceiling
import steps
from systems import Failed

FORK = multiprocessing.get_context("fork")
# How long a system that has nothing to ask for may rest before it is told to write back.
REST_S = 8


class Run:
    """One workload on one system."""

    def __init__(self, system, data, about, limit):
        self.system, self.server, self.data = system, system.server, data
        self.about, self.limit, self.records = about, limit, []
        self.path = system.path

    def count(self, full):
        return self.data.count(full)

    def record(self, step, **figures):
        self.records.append({**self.about, "step": step, **figures})

    def mount(self, step="mount", fresh=True):
        self.server.ask("forget_counts")
        seconds = self.system.mount(self.about["bucket"], fresh)
        requests, sent, fetched = self.server.counts()
        self.record(step, s=seconds, requests=requests, sent=sent, fetched=fetched)

    def remount(self, fresh=False):
        self.system.unmount()
        if fresh or self.system.is_bound:
            self.system.drop_pages()
        self.mount("mount again" if fresh else "mount cached", fresh)

    def step(self, step, call, *arguments):
        """Runs a step in a process of its own and notes what it took."""
        self.server.ask("forget_counts")
        self.system.forget_peak()
        cpu = self.system.cpu()
        figures = in_process(call, arguments, self.limit + 5)
        if not self.system.is_alive():
            figures["failed"] = "the file system's process has ended"
        requests, sent, fetched = self.server.counts()
        self.record(step, **figures, cpu_s=self.system.cpu() - cpu, peak_mb=self.system.peak_mb(),
                    requests=requests, sent=sent, fetched=fetched)
        return None if "failed" in figures else figures

    def durable(self, step, figures, wanted, absent=(), synced=False):
        """Notes when all of it was in the bucket, and what the acknowledgement before meant."""
        if figures is None:
            return
        began, by, said = figures["began"], "itself", self.system.how["synced" if synced else "written"]
        if self.system.is_bound:
            os.sync()
            self.record("durable", of=step, s=time.monotonic() - began, by="sync(2)", meant=said)
            return
        found = self.look(wanted, absent, began)
        if not found["missing"] and found["last"] <= figures["returned"]:
            said, last = "bucket", found["last"]
        else:
            by, last = self.wait_durable(wanted, absent, began)
        requests, sent, fetched = self.server.counts()
        failed = {} if last else {"failed": "never in the bucket"}
        self.record("durable", of=step, s=(last or time.monotonic()) - began, by=by, meant=said,
                    requests=requests, sent=sent, fetched=fetched, **failed)

    def look(self, wanted, absent, since):
        return self.server.ask("durable", bucket=self.about["bucket"], wanted=wanted, absent=absent, since=since)

    def wait_durable(self, wanted, absent, began):
        """Waits until all is in the bucket; asks for it as the system wants to be asked."""
        if "flush" in self.system.how:
            subprocess.run(self.system.words("flush"), stdout=subprocess.DEVNULL, timeout=600)
            ended = time.monotonic()
            return "its flush", None if self.look(wanted, absent, began)["missing"] else ended
        ways = iter([("syncfs", lambda: subprocess.run(["sync", "-f", self.system.mnt], timeout=120)),
                     ("unmounting", self.system.unmount)])
        by, seen, moved = "itself", None, time.monotonic()
        while (found := self.look(wanted, absent, began))["missing"]:
            state = found["missing"], self.server.counts()
            if state != seen:
                seen, moved = state, time.monotonic()
            if time.monotonic() - moved > REST_S:
                by, way = next(ways, (None, None))
                if by is None:
                    return "nothing", None
                way()
                moved = time.monotonic()
            time.sleep(0.02)
        return by, found["last"]


def in_process(call, arguments, limit):
    """The figures of a call, or why there are none."""
    ours, theirs = FORK.Pipe(duplex=False)

    def run():
        os.setsid()
        try:
            theirs.send(call(*arguments))
        except Exception as error:  # whatever a system does wrong is a figure
            theirs.send({"failed": "%s: %s" % (type(error).__name__, error)})

    process = FORK.Process(target=run)
    process.start()
    theirs.close()
    try:
        figures = ours.recv() if ours.poll(limit) else {"failed": "not done in %d s" % limit}
    except EOFError:
        figures = {"failed": "the step ended without figures"}
    process.join(5)
    if process.is_alive():
        process.kill()
        process.join(20)
    return figures


def tree(run):
    files = run.data.files("tree")
    run.mount("mount new")
    run.step("ls cold", steps.list_all, run.path(), len(files))
    run.step("ls warm", steps.list_all, run.path(), len(files))
    run.step("stat warm", steps.stat_all, run.path(), list(files))
    run.step("find warm", steps.find_all, run.path(), len(files))
    run.remount()
    run.step("ls again", steps.list_all, run.path(), len(files))
    run.remount(fresh=True)


def small(run):
    files = run.data.checksums("small")

    def read(step, readers):
        run.step(step, steps.read_files, run.path(), files, readers, run.limit)

    run.mount()
    read("cold 1", 1)
    run.system.drop_pages()
    read("disk 1", 1)
    read("warm 1", 1)
    read("warm 8", 8)
    run.remount(fresh=True)
    read("cold 8", 8)


def sequential(run):
    def read(step):
        run.step(step, steps.read_big, run.path("big.bin"), run.data.big(), run.limit)

    run.mount()
    def pages(step):
        run.step(step, steps.read_pages, run.path("big.bin"), run.data.big(), 4000, 1, run.limit)

    read("cold")
    pages("pages warm")
    run.system.drop_pages()
    pages("pages disk")
    run.system.drop_pages()
    read("disk")
    read("hot")
    run.remount()
    read("again")


def pages(run):
    run.mount()
    run.step("middle", steps.read_middle, run.path("big.bin"), run.data.big())
    run.step("after the middle", lambda: time.sleep(0.5) or {"s": 0.5})
    run.remount(fresh=True)
    run.step("pages cold", steps.read_pages, run.path("big.bin"), run.data.big(), run.count(300), 2, run.limit)


def write(run):
    size = run.data.files("big")["big.bin"]
    run.mount()
    for step, piece, part in (("write 128 KiB", 128 << 10, size), ("write 4 KiB", 4 << 10, size // 4)):
        name = step.replace(" ", "-")
        figures = run.step(step, steps.write_big, run.data.big(), run.path(name), piece, part)
        run.durable(step, figures, {name: part}, synced=True)


def unpack(run):
    run.mount()
    figures = run.step("tar", steps.unpack, run.data.tar(), run.path())
    run.durable("tar", figures, run.data.files("tar"))


def edit(run):
    size = run.data.files("edit")["edited.bin"]
    run.mount()
    figures = run.step("edit", steps.edit, run.path("edited.bin"), size)
    run.durable("edit", figures, {"edited.bin": size}, synced=True)


def rename(run):
    old = run.data.files("rename")
    run.mount()
    figures = run.step("rename", steps.rename, run.path("old"), run.path("new"))
    moved = {name.replace("old/", "new/"): size for name, size in old.items()}
    run.durable("rename", figures, moved, list(old))


def git(run):
    run.mount()
    if run.step("clone", steps.clone, run.data.repository(), run.path()) is None:
        return
    run.step("status", steps.git_status, run.path())
    run.step("status warm", steps.git_status, run.path())
    run.remount()
    run.step("status again", steps.git_status, run.path())


def fsync(run):
    run.mount()
    count = run.count(50)
    figures = run.step("one by one", steps.sync_one_by_one, run.path(), count, run.limit)
    if figures:
        run.durable("one by one", figures, {"one%04d" % i: 4096 for i in range(figures["files"])}, synced=True)
    figures = run.step("64 together", steps.sync_together, run.path(), 64)
    run.durable("64 together", figures, {"all%04d" % i: 4096 for i in range(64)}, synced=True)


def sqlite(run):
    run.mount()
    figures = run.step("transactions", steps.transactions, run.path(), run.count(200), run.limit / 2)
    if figures:
        run.record("durable", of="transactions", s=None, by="-", meant=run.system.how["synced"])


# Name: what is done, and with which data in the bucket.
WORKLOADS = {
    "tree": (tree, "tree"), "small": (small, "small"), "sequential": (sequential, "big"), "pages": (pages, "big"),
    "write": (write, "empty"), "tar": (unpack, "empty"), "edit": (edit, "edit"), "rename": (rename, "rename"),
    "git": (git, "empty"), "fsync": (fsync, "empty"), "sqlite": (sqlite, "empty"),
}


def prepare(run, data_name):
    """Puts the data where the system looks for it."""
    system, server = run.system, run.server
    server.ask("pace", delay_ms=0, mb_per_s=0)
    if system.is_bound:
        subprocess.run(["rm", "-rf", system.state], check=True)
        os.makedirs(system.state)
        for name, size in run.data.files(data_name).items():
            path = os.path.join(system.state, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(run.data.content(name, size))
        system.drop_pages()
    else:
        server.ask("copy_bucket", source="seed-" + data_name, target=run.about["bucket"])


def perform(system, data, about, limit):
    """Runs one workload; returns its records."""
    call, data_name = WORKLOADS[about["workload"]]
    run = Run(system, data, about, limit)
    try:
        prepare(run, data_name)
        delay, _, rate = about["profile"].partition("/")
        system.server.ask("pace", delay_ms=float(delay), mb_per_s=float(rate or 0))
        (ceiling.WORKLOADS[about["workload"]] if system.how.get("bare") else call)(run)
    except (Failed, OSError, subprocess.SubprocessError) as error:
        run.record("failed", failed="%s: %s" % (type(error).__name__, error))
    finally:
        system.server.ask("pace", delay_ms=0, mb_per_s=0)
        system.unmount()
    return run.records
