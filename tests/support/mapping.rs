//! A program that has a file of the mount mapped, and does with it what it is told.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Each line is an expression of what is mapped, and is answered when it is done.
const PROGRAM: &str = "
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
memory = mmap.mmap(fd, 0)
# Python keeps a descriptor of its own for what it maps.
os.closerange(3, 256) if sys.argv[2] == 'closed' else None
print('mapped', flush=True)
for line in sys.stdin:
    word, *numbers = line.split()
    numbers = [int(number) for number in numbers]
    if word == 'store':
        at, value, count = numbers
        memory[at:at + count] = bytes([value]) * count
    elif word == 'sync':
        memory.flush()
    print('done', flush=True)
";

/// Whether the file is open besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Descriptor {
    Open,
    Closed,
}

/// A file that another process has mapped, to write and to be seen by all.
pub(crate) struct Mapping {
    process: Child,
    told: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Mapping {
    pub(crate) fn of(path: &Path, descriptor: Descriptor) -> Self {
        let descriptor = if descriptor == Descriptor::Closed { "closed" } else { "open" };
        let mut python = Command::new("python3");
        python.args(["-c", PROGRAM]).arg(path).arg(descriptor);
        let mut process = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (told, said) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        let mut mapping = Self { process, told, said };
        mapping.hear("mapped");
        mapping
    }

    /// Stores `count` bytes of a value.
    pub(crate) fn store(&mut self, at: usize, value: u8, count: usize) {
        self.tell(&format!("store {at} {value} {count}"));
    }

    /// Has the pages written to the disk, as `msync` does.
    pub(crate) fn sync(&mut self) {
        self.tell("sync");
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.told.as_mut().unwrap(), "{line}").unwrap();
        self.hear("done");
    }

    #[track_caller]
    fn hear(&mut self, word: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.told = None;
        self.process.wait().unwrap();
    }
}
