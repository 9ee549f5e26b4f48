//! In which order names are brought into the bucket.
//!
//! A renamed file is copied from its old key, so whatever is to have that key next waits for the
//! copy. Where names wait for each other in a circle, one of them goes first: what the others
//! need of its object is set aside. The names of one file come after the first of them, as copies
//! of what was sent for that.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::{StreamExt, stream};
use tokio::sync::Semaphore;

use super::SyncService;
use super::error::Result;
use super::push::{Busy, Keys, Uploads};
use super::upload::Ready;
use super::upload_copy::COPY_ABOVE_BYTES;
use crate::cache::Ino;
use crate::cache::rows::Path;

/// For how many small files a large one counts when they are sent side by side.
const LARGE_SHARE: u32 = 4;

/// Who waits for whom.
#[derive(Default)]
struct Order {
    /// The name that a copy makes wait: the one whose key it is copied from.
    holds_up: BTreeMap<Path, Path>,
    /// For how many others a name waits: for copies, and for the first name of the same file.
    waits_for: HashMap<Path, usize>,
    /// Names that wait for the first name of the same file.
    after_first: HashMap<Path, Vec<Path>>,
}

impl Order {
    /// Notes that a name is copied; returns who need not wait any more.
    fn let_go(&mut self, path: &Path) -> Option<Path> {
        let waiting = self.holds_up.remove(path)?;
        self.waits_no_more(&waiting).then_some(waiting)
    }

    /// Notes that a file's first name has had its turn; returns which of its others need not wait
    /// any more.
    fn follow(&mut self, first: &Path) -> Vec<Path> {
        let mut others = self.after_first.remove(first).unwrap_or_default();
        if self.holds_up.get(first).is_some_and(|source| others.contains(source)) {
            // What it was copied from is the same file's, however that went.
            self.let_go(first);
        }
        others.retain(|path| self.waits_no_more(path));
        others
    }

    /// Notes that a name waits for one less; returns whether that was the last.
    fn waits_no_more(&mut self, path: &Path) -> bool {
        let Some(count) = self.waits_for.get_mut(path) else { return false };
        *count -= 1;
        *count == 0
    }

    /// Returns one name of each circle among those that are left.
    fn one_of_each_circle(&self) -> Vec<Path> {
        let mut seen: HashSet<&Path> = HashSet::new();
        let mut found = Vec::new();
        for start in self.holds_up.keys() {
            let mut walked: HashSet<&Path> = HashSet::new();
            let mut at = Some(start);
            while let Some(path) = at.filter(|path| !seen.contains(*path)) {
                seen.insert(path);
                walked.insert(path);
                at = self.holds_up.get(path);
            }
            found.extend(at.filter(|path| walked.contains(*path)).cloned());
        }
        found
    }
}

impl SyncService {
    /// Brings the objects of these names into the bucket, as many side by side as may be.
    pub(super) async fn upload_all(&self, paths: Vec<Path>, busy: Busy, keys: &Keys) -> Uploads {
        let mut uploads = Uploads::default();
        let (mut order, mut next) = self.order(paths);
        loop {
            while !next.is_empty() {
                let ended = self.upload_some(std::mem::take(&mut next), (busy, keys), &mut uploads).await;
                for path in ended {
                    next.extend(order.follow(&path));
                    if !order.holds_up.contains_key(&path) {
                        continue;
                    }
                    match self.is_copied(&path, &uploads) {
                        true => next.extend(order.let_go(&path)),
                        // Its content is still needed where it is.
                        false => drop(order.holds_up.remove(&path)),
                    }
                }
            }
            next = order.one_of_each_circle();
            if next.is_empty() {
                return uploads;
            }
            for path in &next {
                order.waits_for.insert(Path::clone(path), usize::MAX);
            }
        }
    }

    /// Returns who waits for whom, and who waits for nobody.
    fn order(&self, paths: Vec<Path>) -> (Order, Vec<Path>) {
        let all: HashSet<Path> = paths.iter().cloned().collect();
        let mut order = Order::default();
        let mut firsts: HashMap<Ino, Path> = HashMap::new();
        for path in &paths {
            let Some(state) = self.cache.file_state(path) else { continue };
            let is_folder = state.inode.is_folder();
            if let Some(first) = firsts.get(&state.name.ino).filter(|_| !is_folder) {
                order.after_first.entry(Path::clone(first)).or_default().push(Path::clone(path));
                *order.waits_for.entry(Path::clone(path)).or_default() += 1;
                continue;
            }
            firsts.insert(state.name.ino, Path::clone(path));
            let here = || self.cache.is_complete(state.name.ino).unwrap_or(false);
            let source = state.inode.source.as_ref().map(|source| Path::clone(&source.key));
            let source = source.filter(|key| key != path && all.contains(key));
            if let Some(key) = source.filter(|_| state.inode.size > COPY_ABOVE_BYTES || !here()) {
                *order.waits_for.entry(Path::clone(&key)).or_default() += 1;
                order.holds_up.insert(Path::clone(path), key);
            }
        }
        let mut next = paths;
        next.retain(|path| !order.waits_for.contains_key(path));
        (order, next)
    }

    /// Returns whether what a name was to be copied from is not needed for it any more.
    fn is_copied(&self, path: &Path, uploads: &Uploads) -> bool {
        uploads.ready.iter().any(|ready: &Ready| ready.path == *path)
            || self.cache.file_state(path).is_none_or(|state| !state.dirty)
    }

    /// Brings the objects of these names into the bucket; returns the names again.
    async fn upload_some(
        &self,
        paths: Vec<Path>,
        (busy, keys): (Busy, &Keys),
        uploads: &mut Uploads,
    ) -> Vec<Path> {
        let room = &Semaphore::new(self.options.uploads);
        let prepare = |path: Path| async move {
            let _room = room.acquire_many(self.share_of(&path)).await;
            let outcome: Result<_> = self.prepare_resolved(Path::clone(&path), busy, keys).await;
            (path, outcome)
        };
        let mut prepared = stream::iter(paths).map(prepare).buffer_unordered(self.options.uploads);
        let mut ended = Vec::new();
        while let Some((path, outcome)) = prepared.next().await {
            ended.push(path);
            match outcome {
                Ok((some, conflicts)) => {
                    uploads.ready.extend(some);
                    uploads.conflicts.extend(conflicts);
                }
                Err(one) => uploads.failed = uploads.failed.take().or(Some(one)),
            }
        }
        ended
    }

    /// Returns how many small files an upload counts for: the larger ones have more in memory.
    fn share_of(&self, path: &Path) -> u32 {
        let size = self.cache.file_state(path).map_or(0, |state| state.inode.size);
        let is_small = size <= self.options.part_bytes / u64::from(LARGE_SHARE);
        let most = u32::try_from(self.options.uploads).unwrap_or(u32::MAX).max(1);
        if is_small { 1 } else { LARGE_SHARE.min(most) }
    }
}
