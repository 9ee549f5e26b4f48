//! Documents that real swamp clients wrote, and the answers of swamp's own functions.
//!
//! What swamp wrote must be read with the meaning swamp gives it, and must leave bayou as it
//! came where nothing was changed. The data is in `tests/data/swamp`.

#![expect(clippy::unwrap_used, reason = "a document that cannot be read has failed its test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bayou::model::entry::Entry;
use bayou::model::index::Index;
use bayou::model::internal_name::is_internal;
use bayou::model::key::{DataKey, Refusal};
use bayou::model::lock_body::LockBody;
use bayou::model::shard::{Meta, Shard, ShardRole, partition_key};
use bayou::model::sidecar::{FingerprintKind, Sidecar, normalize_etag};
use proptest::prelude::*;
use serde_json::Value;

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/swamp").join(path)
}

fn bytes(path: &str) -> Vec<u8> {
    fs::read(data(path)).unwrap()
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&bytes(path)).unwrap()
}

fn list(path: &str) -> Vec<Value> {
    json(path).as_array().unwrap().clone()
}

/// Every file of a folder, by name; there must be some.
fn files(folder: &str, at_least: usize) -> BTreeMap<String, Vec<u8>> {
    let names = fs::read_dir(data(folder)).unwrap().map(|entry| entry.unwrap().file_name());
    let all: BTreeMap<_, _> = names
        .map(|name| name.into_string().unwrap())
        .map(|name| (name.clone(), bytes(&format!("{folder}/{name}"))))
        .collect();
    assert!(all.len() >= at_least, "only {} files in {folder}", all.len());
    all
}

fn index(name: &str) -> Index {
    Index::parse(&bytes(&format!("index/{name}"))).unwrap()
}

fn is_compact(text: &[u8]) -> bool {
    !text.contains(&b'\n')
}

#[test]
fn every_index_that_swamp_wrote_survives_reading_and_writing() {
    let mut compact = 0;
    for (name, text) in files("golden/index", 100) {
        let written = Index::parse(&text).unwrap().to_bytes();
        if is_compact(&text) {
            assert!(written == text, "{name} has other bytes");
            compact += 1;
        }
        let (before, after): (Value, Value) =
            (serde_json::from_slice(&text).unwrap(), serde_json::from_slice(&written).unwrap());
        assert_eq!(before, after, "{name}");
        assert!(is_compact(&written), "{name}");
    }
    assert!(compact > 20, "only {compact} compact ones");
}

/// The scenarios `n` and `s` hold entries that other programs wrote, in another order.
#[test]
fn entries_that_swamp_wrote_come_out_the_same_when_they_are_set_again() {
    for (name, text) in files("golden/index", 100) {
        let mut index = Index::parse(&text).unwrap();
        let before = index.to_bytes();
        let entries: Vec<(String, Entry)> =
            index.entries().map(|(key, entry)| (key.to_owned(), entry)).collect();
        let mut unusual = false;
        for (key, entry) in entries {
            let Ok(admitted) = DataKey::admit(&key) else { continue };
            unusual |= entry.size.is_none() || entry.last_modified.is_none();
            index.set(&admitted, &entry);
            assert_eq!(index.get(&key), Some(entry), "{name}: {key}");
        }
        let by_others = name.contains("-n") || name.contains("-s");
        if !by_others && !unusual {
            assert!(index.to_bytes() == before, "{name} has other bytes");
        }
    }
}

#[test]
fn every_shard_and_meta_that_swamp_wrote_is_read() {
    for (name, text) in files("golden/shard", 150) {
        let shard = Shard::parse(&text).unwrap().unwrap_or_else(|| panic!("{name} is none"));
        let document: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(shard.len(), document["entries"].as_object().unwrap().len(), "{name}");
    }
    for (name, text) in files("golden/meta", 30) {
        let meta = Meta::parse(&text).unwrap().unwrap_or_else(|| panic!("{name} is none"));
        let document: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(meta.partitions.len(), document["partitions"].as_array().unwrap().len(), "{name}");
        assert_eq!(meta.role == ShardRole::Copies, document["version"] == 1, "{name}");
    }
}

