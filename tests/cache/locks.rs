//! Everything at once: no two calls wait for each other, and no write is lost between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bayou::cache::content::ReadOutcome;
use bayou::cache::file::Access;
use bayou::cache::rename::Replace;
use bayou::cache::{Cache, Ino, ROOT};

use super::rig::{FILE, Rig};

const ROUNDS: u64 = 100;
const FILES: usize = 4;

/// Runs `work` again and again until `over`.
fn keep_doing(over: &AtomicBool, work: impl Fn()) {
    while !over.load(Ordering::Acquire) {
        work();
    }
}

#[test]
fn fills_never_overwrite_what_is_written_at_the_same_time() {
    const LEN: usize = 64 << 10;
    for _ in 0..20 {
        let rig = Rig::new();
        rig.put_object("f", &vec![b'b'; LEN]);
        rig.pull();
        let content = rig.cache().content_of(rig.ino("f")).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                for at in (0..LEN).step_by(1 << 10) {
                    content.fill(at as u64, &vec![b'b'; LEN - at]).unwrap();
                }
            });
            scope.spawn(|| {
                for at in (0..LEN).step_by(512).rev() {
                    rig.cache().write(rig.ino("f"), at as u64, &[b'w'; 100]).unwrap();
                }
            });
        });
        let ReadOutcome::Data(bytes) = content.read(0..LEN as u64).unwrap() else { panic!("not all filled") };
        let as_expected = |(at, byte): (usize, &u8)| *byte == if at % 512 < 100 { b'w' } else { b'b' };
        assert!(bytes.iter().enumerate().all(as_expected));
    }
}

#[test]
fn a_write_that_a_fetch_overlaps_is_found_again_after_a_crash() {
    // The fill makes the range present; the write relies on that being noted already.
    for _ in 0..20 {
        let mut rig = Rig::new();
        rig.put_object("f", &[b'b'; 8192]);
        rig.pull();
        let ino = rig.ino("f");
        let cache = Arc::clone(rig.cache());
        let writer =
            thread::Builder::new().spawn(move || cache.write(ino, 100, b"written").unwrap()).unwrap();
        rig.fetch("f", 0..8192);
        writer.join().unwrap();
        rig.reopen();
        assert_eq!(&rig.read("f")[100..107], b"written");
    }
}

/// Makes, changes, renames and removes files in all ways at once.
fn churn(cache: &Cache, seed: usize) {
    for round in 0..ROUNDS {
        let name = format!("f{}", (seed + round as usize) % FILES);
        if let Ok(made) = cache.create(ROOT, &name, FILE) {
            cache.forget(made.ino, 1);
        }
        let Ok(found) = cache.lookup(ROOT, &name) else { continue };
        if cache.open_file(found.ino, Access::Write).is_ok() {
            // Whatever another thread does to the name, an open file takes a write.
            cache.write(found.ino, round * 10, b"0123456789").unwrap();
            cache.truncate(found.ino, round).unwrap();
            cache.snapshot(found.ino).unwrap();
            cache.release(found.ino);
        }
        cache.forget(found.ino, 1);
        let other = format!("f{}", (seed + 1) % FILES);
        cache.rename((ROOT, &name), (ROOT, &other), Replace::Yes).ok();
        if round % 3 == 0 {
            cache.unlink(ROOT, &other).ok();
        }
    }
}

#[test]
fn nothing_waits_for_ever_when_everything_is_done_at_once() {
    let rig = Rig::new();
    let over = AtomicBool::new(false);
    let cache: &Cache = rig.cache();
    let ino = |name: &str| -> Option<Ino> {
        let found = cache.lookup(ROOT, name).ok()?;
        cache.forget(found.ino, 1);
        Some(found.ino)
    };
    thread::scope(|scope| {
        scope.spawn(|| keep_doing(&over, || cache.durable_point().unwrap_or(())));
        scope.spawn(|| keep_doing(&over, || cache.fold_catalog().unwrap()));
        scope.spawn(|| {
            keep_doing(&over, || {
                cache.evict(1 << 20);
            });
        });
        scope.spawn(|| {
            keep_doing(&over, || {
                let content = ino("f0").and_then(|ino| cache.content_of(ino).ok());
                content.map(|content| content.read(0..10));
            });
        });
        let churning: Vec<_> = (0..3).map(|seed| scope.spawn(move || churn(cache, seed))).collect();
        let ended: Vec<_> = churning.into_iter().map(|thread| thread.join()).collect();
        over.store(true, Ordering::Release);
        ended.into_iter().for_each(Result::unwrap);
    });
    rig.push();
    assert!(rig.cache().nothing_pending());
}

#[test]
fn the_sum_of_local_bytes_is_that_of_the_files() {
    let mut rig = Rig::new();
    rig.make("a", &[1; 10_000]);
    rig.make("b", &[2; 5_000]);
    rig.cache().truncate(rig.ino("a"), 4_000).unwrap();
    rig.unlink("b");
    assert_eq!(rig.cache().local_bytes(), 4_000);
    // A hole takes no room.
    rig.cache().truncate(rig.ino("a"), 1 << 40).unwrap();
    assert!(rig.cache().local_bytes() < 100_000);
    rig.reopen();
    assert!(rig.cache().local_bytes() < 100_000);
    rig.unlink("a");
    assert_eq!(rig.cache().local_bytes(), 0);
}
