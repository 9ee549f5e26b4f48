//! Contents come when they are read, and what has not come is not gone (C-74 to C-83).

use super::peer::{Peer, PeerOptions};
use super::uploads;
use super::world::World;

on_both_stores!(
    c_75_a_pull_brings_names_and_no_content,
    c_80_what_was_not_fetched_is_never_taken_for_removed,
    c_82_what_was_not_fetched_is_not_removed_by_the_next_process,
);

/// A model's data as swamp lays it out.
const RAW: [&str; 2] = ["data/probe/m/result/1/raw", "data/probe/m/result/2/raw"];

/// Brings two contents and their metadata into the bucket.
async fn with_models(world: &World) {
    let writer = world.peer().await;
    for raw in RAW {
        writer.write(raw, raw);
        writer.write(&raw.replace("raw", "metadata.yaml"), "a: 1");
    }
    writer.write("data/probe/m/result/latest", "2");
    assert!(writer.push().await.settled);
}

async fn check_all_there(world: &World, names: usize) {
    assert_eq!(world.index_keys().await.len(), names);
    let fresh = world.peer().await;
    for raw in RAW {
        assert_eq!(fresh.text(raw).await, raw);
    }
}

async fn c_75_a_pull_brings_names_and_no_content(world: World) {
    with_models(&world).await;
    let reader = world.stranger(PeerOptions::default()).await;
    reader.sync.start().await.unwrap();
    let asked = reader.requests();
    assert!(!asked.iter().any(|one| one.starts_with("get data/")), "{asked:?}");
    assert_eq!(reader.files().len(), 5);
    assert!(reader.tree().contains(&"data/probe/m/result/1/".to_owned()));
    assert_eq!(reader.cache.attr(reader.ino(RAW[0])).unwrap().size, RAW[0].len() as u64);
    assert_eq!(reader.text(RAW[0]).await, RAW[0]);
    assert_eq!(reader.requests(), [format!("get {}", RAW[0])]);
}

fn add_version(reader: &Peer) {
    reader.write("data/probe/m/result/3/raw", "new");
    reader.write("data/probe/m/result/latest", "3");
}

async fn c_80_what_was_not_fetched_is_never_taken_for_removed(world: World) {
    with_models(&world).await;
    let reader = world.peer().await;
    add_version(&reader);
    reader.push().await;
    let asked = reader.requests();
    assert_eq!(uploads(&asked).len(), 2, "{asked:?}");
    assert!(!asked.iter().any(|one| one.starts_with("delete data/")), "{asked:?}");
    check_all_there(&world, 6).await;
}

async fn c_82_what_was_not_fetched_is_not_removed_by_the_next_process(world: World) {
    with_models(&world).await;
    let reader = world.peer().await;
    add_version(&reader);
    let (folder, _home) = reader.stop();
    let again = world.stranger(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    again.push().await;
    assert!(!again.requests().iter().any(|one| one.starts_with("delete data/")));
    check_all_there(&world, 6).await;
}
