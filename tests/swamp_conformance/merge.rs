//! Nobody's entries are lost when indexes are merged, and an error is not an empty index (C-19 to
//! C-21).

use bayou_test_server::{Action, Fault, Op, Refusal};

use super::clean_peer;
use super::peer::PeerOptions;
use super::world::{INDEX, World};

on_both_stores!(c_19_a_push_adds_to_what_is_there, c_21_a_new_process_sees_what_changed_meanwhile,);

async fn c_19_a_push_adds_to_what_is_there(world: World) {
    let other = clean_peer(&world).await;
    let peer = world.stranger(PeerOptions::default()).await;
    peer.write("c", "mine");
    other.write("data/b", "two");
    other.push().await;
    peer.push().await;
    assert_eq!(world.index_keys().await, ["c", "data/a", "data/b"]);
    assert_eq!(peer.files(), ["c", "data/a", "data/b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_20_an_error_is_not_an_empty_index() {
    let world = World::s3().await;
    clean_peer(&world).await;
    for (status, code) in [(500, "InternalError"), (403, "AccessDenied")] {
        let peer = world.stranger(PeerOptions::default()).await;
        peer.write("mine", "x");
        let refused = Action::Refuse(Refusal::new(status, code));
        let fault = world.server().fault(Fault::on(Op::GetObject, refused).key(INDEX));
        world.server().reset_counts();
        peer.push_fails().await;
        let index_puts = world.server().requests().into_iter();
        assert_eq!(index_puts.filter(|one| one.op == Op::PutObject && one.key == INDEX).count(), 0);
        assert_eq!(peer.pending(), ["mine"]);
        fault.remove();
        world.delete("mine").await;
    }
    assert_eq!(world.index_keys().await, ["data/a"]);
}

async fn c_21_a_new_process_sees_what_changed_meanwhile(world: World) {
    let (folder, _home) = clean_peer(&world).await.stop();
    let other = world.peer().await;
    other.write("data/b", "two");
    other.push().await;
    let again = world.peer_with(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    assert_eq!(again.text("data/b").await, "two");
}