#[test]
fn every_sidecar_that_swamp_wrote_survives_reading_and_writing() {
    for (name, text) in files("golden/sidecar", 50) {
        let Some(sidecar) = Sidecar::parse(&text) else {
            panic!("{name} is none: {}", String::from_utf8_lossy(&text))
        };
        let document: Value = serde_json::from_slice(&text).unwrap();
        if document["version"] == 2 {
            assert_eq!(String::from_utf8(sidecar.to_bytes()), String::from_utf8(text), "{name}");
        }
    }
}

#[test]
fn sidecars_are_loaded_as_swamp_loads_them() {
    let expected = json("sidecar/expected.json");
    let mut judged = 0;
    for (name, text) in files("sidecar", 19) {
        let sidecar = Sidecar::parse(&text);
        let Some(expected) = expected.get(&name) else { continue };
        judged += 1;
        assert_eq!(Value::from(sidecar.is_some()), expected["loaded"], "{name}");
        let Some(sidecar) = sidecar else { continue };
        let usable = sidecar.usable_fingerprint().is_some();
        if sidecar.commit_seq.is_some() {
            assert!(!usable && expected["fastPull"] == "only via commitSeq", "{name}");
            continue;
        }
        assert_eq!(Value::from(usable), expected["fastPull"], "{name}");
        assert_eq!(Value::from(usable && !sidecar.is_dirty()), expected["fastPush"], "{name}");
    }
    assert_eq!(judged, 12);
}

#[test]
fn sidecars_beyond_the_expected_list_have_their_own_meaning() {
    let load = |name: &str| Sidecar::parse(&bytes(&format!("sidecar/{name}")));
    assert!(load("s3-v2-leftover-paths-BUG.json").unwrap().is_dirty(), "leftover paths are dirty");
    let first_use = load("s3-v2-dirty-first-use.json").unwrap();
    assert!(first_use.is_dirty() && first_use.usable_fingerprint().is_none());
    assert!(load("s3-v2-namespaced.json").unwrap().dirty_paths.iter().all(|path| path.starts_with("infra/")));
    assert_eq!(load("s3-v2-dirty-overflow.json").unwrap().kind, FingerprintKind::Etag);
    for name in ["gcs-v1-clean.json", "gcs-v2-clean.json", "gcs-v2-clean-commitseq.json"] {
        let sidecar = load(name).unwrap();
        assert!(sidecar.kind == FingerprintKind::Generation && !sidecar.is_dirty(), "{name}");
    }
    assert!(load("gcs-v2-dirty-scoped.json").unwrap().is_dirty());
}

#[test]
fn c_41_a_generation_that_says_nothing_is_no_fingerprint() {
    for (generation, usable) in [("", false), ("0", false), ("1754040672500123", true)] {
        let text = format!(
            r#"{{"version":1,"remoteIndexGeneration":"{generation}","lastVerifiedAt":"x","localDirty":false}}"#
        );
        let sidecar = Sidecar::parse(text.as_bytes()).unwrap();
        assert_eq!(sidecar.kind, FingerprintKind::Generation);
        assert_eq!(sidecar.usable_fingerprint().is_some(), usable, "{generation:?}");
    }
}

#[test]
fn etags_are_normalised_and_judged_as_swamp_does() {
    for case in list("vectors/etags.json") {
        let normalized = case["raw"].as_str().and_then(normalize_etag);
        assert_eq!(normalized, case["normalized"].as_str(), "{case}");
        let usable = normalized.is_some_and(|etag| FingerprintKind::Etag.is_usable(etag));
        assert_eq!(Value::from(usable), case["usable"], "{case}");
    }
}

#[test]
fn c_8_and_c_9_and_c_10_and_c_11_and_c_12_internal_names_are_swamps() {
    for case in list("vectors/internal_cache_files.json") {
        assert_eq!(Value::from(is_internal(case["path"].as_str().unwrap())), case["internal"], "{case}");
    }
}

#[test]
fn c_133_partition_keys_are_swamps() {
    let cases = list("vectors/partition_keys.json");
    assert!(cases.len() > 40);
    for case in cases {
        assert_eq!(Value::from(partition_key(case["path"].as_str().unwrap())), case["key"], "{case}");
    }
    for (path, rule) in json("golden/partition_rules.json").as_object().unwrap() {
        assert_eq!(Value::from(partition_key(path)), rule["partition"], "{path}");
        assert_eq!(Value::from(is_internal(path)), rule["internal"], "{path}");
    }
}

