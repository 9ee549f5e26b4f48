//! Every harm to every part, found when a bucket is mounted, read or synced.
//!
//! Whatever it is, nobody panics and no change is lost. Who refuses says why; then the index is
//! built anew from the bucket, and all goes on. At the end another machine sees the same.

use std::fs;
use std::path::{Path, PathBuf};

use crate::daemon::{Daemon, Start, text};
use crate::file_tree::{Node, Tree};
use crate::wreck::{CHANGE, CHANGED_AT, Damage, Layout, Notes, Wreck};

const HARMS: [Damage; 4] = [Damage::Delete, Damage::Truncate, Damage::Garble, Damage::OlderCopy];

/// What is harmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Watermark,
    Catalog,
    Journal,
    Content,
    Index,
    Shard,
    Meta,
    Object,
}

/// Who finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Mount,
    Read,
    Sync,
}

/// What must be said when it is refused to go on.
const REFUSAL: &[&str] = &["damaged", "is missing"];

impl Part {
    fn wreck(self) -> Wreck {
        let layout = match self {
            Self::Shard | Self::Meta => Layout::Shards,
            _ => Layout::Monolith,
        };
        let notes = if self == Self::Catalog { Notes::InDatabase } else { Notes::InJournal };
        Wreck::of(layout, notes)
    }

    fn file(self, wreck: &Wreck) -> PathBuf {
        match self {
            Self::Watermark => wreck.state(".datastore-sync-state.json"),
            Self::Catalog => wreck.state("catalog.db"),
            Self::Journal => wreck.state("journal"),
            Self::Content => wreck.content(0, b"never changed"),
            Self::Index => wreck.place.bucket().join(".datastore-index.json"),
            Self::Shard => wreck.place.bucket().join("_index/_root.json"),
            Self::Meta => wreck.place.bucket().join("_index/_meta.json"),
            Self::Object => wreck.place.bucket().join("folder/other"),
        }
    }

    /// Returns whether a harmed file may be another than it was: nothing else has its bytes.
    fn may_differ(self, harm: Damage, name: &str) -> bool {
        match self {
            Self::Object => name == "folder/other",
            // What an older index lost is named again by its writer, a minute later.
            Self::Index | Self::Shard | Self::Meta => name == "from-here" && harm == Damage::OlderCopy,
            // What was garbled in place looks like what was fetched.
            Self::Content => name == "clean" && harm == Damage::Garble,
            _ => false,
        }
    }
}

fn harm(wreck: &Wreck, file: &Path, harm: Damage) {
    match harm {
        Damage::OlderCopy => wreck.put_older_copy(file),
        Damage::Delete | Damage::Truncate | Damage::Garble => harm.hit(file),
    }
}

/// Checks that a refusal says why, and builds the index anew.
fn refused(wreck: &Wreck, what: &str, said: &str) {
    assert!(REFUSAL.iter().any(|word| said.contains(word)), "{what}: {said}");
    let rebuilt = wreck.place.run(&["index", "rebuild", text(&wreck.place.bucket())]);
    assert!(rebuilt.status.success(), "{what}: {rebuilt:?}\n{said}");
}

fn cell(part: Part, when: When, damage: Damage) {
    let what = format!("{part:?} {when:?} {damage:?}");
    let wreck = part.wreck();
    let bucket = wreck.place.bucket();
    let daemon = match when {
        When::Mount => {
            harm(&wreck, &part.file(&wreck), damage);
            wreck.mount()
        }
        When::Read => {
            let mut daemon = wreck.mount().unwrap();
            harm(&wreck, &part.file(&wreck), damage);
            changes_are_kept(&wreck, &what, part, damage);
            let mnt = wreck.place.mnt();
            let said = wreck.place.run(&["sync", text(&mnt)]);
            if said.status.success() {
                Some(daemon)
            } else {
                daemon.kill();
                refused(&wreck, &what, &format!("{said:?}"));
                None
            }
        }
        When::Sync => {
            harm(&wreck, &part.file(&wreck), damage);
            let cache = wreck.place.path("cache");
            let source = format!("file://{}", text(&bucket));
            let said = wreck.place.run(&["sync", "--cache-dir", text(&cache), &source]);
            let text = String::from_utf8(said.stderr).unwrap();
            assert!(!text.contains("panicked"), "{what}: {text}");
            if !said.status.success() {
                refused(&wreck, &what, &text);
            }
            None
        }
    };
    let daemon = daemon.or_else(|| wreck.mount()).unwrap_or_else(|| {
        refused(&wreck, &what, &wreck.place.logs());
        wreck.mount().unwrap_or_else(|| panic!("{what}: {}", wreck.place.logs()))
    });
    changes_are_kept(&wreck, &what, part, damage);
    let seen = readable(&wreck.place.mnt());
    stop(&wreck, &what, daemon);
    let start = Start { cache: "fresh", flags: &[], crash_at: None };
    let fresh =
        Daemon::start(&wreck.place, &start).unwrap_or_else(|_| panic!("{what}: {}", wreck.place.logs()));
    let is_sure = |(name, _): &(String, _)| !part.may_differ(damage, name);
    let sure = |tree| names_and_hashes(tree).into_iter().filter(is_sure).collect::<Vec<_>>();
    assert_eq!(sure(&readable(&wreck.place.mnt())), sure(&seen), "{what}");
    stop(&wreck, &what, fresh);
    assert_eq!(fs::read(bucket.join("from-here")).unwrap(), b"pushed", "{what}: an object is gone");
}

