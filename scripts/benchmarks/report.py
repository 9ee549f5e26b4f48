"""Tables of what was measured: medians with their spread, ratios, and what it took."""
import json
import statistics

import targets

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"

# Workload, step, figure, what it is called, whether less is better.
ROWS = [
    ("tree", "mount new", "s", "mount a bucket nobody indexed, 10,000 files (s)", True),
    ("tree", "mount again", "s", "mount it again, with an empty cache (s)", True),
    ("tree", "mount cached", "s", "mount it again, with its cache (s)", True),
    ("tree", "ls cold", "s", "`ls -lR`, cold (s)", True),
    ("tree", "ls warm", "s", "`ls -lR`, warm (s)", True),
    ("tree", "ls again", "s", "`ls -lR`, after a remount with its cache (s)", True),
    ("tree", "stat warm", "each_us", "`stat` of each, warm (us a file)", True),
    ("tree", "find warm", "s", "`find -size`, warm (s)", True),
    ("small", "cold 1", "per_s", "2,000 small files, cold, 1 reader (files/s)", False),
    ("small", "cold 8", "per_s", "... cold, 8 readers (files/s)", False),
    ("small", "disk 1", "per_s", "... from the disk, 1 reader (files/s)", False),
    ("small", "warm 1", "per_s", "... warm, 1 reader (files/s)", False),
    ("small", "warm 8", "per_s", "... warm, 8 readers (files/s)", False),
    ("sequential", "cold", "mb_s", "1 GiB in a row, cold (MB/s)", False),
    ("sequential", "cold", "first_ms", "... its first 4 KiB (ms)", True),
    ("sequential", "cold", "cpu_s", "... CPU (s)", True),
    ("sequential", "cold", "peak_mb", "... peak memory (MB)", True),
    ("sequential", "disk", "mb_s", "1 GiB in a row, from the disk (MB/s)", False),
    ("sequential", "hot", "mb_s", "1 GiB in a row, hot (MB/s)", False),
    ("sequential", "hot", "cpu_s", "... CPU (s)", True),
    ("sequential", "again", "mb_s", "1 GiB in a row, after a remount with its cache (MB/s)", False),
    ("sequential", "pages disk", "per_s", "4 KiB at random, from the disk (reads/s)", False),
    ("sequential", "pages warm", "per_s", "4 KiB at random, warm (reads/s)", False),
    ("pages", "middle", "ms", "4 KiB in the middle of 1 GiB, cold (ms)", True),
    ("pages", "after the middle", "fetched_mb", "... fetched in the half second after it (MB)", True),
    ("pages", "pages cold", "per_s", "4 KiB at random, cold (reads/s)", False),
    ("pages", "pages cold", "median_ms", "... median (ms)", True),
    ("pages", "pages cold", "fetched_mb", "... fetched (MB)", True),
    ("write", "write 128 KiB", "write_mb_s", "write 1 GiB in 128 KiB, before fsync (MB/s)", False),
    ("write", "write 128 KiB", "s", "... with fsync and close (s)", True),
    ("write", "write 128 KiB", "durable", "... until durable (s)", True),
    ("write", "write 128 KiB", "cpu_s", "... CPU until closed (s)", True),
    ("write", "write 128 KiB", "peak_mb", "... peak memory (MB)", True),
    ("write", "write 4 KiB", "write_mb_s", "write 256 MiB in 4 KiB, before fsync (MB/s)", False),
    ("write", "write 4 KiB", "durable", "... until durable (s)", True),
    ("tar", "tar", "s", "`tar -x` of 1,000 small files (s)", True),
    ("tar", "tar", "durable", "... until durable (s)", True),
    ("edit", "edit", "s", "1 byte in 256 MiB, with fsync (s)", True),
    ("edit", "edit", "durable", "... until durable (s)", True),
    ("edit", "edit", "durable sent_mb", "... sent until durable (MB)", True),
    ("edit", "edit", "durable fetched_mb", "... fetched until durable (MB)", True),
    ("rename", "rename", "s", "rename a directory of 500 files (s)", True),
    ("rename", "rename", "durable", "... until durable (s)", True),
    ("git", "clone", "s", "`git clone` of 2,000 files (s)", True),
    ("git", "status", "s", "`git status` (s)", True),
    ("git", "status warm", "s", "`git status`, warm (s)", True),
    ("git", "status again", "s", "`git status`, after a remount with its cache (s)", True),
    ("fsync", "one by one", "each_ms", "fsync of a new small file, one by one (ms)", True),
    ("fsync", "64 together", "s", "fsync of 64 new small files at once (s)", True),
    ("sqlite", "transactions", "per_s", "sqlite, WAL, synchronous=FULL (transactions/s)", False),
]
# What was acknowledged with what meaning.
ACKNOWLEDGED = {"write 128 KiB": "s", "write 4 KiB": "write_mb_s", "tar": "s", "edit": "s", "rename": "s",
                "one by one": "each_ms", "64 together": "s", "transactions": "per_s"}


def short(value):
    return "%.0f" % value if value >= 100 else "%.1f" % value if value >= 10 else "%.2g" % value


def in_short(record):
    """A record in a word, for whoever watches."""
    value = record.get("failed") or record.get("s")
    shown = short(value) if isinstance(value, float) else str(value)[:80]
    if record["step"] == "durable":
        return "[%s: in %s, durable %s]" % (record["of"], record["meant"], shown if value else "-")
    return "[%s %s]" % (record["step"], shown)


