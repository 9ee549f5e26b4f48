//! The sidecar, `.datastore-sync-state.json`: what this machine last verified, and whether it
//! holds changes that are not in the bucket.
//!
//! The format is swamp's. Its loss is harmless and its damage is no error: both mean that
//! nothing was verified. Where it contradicts itself it is read as dirty.

use serde_json::{Map, Value};

/// The sidecar's file name.
pub const SIDECAR_NAME: &str = ".datastore-sync-state.json";

/// Which member holds the fingerprint of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FingerprintKind {
    /// `remoteIndexETag`: S3 and folders.
    Etag,
    /// `remoteIndexGeneration`: Google Cloud Storage.
    Generation,
}

impl FingerprintKind {
    const ALL: [Self; 2] = [Self::Etag, Self::Generation];

    fn member(self) -> &'static str {
        match self {
            Self::Etag => "remoteIndexETag",
            Self::Generation => "remoteIndexGeneration",
        }
    }

    /// Returns whether equal fingerprints of this text mean an equal index.
    ///
    /// An ETag like `…-3` is a multipart upload's and says nothing of the bytes.
    pub fn is_usable(self, fingerprint: &str) -> bool {
        match self {
            Self::Etag => !fingerprint.is_empty() && !is_multipart_shaped(fingerprint),
            Self::Generation => !fingerprint.is_empty() && fingerprint != "0",
        }
    }
}

/// What the sidecar says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// Which member holds the fingerprint.
    pub kind: FingerprintKind,
    /// Fingerprint of the index that was last verified; empty before the first time.
    pub fingerprint: String,
    /// When it was verified, as text; empty before the first time.
    pub last_verified_at: String,
    /// Whether there may be changes here that are not in the bucket. See also [`Sidecar::is_dirty`].
    pub local_dirty: bool,
    /// Files and directories that changed.
    pub dirty_paths: Vec<String>,
    /// Whether the next push must look at everything.
    pub bulk_invalidated: bool,
    /// Whether files may be absent here because they were not fetched yet.
    pub lazy_pull_active: bool,
    /// Whether bulk was reached because too many paths were dirty.
    pub dirty_paths_overflowed: bool,
    /// SHA-256 of the last catalog that was exported.
    pub last_catalog_hash: Option<String>,
    /// Whether the migration of root data to a namespace is done.
    pub data_key_migrated: Option<bool>,
    /// Fingerprint of a sharded index.
    pub commit_seq: Option<u64>,
}

impl Sidecar {
    /// Returns the sidecar of a machine that has verified nothing yet and changed nothing.
    pub fn fresh(kind: FingerprintKind) -> Self {
        Self {
            kind,
            fingerprint: String::new(),
            last_verified_at: String::new(),
            local_dirty: false,
            dirty_paths: Vec::new(),
            bulk_invalidated: false,
            lazy_pull_active: false,
            dirty_paths_overflowed: false,
            last_catalog_hash: None,
            data_key_migrated: None,
            commit_seq: None,
        }
    }

    /// Reads a sidecar; one that is damaged or of an unknown version is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let Value::Object(document) = serde_json::from_slice(bytes).ok()? else { return None };
        let version = document.get("version")?.as_f64()?;
        let mut sidecar = Self::read_first_version(&document)?;
        if version == 2.0 {
            sidecar.read_second_version(&document)?;
        }
        (version == 1.0 || version == 2.0).then_some(sidecar)
    }

    fn read_first_version(document: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| document.get(name)?.as_str().map(str::to_owned);
        let (kind, fingerprint) =
            FingerprintKind::ALL.into_iter().find_map(|kind| Some((kind, text(kind.member())?)))?;
        Some(Self {
            fingerprint,
            last_verified_at: text("lastVerifiedAt")?,
            local_dirty: document.get("localDirty")?.as_bool()?,
            ..Self::fresh(kind)
        })
    }

    fn read_second_version(&mut self, document: &Map<String, Value>) -> Option<()> {
        let flag = |name: &str| document.get(name)?.as_bool();
        let paths = document.get("dirtyPaths")?.as_array()?.iter();
        self.dirty_paths = paths.map(|path| path.as_str().map(str::to_owned)).collect::<Option<_>>()?;
        self.bulk_invalidated = flag("bulkInvalidated")?;
        self.lazy_pull_active = flag("lazyPullActive")?;
        self.dirty_paths_overflowed = flag("dirtyPathsOverflowed").unwrap_or(false);
        self.last_catalog_hash = document.get("lastCatalogHash").and_then(Value::as_str).map(str::to_owned);
        self.data_key_migrated = flag("dataKeyMigrated");
        self.commit_seq = document.get("commitSeq").and_then(Value::as_u64);
        Some(())
    }

    /// Returns the sidecar as swamp writes it: version 2, pretty, in swamp's order.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        put("version", 2.into());
        put(self.kind.member(), self.fingerprint.as_str().into());
        put("lastVerifiedAt", self.last_verified_at.as_str().into());
        put("localDirty", self.local_dirty.into());
        put("dirtyPaths", self.dirty_paths.as_slice().into());
        put("bulkInvalidated", self.bulk_invalidated.into());
        put("lazyPullActive", self.lazy_pull_active.into());
        put("dirtyPathsOverflowed", self.dirty_paths_overflowed.into());
        if let Some(hash) = &self.last_catalog_hash {
            put("lastCatalogHash", hash.as_str().into());
        }
        if let Some(migrated) = self.data_key_migrated {
            put("dataKeyMigrated", migrated.into());
        }
        if let Some(commit_seq) = self.commit_seq {
            put("commitSeq", commit_seq.into());
        }
        format!("{:#}", Value::Object(members)).into_bytes()
    }

    /// Returns whether there may be changes here that are not in the bucket.
    ///
    /// Swamp's two-phase push leaves paths behind when it clears the flag; such a sidecar is dirty.
    pub fn is_dirty(&self) -> bool {
        self.local_dirty || !self.dirty_paths.is_empty() || self.bulk_invalidated
    }

    /// Returns the fingerprint of the monolith, if it can prove that nothing changed.
    pub fn usable_fingerprint(&self) -> Option<&str> {
        self.kind.is_usable(&self.fingerprint).then_some(&*self.fingerprint)
    }
}

