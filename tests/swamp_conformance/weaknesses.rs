//! What swamp is known to lose (W-0 to W-31): we do not.

use std::sync::Arc;

use bayou_test_server::{Action, Fault, Gate, Op, Refusal};
use serde_json::json;

use super::clean_peer;
use super::neighbour::Neighbour;
use super::peer::{LOCK, Peer, PeerOptions};
use super::swamp::Lock;
use super::world::{INDEX, World};

on_both_stores!(
    w_5_a_change_of_the_same_size_is_seen_and_what_is_gone_stays_gone,
    w_6_an_object_is_shown_whole_as_it_is_and_bytes_that_break_on_the_way_are_never_believed,
    w_13_what_atomic_writes_and_locks_of_others_leave_behind_is_no_data,
    w_22_a_folder_that_is_changed_here_keeps_what_others_put_into_it,
    w_23_who_lost_the_lock_commits_nothing_and_takes_it_from_nobody,
);

/// Fills a folder and returns the machine, which is clean.
async fn with_folder(world: &World) -> Peer {
    let peer = clean_peer(world).await;
    (0..8).for_each(|n| peer.write(&format!("dir/{n}"), n.to_string()));
    assert!(peer.push().await.settled);
    peer.forget_requests();
    peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w_2b_a_file_that_vanishes_during_a_push_takes_no_other_with_it() {
    let world = World::s3().await;
    let peer = Arc::new(with_folder(&world).await);
    peer.symlink("dir/dangling", "nowhere");
    peer.write("dir/.tmp-1", "half");
    peer.write("dir/0", "changed");
    let gate = Gate::new();
    world.server().fault(Fault::on(Op::PutObject, Action::Hold(gate.clone())).key("dir/.tmp-1").first(1));
    let pushing = tokio::spawn({
        let peer = Arc::clone(&peer);
        async move { peer.push().await }
    });
    gate.wait_for(1).await;
    peer.remove("dir/.tmp-1");
    gate.open();
    pushing.await.unwrap();
    peer.push().await;
    let fresh = world.peer().await;
    assert_eq!(fresh.files().len(), 10, "{:?}", fresh.files());
    assert_eq!(fresh.text("dir/0").await, "changed");
    for n in 1..8 {
        assert_eq!(fresh.text(&format!("dir/{n}")).await, n.to_string());
    }
    assert_eq!(fresh.cache.read_link(fresh.ino("dir/dangling")).unwrap(), "nowhere");
}

async fn w_5_a_change_of_the_same_size_is_seen_and_what_is_gone_stays_gone(world: World) {
    let peer = clean_peer(&world).await;
    peer.write("data/latest", "1");
    peer.push().await;
    let stale = world.peer().await;
    assert_eq!(stale.text("data/latest").await, "1");
    assert!(stale.push().await.settled);
    // Swamp writes the next version marker, and removes the other file.
    world.put("data/latest", "2").await;
    let entry = json!({
        "key": "data/latest", "size": 1, "lastModified": "2026-08-01T09:30:01.250Z",
        "localMtime": "2026-08-01T09:30:01.250Z",
        "sha256": bayou::model::content_hash::ContentHash::of(b"2").to_string(),
    });
    world.delete("data/a").await;
    world
        .edit_index(|entries| {
            entries.insert("data/latest".to_owned(), entry);
            entries.remove("data/a");
        })
        .await;
    stale.write("mine", "x");
    stale.push().await;
    stale.pull().await;
    assert_eq!(stale.text("data/latest").await, "2");
    assert_eq!(world.object("data/latest").await.unwrap(), "2", "and is not put back");
    assert_eq!(world.index_keys().await, ["data/latest", "mine"]);
    assert_eq!(world.data_keys().await, ["data/latest", "mine"]);
    assert_eq!(stale.files(), ["data/latest", "mine"]);
}

async fn w_6_an_object_is_shown_whole_as_it_is_and_bytes_that_break_on_the_way_are_never_believed(
    world: World,
) {
    let peer = clean_peer(&world).await;
    peer.write("data/b", "0123456789");
    peer.push().await;
    for wrong in ["01234", "9876543210", ""] {
        world.put("data/b", wrong).await;
        let reader = world.peer().await;
        // A writer puts the object before its entry: it is shown whole, as it is, or not at all.
        if let Ok(seen) = reader.try_read("data/b").await {
            assert_eq!(seen, wrong.as_bytes());
            let size = reader.cache.attr(reader.ino("data/b")).unwrap().size;
            assert_eq!(size, wrong.len() as u64);
        }
        reader.push().await;
        assert_eq!(world.object("data/b").await.unwrap(), wrong, "who only reads replaces nothing");
        let entry = world.index().await["entries"]["data/b"].clone();
        assert!(entry["size"] == wrong.len() || entry["sha256"].is_string(), "{entry}");
    }
    let Some(server) = world.s3_server() else { return };
    peer.write("data/c", "0123456789");
    peer.push().await;
    for action in [Action::CorruptBody(3), Action::ShortBody(4)] {
        let reader = world.peer().await;
        server.fault(Fault::on(Op::GetObject, action.clone()).key("data/c"));
        assert!(reader.try_read("data/c").await.is_err(), "{action:?}");
        server.clear_faults();
        assert_eq!(reader.text("data/c").await, "0123456789");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w_8_a_push_that_fails_forgets_no_removal() {
    let world = World::s3().await;
    let peer = with_folder(&world).await;
    peer.remove("dir/3");
    peer.write("dir/new", "x");
    let refused = Action::Refuse(Refusal::internal_error());
    let fault = world.server().fault(Fault::on(Op::PutObject, refused).key("dir/new"));
    peer.push_fails().await;
    fault.remove();
    let (folder, _home) = peer.stop();
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    again.push().await;
    assert!(!world.index_keys().await.contains(&"dir/3".to_owned()));
    assert!(!world.data_keys().await.contains(&"dir/3".to_owned()));
    assert_eq!(world.peer().await.text("dir/new").await, "x");
}

async fn w_13_what_atomic_writes_and_locks_of_others_leave_behind_is_no_data(world: World) {
    let leftovers = [
        ".locks/infra.lock",
        ".3f0e8c1e-4e6f-4f2e-8a0b-0c0d0e0f0001.tmp",
        "data/.3f0e8c1e-4e6f-4f2e-8a0b-0c0d0e0f0002.tmp",
    ];
    for key in leftovers.into_iter().chain(["data/f", ".locks.txt", "data/notes.tmp", "data/.vimrc.tmp"]) {
        world.put_foreign(key, "x").await;
    }
    let peer = world.peer().await;
    assert_eq!(peer.files(), [".locks.txt", "data/.vimrc.tmp", "data/f", "data/notes.tmp"]);
    assert_eq!(world.index_keys().await, peer.files());
    peer.write("new", "x");
    peer.push().await;
    for key in leftovers {
        assert!(world.object(key).await.is_some(), "{key} is not ours to remove");
    }
    // Nor do we leave any.
    let ours = world
        .keys()
        .await
        .into_iter()
        .filter(|key| key.ends_with(".tmp") && !leftovers.contains(&key.as_str()));
    assert_eq!(ours.collect::<Vec<_>>(), ["data/.vimrc.tmp", "data/notes.tmp"]);
}

async fn w_22_a_folder_that_is_changed_here_keeps_what_others_put_into_it(world: World) {
    let peer = with_folder(&world).await;
    let other = world.peer().await;
    other.write("dir/theirs", "unseen");
    other.push().await;
    peer.remove("dir/1");
    peer.write("dir/2", "changed");
    peer.push().await;
    let fresh = world.peer().await;
    assert_eq!(fresh.text("dir/theirs").await, "unseen");
    assert!(!fresh.has("dir/1"));
    // Nor does it go when we remove the folder as far as we know it.
    let third = world.peer().await;
    other.write("dir/late", "unseen too");
    other.push().await;
    for name in third.files().into_iter().filter(|name| name.starts_with("dir/")) {
        third.remove(&name);
    }
    third.rmdir("dir");
    third.push().await;
    assert_eq!(world.object("dir/late").await.unwrap(), "unseen too");
    assert_eq!(world.peer().await.text("dir/late").await, "unseen too");
}

async fn w_23_who_lost_the_lock_commits_nothing_and_takes_it_from_nobody(world: World) {
    let world = Arc::new(world);
    let swamp = Neighbour::new(&world);
    let peer = clean_peer(&world).await;
    let before = world.object(INDEX).await;
    let held = peer.sync.lock().hold().await.unwrap();
    // A thief, as swamp is one: it deletes the lock and makes its own.
    world.delete(LOCK).await;
    let thief = Lock::new(&swamp.bucket, LOCK);
    assert!(thief.try_acquire().await.unwrap());
    peer.write("data/b", "two");
    peer.push_fails().await;
    assert_eq!(world.object(INDEX).await, before, "nothing is committed without the lock");
    assert_eq!(peer.pending(), ["data/b"]);
    drop(held);
    peer.sync.lock().idle().await;
    assert!(world.object(LOCK).await.is_some(), "the thief's lock is the thief's");
    thief.release().await.unwrap();
    assert!(peer.push().await.settled);
    assert_eq!(world.index_keys().await, ["data/a", "data/b"]);
    assert_eq!(world.peer().await.text("data/b").await, "two");
}
