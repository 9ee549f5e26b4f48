"""What bayou is meant to reach, each with what was measured. All of it is a ratio or a count."""
import statistics


class Target:
    """One figure of ours, in relation to that of another system or by itself."""

    def __init__(self, text, figure, relation, bound, profile="20", to=None, ours="bayou"):
        self.text, self.figure, self.relation, self.bound = text, figure, relation, bound
        self.profile, self.to, self.ours = profile, to, ours

    def measured(self, figures):
        """The figure; None if one side of it was not measured."""
        value = median(figures, self.ours, self.figure)
        if self.to is None or value is None:
            return value
        others = [other for other in (median(figures, name, self.figure) for name in self.to) if other]
        best = (max if self.relation == ">=" else min)(others, default=None)
        return value / best if best else None

    def row(self, figures):
        value = self.measured(figures)
        if value is None:
            return None
        met = value >= self.bound if self.relation == ">=" else value <= self.bound
        of = " of %s" % ", ".join(self.to) if self.to else ""
        return "| %s%s | %s ms | %s %.4g | %.4g | %s |" % (
            self.text, of, self.profile, "at least" if self.relation == ">=" else "at most", self.bound, value,
            "yes" if met else "no")


def median(figures, name, row):
    workload, step, field = row
    if field == "requests":
        found = [sum(record["requests"].values()) for record in figures.of(name, workload, step)
                 if record["step"] == step]
    else:
        found = figures.values(name, row)[0]
    return statistics.median(found) if found else None


NATIVE, PEERS = ["native"], ["rclone", "rclone-tuned", "s3fs"]
SMALL, BIG, WRITE, TAR = ("small", "warm 1", "per_s"), "sequential", "write 128 KiB", ("tar", "tar", "s")
TARGETS = [
    Target("1 GiB in a row, warm: part", (BIG, "hot", "mb_s"), ">=", 0.95, to=NATIVE),
    Target("4 KiB at random, warm: part", (BIG, "pages warm", "per_s"), ">=", 1 / 1.5, to=NATIVE),
    Target("`stat` warm: times that", ("tree", "stat warm", "each_us"), "<=", 1.2, to=NATIVE),
    Target("`find` warm: times that", ("tree", "find warm", "s"), "<=", 1.2, to=NATIVE),
    Target("`git status` warm: times that", ("git", "status warm", "s"), "<=", 1.2, to=NATIVE),
    Target("`find` warm: requests", ("tree", "find warm", "requests"), "<=", 0),
    Target("small files, warm: part", SMALL, ">=", 1 / 6, to=NATIVE),
    Target("small files, warm, `--read-only`: part", SMALL, ">=", 1 / 1.5, to=NATIVE, ours="bayou-ro"),
    Target("small files, cold, 1 reader: times the best", ("small", "cold 1", "per_s"), ">=", 10, to=PEERS),
    Target("small files, cold, 1 reader: files/s", ("small", "cold 1", "per_s"), ">=", 1500),
    Target("1 GiB in a row, cold: part", (BIG, "cold", "mb_s"), ">=", 0.9, to=["server"]),
    Target("1 GiB in a row, cold: part", (BIG, "cold", "mb_s"), ">=", 0.9, "20/90", to=["server"]),
    Target("its first byte (ms)", (BIG, "cold", "first_ms"), "<=", 25),
    Target("4 KiB in the middle: requests", ("pages", "middle", "requests"), "<=", 1),
    Target("4 KiB in the middle: fetched (MB)", ("pages", "middle", "fetched_mb"), "<=", 1.05),
    Target("write 1 GiB, before fsync: part of the rate", ("write", WRITE, "write_mb_s"), ">=", 0.5, to=NATIVE),
    Target("write 1 GiB, until durable: times that", ("write", WRITE, "durable"), "<=", 1 / 0.9, to=["server"]),
    Target("1,000 small files until durable (s)", ("tar", "tar", "durable"), "<=", 1.7),
    Target("1,000 small files until durable: times that", ("tar", "tar", "durable"), "<=", 0.5, to=["rclone-tuned"]),
    Target("`tar -x`, acknowledged: times that", TAR, "<=", 3, to=NATIVE),
    Target("`tar -x`, acknowledged: times that", TAR, "<=", 1, to=["bindfs"]),
    Target("1 byte in 256 MiB: sent (MB)", ("edit", "edit", "durable sent_mb"), "<=", 8.39),
    Target("1 byte in 256 MiB: fetched (MB)", ("edit", "edit", "durable fetched_mb"), "<=", 8.39),
    Target("fsync of a small file (ms): 3 round trips and 5 ms", ("fsync", "one by one", "each_ms"), "<=", 65),
    Target("rename of 500 files, acknowledged (s)", ("rename", "rename", "s"), "<=", 0.05),
]


def table(figures_of):
    """The targets that can be judged; `figures_of`: profile to figures."""
    lines = ["| what | at | target | measured | met |", "|---|---|---:|---:|---|"]
    for target in TARGETS:
        row = target.row(figures_of[target.profile]) if target.profile in figures_of else None
        if row:
            lines.append(row)
    return lines
