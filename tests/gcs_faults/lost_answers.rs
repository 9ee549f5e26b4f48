//! Writes that happened although their answer was lost.

use super::*;
use bayou_test_server::{Action, Fault, Op, Refusal};

/// The ways to lose an answer after the service has done its work.
fn losses() -> [Action; 2] {
    [Action::ApplyThenCut, Action::ApplyThenRefuse(Refusal::internal_error())]
}

async fn put(stage: &Stage, body: &'static str, condition: Condition) -> Result<Version> {
    stage.store.put(&key("a"), Bytes::from_static(body.as_bytes()), &when(condition)).await
}

#[tokio::test]
async fn w_28_a_conditional_put_recognises_itself() {
    for loss in losses() {
        let stage = Stage::set().await;
        stage.server.fault(Fault::on(Op::PutObject, loss).first(1));
        let created = put(&stage, "one", Condition::IfAbsent).await.unwrap();
        assert_eq!(stage.version("a"), created);
        assert_eq!((stage.server.count(Op::PutObject), stage.server.count(Op::HeadObject)), (2, 1));

        stage.server.fault(Fault::on(Op::PutObject, Action::ApplyThenCut).first(1));
        let replaced = put(&stage, "two", Condition::IfVersion(created)).await.unwrap();
        assert_eq!((stage.version("a"), stage.body("a")), (replaced, Bytes::from("two")));
    }
}

#[tokio::test]
async fn the_object_of_somebody_else_is_not_taken_for_ours() {
    let somebody = |server: &GcsServer| {
        server.put_object_with("bucket", "a", "theirs", &[("bayou-nonce", "another")]);
    };
    let stage = Stage::set_with(somebody).await;
    stage.server.fault(Fault::on(Op::PutObject, Action::Cut).first(1));
    assert_eq!(kind(put(&stage, "ours", Condition::IfAbsent).await), Some(ErrorKind::Exists));
    assert_eq!(stage.body("a"), "theirs");
}

#[tokio::test]
async fn h_3_a_refusal_of_the_first_attempt_is_believed_without_a_look() {
    let stage = Stage::set().await;
    stage.server.put_object("bucket", "a", "theirs");
    assert_eq!(kind(put(&stage, "ours", Condition::IfAbsent).await), Some(ErrorKind::Exists));
    assert_eq!(stage.server.count_all(), 1);
}

#[tokio::test]
async fn a_completed_upload_recognises_itself() {
    for loss in losses() {
        let stage = Stage::set().await;
        let options = when(Condition::IfAbsent);
        stage.server.fault(Fault::on(Op::UploadChunk, loss).first(1));
        let upload = stage.store.begin_upload(&key("a"), 100, &options).await.unwrap();
        let part = stage.store.upload_part(&key("a"), &upload, 1, pattern(100)).await.unwrap();
        let version = stage.store.complete_upload(&key("a"), &upload, &[part], &options).await.unwrap();
        assert_eq!((stage.version("a"), stage.body("a")), (version, pattern(100)));
    }
}

#[tokio::test]
async fn a_copy_recognises_itself() {
    for loss in losses() {
        let stage = Stage::set().await;
        stage.server.put_object("bucket", "from", "source");
        let source = stage.version("from");
        stage.server.fault(Fault::on(Op::CopyObject, loss).first(1));
        let options = when(Condition::IfAbsent);
        let version = stage.store.copy(&key("from"), &source, &key("to"), &options).await.unwrap();
        assert_eq!((stage.version("to"), stage.body("to")), (version, Bytes::from("source")));
    }
}

#[tokio::test]
async fn a_conditional_delete_recognises_itself() {
    for loss in losses() {
        let stage = Stage::set().await;
        stage.server.put_object("bucket", "a", "x");
        let version = stage.version("a");
        stage.server.fault(Fault::on(Op::DeleteObject, loss).first(1));
        stage.store.delete(&key("a"), &Condition::IfVersion(version)).await.unwrap();
        assert!(stage.server.object("bucket", "a").is_none());
    }
}

#[tokio::test]
async fn a_delete_that_was_lost_never_deletes_what_came_after() {
    let somebody = |server: &GcsServer| {
        server.put_object("bucket", "a", "theirs");
    };
    let stage = Stage::set_with(somebody).await;
    stage.server.put_object("bucket", "a", "ours");
    let version = stage.version("a");
    stage.server.fault(Fault::on(Op::DeleteObject, Action::ApplyThenCut).first(1));
    let refused = stage.store.delete(&key("a"), &Condition::IfVersion(version)).await;
    assert_eq!(kind(refused), Some(ErrorKind::Changed));
    assert_eq!(stage.body("a"), "theirs");
}
