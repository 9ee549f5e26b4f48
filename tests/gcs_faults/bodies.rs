//! Bodies that break off, stop, are too short or damaged.

use super::*;
use bayou_test_server::{Action, Fault, Op, Refusal};

#[tokio::test]
async fn a_body_that_breaks_off_is_resumed_where_it_broke() {
    let stage = Stage::set().await;
    let generation = stage.server.put_object("bucket", "a", pattern(MIB));
    stage.server.fault(Fault::on(Op::GetObject, Action::CutBody(300_000)).first(1));
    let fetched = stage.store.get(&key("a"), None, None).await.unwrap();
    assert!(fetched.body == pattern(MIB));
    let requests = stage.server.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert_eq!(requests[1].if_generation_match, Some(generation));
    let range = requests[1].range.as_deref().unwrap();
    assert!(range.ends_with("-1048575") && range != "bytes=0-1048575", "{range}");
}

#[tokio::test]
async fn a_connection_that_breaks_again_and_again_still_brings_the_whole_range() {
    let stage = Stage::set().await;
    stage.server.put_object("bucket", "a", pattern(3 * MIB));
    stage.server.fault(Fault::on(Op::GetObject, Action::CutBody(200_000)));
    let range = 100..3 * MIB as u64 - 100;
    let fetched = stage.store.get(&key("a"), Some(range), None).await.unwrap();
    assert!(fetched.body == pattern(3 * MIB).slice(100..3 * MIB - 100));
    assert!(stage.server.count_all() > 8, "more breaks than there are attempts without progress");
    assert_eq!(fetched.meta.size, 3 * MIB as u64);
}

#[tokio::test]
async fn an_object_that_is_replaced_while_it_is_read_is_never_mixed() {
    let replace = |server: &GcsServer| {
        server.put_object("bucket", "a", vec![7; 2 * MIB]);
    };
    let stage = Stage::set_with(replace).await;
    stage.server.put_object("bucket", "a", pattern(MIB));
    let first_is_cut = Fault::on(Op::GetObject, Action::CutBody(300_000)).first(1);
    stage.server.fault(first_is_cut.clone());
    let fetched = stage.store.get(&key("a"), None, None).await.unwrap();
    assert!(fetched.body == vec![7; 2 * MIB]);

    stage.server.put_object("bucket", "a", pattern(MIB));
    let version = stage.version("a");
    stage.server.fault(first_is_cut);
    let refused = stage.store.get(&key("a"), None, Some(&version)).await;
    assert_eq!(kind(refused), Some(ErrorKind::Changed));
}

#[tokio::test]
async fn a_body_that_is_too_short_is_not_believed() {
    for range in [None, Some(1_000..500_000)] {
        let stage = Stage::set().await;
        stage.server.put_object("bucket", "a", pattern(MIB));
        stage.server.fault(Fault::on(Op::GetObject, Action::ShortBody(1_234)).first(2));
        let fetched = stage.store.get(&key("a"), range.clone(), None).await.unwrap();
        let expected = range.map_or(0..MIB, |_| 1_000..500_000);
        assert!(fetched.body == pattern(MIB).slice(expected));
        assert_eq!(stage.server.count(Op::GetObject), 3);
    }
}

#[tokio::test]
async fn a_whole_body_that_is_damaged_is_not_believed() {
    let stage = Stage::set().await;
    stage.server.put_object("bucket", "a", pattern(MIB));
    stage.server.fault(Fault::on(Op::GetObject, Action::CorruptBody(777_777)).first(1));
    let fetched = stage.store.get(&key("a"), None, None).await.unwrap();
    assert!(fetched.body == pattern(MIB));
    assert_eq!(stage.server.count(Op::GetObject), 2);
}

#[tokio::test]
async fn an_object_that_grew_while_it_was_read_is_read_again() {
    let stage = Stage::set().await;
    stage.server.put_object("bucket", "a", pattern(1_000));
    let beyond_the_end = Action::Refuse(Refusal::new(416, "requestedRangeNotSatisfiable"));
    stage.server.fault(Fault::on(Op::GetObject, beyond_the_end).first(1));
    let fetched = stage.store.get(&key("a"), Some(500..1_000), None).await.unwrap();
    assert_eq!(fetched.body, pattern(1_000).slice(500..));
    assert_eq!(stage.server.count(Op::GetObject), 2);
}

#[tokio::test]
async fn an_upload_that_breaks_off_or_arrives_damaged_is_sent_again() {
    for action in [Action::CutUpload(1_000_000), Action::CorruptUpload(1_000_000)] {
        let stage = Stage::set().await;
        stage.server.fault(Fault::on(Op::PutObject, action.clone()).first(2));
        stage.store.put(&key("a"), pattern(4 * MIB), &when(Condition::Always)).await.unwrap();
        assert!(stage.body("a") == pattern(4 * MIB), "{action:?}");
        assert_eq!(stage.server.count(Op::PutObject), 3, "{action:?}");
    }
}
