//! The hot paths whose instructions are counted, each by a name.
//!
//! Only what happens inside of [`measured`] counts: the tool is told to begin and to end there.

use std::hint::black_box;

use bayou::model::index::Index;

use crate::index_document;
use crate::machine::Machine;

/// Entries of the index that is read and written.
const ENTRIES: u64 = 10_000;
/// Files of the machine that is asked.
const FILES: usize = 500;
const PAGE: usize = 4096;

/// A hot path that is prepared.
pub struct HotPath {
    /// How often it is run: instructions are told of one time.
    pub times: usize,
    run: Box<dyn Fn(usize)>,
}

/// The names of the hot paths.
pub const NAMES: [&str; 8] = [
    "lookup",
    "getattr",
    "readdir-500",
    "read-4KiB",
    "overwrite-4KiB",
    "create-write-4KiB",
    "index-parse-10k",
    "index-serialise-10k",
];

/// Prepares a hot path; `None` if there is none of this name.
pub fn prepare(name: &str) -> Option<HotPath> {
    let body = [1; PAGE];
    Some(match name {
        "lookup" => on_machine(500, |machine, number| {
            black_box(machine.lookup(number));
        }),
        "getattr" => on_machine(500, |machine, number| {
            black_box(machine.attributes(number));
        }),
        "readdir-500" => on_machine(20, |machine, number| {
            black_box(machine.list(number));
        }),
        "read-4KiB" => on_machine(500, |machine, number| drop(black_box(machine.read(number, PAGE as u64)))),
        "overwrite-4KiB" => on_machine(200, move |machine, number| machine.overwrite(number, &body)),
        "create-write-4KiB" => on_machine(200, move |machine, _| drop(machine.create(&body))),
        "index-parse-10k" => {
            let text = index_document::of(ENTRIES);
            path(1, move |_| drop(black_box(Index::parse(&text).unwrap())))
        }
        "index-serialise-10k" => {
            let index = Index::parse(&index_document::of(ENTRIES)).unwrap();
            path(1, move |_| drop(black_box(index.to_bytes())))
        }
        _ => return None,
    })
}

fn path(times: usize, run: impl Fn(usize) + 'static) -> HotPath {
    HotPath { times, run: Box::new(run) }
}

fn on_machine(times: usize, run: impl Fn(&Machine, usize) + 'static) -> HotPath {
    let machine = Machine::with_files(FILES, PAGE);
    path(times, move |number| run(&machine, number))
}

/// Runs a hot path as often as it wants to be run; once before, uncounted.
pub fn run(path: &HotPath) {
    (path.run)(0);
    measured(path);
}

/// What is counted. Never inlined: its name is where counting begins and ends.
#[inline(never)]
fn measured(path: &HotPath) {
    for number in 0..path.times {
        (path.run)(number);
    }
}
