//! Files with several names: sent once, and one file on every machine.

use bayou::cache::Ino;
use bayou::cache::attributes::SetAttr;
use bayou::sync::{OnConflict, SyncError, SyncOptions};

use super::peer::{Peer, PeerOptions};
use super::upkeep::upkeep;
use super::world::{INDEX, World};

on_both_stores!(
    what_has_several_names_is_sent_once_and_copied,
    a_second_name_of_what_is_in_the_bucket_sends_nothing,
    a_large_file_with_several_names_is_sent_once,
    a_write_through_one_name_is_seen_under_all_elsewhere,
    an_fsync_brings_all_names_to_the_bucket,
    a_name_that_waits_for_two_others_is_sent_once,
    a_name_is_sent_although_the_first_of_its_file_may_not_be,
    a_name_that_goes_leaves_the_others_and_fetches_nothing,
    a_renamed_folder_keeps_its_links,
    a_link_made_elsewhere_while_the_file_changes_here_joins_it,
    links_are_found_again_by_the_next_process,
    links_survive_a_crash_before_any_push,
    names_in_different_shards_are_one_file_when_both_shards_say_so,
    a_rebuild_finds_the_groups_of_what_was_uploaded_as_such,
    links_of_links_and_pipes_are_kept,
    a_chain_of_machines_ends_with_the_same_file,
);

pub(super) fn links(peer: &Peer, path: &str) -> u32 {
    peer.cache.attr(peer.ino(path)).unwrap().links
}

pub(super) fn is_one(peer: &Peer, paths: &[&str]) -> bool {
    let inos: Vec<Ino> = paths.iter().map(|path| peer.ino(path)).collect();
    inos.iter().all(|ino| *ino == inos[0]) && links(peer, paths[0]) as usize == paths.len()
}

async fn group_of(world: &World, key: &str) -> Option<String> {
    Some(world.index().await["entries"][key].get("link")?.as_str().unwrap().to_owned())
}

fn of_data(peer: &Peer, operation: &str) -> Vec<String> {
    let about = |one: &String| one.starts_with(&format!("{operation} ")) && !one.contains(".datastore");
    peer.requests().into_iter().filter(about).collect()
}

async fn what_has_several_names_is_sent_once_and_copied(world: World) {
    let peer = world.peer().await;
    peer.write("a", "content");
    peer.link("a", "d/b");
    assert!(is_one(&peer, &["a", "d/b"]));
    peer.forget_requests();
    assert!(peer.push().await.settled);
    let mut sent = peer.requests();
    sent.retain(|one| one.ends_with(" a") || one.ends_with(" d/b"));
    assert_eq!(sent, ["put a", "copy d/b"]);
    let group = group_of(&world, "a").await;
    assert!(group.is_some());
    assert_eq!(group_of(&world, "d/b").await, group);
    assert_eq!(world.object("d/b").await.unwrap(), "content");
    let reader = world.peer().await;
    assert!(is_one(&reader, &["a", "d/b"]));
    reader.forget_requests();
    assert_eq!((reader.text("a").await, reader.text("d/b").await), ("content".into(), "content".into()));
    assert_eq!(of_data(&reader, "get").len(), 1, "one file, fetched once");
    assert!(reader.push().await.settled);
}

async fn a_second_name_of_what_is_in_the_bucket_sends_nothing(world: World) {
    world.peer().await.write("x", "1");
    let peer = world.peer().await;
    peer.write("a", "content");
    peer.push().await;
    let reader = world.peer().await;
    reader.link("a", "b");
    reader.link("a", "c");
    reader.forget_requests();
    assert!(reader.push().await.settled);
    let sent: Vec<_> = reader.requests().into_iter().filter(|one| !one.contains(".datastore")).collect();
    assert_eq!(sent.iter().filter(|one| one.starts_with("copy")).count(), 2, "{sent:?}");
    assert!(!sent.iter().any(|one| one.starts_with("put") || one.starts_with("get")), "{sent:?}");
    peer.pull().await;
    assert!(is_one(&peer, &["a", "b", "c"]));
    assert!(peer.push().await.settled);
}

