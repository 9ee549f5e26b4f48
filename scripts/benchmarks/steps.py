"""What is timed. Each function is run in a process of its own and returns its figures.

A step that ends in the bucket says when it began (`began`) and when its last call returned
(`returned`), on the clock that the server has, too.
"""
import multiprocessing
import os
import random
import sqlite3
import subprocess
import threading
import time
import zlib

from systems import Failed

MIB = 1 << 20
FORK = multiprocessing.get_context("fork")
now = time.monotonic


def program(words, folder, **more):
    """Runs a program; returns its output."""
    env = {**os.environ, "LC_ALL": "C", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    if done.returncode:
        raise Failed("%s: %d %s" % (words[0], done.returncode, done.stderr.decode(errors="replace")[-200:]))
    return done.stdout


def timed(began, **more):
    returned = now()
    return {"s": returned - began, "began": began, "returned": returned, **more}


def require(is_so, what):
    if not is_so:
        raise Failed(what)


def list_all(folder, files):
    began = now()
    out = program(["ls", "-lR"], folder)
    result = timed(began)
    require(sum(line.startswith(b"-") for line in out.splitlines()) == files, "ls does not show every file")
    return result


def stat_all(folder, names):
    began = now()
    for name in names:
        os.stat(os.path.join(folder, name))
    return timed(began, each_us=(now() - began) / len(names) * 1e6)


def find_all(folder, files):
    began = now()
    out = program(["find", ".", "-type", "f", "-size", "+0"], folder)
    result = timed(began)
    require(out.count(b"\n") >= files, "find does not show every file")
    return result


def read_files(folder, files, readers, limit):
    """Reads whole files, each by one of the readers, and compares their checksums."""
    ends = now() + limit

    def read(some):
        done = size = 0
        for name, crc in some:
            with open(os.path.join(folder, name), "rb", buffering=0) as file:
                body = file.read()
            require(zlib.crc32(body) == crc, "wrong content: %s" % name)
            done, size = done + 1, size + len(body)
            if now() > ends:
                break
        return done, size

    began = now()
    parts = in_processes([lambda some=files[i::readers]: read(some) for i in range(readers)])
    result = timed(began, files=sum(done for done, _ in parts), mb=sum(size for _, size in parts) / 1e6)
    result["per_s"] = result["files"] / result["s"]
    return result


def in_processes(calls):
    """The results of the calls, each in a process of its own if there are several."""
    if len(calls) == 1:
        return [calls[0]()]
    started = []
    for call in calls:
        ours, theirs = FORK.Pipe(duplex=False)
        process = FORK.Process(target=lambda call=call, theirs=theirs: theirs.send(call()))
        process.start()
        theirs.close()
        started.append((process, ours))
    try:
        results = [ours.recv() for _, ours in started]
    except EOFError:
        raise Failed("a reader has failed") from None
    for process, _ in started:
        process.join()
    return results


def in_threads(calls):
    """Runs the calls at the same time; raises what one of them raised."""
    failed = []

    def run(call):
        try:
            call()
        except Exception as error:  # told to whoever waits
            failed.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def read_big(path, original, limit):
    """First 4 KiB, then the rest in 1 MiB reads; compares one block in 64."""
    buffer, at, seen = bytearray(MIB), 0, {}
    began = now()
    file = os.open(path, os.O_RDONLY)
    os.preadv(file, [memoryview(buffer)[:4096]], 0)
    first = now() - began
    while (got := os.readv(file, [buffer])) and now() - began < limit:
        if at % (64 * MIB) == 0:
            seen[at] = zlib.crc32(memoryview(buffer)[:got]), got
        at += got
    result = timed(began, first_ms=first * 1e3, mb=at / 1e6)
    os.close(file)
    result["mb_s"] = result["mb"] / result["s"]
    with open(original, "rb") as file:
        for offset, (crc, length) in seen.items():
            file.seek(offset)
            require(zlib.crc32(file.read(length)) == crc, "wrong content at %d" % offset)
    return result


def read_pages(path, original, count, seed, limit):
    """4 KiB reads at random places, one after another; all of them are compared."""
    dice, took, got = random.Random(seed), [], {}
    pages = os.path.getsize(original) // 4096
    file = os.open(path, os.O_RDONLY)
    began = now()
    for _ in range(count):
        page, at = dice.randrange(pages), now()
        got[page] = os.pread(file, 4096, page * 4096)
        took.append(now() - at)
        if now() - began > limit:
            break
    result = timed(began, per_s=len(took) / (now() - began), reads=len(took))
    os.close(file)
    took.sort()
    result.update(median_ms=took[len(took) // 2] * 1e3, p99_ms=took[len(took) * 99 // 100] * 1e3)
    with open(original, "rb") as file:
        for page, body in got.items():
            file.seek(page * 4096)
            require(file.read(4096) == body, "wrong content of page %d" % page)
    return result


def read_middle(path, original):
    offset = os.path.getsize(original) // 2 + 40960
    began = now()
    file = os.open(path, os.O_RDONLY)
    body = os.pread(file, 4096, offset)
    result = timed(began)
    os.close(file)
    with open(original, "rb") as file:
        file.seek(offset)
        require(file.read(4096) == body, "wrong content in the middle")
    result["ms"] = result["s"] * 1e3
    return result


def write_big(original, path, piece, size):
    """Writes in pieces, then fsync and close."""
    with open(original, "rb") as file:
        body = memoryview(file.read(size))
    began = now()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for at in range(0, size, piece):
        part = body[at:at + piece]
        require(os.write(file, part) == len(part), "a short write")
    write_s = now() - began
    os.fsync(file)
    os.close(file)
    result = timed(began, write_s=write_s)
    result["write_mb_s"] = size / 1e6 / write_s
    return result


def unpack(archive, folder):
    began = now()
    program(["tar", "xf", archive, "--no-same-owner"], folder)
    return timed(began)


def edit(path, size):
    began = now()
    file = os.open(path, os.O_RDWR)
    os.pwrite(file, b"!", size // 2)
    os.fsync(file)
    os.close(file)
    return timed(began)


def rename(old, new):
    began = now()
    os.rename(old, new)
    return timed(began)


def clone(repository, folder):
    began = now()
    program(["git", "clone", "-q", "file://" + repository, "clone"], folder)
    return timed(began)


def git_status(folder):
    began = now()
    out = program(["git", "-C", "clone", "status", "--porcelain"], folder)
    result = timed(began)
    require(not out, "git status shows changes: %s" % out[:100])
    return result


def synced_file(path):
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(file, b"x" * 4096)
    os.fsync(file)
    os.close(file)


def sync_one_by_one(folder, count, limit):
    """Small files, each with fsync, one after another."""
    began, took = now(), []
    for i in range(count):
        at = now()
        synced_file(os.path.join(folder, "one%04d" % i))
        took.append(now() - at)
        if now() - began > limit:
            break
    return timed(began, each_ms=sum(took) / len(took) * 1e3, files=len(took))


def sync_together(folder, count):
    """Small files, all of them with fsync at the same time."""
    calls = [lambda path=os.path.join(folder, "all%04d" % i): synced_file(path) for i in range(count)]
    began = now()
    in_threads(calls)
    return timed(began)


def transactions(folder, count, limit):
    """Transactions of one row in sqlite's WAL mode with synchronous=FULL."""
    base = sqlite3.connect(os.path.join(folder, "base.db"), isolation_level=None, timeout=30)
    mode = base.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    require(mode == "wal", "no WAL mode, but %s" % mode)
    base.execute("PRAGMA synchronous=FULL")
    base.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)")
    began, done = now(), 0
    while done < count and now() - began < limit:
        base.execute("INSERT INTO t(b) VALUES(?)", ("x" * 100,))
        done += 1
    result = timed(began, per_s=done / (now() - began), transactions=done)
    require(base.execute("SELECT count(*) FROM t").fetchone()[0] == done, "rows are missing")
    base.close()
    return result
