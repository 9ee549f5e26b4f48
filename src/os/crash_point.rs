//! The labelled steps of every durable action.
//!
//! `tests/crash.rs` starts the program with `BAYOU_CRASH_AT=<label>` (or `<label>:<n>` for
//! the n-th time) and the process dies there as if killed with -9. Each label's comment says
//! what recovery must find. With `BAYOU_PANIC_AT` the step panics instead, and the process
//! lives on. Without the variables a step costs one relaxed load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// A durable action after (or before) which a crash test may stop the process or have it panic.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Step { $($(#[$doc])* $name,)* }

        impl Step {
            /// Every step there is, for the crash tests.
            pub const ALL: &[Step] = &[$(Step::$name,)*];

            /// Returns the label by which a test names the step.
            pub fn label(self) -> &'static str {
                match self { $(Step::$name => $label,)* }
            }
        }
    };
}

steps! {
    /// The watermark says dirty on disk; nothing has changed yet.
    WatermarkDirty = "watermark-dirty",
    /// The content file exists; neither it nor the catalog says what it is for.
    ContentMade = "content-made",
    /// The content file exists and names its key; no byte has been written.
    ContentStamped = "content-stamped",
    /// The catalog's note of the change is in the journal; the bytes are not.
    ChangingNoted = "changing-noted",
    /// The bytes are in the content file; the note of their extent is not.
    ContentWritten = "content-written",
    /// A file that may be changed unseen is noted as one; its open has not been answered.
    WatchNoted = "watch-noted",
    /// A local durable point is complete.
    LocallyDurable = "locally-durable",
    /// Changed attributes are in the journal; that has not been answered.
    AttributesNoted = "attributes-noted",
    /// A create is in the journal; it has not been answered.
    CreateNoted = "create-noted",
    /// A second name of a file is in the journal; it has not been answered.
    LinkNoted = "link-noted",
    /// An unlink is in the journal; it has not been answered.
    UnlinkNoted = "unlink-noted",
    /// A rename is in the journal; it has not been answered.
    RenameNoted = "rename-noted",
    /// An exchange of two names is in the journal; it has not been answered.
    ExchangeNoted = "exchange-noted",
    /// The bucket expects the parts of an upload; that is not noted here.
    UploadBegun = "upload-begun",
    /// The bucket expects the parts of a file that is still written; that is not noted here.
    EarlyUploadBegun = "early-upload-begun",
    /// A part of a file that is still written is in the bucket.
    EarlyPartUploaded = "early-part-uploaded",
    /// The note of an upload is durable; the upload has not begun.
    UploadingNoted = "uploading-noted",
    /// A part of a multipart upload is in the bucket.
    PartUploaded = "part-uploaded",
    /// The bucket has made a part of an upload of what it had.
    PartCopied = "part-copied",
    /// All parts are in the bucket; the upload is not complete.
    BeforeComplete = "before-complete",
    /// That content is about to be set aside in the bucket is noted; it is not there yet.
    TemporaryNoted = "temporary-noted",
    /// Content is set aside in the bucket; that it is, is not noted here yet.
    TemporaryCopied = "temporary-copied",
    /// What needed it is noted to come from there; its old key still has it.
    SetAside = "set-aside",
    /// A server-side copy is in the bucket; that is not noted here yet.
    CopyMade = "copy-made",
    /// What was set aside is gone from the bucket; that is not noted here yet.
    TemporaryDeleted = "temporary-deleted",
    /// The object is in the bucket; that is not noted here yet.
    ObjectPut = "object-put",
    /// That the object is in the bucket is noted; the index does not name it yet.
    UploadedNoted = "uploaded-noted",
    /// The bucket's lock is ours; nothing was done with it.
    LockTaken = "lock-taken",
    /// The index is written; swamp's copies of its parts do not say so yet.
    IndexPut = "index-put",
    /// A copy of a part of the index is written; others may not be.
    CopyPut = "copy-put",
    /// Our own index beside the shards is written; the shards are not.
    BesidePut = "beside-put",
    /// A shard is written; the meta document does not count that yet.
    ShardPut = "shard-put",
    /// The meta document is written; shards that it lists no more are still there.
    MetaPut = "meta-put",
    /// A shard that held nothing any more is gone.
    ShardDeleted = "shard-deleted",
    /// The index in the bucket names the objects; that is not noted here yet.
    IndexCommitted = "index-committed",
    /// The bucket's lock is given back.
    LockLeft = "lock-left",
    /// The content file does not name its key any more; the catalog still says that it is dirty.
    ContentUnmarked = "content-unmarked",
    /// The commit is noted here; removed objects are still in the bucket.
    CommitNoted = "commit-noted",
    /// A removed object is gone from the bucket; its tombstone is still here.
    ObjectDeleted = "object-deleted",
    /// The proof is made; the watermark still says dirty.
    BeforeSettle = "before-settle",
    /// The watermark says clean.
    Settled = "settled",
    /// A content file's absence is noted; the file is still there.
    EvictNoted = "evict-noted",
    /// A content file that was let go of is removed.
    ContentRemoved = "content-removed",
    /// Fetched bytes are in the content file; their presence is not noted.
    HydrateWritten = "hydrate-written",
    /// The journal has been set aside; its notes are not in the database yet.
    JournalRotated = "journal-rotated",
    /// The notes are in the database; the journal set aside still exists.
    JournalFolded = "journal-folded",
    /// A pull has changed the catalog; the fingerprint is not noted yet.
    PullApplied = "pull-applied",
    /// What a crash left is in order; which boot that was in is not noted yet.
    Recovered = "recovered",
}

struct Target {
    label: String,
    nth: u64,
    seen: AtomicU64,
    ending: Ending,
}

/// What happens at a step that a test asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The process dies.
    Dies,
    /// Whoever is at the step panics.
    Panics,
}

fn targets() -> &'static [Target] {
    static TARGETS: OnceLock<Vec<Target>> = OnceLock::new();
    TARGETS.get_or_init(|| {
        let asked = [("BAYOU_CRASH_AT", Ending::Dies), ("BAYOU_PANIC_AT", Ending::Panics)];
        let read = |(name, ending)| std::env::var(name).ok().map(|text| parse(&text, ending));
        asked.into_iter().filter_map(read).collect()
    })
}

fn parse(text: &str, ending: Ending) -> Target {
    let (label, nth) = match text.split_once(':') {
        Some((label, nth)) => (label, nth.parse().unwrap_or(1)),
        None => (text, 1),
    };
    Target { label: label.to_owned(), nth, seen: AtomicU64::new(0), ending }
}

/// Dies here, as if killed with -9, or panics, if a test asked for this step.
pub fn reached(step: Step) {
    for target in targets() {
        if target.label == step.label() && target.seen.fetch_add(1, Ordering::SeqCst) + 1 == target.nth {
            match target.ending {
                Ending::Dies => die(),
                Ending::Panics => panic!("A test asked for a panic at {}", target.label),
            }
        }
    }
}

fn die() -> ! {
    let pid = rustix::process::getpid();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique() {
        let labels: std::collections::BTreeSet<_> = Step::ALL.iter().map(|s| s.label()).collect();
        assert_eq!(labels.len(), Step::ALL.len());
    }

    #[test]
    fn a_target_may_name_the_nth_time() {
        assert_eq!(parse("object-put:3", Ending::Dies).nth, 3);
        assert_eq!(parse("object-put", Ending::Panics).nth, 1);
    }
}