#[test]
fn every_path_that_leaves_swamps_cache_is_refused_here() {
    for case in json("vectors/assert_safe_path.json")["cases"].as_array().unwrap() {
        let admitted = DataKey::admit(case["rel"].as_str().unwrap());
        assert!(case["ok"] == true || admitted == Err(Refusal::DotPart), "{case}");
    }
}

#[test]
fn the_full_index_has_its_entries_and_times() {
    let full = index("v1-full.json");
    assert_eq!(full.len(), 11);
    let entry = full.get("data/probe/m-0002/result/2/raw").unwrap();
    assert_eq!(entry.size, Some(6));
    assert_eq!(entry.last_modified.unwrap().time().unwrap().to_string(), "2026-08-01T09:30:01.250Z");
    assert_eq!(
        entry.sha256.unwrap().to_string(),
        "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    );
}

#[test]
fn an_old_pretty_index_without_hashes_is_read() {
    let legacy = index("v1-legacy-pretty-no-sha.json");
    let entry = legacy.get("data/probe/m-0002/result/1/raw").unwrap();
    assert_eq!((entry.size, entry.sha256), (Some(6), None));
    assert!(is_compact(&legacy.to_bytes()));
    assert_eq!(
        index("discovered.json").entries().filter(|(_, entry)| entry.local_mtime.is_none()).count(),
        2
    );
}

#[test]
fn zombies_are_scrubbed_and_named() {
    let mut zombies = index("v1-with-zombies.json");
    assert_eq!(
        zombies.scrub(),
        ["_catalog.db", "data/_catalog.db-wal", "data/probe/m-0002/.lock", "_index/_meta.json"]
    );
    assert_eq!(zombies.keys().collect::<Vec<_>>(), ["data/probe/m-0002/result/2/raw"]);
    assert!(zombies.scrub().is_empty());
}

#[test]
fn unknown_members_survive_also_in_an_entry_that_is_set() {
    let mut odd = index("v1-unknown-fields.json");
    let before = bytes("index/v1-unknown-fields.json");
    assert_eq!(odd.to_bytes(), before);
    let key = DataKey::admit("data/probe/m-0002/result/2/raw").unwrap();
    let entry = odd.get(key.as_str()).unwrap();
    assert_eq!(entry.attributes.mode, Some(0o644));
    odd.set(&key, &entry);
    assert_eq!(odd.to_bytes(), before);
}

#[test]
fn a_traversing_key_stays_in_the_document_and_is_refused_at_the_door() {
    let hostile = index("v1-path-traversal.json");
    assert_eq!(hostile.to_bytes(), bytes("index/v1-path-traversal.json"));
    let refused: Vec<_> = hostile.keys().map(DataKey::admit).collect();
    assert_eq!(refused, [Err(Refusal::DotPart)]);
}

#[test]
fn a_corrupt_index_is_an_error_that_names_the_place() {
    let error = Index::parse(&bytes("index/v1-corrupt.json")).unwrap_err();
    assert_eq!(error.to_string(), "Index is damaged at line 1, column 27");
    assert!(index("v1-no-entries.json").is_empty());
}

#[test]
fn meta_documents_are_accepted_as_swamp_accepts_them() {
    let meta = |name: &str| Meta::parse(&bytes(&format!("index/{name}"))).unwrap();
    assert_eq!(meta("meta-v1.json").unwrap().role, ShardRole::Copies);
    let current = meta("meta-v2.json").unwrap();
    assert_eq!((current.role, current.partitions.len()), (ShardRole::Truth { commit_seq: Some(42) }, 9));
    assert_eq!(meta("meta-v2-lastCompacted.json").unwrap().role, ShardRole::Truth { commit_seq: Some(7) });
    assert_eq!(meta("meta-v2-lists-missing-shard.json").unwrap().partitions.len(), 2);
    assert_eq!(meta("meta-v3-unknown.json"), None);
    assert!(Shard::parse(&bytes("index/shard-unknown-version.json")).unwrap().is_none());
    assert!(!Shard::parse(&bytes("index/shard.json")).unwrap().unwrap().is_empty());
}

#[test]
fn entries_of_the_sharded_bucket_are_in_the_shards_that_the_rule_names() {
    for (name, text) in files("bucket-v2/_index", 10) {
        let Some(partition) = name.strip_suffix(".json").filter(|name| *name != "_meta") else { continue };
        for (key, _) in Shard::parse(&text).unwrap().unwrap().entries() {
            assert_eq!(partition_key(key).as_deref(), Some(partition), "{key}");
        }
    }
}

#[test]
fn the_example_in_the_documentation_is_read_with_its_meaning_and_written_the_same() {
    let page = include_str!("../docs/FORMAT.md");
    let example = page.split("```json\n").nth(1).unwrap().split("\n```").next().unwrap();
    let mut index = Index::parse(example.as_bytes()).unwrap();
    let run = index.get("bin/run").unwrap();
    assert_eq!(run.attributes.mode, Some(0o755));
    assert_eq!(run.attributes.mtime_ns, Some(1_785_576_598_123_456_789));
    assert_eq!(run.attributes.xattrs["user.note"], b"hi");
    assert_eq!(run.version.as_ref().unwrap().as_str(), "9f2c61c0a4b7d3e8f1a2b3c4d5e6f708");
    let link = index.get("bin/latest").unwrap();
    assert_eq!(link.symlink.as_deref(), Some("run"));
    assert!(index.dir("empty").unwrap().is_default());
    for (name, entry) in [("bin/run", run), ("bin/latest", link)] {
        index.set(&DataKey::admit(name).unwrap(), &entry);
    }
    let private = index.dir("private").unwrap();
    index.set_dir(&DataKey::admit("private").unwrap(), &private);
    let written = String::from_utf8(index.to_bytes()).unwrap();
    assert_eq!(written, example);
}

/// Any JSON value that is small.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("\\PC{0,4}", inner, 0..4).prop_map(Value::from_iter),
        ]
    })
}