/// Returns an ETag without its quotes, as swamp keeps it; an empty one is none.
pub fn normalize_etag(raw: &str) -> Option<&str> {
    let bare = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(raw);
    (!bare.is_empty()).then_some(bare)
}

fn is_multipart_shaped(etag: &str) -> bool {
    let parts = etag.rsplit_once('-').map(|(_, parts)| parts);
    parts.is_some_and(|parts| !parts.is_empty() && parts.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_that_contradicts_the_paths_is_read_as_dirty() {
        let mut sidecar = Sidecar::fresh(FingerprintKind::Etag);
        assert!(!sidecar.is_dirty());
        sidecar.bulk_invalidated = true;
        assert!(sidecar.is_dirty());
        sidecar.bulk_invalidated = false;
        sidecar.dirty_paths.push("a".into());
        assert!(sidecar.is_dirty());
        assert!(Sidecar::parse(&sidecar.to_bytes()).unwrap().is_dirty());
    }

    #[test]
    fn a_clean_sidecar_is_what_swamp_writes() {
        let sidecar = Sidecar {
            fingerprint: "9f2c61c0a4b7d3e8f1a2b3c4d5e6f708".into(),
            last_verified_at: "2026-08-01T09:31:12.900Z".into(),
            last_catalog_hash: Some("aa".into()),
            data_key_migrated: Some(true),
            commit_seq: Some(7),
            ..Sidecar::fresh(FingerprintKind::Etag)
        };
        let text = String::from_utf8(sidecar.to_bytes()).unwrap();
        assert_eq!(
            text,
            "{\n  \"version\": 2,\n  \"remoteIndexETag\": \"9f2c61c0a4b7d3e8f1a2b3c4d5e6f708\",\n  \
             \"lastVerifiedAt\": \"2026-08-01T09:31:12.900Z\",\n  \"localDirty\": false,\n  \
             \"dirtyPaths\": [],\n  \"bulkInvalidated\": false,\n  \"lazyPullActive\": false,\n  \
             \"dirtyPathsOverflowed\": false,\n  \"lastCatalogHash\": \"aa\",\n  \
             \"dataKeyMigrated\": true,\n  \"commitSeq\": 7\n}"
        );
        assert_eq!(Sidecar::parse(text.as_bytes()), Some(sidecar));
    }

    #[test]
    fn damage_of_any_kind_is_no_sidecar_and_no_error() {
        let good = String::from_utf8(Sidecar::fresh(FingerprintKind::Generation).to_bytes()).unwrap();
        assert!(Sidecar::parse(good.as_bytes()).is_some());
        for (from, to) in [
            ("\"version\": 2", "\"version\": 3"),
            ("\"version\": 2", "\"version\": \"2\""),
            ("remoteIndexGeneration", "other"),
            ("\"remoteIndexGeneration\": \"\"", "\"remoteIndexGeneration\": 1"),
            ("\"lastVerifiedAt\": \"\"", "\"lastVerifiedAt\": null"),
            ("\"localDirty\": false", "\"localDirty\": 0"),
            ("\"dirtyPaths\": []", "\"dirtyPaths\": [1]"),
            ("\"dirtyPaths\": []", "\"dirtyPaths\": {}"),
            ("\"bulkInvalidated\": false,", ""),
            ("\"lazyPullActive\": false", "\"lazyPullActive\": \"no\""),
        ] {
            let damaged = good.replace(from, to);
            assert_ne!(damaged, good);
            assert_eq!(Sidecar::parse(damaged.as_bytes()), None, "{to}");
        }
        for cut in 0..good.len() {
            assert_eq!(Sidecar::parse(&good.as_bytes()[..cut]), None);
        }
    }

    #[test]
    fn fingerprints_that_prove_nothing_are_not_usable() {
        for (kind, text, usable) in [
            (FingerprintKind::Etag, "9f2c", true),
            (FingerprintKind::Etag, "9f-x", true),
            (FingerprintKind::Etag, "9f-", true),
            (FingerprintKind::Etag, "9f-12", false),
            (FingerprintKind::Etag, "", false),
            (FingerprintKind::Generation, "17", true),
            (FingerprintKind::Generation, "0", false),
            (FingerprintKind::Generation, "", false),
        ] {
            assert_eq!(kind.is_usable(text), usable, "{text}");
        }
    }
}