async fn a_large_file_with_several_names_is_sent_once(world: World) {
    let peer = world.peer().await;
    let bytes: Vec<u8> = (0..9_u32 << 20).map(|n| (n / 251) as u8).collect();
    peer.write("large", &bytes);
    peer.link("large", "twin");
    peer.forget_requests();
    assert!(peer.push().await.settled);
    assert_eq!((peer.count("complete_upload"), peer.count("copy")), (1, 1), "{:?}", peer.requests());
    assert!(world.object("twin").await.unwrap() == bytes);
    world.delete(INDEX).await;
    upkeep(&world).rebuild().await.unwrap();
    assert!(is_one(&world.peer().await, &["large", "twin"]));
}

async fn a_write_through_one_name_is_seen_under_all_elsewhere(world: World) {
    let (here, there) = (world.peer().await, world.peer().await);
    here.write("a", "first");
    here.link("a", "b");
    here.link("b", "c");
    here.push().await;
    there.pull().await;
    assert_eq!(there.text("c").await, "first");
    here.write_at("b", 0, "FIRST and more");
    here.forget_requests();
    assert!(here.push().await.settled);
    assert_eq!((here.count("copy"), of_data(&here, "put").len()), (2, 1));
    there.pull().await;
    assert!(is_one(&there, &["a", "b", "c"]));
    for name in ["a", "b", "c"] {
        assert_eq!(there.text(name).await, "FIRST and more", "{name}");
        assert_eq!(world.object(name).await.unwrap(), "FIRST and more", "{name}");
    }
    there.write("c", "back");
    there.cache.set_attr(there.ino("c"), SetAttr { mode: Some(0o600), ..SetAttr::default() }).unwrap();
    there.push().await;
    here.pull().await;
    assert!(is_one(&here, &["a", "b", "c"]));
    assert_eq!(here.text("a").await, "back");
    assert_eq!(here.cache.attr(here.ino("b")).unwrap().mode, 0o600);
    assert!(here.push().await.settled && there.push().await.settled);
}

async fn an_fsync_brings_all_names_to_the_bucket(world: World) {
    let peer = world.peer().await;
    peer.write("a", "one");
    peer.link("a", "b");
    peer.write("other", "not asked for");
    peer.fsync("b").await.unwrap();
    assert_eq!(world.index_keys().await, ["a", "b"]);
    peer.write_at("a", 0, "ONE");
    peer.fsync("a").await.unwrap();
    assert_eq!(world.object("b").await.unwrap(), "ONE");
    assert_eq!(peer.pending(), ["other"]);
}

async fn a_name_that_waits_for_two_others_is_sent_once(world: World) {
    world.peer().await.write("x", "1");
    let writer = world.peer().await;
    writer.write("b", vec![b'-'; 5000]);
    writer.push().await;
    let peer = world.peer().await;
    // The first of the names: the other one waits for it, and for what is fetched of its object.
    peer.link("b", "a");
    peer.write_at("a", 0, "changed");
    peer.forget_requests();
    peer.fsync("b").await.unwrap();
    let mut sent = peer.requests();
    sent.retain(|one| one.ends_with(" a") || one.ends_with(" b"));
    assert_eq!(sent, ["get b", "put a", "copy b"]);
    assert!(peer.push().await.settled);
    assert!(is_one(&world.peer().await, &["a", "b"]));
}

async fn a_name_is_sent_although_the_first_of_its_file_may_not_be(world: World) {
    world.peer().await.write("x", "1");
    let writer = world.peer().await;
    writer.write("b", vec![b'-'; 5000]);
    writer.push().await;
    let fails = SyncOptions { on_conflict: OnConflict::Fail, ..SyncOptions::default() };
    let peer = world.peer_syncing(fails).await;
    peer.link("b", "a");
    peer.write_at("a", 0, "changed");
    world.put("a", "of somebody else").await;
    let pushed = peer.sync.push_names(vec!["a".into(), "b".into()]).await;
    assert!(matches!(pushed, Err(SyncError::Conflict { .. })), "{pushed:?}");
    assert!(world.object("b").await.unwrap().starts_with(b"changed"));
}

