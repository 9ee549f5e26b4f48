//! Swamp's rules about names: its machinery, its shards, what a lazy pull leaves out.

/// Returns whether a name is machinery and never data.
pub(super) fn is_internal(key: &str) -> bool {
    let last = key.rsplit('/').next().unwrap_or(key);
    let at_root =
        [".datastore-index.json", ".push-queue.json", ".datastore.lock", ".datastore-sync-state.json"];
    let below =
        |folder: &str| key.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    at_root.contains(&key)
        || below("_index")
        || below("_control")
        || last == ".lock"
        || last == ".namespace.json"
        || last == "_catalog.db"
        || last.starts_with("_catalog.db-")
}

/// Returns the shard that an entry belongs to; none for paths that swamp has no shard for.
pub(crate) fn shard_of(key: &str) -> Option<String> {
    let parts: Vec<&str> = key.split('/').collect();
    match parts.as_slice() {
        [""] => None,
        [_] => Some("_root".to_owned()),
        ["data" | "outputs" | "definitions-evaluated", ..] => match parts.len() {
            0..4 => None,
            4 | 5 => Some(parts[..parts.len() - 1].join("--")),
            _ => Some(parts[..parts.len() - 3].join("--")),
        },
        ["workflow-runs", run, _, ..] => Some(format!("workflow-runs--{run}")),
        [
            top @ ("workflows-evaluated" | "auto-definitions" | "audit" | "telemetry" | "logs" | "files"),
            ..,
        ] => Some((*top).to_owned()),
        _ => None,
    }
}

/// Returns the shards that a scoped pull of a model `type/id` asks for; the first must be there.
pub(super) fn shards_of_model(model: &str) -> [String; 3] {
    let slug = model.replace('/', "--");
    ["data", "outputs", "definitions-evaluated"].map(|top| format!("{top}--{slug}"))
}

/// Returns whether a metadata-only pull leaves the file out.
pub(super) fn is_lazy_skippable(key: &str) -> bool {
    let parts: Vec<&str> = key.split('/').collect();
    parts.len() >= 3 && parts[0] == "data" && parts.last() == Some(&"raw")
}

/// Returns whether an ETag proves that the index is unchanged; that of a multipart upload does not.
pub(super) fn is_usable(fingerprint: &str) -> bool {
    let multipart = fingerprint
        .rsplit_once('-')
        .is_some_and(|(_, parts)| !parts.is_empty() && parts.bytes().all(|digit| digit.is_ascii_digit()));
    !fingerprint.is_empty() && !multipart
}
