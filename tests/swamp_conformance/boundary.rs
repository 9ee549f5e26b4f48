//! Machinery never crosses the boundary (C-1 to C-12).

use super::world::{INDEX, World, fixture};

on_both_stores!(
    c_1_and_c_2_machinery_is_never_uploaded_or_indexed,
    c_3_and_c_4_zombies_of_the_index_are_never_shown_or_fetched,
    c_7_zombies_leave_the_bucket_with_one_push,
);

async fn c_1_and_c_2_machinery_is_never_uploaded_or_indexed(world: World) {
    let peer = world.peer().await;
    for name in ["_catalog.db", "data/_catalog.db-wal", "data/.lock", "x/.namespace.json"] {
        peer.write(name, "local");
    }
    for name in [INDEX, ".push-queue.json", ".datastore.lock", "_control", "_index"] {
        let refused = peer.cache.create(bayou::cache::ROOT, name, super::peer::FILE);
        assert!(refused.is_err(), "{name}");
    }
    for name in ["data/f", "lock", "foo.lock", "a/.locked.yaml"] {
        peer.write(name, "data");
    }
    assert!(peer.push().await.settled);
    assert_eq!(world.data_keys().await, ["a/.locked.yaml", "data/f", "foo.lock", "lock"]);
    assert_eq!(world.index_keys().await, world.data_keys().await);
    assert_eq!(peer.text("data/_catalog.db-wal").await, "local", "it works on this machine");
}

async fn with_zombies(world: &World) {
    world.put(INDEX, std::fs::read(fixture("index/v1-with-zombies.json")).unwrap()).await;
    world.put("data/probe/m-0002/result/2/raw", "hello\n").await;
    world.put("_catalog.db", "not mine").await;
}

async fn c_3_and_c_4_zombies_of_the_index_are_never_shown_or_fetched(world: World) {
    with_zombies(&world).await;
    let peer = world.peer().await;
    assert_eq!(peer.files(), ["data/probe/m-0002/result/2/raw"]);
    assert_eq!(peer.text("data/probe/m-0002/result/2/raw").await, "hello\n");
    assert_eq!(peer.requests(), ["get data/probe/m-0002/result/2/raw"]);
}

async fn c_7_zombies_leave_the_bucket_with_one_push(world: World) {
    with_zombies(&world).await;
    let peer = world.peer().await;
    peer.push().await;
    assert_eq!(world.index_keys().await, ["data/probe/m-0002/result/2/raw"]);
    assert_eq!(peer.count("put"), 1);
    peer.forget_requests();
    assert!(peer.push().await.settled);
    assert_eq!(peer.requests(), [format!("head {INDEX}")]);
    assert_eq!(world.object("_catalog.db").await.unwrap(), "not mine", "no object of others is removed");
}
