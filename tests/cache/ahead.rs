//! What is fetched for readers, and what of it for nothing: counted in bytes.

use std::collections::HashSet;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bayou::cache::file::Access;
use bayou::cache::hydrate::Hydrator;
use bayou::cache::prefetch::Prefetch;
use bayou::cache::{Cache, Ino};
use bayou::store::folder::FolderStore;
use bayou::store::recording::RecordingStore;

use super::pace::Pace;
use super::paced_store::PacedStore;
use super::rig::Rig;

const MIB: u64 = 1 << 20;

/// A machine that has nothing of what is in its bucket, and a reader.
struct Reader {
    cache: Arc<Cache>,
    hydrator: Arc<Hydrator>,
    prefetch: Arc<Prefetch>,
    requests: Arc<RecordingStore>,
    pace: Arc<Pace>,
    files: Vec<Ino>,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Reader {
    /// Returns a machine whose bucket has files of these sizes.
    fn of(sizes: &[usize]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::at(folder.path(), 1 << 30);
        let files = sizes.iter().enumerate();
        let files = files.map(|(n, &size)| rig.make(&format!("f{n:04}"), &vec![n as u8; size])).collect();
        assert!(rig.push());
        let cache = Arc::clone(rig.cache());
        cache.evict(u64::MAX);
        Self::over(cache, &folder.path().join("bucket"), (files, folder))
    }

    fn over(cache: Arc<Cache>, bucket: &Path, (files, folder): (Vec<Ino>, tempfile::TempDir)) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pace = Pace::new();
        let paced = PacedStore::around(Arc::new(FolderStore::open(bucket).unwrap()), Arc::clone(&pace));
        let requests = Arc::new(RecordingStore::new(paced));
        let timeout = Duration::from_secs(10);
        let hydrator = Arc::new(Hydrator::new(Arc::clone(&cache), requests.clone(), timeout));
        let prefetch = Prefetch::new(Arc::clone(&hydrator), runtime.handle().clone());
        Self { cache, hydrator, prefetch, requests, pace, files, runtime, _folder: folder }
    }

    /// Reads a part of a file as the kernel asks for it.
    async fn read(&self, ino: Ino, offset: u64, len: u64) -> Vec<u8> {
        self.prefetch.note_read(ino, offset, len);
        self.hydrator.read(ino, offset, len).await.unwrap()
    }

    /// Reads whole files, one after the other; returns how many bytes they have.
    fn read_files(&self, order: impl IntoIterator<Item = usize>) -> u64 {
        let reading = async {
            let mut bytes = 0;
            for n in order {
                let ino = self.files[n];
                self.cache.open_file(ino, Access::Read).unwrap();
                let read = self.read(ino, 0, MIB).await;
                assert!(read.iter().all(|&byte| byte == n as u8));
                bytes += read.len() as u64;
                self.cache.release(ino);
                self.prefetch.note_closed(ino);
            }
            bytes
        };
        let bytes = self.runtime.block_on(reading);
        self.until_nothing_is_guessed();
        bytes
    }

    /// Each guess that is under way holds the prefetch.
    fn until_nothing_is_guessed(&self) {
        self.runtime.block_on(async {
            while Arc::strong_count(&self.prefetch) > 1 {
                tokio::task::yield_now().await;
            }
        });
    }

    fn fetched(&self) -> u64 {
        self.cache.moved().fetched_bytes
    }

    fn asked(&self) -> u64 {
        let requests = self.requests.requests();
        requests.iter().filter_map(|request| request.range.clone()).map(|range| range.end - range.start).sum()
    }
}

/// Returns numbers in no order, the same for the same seed.
fn dice(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}

fn small_files(count: usize) -> Vec<usize> {
    let mut roll = dice(4);
    (0..count).map(|_| (4 << 10) + roll(60 << 10)).collect()
}

#[test]
fn a_reader_in_no_order_has_little_fetched_for_nothing() {
    for seed in 0..4 {
        let reader = Reader::of(&small_files(600));
        let mut roll = dice(seed);
        let mut seen = HashSet::new();
        let order: Vec<usize> = (0..400).map(|_| roll(600)).filter(|&n| seen.insert(n)).collect();
        let read = reader.read_files(order);
        let wasted = reader.fetched() - read;
        assert!(wasted * 5 <= read, "{wasted} bytes for nothing beside {read}, seed {seed}");
    }
}

#[test]
fn a_reader_that_stops_leaves_no_more_than_the_files_ahead_of_him() {
    let sizes = small_files(600);
    let reader = Reader::of(&sizes);
    let read = reader.read_files(0..300);
    assert_eq!(read, sizes[..300].iter().map(|&size| size as u64).sum::<u64>());
    let ahead: u64 = sizes[300..300 + 128].iter().map(|&size| size as u64).sum();
    let wasted = reader.fetched() - read;
    assert!(0 < wasted && wasted <= ahead, "{wasted} of {ahead}");
}

#[test]
fn what_is_on_its_way_for_a_reader_that_closed_is_given_up() {
    let reader = Reader::of(&[32 << 20]);
    let ino = reader.files[0];
    reader.cache.open_file(ino, Access::Read).unwrap();
    reader.runtime.block_on(async {
        reader.read(ino, 0, MIB).await;
        // Beside what it asks for two ranges are on their way, and of each comes one piece.
        let mut goes_on = pin!(reader.hydrator.read(ino, MIB, MIB / 2));
        assert!(reader.pace.advance(0, goes_on.as_mut()).await.is_none());
        reader.prefetch.note_read(ino, MIB, MIB / 2);
        if reader.pace.advance(3, goes_on.as_mut()).await.is_none() {
            // All were answered before it looked at what it waited for.
            goes_on.await.unwrap();
        }
    });
    let (asked, fetched) = (reader.asked(), reader.fetched());
    assert!(asked >= 8 * MIB && fetched <= 4 * MIB, "{fetched} of {asked}");
    reader.cache.release(ino);
    reader.prefetch.note_closed(ino);
    reader.pace.open();
    reader.until_nothing_is_guessed();
    assert_eq!(reader.asked(), asked);
    // Each of the three that are ahead ends with the piece that comes next.
    assert!(reader.fetched() <= fetched + 3 * MIB, "{} of {asked}", reader.fetched());
    // Whoever reads it then gets all of it, and what had come once.
    reader.runtime.block_on(async {
        for n in 0..32 {
            reader.read(ino, n * MIB, MIB).await;
        }
    });
    reader.until_nothing_is_guessed();
    assert_eq!(reader.fetched(), 32 * MIB);
}

#[test]
fn what_arrived_before_its_reader_gave_up_is_not_fetched_again() {
    let reader = Reader::of(&[8 << 20]);
    let ino = reader.files[0];
    reader.runtime.block_on(async {
        reader.read(ino, 0, MIB).await;
        let mut whole = pin!(reader.hydrator.ensure(ino, MIB..8 * MIB));
        assert!(reader.pace.advance(1, whole.as_mut()).await.is_none());
    });
    assert_eq!(reader.fetched(), 2 * MIB);
    reader.pace.open();
    reader.runtime.block_on(reader.hydrator.ensure(ino, 0..8 * MIB)).unwrap();
    assert_eq!(reader.fetched(), 8 * MIB);
}
