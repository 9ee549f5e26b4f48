//! Names that stores have been caught confusing.

use super::{Candidate, body_of, key, keys_below, put};
use bayou::store::{Condition, PutOptions};
use bytes::Bytes;

/// Names that have a meaning to somebody: to paths, URLs, XML, shells or other systems.
#[rustfmt::skip]
const HOSTILE: &[&str] = &[
    "a", "a/b", "a/b/c", "a//b", "a/./b", "a/../b", "dir", "dir/", "/x", "//x", "x", "../x", ".", "..",
    "./x", " ", "\u{3000}", "\t\n", " a", "a ", "a b/c d", "a+b", "a%2Fb", "a%2fb", "%", "%%", "100%", "a?b", "a?versions",
    "a#b", "a&b=c", "a;b", "a:b", "a=b", "a,b", "a@b", "a$b", "a!b", "a*b", "a'b", "a\"b", "a`b", "a|b",
    "a^b", "a~b", "a(b)", "a[b]", "a{b}", "<a>&amp;", "back\\slash", "..\\x", "tab\tkey", "line\nbreak",
    "cr\rkey", "\u{1}ctl", "\u{7f}del", "üñï/cødé", "日本語/キー", "🦀", "e\u{301}", "é", "\u{200b}zero",
    "\u{202e}rtl", "\u{feff}bom", "\u{10ffff}", ".hidden", "con", "nul.txt", "-flag", "~", "A",
    "lost+found",
];

/// Keys that are all different and must all live side by side.
fn hostile() -> Vec<String> {
    let mut keys: Vec<String> = HOSTILE.iter().map(|key| (*key).to_owned()).collect();
    keys.push("k".repeat(1024));
    keys.push("p".repeat(300));
    keys.push(format!("{}/{}/end", "q".repeat(256), "r".repeat(600)));
    keys.push("d/".repeat(512));
    keys.push("ü".repeat(512));
    keys.push(format!("{}z", "/".repeat(100)));
    keys
}

pub(crate) async fn hostile_keys_are_kept_apart_and_come_back_exactly(candidate: &Candidate) {
    let store = &candidate.store;
    // The wrapped candidate's prefix takes some bytes of the longest keys.
    let room = 1024 - candidate.prefix_bytes;
    let mut keys: Vec<String> = hostile().into_iter().filter(|key| key.len() <= room).collect();
    if !candidate.takes_line_breaks {
        let options = PutOptions::when(Condition::Always);
        assert!(store.put(&key("line\nbreak"), Bytes::new(), &options).await.is_err(), "it has learnt it");
        keys.retain(|key| !key.contains('\n'));
    }
    for name in &keys {
        put(store, name, name.clone()).await;
    }
    for name in &keys {
        assert_eq!(body_of(store, name).await, name.as_bytes(), "{name:?}");
        let meta = store.head(&key(name)).await.unwrap();
        assert_eq!(meta.map(|meta| meta.size), Some(name.len() as u64), "{name:?}");
    }
    keys.sort_unstable();
    assert_eq!(sorted(keys_below(store, "").await), keys);
    for prefix in ["a/", "/", "d/d/", "a%", "e", ".."] {
        let below: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert_eq!(sorted(keys_below(store, prefix).await), below, "prefix {prefix:?}");
    }
    copies_of_hostile_keys(candidate, &keys).await;
    for name in &keys {
        store.delete(&key(name), &Condition::Always).await.unwrap();
        assert_eq!(store.head(&key(name)).await.unwrap(), None, "{name:?}");
    }
    assert_eq!(keys_below(store, "").await, Vec::<String>::new());
}

/// The few keys that a service cannot name as they are come elsewhere in a listing.
fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort_unstable();
    keys
}

async fn copies_of_hostile_keys(candidate: &Candidate, keys: &[String]) {
    let store = &candidate.store;
    for name in keys {
        let version = store.head(&key(name)).await.unwrap().unwrap().version;
        let target = key("copy of a hostile key");
        let options = PutOptions::when(Condition::Always);
        store.copy(&key(name), &version, &target, &options).await.unwrap();
        assert_eq!(body_of(store, target.as_str()).await, name.as_bytes(), "{name:?}");
    }
    store.delete(&key("copy of a hostile key"), &Condition::Always).await.unwrap();
}

pub(crate) async fn keys_that_differ_only_in_unicode_form_are_two_keys(candidate: &Candidate) {
    let store = &candidate.store;
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    put(store, composed, "composed").await;
    put(store, decomposed, "decomposed").await;
    assert_eq!(body_of(store, composed).await, "composed");
    assert_eq!(body_of(store, decomposed).await, "decomposed");
    assert_eq!(keys_below(store, "caf").await, [decomposed, composed]);
}
