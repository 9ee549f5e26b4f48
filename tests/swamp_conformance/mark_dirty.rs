//! Every change is known by its name, however many there are, and nothing else is looked at
//! (C-47 to C-54).

use bayou::cache::ROOT;

use super::peer::{FILE, PeerOptions};
use super::world::{INDEX, World};
use super::{clean_peer, uploads};

on_both_stores!(
    c_49_and_c_53_and_c_54_a_push_sends_only_what_changed,
    c_50_any_number_of_changes_is_known_by_name,
    c_51_no_name_leads_out_of_the_tree,
    c_52_what_is_not_known_any_more_is_compared_and_removes_nothing,
);

async fn c_49_and_c_53_and_c_54_a_push_sends_only_what_changed(world: World) {
    let peer = clean_peer(&world).await;
    (0..20).for_each(|n| peer.write(&format!("data/{n}"), "x"));
    peer.push().await;
    peer.forget_requests();
    peer.write("data/7", "changed");
    assert_eq!(peer.pending(), ["data/7"]);
    peer.push().await;
    let puts: Vec<_> = peer.requests().into_iter().filter(|one| one.starts_with("put data/")).collect();
    assert_eq!(puts, ["put data/7"]);
}

async fn c_50_any_number_of_changes_is_known_by_name(world: World) {
    let peer = clean_peer(&world).await;
    (0..300).for_each(|n| peer.write(&format!("d{}/{n}", n % 7), n.to_string()));
    peer.push().await;
    peer.forget_requests();
    (0..201).for_each(|n| peer.write(&format!("d{}/{n}", n % 7), "other"));
    assert_eq!(peer.pending().len(), 201);
    assert_eq!(peer.push().await.pushed, 201);
    let asked = peer.requests();
    assert_eq!(uploads(&asked).len(), 201);
    assert!(!asked.iter().any(|one| one.starts_with("delete d")), "{asked:?}");
    assert_eq!(world.index_keys().await.len(), 301);
}

async fn c_51_no_name_leads_out_of_the_tree(world: World) {
    let peer = clean_peer(&world).await;
    for name in ["..", ".", "", "../../x", "/etc", "a\0b"] {
        assert!(peer.cache.create(ROOT, name, FILE).is_err(), "{name:?}");
        assert!(peer.cache.make_folder(ROOT, name, FILE).is_err(), "{name:?}");
        assert!(peer.cache.make_symlink(ROOT, name, FILE, "x").is_err(), "{name:?}");
    }
    assert_eq!(peer.pending(), [""; 0]);
    assert!(peer.is_clean());
    // Where a link leads is nobody's business but its reader's.
    peer.symlink("out", "../../etc/passwd");
    peer.push().await;
    assert_eq!(world.index_keys().await, ["data/a", "out"]);
}

async fn c_52_what_is_not_known_any_more_is_compared_and_removes_nothing(world: World) {
    let peer = clean_peer(&world).await;
    peer.write("data/b", "two");
    peer.push().await;
    peer.write("data/b", "changed");
    let (folder, _home) = peer.stop();
    for entry in std::fs::read_dir(folder.join("state")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("catalog") || path.to_string_lossy().contains("journal") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    again.push().await;
    assert!(!again.requests().iter().any(|one| one.starts_with("delete data/")));
    assert!(world.index_keys().await.len() >= 2, "nothing is taken for removed");
    let fresh = world.peer().await;
    assert_eq!(fresh.text("data/a").await, "one");
    let mut contents = Vec::new();
    for path in fresh.files() {
        contents.push(fresh.text(&path).await);
    }
    assert!(contents.contains(&"changed".to_owned()), "{contents:?}");
    assert!(world.object(INDEX).await.is_some());
}
