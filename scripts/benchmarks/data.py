"""The data that is measured with: always the same, made from seeds, checked when it is read."""
import io
import os
import random
import subprocess
import tarfile
import zlib

MIB = 1 << 20


class Data:
    """Data sets of one scale: full counts and sizes at 1, a smoke run far below."""

    def __init__(self, folder, scale):
        self.folder, self.scale = folder, scale
        os.makedirs(folder, exist_ok=True)

    def count(self, full):
        return max(20, int(full * self.scale))

    def big_mib(self):
        return max(16, int(1024 * self.scale))

    def edited_mib(self):
        return max(16, int(256 * self.scale))

    def files(self, name):
        """The files of a data set: name to size."""
        dice = random.Random(name)
        if name == "tree":
            return {"t%02d/d%03d/f%05d.dat" % (i // 5000, i // 100, i): 1024 for i in range(self.count(10_000))}
        if name == "small":
            return {"s%02d/f%04d.bin" % (i // 100, i): int(4096 * 2 ** (4 * dice.random()))
                    for i in range(self.count(2000))}
        if name == "big":
            return {"big.bin": self.big_mib() * MIB}
        if name == "edit":
            return {"edited.bin": self.edited_mib() * MIB}
        if name == "rename":
            return {"old/f%04d.txt" % i: 4096 for i in range(self.count(500))}
        if name == "tar":
            return {"u/d%02d/f%04d.txt" % (i // 50, i): int(1024 * 2 ** (4 * dice.random()))
                    for i in range(self.count(1000))}
        if name == "empty":
            return {}
        raise KeyError(name)

    def content(self, name, size):
        if name in ("big.bin", "edited.bin"):
            with open(self.big(), "rb") as file:
                return file.read(size)
        return random.Random(zlib.crc32(name.encode())).randbytes(size)

    def checksums(self, name):
        """As `files`, with the CRC of each content: [(name, crc)]."""
        return [(file, zlib.crc32(self.content(file, size))) for file, size in self.files(name).items()]

    def big(self):
        """The path of the big file on the local disk."""
        path = os.path.join(self.folder, "big-%d" % self.big_mib())
        if not os.path.exists(path):
            with open(path + ".new", "wb") as file:
                for block in range(self.big_mib()):
                    file.write(random.Random(block).randbytes(MIB))
            os.rename(path + ".new", path)
        return path

    def tar(self):
        path = os.path.join(self.folder, "small-%d.tar" % self.count(1000))
        if not os.path.exists(path):
            with tarfile.open(path + ".new", "w") as archive:
                for name, size in self.files("tar").items():
                    member = tarfile.TarInfo(name)
                    member.size, member.mode, member.mtime = size, 0o644, 1_700_000_000
                    archive.addfile(member, io.BytesIO(self.content(name, size)))
            os.rename(path + ".new", path)
        return path

    def repository(self):
        """A git repository of about 2,000 files in one commit."""
        path = os.path.join(self.folder, "repository-%d" % self.count(2000))
        if os.path.isdir(os.path.join(path, ".git", "refs", "heads")) and os.listdir(path + "/.git/refs/heads"):
            return path
        dice = random.Random("repository")
        words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 9))) for _ in range(500)]
        for i in range(self.count(2000)):
            folder = os.path.join(path, "src", "m%02d" % (i // 80), "p%d" % (i // 20 % 4))
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "file%04d.rs" % i), "w") as file:
                file.writelines(" ".join(dice.choices(words, k=8)) + "\n" for _ in range(dice.randint(10, 160)))
        git = ["git", "-C", path, "-c", "user.name=b", "-c", "user.email=b@localhost", "-c", "commit.gpgsign=false"]
        for call in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
            subprocess.run(git + call, check=True, stdout=subprocess.DEVNULL)
        return path
