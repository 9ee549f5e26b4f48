//! How long the hot paths take: `cargo bench -p bayou-benches`.
//!
//! A test run (`cargo test --all-targets`) does each once, on little data.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared cannot be measured")]

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bayou::model::index::Index;
use bayou::os::clock::{Clock, SystemClock};
use bayou_benches::index_document;
use bayou_benches::machine::Machine;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const PAGE: usize = 4096;
const WINDOW: usize = 128 << 10;
/// How many readers there are at a time.
const READERS: [usize; 3] = [1, 2, 8];

/// Cargo says `--bench` when times are wanted.
fn is_timed() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

fn size(timed: usize, tried: usize) -> usize {
    if is_timed() { timed } else { tried }
}

fn index(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("index");
    group.sample_size(10);
    for entries in [size(10_000, 20), size(250_000, 30)] {
        let text = index_document::of(entries as u64);
        let parsed = Index::parse(&text).unwrap();
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("parse", entries), |bencher| {
            bencher.iter(|| Index::parse(black_box(&text)).unwrap());
        });
        group.bench_function(BenchmarkId::new("entries", entries), |bencher| {
            bencher.iter(|| parsed.entries().filter(|(_, entry)| entry.size.is_some()).count());
        });
        group.bench_function(BenchmarkId::new("serialise", entries), |bencher| {
            bencher.iter(|| black_box(&parsed).to_bytes());
        });
    }
    group.finish();
}

fn inodes(criterion: &mut Criterion) {
    let machine = Machine::with_files(size(10_000, 30), 0);
    let numbers = AtomicUsize::new(0);
    let next = || numbers.fetch_add(7919, Ordering::Relaxed);
    let mut group = criterion.benchmark_group("inodes");
    group.bench_function("lookup", |bencher| bencher.iter(|| machine.lookup(next())));
    group.bench_function("getattr", |bencher| bencher.iter(|| machine.attributes(next())));
    group.bench_function("readdir", |bencher| bencher.iter(|| machine.list(next())));
    group.bench_function("create and remove", |bencher| {
        bencher.iter(|| machine.remove(&machine.create(&[])));
    });
    group.finish();
}

fn content(criterion: &mut Criterion) {
    let machine = Machine::with_files(size(500, 5), WINDOW);
    let numbers = AtomicUsize::new(0);
    let next = || numbers.fetch_add(1, Ordering::Relaxed);
    let body = [1; PAGE];
    let mut group = criterion.benchmark_group("content");
    for (name, len) in [("read 4 KiB", PAGE), ("read 128 KiB", WINDOW)] {
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(name, |bencher| bencher.iter(|| machine.read(next(), len as u64)));
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("overwrite 4 KiB", |bencher| bencher.iter(|| machine.overwrite(next(), &body)));
    group.bench_function("create, write 4 KiB and remove", |bencher| {
        bencher.iter(|| machine.remove(&machine.create(&body)));
    });
    group.finish();
}

/// The time of one call when some ask at once: with locks that nobody waits for it falls until
/// there are as many readers as processors, and stays there.
fn together(criterion: &mut Criterion) {
    let machine = Machine::with_files(size(2000, 10), PAGE);
    let mut group = criterion.benchmark_group("together");
    let lookup = |number: usize| {
        black_box(machine.lookup(number));
    };
    let getattr = |number: usize| {
        black_box(machine.attributes(number));
    };
    let read = |number: usize| drop(black_box(machine.read(number, PAGE as u64)));
    let read_one = |_: usize| drop(black_box(machine.read(0, PAGE as u64)));
    let calls: [(&str, &(dyn Fn(usize) + Sync)); 4] = [
        ("lookup", &lookup),
        ("getattr", &getattr),
        ("read 4 KiB", &read),
        ("read 4 KiB of one file", &read_one),
    ];
    for (name, call) in calls {
        for readers in READERS {
            group.bench_function(BenchmarkId::new(name, readers), |bencher| {
                bencher.iter_custom(|times| asked_by(readers, times, call));
            });
        }
    }
    group.finish();
}

/// Returns how long `times` calls take, shared among so many threads.
fn asked_by(readers: usize, times: u64, call: &(dyn Fn(usize) + Sync)) -> Duration {
    let each = usize::try_from(times).unwrap().div_ceil(readers);
    let began = SystemClock.instant();
    std::thread::scope(|scope| {
        for reader in 0..readers {
            scope.spawn(move || (0..each).for_each(|turn| call(reader * 251 + turn)));
        }
    });
    SystemClock.instant().duration_since(began)
}

fn quickly() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
}

criterion_group! {
    name = hot_paths;
    config = quickly();
    targets = index, inodes, content, together
}
criterion_main!(hot_paths);