fn stop(wreck: &Wreck, what: &str, mut daemon: Daemon) {
    daemon.terminate();
    let ended = daemon.wait();
    let said = wreck.place.logs();
    assert!(ended.success() && !said.contains("panicked"), "{what}: {ended}\n{said}");
}

/// Returns all that can be read.
fn readable(mnt: &Path) -> Tree {
    let mut found = Tree::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(mnt.join(&folder)).unwrap().map(|entry| entry.unwrap()) {
            let name = format!("{folder}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                folders.push(format!("{name}/"));
            } else if let Ok(bytes) = fs::read(entry.path()) {
                found.insert(name, Node::file(bytes));
            }
        }
    }
    found
}

fn names_and_hashes(tree: &Tree) -> Vec<(String, Option<String>)> {
    tree.iter().map(|(name, node)| (name.clone(), node.hash())).collect()
}

#[track_caller]
fn changes_are_kept(wreck: &Wreck, what: &str, part: Part, damage: Damage) {
    let seen = readable(&wreck.place.mnt());
    let has = |name: &str, bytes: &[u8]| {
        let is_it = |(path, node): (&String, &Node)| {
            let beside = path.starts_with(&format!("{name}.recovered-"))
                || path.starts_with(&format!("{name}.conflict-"));
            (path == name || beside) && matches!(node, Node::File { bytes: there, .. } if ***there == *bytes)
        };
        seen.iter().any(is_it)
    };
    // Of a file that was here in part, the change at least is found again.
    let change = |node: &Node| {
        let at = CHANGED_AT..CHANGED_AT + CHANGE.len();
        matches!(node, Node::File { bytes, .. } if bytes.get(at) == Some(CHANGE))
    };
    assert!(seen.values().any(change), "{what}: the change of large is lost\n{}", wreck.place.logs());
    for (name, bytes) in [
        ("new", &b"made here"[..]),
        ("edited", b"before and after"),
        ("clean", b"never changed"),
        ("folder/other", b"never read"),
    ] {
        let is_kept = has(name, bytes) || part.may_differ(damage, name);
        let there = seen.get(name).map(brief);
        let names = seen.keys();
        assert!(is_kept, "{what}: {name} is lost: {there:?} {names:?}\n{}", wreck.place.logs());
    }
}

fn brief(node: &Node) -> String {
    match node {
        Node::File { bytes, .. } => String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned(),
        other => format!("{other:?}"),
    }
}

/// Makes a test of each part, for each who finds the harm.
macro_rules! cells {
    ($($name:ident: $part:ident $when:ident,)+) => {
        $(#[test]
        fn $name() {
            HARMS.into_iter().for_each(|damage| cell(Part::$part, When::$when, damage));
        })+
    };
}

cells! {
    a_harmed_watermark_is_found_by_a_mount: Watermark Mount,
    a_harmed_watermark_is_found_while_it_is_read: Watermark Read,
    a_harmed_watermark_is_found_by_a_sync: Watermark Sync,
    a_harmed_catalog_is_found_by_a_mount: Catalog Mount,
    a_harmed_catalog_is_found_while_it_is_read: Catalog Read,
    a_harmed_catalog_is_found_by_a_sync: Catalog Sync,
    a_harmed_journal_is_found_by_a_mount: Journal Mount,
    a_harmed_journal_is_found_while_it_is_read: Journal Read,
    a_harmed_journal_is_found_by_a_sync: Journal Sync,
    harmed_content_is_found_by_a_mount: Content Mount,
    harmed_content_is_found_while_it_is_read: Content Read,
    harmed_content_is_found_by_a_sync: Content Sync,
    a_harmed_index_is_found_by_a_mount: Index Mount,
    a_harmed_index_is_found_while_it_is_read: Index Read,
    a_harmed_index_is_found_by_a_sync: Index Sync,
    a_harmed_shard_is_found_by_a_mount: Shard Mount,
    a_harmed_shard_is_found_while_it_is_read: Shard Read,
    a_harmed_shard_is_found_by_a_sync: Shard Sync,
    a_harmed_meta_document_is_found_by_a_mount: Meta Mount,
    a_harmed_meta_document_is_found_while_it_is_read: Meta Read,
    a_harmed_meta_document_is_found_by_a_sync: Meta Sync,
    a_harmed_object_is_found_by_a_mount: Object Mount,
    a_harmed_object_is_found_while_it_is_read: Object Read,
    a_harmed_object_is_found_by_a_sync: Object Sync,
}
