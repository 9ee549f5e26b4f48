//! Names that never cross between the bucket's index and the mount.
//!
//! The first rule is swamp's own (`isInternalCacheFile`), byte for byte, because real swamp
//! clients share the bucket. The second adds what bayou reserves for itself.

/// What a name is to the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameClass {
    /// An ordinary file of the user's.
    Ordinary,
    /// Machinery at the root of the bucket: hidden and refused.
    Reserved,
    /// A file that works on this machine but is never indexed or uploaded.
    MachineLocal,
}

/// Returns whether swamp treats the key as its own machinery, never as data.
pub fn is_internal(key: &str) -> bool {
    classify(key) != NameClass::Ordinary
}

/// Returns what a key (or a path in the mount) is.
pub fn classify(key: &str) -> NameClass {
    if is_reserved(key) {
        NameClass::Reserved
    } else if is_machine_local(key) {
        NameClass::MachineLocal
    } else {
        NameClass::Ordinary
    }
}

fn is_reserved(key: &str) -> bool {
    let first = key.split('/').next().unwrap_or(key);
    if first == "_index" || first == "_control" {
        return true;
    }
    const ROOT_FILES: [&str; 4] =
        [".datastore-index.json", ".push-queue.json", ".datastore.lock", ".datastore-sync-state.json"];
    ROOT_FILES.contains(&key)
}

fn is_machine_local(key: &str) -> bool {
    let last = key.rsplit('/').next().unwrap_or(key);
    last == ".lock" || last == ".namespace.json" || last == "_catalog.db" || last.starts_with("_catalog.db-")
}

/// Returns whether the key is what swamp's writers leave in a bucket and nobody means as data:
/// locks of namespaces, and files of atomic writes that were cut short.
pub fn is_leftover(key: &str) -> bool {
    let last = key.rsplit('/').next().unwrap_or(key);
    let is_lock = key.strip_prefix(".locks/") == Some(last) && last.ends_with(".lock");
    let unique = last.strip_prefix('.').and_then(|rest| rest.strip_suffix(".tmp"));
    is_lock || unique.is_some_and(|text| text.len() == 36 && uuid::Uuid::try_parse(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_writers_leave_behind_is_told_from_what_only_looks_like_it() {
        let unique = "3f0e8c1e-4e6f-4f2e-8a0b-0c0d0e0f0001";
        for key in [".locks/infra.lock", &format!(".{unique}.tmp"), &format!("a/b/.{unique}.tmp")] {
            assert!(is_leftover(key), "{key}");
        }
        for key in
            [".locks/a/b.lock", "a/.locks/b.lock", ".locks/b", "a.lock", &format!("{unique}.tmp"), ".x.tmp"]
        {
            assert!(!is_leftover(key), "{key}");
        }
    }

    #[test]
    fn machinery_never_crosses() {
        for key in [
            ".datastore-index.json",
            ".datastore.lock",
            "_index",
            "_index/_meta.json",
            "_control/a",
            ".lock",
            "data/a/.lock",
            "x/.namespace.json",
            "_catalog.db",
            "data/_catalog.db-wal",
        ] {
            assert!(is_internal(key), "{key}");
        }
    }

    #[test]
    fn names_that_only_look_like_machinery_cross() {
        for key in [
            "a/.locked.yaml",
            "lock",
            "foo.lock",
            "a/_index/x",
            "data/_control",
            "a/.push-queue.json",
            "_catalog.dbx",
        ] {
            assert_eq!(classify(key), NameClass::Ordinary, "{key}");
        }
    }
}