fn any_members() -> impl Strategy<Value = BTreeMap<String, Value>> {
    proptest::collection::btree_map("x\\PC{0,5}", any_json(), 0..5)
}

proptest! {
    #[test]
    fn members_unknown_to_us_survive_every_change(
        top in any_members(),
        entries in proptest::collection::btree_map("[a-c]{1,2}", any_members(), 1..5),
        pretty in any::<bool>(),
        size in any::<u32>(),
    ) {
        let mut document = serde_json::json!({ "version": 1, "entries": entries });
        document.as_object_mut().unwrap().extend(top.clone());
        let text = if pretty { format!("{document:#}") } else { document.to_string() };
        let mut index = Index::parse(text.as_bytes()).unwrap();
        for key in entries.keys() {
            let entry = Entry { size: Some(size.into()), ..Entry::default() };
            index.set(&DataKey::admit(key).unwrap(), &entry);
        }
        index.remove("not there");
        let after: Value = serde_json::from_slice(&index.to_bytes()).unwrap();
        for (name, value) in &top {
            prop_assert_eq!(&after[name], value);
        }
        for (key, members) in &entries {
            prop_assert_eq!(&after["entries"][key]["size"], &Value::from(size));
            for (name, value) in members {
                prop_assert_eq!(&after["entries"][key][name], value);
            }
        }
    }

    #[test]
    fn a_document_cut_short_is_never_an_index(cut in 0usize..1000) {
        let full = bytes("index/v1-full.json");
        let cut = cut % full.len();
        prop_assert!(Index::parse(&full[..cut]).is_err());
    }

    #[test]
    fn no_bytes_make_reading_panic(noise in proptest::collection::vec(any::<u8>(), 0..60)) {
        drop((Index::parse(&noise), Meta::parse(&noise), Shard::parse(&noise), Sidecar::parse(&noise)));
    }
}

#[test]
fn every_lock_that_swamp_wrote_is_read_and_comes_out_byte_for_byte() {
    for (name, text) in files("golden/locks", 14).into_iter().chain(files("locks", 6)) {
        let body = LockBody::parse(&text);
        // What the scenarios put there themselves: `{}`, `not json`, text.
        let is_lock = text.len() > 100;
        assert_eq!(body.is_some(), is_lock, "{name}");
        let Some(body) = body else { continue };
        assert_eq!(body.to_bytes(), text, "{name}");
        assert_eq!(body.nonce.is_none(), name.contains("without-nonce"), "{name}");
        assert!(body.holder.ends_with(&format!("@{}", body.hostname)) && body.pid.is_some(), "{name}");
        assert_eq!(body.acquired_at.time().unwrap().to_string(), body.acquired_at.as_str(), "{name}");
    }
}
