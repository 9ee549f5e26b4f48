//! The five rules that swamp learned the hard way, each under its name.

use super::world::World;

on_both_stores!(what_is_written_here_is_read_on_a_fresh_machine);

async fn what_is_written_here_is_read_on_a_fresh_machine(world: World) {
    let peer = world.peer().await;
    peer.write("a/ünï cödé", "one");
    peer.write("empty", "");
    peer.symlink("link", "a/ünï cödé");
    peer.mkdir("hollow");
    let report = peer.push().await;
    assert_eq!((report.pushed, report.settled), (4, true));
    assert!(peer.is_clean());
    assert!(peer.pending().is_empty());
    let reader = world.peer().await;
    assert_eq!(reader.tree(), ["a/", "a/ünï cödé", "empty", "hollow/", "link"]);
    assert_eq!(reader.text("a/ünï cödé").await, "one");
    assert_eq!(reader.text("empty").await, "");
    assert_eq!(reader.cache.read_link(reader.ino("link")).unwrap(), "a/ünï cödé");
    assert_eq!(world.data_keys().await, ["a/ünï cödé", "empty", "link"]);
}
