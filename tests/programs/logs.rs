//! logrotate, with a program that has the log open for appending.

use std::fs::{self, File, OpenOptions};
use std::io::Write;

use crate::bucket::Bucket;
use crate::mounted::Mounted;
use crate::person::write;

crate::on_each_bucket! {
    a_log_that_is_moved_away_under_its_writer,
    a_log_that_is_copied_and_cut_under_its_writer,
}

/// A log, and a program that writes it.
struct Log<'m, 'b> {
    mounted: &'m Mounted<'b>,
    open: File,
    lines: u32,
}

impl<'m, 'b> Log<'m, 'b> {
    fn new(mounted: &'m Mounted<'b>, how: &str) -> Self {
        let log = mounted.path("log");
        let rules = format!("{} {{\n  rotate 3\n  compress\n  delaycompress\n  {how}\n}}\n", log.display());
        write(mounted.person.path("rules"), rules.as_bytes());
        mounted.run("chmod 644 ~/rules");
        Self { mounted, open: append(mounted), lines: 0 }
    }

    fn write_lines(&mut self, count: u32) {
        for _ in 0..count {
            self.lines += 1;
            writeln!(self.open, "line {}", self.lines).unwrap();
        }
    }

    fn rotate(&self) {
        self.mounted.run("logrotate --force --state ~/rotated ~/rules");
    }

    /// Checks which lines are in a file.
    #[track_caller]
    fn has(&self, name: &str, first: u32, last: u32) {
        has_lines(self.mounted, name, first, last);
    }
}

fn append(mounted: &Mounted<'_>) -> File {
    OpenOptions::new().append(true).create(true).open(mounted.path("log")).unwrap()
}

#[track_caller]
fn has_lines(mounted: &Mounted<'_>, name: &str, first: u32, last: u32) {
    let text = match name.ends_with(".gz") {
        true => mounted.run(&format!("gzip -cd {name}")),
        false => fs::read_to_string(mounted.path(name)).unwrap(),
    };
    let expected: String = (first..=last).map(|line| format!("line {line}\n")).collect();
    assert!(text == expected, "{name}: {} bytes instead of {}", text.len(), expected.len());
}

/// Shows write-3.
fn a_log_that_is_moved_away_under_its_writer(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    let mut log = Log::new(&mounted, "create 640");
    for round in 0..4 {
        log.write_lines(1000);
        log.rotate();
        // It has not heard of it yet, and goes on with the file that it has.
        log.write_lines(10);
        log.has("log.1", 1010 * round + 1, 1010 * (round + 1));
        log.open = append(&mounted);
    }
    log.write_lines(5);
    drop(log);
    mounted.is_whole_on_a_fresh_machine();
    assert_eq!(mounted.run("ls; stat -c %a log"), "log\nlog.1\nlog.2.gz\nlog.3.gz\n640\n");
    has_lines(&mounted, "log", 4041, 4045);
    has_lines(&mounted, "log.1", 3031, 4040);
    // What came after the first move went to the file that was compressed in the next round.
    has_lines(&mounted, "log.2.gz", 2021, 3030);
    has_lines(&mounted, "log.3.gz", 1011, 2020);
}

/// Shows write-3.
fn a_log_that_is_copied_and_cut_under_its_writer(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    let mut log = Log::new(&mounted, "copytruncate");
    for round in 0..4 {
        log.write_lines(1000);
        log.rotate();
        log.has("log.1", 1000 * round + 1, 1000 * (round + 1));
        assert_eq!(fs::metadata(mounted.path("log")).unwrap().len(), 0);
    }
    // It still has the same file open: what it appends is at the beginning, not behind a hole.
    log.write_lines(7);
    drop(log);
    has_lines(&mounted, "log", 4001, 4007);
    mounted.is_whole_on_a_fresh_machine();
    assert_eq!(mounted.run("ls"), "log\nlog.1\nlog.2.gz\nlog.3.gz\n");
    has_lines(&mounted, "log", 4001, 4007);
    has_lines(&mounted, "log.3.gz", 1001, 2000);
}
