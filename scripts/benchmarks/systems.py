"""The systems that are measured: how each is mounted, and what its acknowledgements mean.

A *peer* keeps its files in the bucket; a *bound* has no bucket and shows what the machine can
do: the local disk, and a FUSE file system that only passes on. `server` is no file system: it
shows what the server can do.
"""
import os
import shlex
import shutil
import signal
import subprocess
import time

from client import KEY, SECRET

TICKS = os.sysconf("SC_CLK_TCK")
RCLONE = ("rclone mount :s3:{bucket} {mnt} --config /dev/null --s3-provider Minio --s3-endpoint {url} "
          "--s3-access-key-id " + KEY + " --s3-secret-access-key " + SECRET + " --s3-region us-east-1 "
          "--vfs-cache-mode full --cache-dir {cache}")
BAYOU = ("{program} mount s3://{bucket} {mnt} --foreground --endpoint-url {url} --force-path-style "
         "--region us-east-1 --cache-dir {cache}")
AWS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}
FUSERMOUNT = "fusermount3 -u {mnt}"
OURS = {"unmount": "{program} umount {mnt}", "flush": "{program} sync {mnt}", "env": AWS}

# `written` and `synced`: where bytes surely are when write (with close) or fsync has returned,
# unless the bucket was seen to have them already. RAM: lost if the power fails.
SYSTEMS = {
    "bayou": {"about": "defaults", "mount": BAYOU, **OURS, "written": "RAM", "synced": "bucket"},
    "bayou-local": {"about": "--fsync=local", "mount": BAYOU + " --fsync local", **OURS,
                    "written": "RAM", "synced": "disk", "only": ("fsync", "sqlite")},
    "bayou-ro": {"about": "--read-only", "mount": BAYOU + " --read-only", **OURS,
                 "written": "-", "synced": "-", "only": ("tree", "small")},
    "rclone": {"about": "full VFS cache, defaults", "mount": RCLONE, "unmount": FUSERMOUNT,
               "written": "RAM", "synced": "RAM", "needs": "rclone"},
    "rclone-tuned": {"about": "full VFS cache, nothing waits", "mount": RCLONE + " --use-server-modtime "
                     "--vfs-write-back 0s --transfers 16 --s3-upload-concurrency 8 --s3-no-head "
                     "--s3-no-check-bucket --vfs-fast-fingerprint --attr-timeout 60s --vfs-read-ahead 64M "
                     "--buffer-size 32M", "unmount": FUSERMOUNT, "written": "RAM", "synced": "RAM",
                     "needs": "rclone"},
    "s3fs": {"about": "use_cache, defaults", "mount": "s3fs {bucket} {mnt} -f -o url={url} -o "
             "use_path_request_style -o use_cache={cache}", "unmount": FUSERMOUNT,
             "env": {"AWSACCESSKEYID": KEY, "AWSSECRETACCESSKEY": SECRET},
             "written": "bucket", "synced": "bucket", "needs": "s3fs"},
    "server": {"about": "the bench's server, asked by bare sockets", "written": "bucket", "synced": "bucket",
               "bare": True, "only": ("sequential", "write")},
    "native": {"about": "the local disk", "written": "RAM", "synced": "disk", "bound": True},
    "bindfs": {"about": "FUSE that passes on", "mount": "bindfs -f {state} {mnt}", "unmount": FUSERMOUNT,
               "written": "RAM", "synced": "disk", "bound": True, "needs": "bindfs"},
}


class Failed(Exception):
    """A system did not do what it must."""


class System:
    """One system, in a folder of its own."""

    def __init__(self, name, program, work, server):
        self.name, self.how, self.server = name, SYSTEMS[name], server
        self.is_bound, self.program = self.how.get("bound", False), program
        self.root = os.path.join(work, name)
        self.mnt, self.cache, self.state, self.log = (
            os.path.join(self.root, part) for part in ("mnt", "cache", "state", "log"))
        self.process, self.bucket = None, None
        for folder in (self.mnt, self.cache, self.state):
            os.makedirs(folder, exist_ok=True)
        if "mount" not in self.how:
            self.mnt = self.state

    def words(self, what):
        fill = {"mnt": self.mnt, "cache": self.cache, "state": self.state, "bucket": self.bucket,
                "url": self.server.url, "program": self.program}
        return [word.format(**fill) for word in shlex.split(self.how[what])]

    def path(self, name=""):
        return os.path.join(self.mnt, name) if name else self.mnt

    def mount(self, bucket, fresh):
        """Mounts; returns the seconds until its root was listed. `fresh`: with an empty cache."""
        self.bucket = bucket
        if fresh:
            shutil.rmtree(self.cache, ignore_errors=True)
            os.makedirs(self.cache)
        if "mount" not in self.how:
            return 0.0
        began = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.words("mount"), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.environment(), start_new_session=True)
        while not os.path.ismount(self.mnt):
            if self.process.poll() is not None or time.monotonic() - began > 60:
                self.kill()
                with open(self.log, errors="replace") as log:
                    raise Failed("%s did not mount: %s" % (self.name, log.read()[-300:].strip()))
            time.sleep(0.002)
        os.listdir(self.mnt)
        return time.monotonic() - began

    def environment(self):
        """That of whoever runs this, without what is meant for other buckets."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS", "BAYOU", "RCLONE"))}
        return {**kept, **self.how.get("env", {})}

    def unmount(self, limit=120):
        """Unmounts and waits until the processes have ended."""
        if self.process is None:
            return
        began = time.monotonic()
        while self.is_mounted() and self.process.poll() is None and time.monotonic() - began < limit:
            subprocess.run(self.words("unmount"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.02)
        try:
            self.process.wait(max(1.0, limit - (time.monotonic() - began)))
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def kill(self):
        """Ends what is left of it."""
        if self.is_mounted():
            subprocess.run(["umount", "-l", self.mnt], stderr=subprocess.DEVNULL)
        for pid, _ in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def is_mounted(self):
        with open("/proc/self/mounts") as mounts:
            return any(line.split(" ", 2)[1] == self.mnt for line in mounts)

    def is_alive(self):
        return self.process is None or self.process.poll() is None

    def processes(self):
        """Every process that the mount started: its id and its CPU seconds."""
        found = []
        for name in os.listdir("/proc") if self.process else ():
            try:
                with open("/proc/%s/stat" % name) as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                continue
            if name.isdigit() and int(fields[3]) == self.process.pid and fields[0] != "Z":
                found.append((int(name), (int(fields[11]) + int(fields[12])) / TICKS))
        return found

    def cpu(self):
        return sum(seconds for _, seconds in self.processes())

    def peak_mb(self):
        """The largest memory of each process since it was last forgotten, together."""
        peak = 0
        for pid, _ in self.processes():
            with open("/proc/%d/status" % pid) as status:
                peak += sum(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        return peak / 1024

    def forget_peak(self):
        for pid, _ in self.processes():
            with open("/proc/%d/clear_refs" % pid, "w") as clear:
                clear.write("5")

    def drop_pages(self):
        """Drops from memory what the local disk has: its cache of the bucket, or its files."""
        for folder in (self.mnt, self.cache, self.state):
            for root, _, names in os.walk(folder):
                for name in names:
                    drop_pages_of(os.path.join(root, name))


def drop_pages_of(path):
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fdatasync(file)
    except OSError:
        pass  # a mount that is read-only may refuse
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)
