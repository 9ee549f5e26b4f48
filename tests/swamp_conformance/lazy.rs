//! Contents come when they are read, and what has not come is not gone (C-74 to C-83).

use super::peer::{Peer, PeerOptions};
use super::uploads;
use super::world::World;

on_both_stores!(
    c_75_a_pull_brings_names_and_no_content,
    c_80_what_was_not_fetched_is_never_taken_for_removed,
    c_82_what_was_not_fetched_is_not_removed_by_the_next_process,
    c_76_and_c_81_and_c_83_and_w_3_all_contents_come_when_they_are_asked_for,
    c_77_and_c_78_one_file_comes_when_it_is_asked_for,
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

async fn c_77_and_c_78_one_file_comes_when_it_is_asked_for(world: World) {
    with_models(&world).await;
    let reader = world.peer().await;
    assert!(reader.sync.hydrate_file(RAW[0]).await.unwrap());
    assert_eq!(reader.requests(), [format!("get {}", RAW[0])]);
    assert!(reader.sync.hydrate_file(RAW[0]).await.unwrap());
    assert_eq!(reader.text(RAW[0]).await, RAW[0]);
    assert_eq!(reader.requests(), [""; 0], "it is here");
    for missing in ["data/probe/m/result/9/raw", "data/probe", ""] {
        assert!(!reader.sync.hydrate_file(missing).await.unwrap(), "{missing:?}");
    }
    world.delete(RAW[1]).await;
    assert!(!reader.sync.hydrate_file(RAW[1]).await.unwrap(), "its object is gone");
    assert_eq!(reader.files().len(), 5, "no file is made");
    assert_eq!(reader.pending(), [""; 0], "and nothing is taken for changed");
}

async fn c_76_and_c_81_and_c_83_and_w_3_all_contents_come_when_they_are_asked_for(world: World) {
    with_models(&world).await;
    let reader = world.peer().await;
    assert!(reader.sync.hydrate_file(RAW[1]).await.unwrap());
    assert!(reader.push().await.settled);
    assert_eq!(world.index_keys().await.len(), 5, "what came for one file says nothing of the others");
    let (folder, _home) = reader.stop();
    let again = world.stranger(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    again.sync.start().await.unwrap();
    again.forget_requests();
    assert_eq!(again.sync.pull_content().await.unwrap(), 4);
    let asked = again.requests();
    assert_eq!(asked.iter().filter(|one| one.starts_with("get data/")).count(), 4, "{asked:?}");
    assert_eq!(again.sync.pull_content().await.unwrap(), 0);
    for path in again.files() {
        world.delete(&path).await;
    }
    assert_eq!(again.text(RAW[0]).await, RAW[0], "no request is needed any more");
    assert_eq!(again.requests(), [""; 0]);
}