class Figures:
    """All records of one profile, asked by row."""

    def __init__(self, records):
        self.records = records
        self.names = list(dict.fromkeys(record["system"] for record in records))
        self.bounds = {record["system"] for record in records if record["bound"]}

    def of(self, name, workload, step):
        return [record for record in self.records if record["system"] == name and record["workload"] == workload
                and (record.get("of") or record["step"]) == step]

    def values(self, name, row):
        """The values of a row in all rounds, and what went wrong."""
        workload, step, figure = row[:3]
        of_durable, _, field = figure.rpartition(" ") if " " in figure else ("", "", figure)
        if figure == "durable":  # when it was
            of_durable, field = "durable", "s"
        found = [record for record in self.of(name, workload, step)
                 if (record["step"] == "durable") == bool(of_durable)]
        failed = next((record["failed"] for record in found if "failed" in record), None)
        if field.endswith("_mb") and field != "peak_mb":
            found = [{**record, field: record[field[:-3]] / 1e6} for record in found if field[:-3] in record]
        return [record[field] for record in found if "failed" not in record and record.get(field) is not None], failed

    def meaning(self, name, workload, step, figure):
        if ACKNOWLEDGED.get(step) != figure:
            return ""
        meant = {record["meant"] for record in self.of(name, workload, step) if record["step"] == "durable"}
        return ", " + "/".join(sorted(meant)) if meant else ""

    def cell(self, name, row):
        values, failed = self.values(name, row)
        if not values:
            return ("past limit" if failed.startswith("not done") else "fails") if failed else ""
        text = short(statistics.median(values))
        if max(values) > 1.02 * min(values):
            text += " [%s-%s]" % (short(min(values)), short(max(values)))
        return text + self.meaning(name, *row[:3])

    def ratio(self, row, other):
        """How many times `other` our figure is."""
        ours, theirs = self.values(self.names[0], row)[0], self.values(other, row)[0]
        if not ours or not theirs or not statistics.median(theirs):
            return ""
        return "%sx" % short(statistics.median(ours) / statistics.median(theirs))


def table(figures):
    peers = [name for name in figures.names if name not in figures.bounds]
    others = [name for name in (peers[1:] and [next((n for n in peers if not n.startswith(("bayou", "server"))), None)] or [])
              + [name for name in figures.names if name == "native"] if name]
    heads = figures.names + ["%s : %s" % (figures.names[0], other) for other in others]
    lines = ["| | %s |" % " | ".join(heads), "|---|%s" % ("---:|" * len(heads))]
    for row in ROWS:
        cells = [figures.cell(name, row) for name in figures.names] + [figures.ratio(row, other) for other in others]
        if any(cells):
            better = "" if row[4] else " +"
            lines.append("| %s%s | %s |" % (row[3], better, " | ".join(cells)))
    return lines


def requests_table(figures):
    """Requests and megabytes of each step, of the first round."""
    peers = [name for name in figures.names if name not in figures.bounds and name != "server"]
    lines = ["| step | %s |" % " | ".join(peers), "|---|%s" % ("---|" * len(peers))]
    steps = dict.fromkeys((record["workload"], record["step"], record.get("of")) for record in figures.records
                          if "requests" in record and record["round"] == 0)
    for workload, step, of in steps:
        cells = []
        for name in peers:
            found = [record for record in figures.records if record["round"] == 0 and record["system"] == name and
                     (record["workload"], record["step"], record.get("of")) == (workload, step, of)]
            cells.append(asked_for(found[0]) if found and "requests" in found[0] else "")
        lines.append("| %s: %s | %s |" % (workload, "%s, until durable" % of if of else step, " | ".join(cells)))
    return lines


def asked_for(record):
    count = sum(record["requests"].values())
    moved = [(sign, record[way] / 1e6) for sign, way in (("up", "sent"), ("down", "fetched")) if record[way] >= 50_000]
    return "%d" % count + "".join(", %s MB %s" % (short(size), sign) for sign, size in moved)


def profile_name(profile):
    delay, _, rate = profile.partition("/")
    return "%s ms a request%s" % (delay, ", %s MB/s a connection" % rate if rate else "")


def tables(path):
    """The whole report of a file of JSON lines, in Markdown."""
    with open(path) as file:
        lines = [json.loads(line) for line in file]
    abouts = [line["about"] for line in lines if "about" in line]
    records = [line for line in lines if "about" not in line]
    bounds = [record for record in records if record["bound"]]
    about = abouts[-1]
    scales = sorted({one["scale"] for one in abouts})
    out = ["%s; Linux %s; %s; scale %s; a step may take %g s. %s." % (
        about["machine"], about["kernel"], about["date"], ", ".join("%g" % scale for scale in scales), about["limit"],
        "; ".join("%s: %s" % pair for pair in about["versions"].items()))]
    each, sections = {}, []
    for profile in dict.fromkeys(record["profile"] for record in records):
        ours = [record for record in records if record["profile"] == profile and not record["bound"]]
        turns = len({record["round"] for record in ours})
        each[profile] = figures = Figures(ours + bounds)
        sections += ["", "### %s, %d round%s" % (profile_name(profile), turns, "" if turns == 1 else "s"), ""]
        sections += table(figures)
        sections += ["", "Requests (first round):", ""] + requests_table(figures)
    judged = targets.table(each)
    return "\n".join(out + ["", "### What it is meant to reach", ""] + judged + sections)


def replace_between_marks(path, text):
    with open(path) as file:
        whole = file.read()
    before, _, rest = whole.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit("error: %s has no %s ... %s" % (path, BEGIN, END))
    with open(path, "w") as file:
        file.write("%s%s\n%s\n%s%s" % (before, BEGIN, text, END, after))
