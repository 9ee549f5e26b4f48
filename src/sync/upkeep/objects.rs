//! What is in the bucket besides the index: the objects that may be files.

use std::collections::{BTreeMap, HashSet};

use futures::TryStreamExt;

use super::Upkeep;
use crate::model::key::DataKey;
use crate::store::Version;
use crate::sync::discover::NAMESPACE_MANIFEST;
use crate::sync::error::{Result, SyncError};

/// Objects by key: their sizes and, where listings say them, their versions.
pub(super) type Objects = BTreeMap<String, (u64, Option<Version>)>;

impl Upkeep {
    /// Lists the objects that may be files; those of namespaces have an index of their own.
    pub(super) async fn objects(&self) -> Result<Objects> {
        let (mut objects, mut namespaces) = (Objects::new(), HashSet::new());
        let mut pages = self.store.list("", None);
        let failed = || format!("Listing {}", self.store.address());
        while let Some(page) = pages.try_next().await.map_err(|e| SyncError::store(failed())(e))? {
            for listed in page {
                let key = listed.key.as_str();
                namespaces.extend(key.strip_suffix(NAMESPACE_MANIFEST).map(str::to_owned));
                if DataKey::admit(key).is_ok() {
                    objects.insert(key.to_owned(), (listed.size, listed.version));
                }
            }
        }
        objects.retain(|key, _| !namespaces.contains(key.split('/').next().unwrap_or(key)));
        Ok(objects)
    }
}
