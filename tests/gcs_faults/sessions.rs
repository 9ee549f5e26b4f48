//! Large uploads: one stream that mends itself, and an object only when it is completed.

use super::*;
use bayou::store::UploadId;
use bayou_test_server::{Action, Fault, Gate, Op, Refusal};
use futures::{StreamExt, stream};

/// The size of each part.
const PART: usize = 2 * MIB;

/// Uploads a body in parts, some at a time, as the sync floor does.
async fn upload(store: &SharedStore, name: &str, body: &Bytes, options: &PutOptions) -> Result<Version> {
    let upload = store.begin_upload(&key(name), body.len() as u64, options).await?;
    let parts = body.chunks(PART).map(Bytes::copy_from_slice).zip(1..);
    let sent: Vec<_> = stream::iter(parts)
        .map(|(part, number)| {
            let (store, upload, key) = (Arc::clone(store), upload.clone(), key(name));
            async move { store.upload_part(&key, &upload, number, part).await }
        })
        .buffered(4)
        .collect()
        .await;
    let parts = sent.into_iter().collect::<Result<Vec<_>>>()?;
    store.complete_upload(&key(name), &upload, &parts, options).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_goes_on_where_the_service_has_it() {
    for broken in [Action::CutUpload(3_000_000), Action::CutUpload(100), Action::ApplyThenCut] {
        let stage = Stage::set().await;
        let body = pattern(9 * MIB + 17);
        stage.server.fault(Fault::on(Op::UploadChunk, broken.clone()).first(2));
        let options = when(Condition::IfAbsent);
        let version = upload(&stage.store, "big", &body, &options).await.unwrap();
        assert!(stage.body("big") == body, "{broken:?}");
        assert_eq!(stage.version("big"), version, "{broken:?}");
        let object = stage.server.object("bucket", "big").unwrap();
        assert_eq!(object.attributes.meta["bayou-nonce"], options.nonce.as_str());
        assert_eq!(stage.server.count(Op::StartResumable), 1, "{broken:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_again_and_again_is_finished_as_long_as_it_gets_on() {
    let stage = Stage::set().await;
    let body = pattern(8 * MIB);
    stage.server.fault(Fault::on(Op::UploadChunk, Action::CutUpload(600_000)).first(12));
    upload(&stage.store, "big", &body, &when(Condition::IfAbsent)).await.unwrap();
    assert!(stage.body("big") == body);
    assert!(stage.server.count(Op::UploadChunk) > 8, "more breaks than there are attempts without progress");
    assert_eq!(stage.server.count(Op::StartResumable), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_gets_nowhere_is_given_up_and_leaves_no_object() {
    let stage = Stage::set().await;
    stage.server.fault(Fault::on(Op::UploadChunk, Action::Refuse(Refusal::internal_error())));
    let failed = upload(&stage.store, "big", &pattern(3 * MIB), &when(Condition::Always)).await;
    assert_eq!(kind(failed), Some(ErrorKind::Unreachable));
    assert!(stage.server.object("bucket", "big").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_gone_is_not_taken_for_a_missing_object() {
    let stage = Stage::set().await;
    let gone = Fault::on(Op::UploadChunk, Action::Refuse(Refusal::new(404, "notFound")));
    stage.server.fault(gone);
    let failed = upload(&stage.store, "big", &pattern(3 * MIB), &when(Condition::Always)).await;
    assert_eq!(kind(failed), Some(ErrorKind::Unreachable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_object_before_the_upload_is_completed() {
    let stage = Stage::set().await;
    let (options, body) = (when(Condition::Always), pattern(3 * MIB));
    let begun = stage.store.begin_upload(&key("big"), body.len() as u64, &options).await.unwrap();
    let part = stage.store.upload_part(&key("big"), &begun, 1, body.clone()).await.unwrap();
    // Everything that may be sent is sent when the connection has taken all but the last byte.
    while stage.server.requests().iter().map(|request| request.bytes_in).sum::<u64>() + 1 < body.len() as u64
    {
        tokio::task::yield_now().await;
    }
    assert!(stage.server.object("bucket", "big").is_none());
    stage.store.complete_upload(&key("big"), &begun, &[part], &options).await.unwrap();
    assert!(stage.body("big") == body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_given_up_never_becomes_an_object() {
    let stage = Stage::set().await;
    let (options, body) = (when(Condition::Always), pattern(PART));
    let begun = stage.store.begin_upload(&key("big"), body.len() as u64, &options).await.unwrap();
    stage.store.upload_part(&key("big"), &begun, 1, body).await.unwrap();
    stage.store.abort_upload(&key("big"), &begun).await.unwrap();
    let known = [begun, UploadId("of an earlier process".to_owned())];
    for gone in &known {
        stage.store.abort_upload(&key("big"), gone).await.unwrap();
        let refused = stage.store.upload_part(&key("big"), gone, 2, Bytes::new()).await;
        assert_eq!(kind(refused), Some(ErrorKind::NotFound));
    }
    assert!(stage.server.object("bucket", "big").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_arrive_damaged_do_not_stay() {
    let stage = Stage::set().await;
    stage.server.fault(Fault::on(Op::UploadChunk, Action::CorruptUpload(1_000_000)).first(1));
    let failed = upload(&stage.store, "big", &pattern(3 * MIB), &when(Condition::IfAbsent)).await;
    assert!(failed.is_err(), "{failed:?}");
    assert!(stage.server.object("bucket", "big").is_none(), "nobody may take it for what it should be");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_that_is_not_met_any_more_is_told_at_the_end() {
    let stage = Stage::set().await;
    stage.server.put_object("bucket", "big", "theirs");
    let refused = upload(&stage.store, "big", &pattern(9 * MIB), &when(Condition::IfAbsent)).await;
    assert_eq!(kind(refused), Some(ErrorKind::Exists));
    assert_eq!(stage.body("big"), "theirs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_waits_for_the_ones_before_it() {
    let stage = Stage::set().await;
    let gate = Gate::new();
    stage.server.fault(Fault::on(Op::UploadChunk, Action::Hold(gate.clone())));
    let (options, body) = (when(Condition::Always), pattern(3 * PART));
    let begun = stage.store.begin_upload(&key("big"), body.len() as u64, &options).await.unwrap();
    let part = |number: usize| {
        let (store, upload) = (Arc::clone(&stage.store), begun.clone());
        let body = body.slice((number - 1) * PART..number * PART);
        tokio::spawn(async move {
            store.upload_part(&key("big"), &upload, u32::try_from(number).unwrap(), body).await
        })
    };
    let late = [part(3), part(2)];
    tokio::task::yield_now().await;
    assert!(late.iter().all(|part| !part.is_finished()));
    gate.open();
    let mut parts = vec![part(1).await.unwrap().unwrap()];
    for part in late.into_iter().rev() {
        parts.push(part.await.unwrap().unwrap());
    }
    stage.store.complete_upload(&key("big"), &begun, &parts, &options).await.unwrap();
    assert!(stage.body("big") == body);
}
