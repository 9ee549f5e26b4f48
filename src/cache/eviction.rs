//! Making room: clean content goes, the longest unused first; dirty content never.
//!
//! A content file may be dropped only if its bytes are exactly those of an object in the
//! bucket. That it is absent is noted before it is removed. Files that nobody has open go
//! first. Who reads or changes a file at that moment has the content file open, which lives
//! until then, and finds out under the lock of the names that it is the file's no more.

use std::sync::atomic::{AtomicU64, Ordering};

use lru::LruCache;

use super::Cache;
use super::error::{CacheError, Result};
use super::names::Names;
use super::rows::{ContentId, Ino, Inode, RowOp};
use crate::os::crash_point::{Step, reached};

/// How many bytes may be written between two looks at the disk's free space.
const LOOK_EVERY_BYTES: u64 = 16 << 20;

/// Content that may be dropped: nobody can lose anything by it.
struct CleanContent {
    ino: Ino,
    id: ContentId,
    /// Whether the file is open, then when it was last used: what is least goes first.
    order: (bool, u64),
}

/// Counts the bytes since the disk's free space was looked at.
#[derive(Debug, Default)]
pub(super) struct SinceLook(AtomicU64);

impl Cache {
    /// Makes room for `bytes` more bytes of content.
    ///
    /// Fails with [`CacheError::Full`] if what is there is dirty or in use.
    pub fn make_room(&self, bytes: u64) -> Result<()> {
        let limit = self.options.limit_bytes;
        if self.local_bytes() + bytes > limit {
            self.evict((self.local_bytes() + bytes).saturating_sub(limit) + limit / 20);
            if self.local_bytes() + bytes > limit {
                return Err(CacheError::Full { limit });
            }
        }
        self.keep_disk_free(bytes)
    }

    /// Returns how many bytes the cache can still take.
    pub fn room(&self) -> u64 {
        let limit = self.options.limit_bytes.saturating_sub(self.local_bytes());
        limit.min(self.disk_free().unwrap_or(limit).saturating_sub(self.options.min_free_bytes))
    }

    fn keep_disk_free(&self, bytes: u64) -> Result<()> {
        let since = self.since_look.0.fetch_add(bytes, Ordering::Relaxed);
        if since != 0 && since < LOOK_EVERY_BYTES {
            return Ok(());
        }
        self.since_look.0.store(1, Ordering::Relaxed);
        let wanted = self.options.min_free_bytes + bytes;
        let Some(free) = self.disk_free() else { return Ok(()) };
        if free < wanted {
            self.evict(wanted - free);
            if self.disk_free().is_some_and(|free| free < wanted) {
                self.since_look.0.store(0, Ordering::Relaxed);
                return Err(CacheError::Full { limit: self.local_bytes() });
            }
        }
        Ok(())
    }

    fn disk_free(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(self.folder()).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Drops clean content, the longest unused first, until `bytes` are free; returns how many
    /// became free.
    pub fn evict(&self, bytes: u64) -> u64 {
        let before = self.local_bytes();
        let mut clean = self.clean_contents();
        while before.saturating_sub(self.local_bytes()) < bytes {
            let Some((_, content)) = clean.pop_lru() else { break };
            if let Err(failed) = self.drop_clean(&content) {
                tracing::warn!(error = %failed, "Content could not be evicted");
                break;
            }
        }
        before.saturating_sub(self.local_bytes())
    }

    fn clean_contents(&self) -> LruCache<ContentId, CleanContent> {
        let mut found: Vec<CleanContent> = {
            let names = self.names.read();
            let contents = self.contents.lock();
            names
                .all()
                .filter_map(|(path, name)| {
                    let inode = names.inode(name.ino).ok()?;
                    let id =
                        inode.content.as_ref().filter(|_| is_droppable(&names, path, (name.ino, inode)))?;
                    let used = contents.get(id)?.used.load(Ordering::Relaxed);
                    Some(CleanContent { ino: name.ino, id: id.clone(), order: (inode.opens > 0, used) })
                })
                .collect()
        };
        found.sort_unstable_by_key(|content| content.order);
        let mut order = LruCache::unbounded();
        for content in found {
            order.put(content.id.clone(), content);
        }
        order
    }

    fn drop_clean(&self, clean: &CleanContent) -> Result<()> {
        let mut names = self.names.write();
        let Ok(inode) = names.inode(clean.ino) else { return Ok(()) };
        let is_own = |path: &str| names.name(path).is_some_and(|name| name.ino == clean.ino);
        let object = inode.equal_object().filter(|object| is_own(&object.key));
        let still = object.is_some_and(|object| is_droppable(&names, &object.key, (clean.ino, inode)));
        if !still || inode.content.as_ref() != Some(&clean.id) {
            return Ok(());
        }
        let mut without = inode.clone();
        without.content = None;
        let group = vec![RowOp::Inode(clean.ino, Box::new(without)), RowOp::NoContent(clean.id.clone())];
        self.commit(&mut names, group)?;
        // The kernel may go on with what it has of it.
        names.inode_mut(clean.ino)?.given = true;
        reached(Step::EvictNoted);
        let freed = self.contents.lock().get(&clean.id).and_then(|content| content.counted.bytes());
        self.drop_content(&clean.id);
        reached(Step::ContentRemoved);
        self.traffic.note_evicted(freed.unwrap_or(0));
        Ok(())
    }
}

/// A file of which one name waits for its copy in the bucket is kept: others may replace the
/// object that would be copied. So is one whose content file is lent: another one could not take
/// its place while the kernel has this one.
fn is_droppable(names: &Names, path: &str, (ino, inode): (Ino, &Inode)) -> bool {
    let object = inode.equal_object();
    inode.is_file()
        && !inode.local
        && inode.lent == 0
        && !inode.watched
        && names.names_of(ino).iter().all(|name| !names.is_dirty(name))
        && object.is_some_and(|source| *source.key == *path && source.remote.size == inode.size)
}