async fn a_name_that_goes_leaves_the_others_and_fetches_nothing(world: World) {
    let writer = world.peer().await;
    writer.write("a", "content");
    writer.link("a", "b");
    writer.link("a", "c");
    writer.push().await;
    for (gone, left) in [("a", ["b", "c"]), ("b", ["c", "d"])] {
        let peer = world.peer().await;
        peer.forget_requests();
        if gone == "a" {
            peer.remove("a");
        } else {
            peer.rename("b", "d");
        }
        assert!(is_one(&peer, &left));
        assert!(peer.push().await.settled);
        assert_eq!(of_data(&peer, "get"), [""; 0], "without {gone}");
        assert!(world.object(gone).await.is_none());
        assert_eq!(world.index_keys().await, left);
        assert_eq!(peer.text(left[1]).await, "content");
        let reader = world.peer().await;
        assert!(is_one(&reader, &left));
        assert_eq!(reader.text(left[0]).await, "content");
    }
    let peer = world.peer().await;
    peer.write("e", "over");
    peer.rename("e", "c");
    assert_eq!((links(&peer, "c"), links(&peer, "d")), (1, 1));
    peer.push().await;
    let reader = world.peer().await;
    assert_eq!((reader.text("c").await, reader.text("d").await), ("over".into(), "content".into()));
}

async fn a_renamed_folder_keeps_its_links(world: World) {
    let writer = world.peer().await;
    writer.write("from/a", "content");
    writer.link("from/a", "from/b");
    writer.push().await;
    let peer = world.peer().await;
    peer.forget_requests();
    peer.rename("from", "to");
    assert!(is_one(&peer, &["to/a", "to/b"]));
    assert!(peer.push().await.settled);
    let sent = peer.requests();
    assert!(!sent.iter().any(|one| one.starts_with("get from") || one.starts_with("put to")), "{sent:?}");
    let reader = world.peer().await;
    assert_eq!(reader.files(), ["to/a", "to/b"]);
    assert!(is_one(&reader, &["to/a", "to/b"]));
    assert_eq!(reader.text("to/b").await, "content");
}

async fn a_link_made_elsewhere_while_the_file_changes_here_joins_it(world: World) {
    let (here, there) = (world.peer().await, world.peer().await);
    here.write("a", "base");
    here.push().await;
    there.pull().await;
    there.link("a", "b");
    there.push().await;
    here.write("a", "changed");
    here.pull().await;
    here.push().await;
    here.push().await;
    there.pull().await;
    assert_eq!(there.text("a").await, "changed");
    let b = there.text("b").await;
    assert!(b == "changed" || b == "base", "{b}");
    assert_eq!(here.text("b").await, b);
    assert_eq!(there.files(), here.files());
    assert_eq!(here.conflict_copies(), [""; 0]);
    assert!(here.push().await.settled && there.push().await.settled);
}

async fn links_are_found_again_by_the_next_process(world: World) {
    let peer = world.peer().await;
    peer.write("a", "content");
    peer.link("a", "b");
    peer.push().await;
    peer.write("b", "changed");
    peer.link("b", "c");
    let (folder, _home) = peer.stop();
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert!(is_one(&again, &["a", "b", "c"]));
    assert_eq!(again.text("a").await, "changed");
    assert!(again.push().await.settled);
    let reader = world.peer().await;
    assert!(is_one(&reader, &["a", "b", "c"]));
    assert_eq!(reader.text("c").await, "changed");
}

async fn links_survive_a_crash_before_any_push(world: World) {
    let peer = world.peer().await;
    peer.write("a", "content");
    peer.link("a", "b");
    peer.remove("a");
    peer.link("b", "a");
    let (folder, _home) = peer.stop();
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert!(is_one(&again, &["a", "b"]));
    assert_eq!(again.text("a").await, "content");
    again.push().await;
    assert!(is_one(&world.peer().await, &["a", "b"]));
}

async fn names_in_different_shards_are_one_file_when_both_shards_say_so(world: World) {
    world.put_fixture("bucket-v2").await;
    let (here, there) = (world.peer().await, world.peer().await);
    here.write("audit/a", "one");
    here.link("audit/a", "logs/b");
    here.link("audit/a", "src/c");
    assert!(here.push().await.settled);
    there.pull().await;
    assert!(is_one(&there, &["audit/a", "logs/b", "src/c"]));
    let torn = world.object("_index/logs.json").await.unwrap();
    here.write("src/c", "two");
    assert!(here.push().await.settled);
    let whole = world.object("_index/logs.json").await.unwrap();
    world.put("_index/logs.json", torn).await;
    let reader = world.peer().await;
    assert!(is_one(&reader, &["audit/a", "src/c"]), "the other shard says something older");
    assert_ne!(reader.ino("logs/b"), reader.ino("audit/a"));
    assert_eq!(reader.text("logs/b").await, "two", "its object is ahead of its entry");
    world.put("_index/logs.json", whole).await;
    there.pull().await;
    assert!(is_one(&there, &["audit/a", "logs/b", "src/c"]));
    assert_eq!(there.text("logs/b").await, "two");
    assert!(is_one(&world.peer().await, &["audit/a", "logs/b", "src/c"]));
}

async fn a_rebuild_finds_the_groups_of_what_was_uploaded_as_such(world: World) {
    let peer = world.peer().await;
    peer.write("a", "content");
    peer.link("a", "b");
    peer.write("c", "content");
    peer.push().await;
    world.delete(INDEX).await;
    upkeep(&world).rebuild().await.unwrap();
    let reader = world.peer().await;
    assert!(is_one(&reader, &["a", "b"]));
    assert_eq!(links(&reader, "c"), 1, "the same bytes are not the same file");
    assert_eq!(reader.text("b").await, "content");
    world.put_foreign("b", "theirs").await;
    upkeep(&world).rebuild().await.unwrap();
    let reader = world.peer().await;
    assert_ne!(reader.ino("a"), reader.ino("b"));
}

async fn links_of_links_and_pipes_are_kept(world: World) {
    use bayou::cache::ROOT;
    use bayou::model::special::Special;
    let peer = world.peer().await;
    peer.symlink("l", "target");
    peer.link("l", "m");
    peer.cache.make_special(ROOT, "p", super::peer::FILE, Special::Fifo).unwrap();
    peer.link("p", "q");
    peer.push().await;
    let reader = world.peer().await;
    assert!(is_one(&reader, &["l", "m"]) && is_one(&reader, &["p", "q"]));
    assert_eq!(reader.cache.read_link(reader.ino("m")).unwrap(), "target");
    reader.remove("p");
    assert!(reader.push().await.settled);
    peer.pull().await;
    assert_eq!((links(&peer, "q"), links(&peer, "l")), (1, 2));
}

async fn a_chain_of_machines_ends_with_the_same_file(world: World) {
    let (here, there) = (world.peer().await, world.peer().await);
    here.write("0", "begin");
    here.push().await;
    for n in 0..6_u32 {
        let (mine, other) = if n % 2 == 0 { (&there, &here) } else { (&here, &there) };
        mine.pull().await;
        mine.link(&n.to_string(), &(n + 1).to_string());
        mine.write_at(&(n + 1).to_string(), 0, format!("begin {n}"));
        assert!(mine.push().await.settled, "{n}");
        other.pull().await;
        let names: Vec<String> = (0..=n + 1).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(is_one(other, &names), "{n}");
        assert_eq!(other.text("0").await, format!("begin {n}"));
        assert!(other.push().await.settled, "{n}");
    }
}
