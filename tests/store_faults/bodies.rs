//! Bodies that break off, stop, are too short or damaged.

use std::ops::ControlFlow;

use super::*;
use bayou_test_server::{Action, Fault, Gate, Op, Refusal};

const MIB: usize = 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_body_that_breaks_off_is_resumed_where_it_broke() {
    let stage = Stage::set().await;
    let etag = stage.server.put_object("bucket", "a", pattern(MIB));
    stage.server.fault(Fault::on(Op::GetObject, Action::CutBody(300_000)).first(1));
    let fetched = stage.store.get(&key("a"), None, None).await.unwrap();
    assert!(fetched.body == pattern(MIB));
    let requests = stage.server.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert_eq!(requests[1].if_match.as_deref(), Some(format!("\"{etag}\"").as_str()));
    assert!(requests[1].bytes_out < requests[0].bytes_out + MIB as u64, "{requests:?}");
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
    let replace = |server: &S3Server| {
        server.put_object("bucket", "a", vec![7; 2 * MIB]);
    };
    let stage = Stage::set_with(Options::default(), replace).await;
    let old = stage.server.put_object("bucket", "a", pattern(MIB));
    let first_is_cut = Fault::on(Op::GetObject, Action::CutBody(300_000)).first(1);
    stage.server.fault(first_is_cut.clone());
    let fetched = stage.store.get(&key("a"), None, None).await.unwrap();
    assert!(fetched.body == vec![7; 2 * MIB]);

    stage.server.put_object("bucket", "a", pattern(MIB));
    stage.server.fault(first_is_cut);
    let version = bayou::store::Version::new(&old).unwrap();
    let refused = stage.store.get(&key("a"), None, Some(&version)).await;
    assert_eq!(kind(refused), Some(ErrorKind::Changed));
}

#[tokio::test]
async fn a_body_that_is_too_short_is_not_believed() {
    for range in [None, Some(1_000..500_000)] {
        let stage = Stage::set().await;
        put(&stage, pattern(MIB)).await;
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
    put(&stage, pattern(MIB)).await;
    stage.server.fault(Fault::on(Op::GetObject, Action::CorruptBody(777_777)).first(1));
    let fetched = stage.store.get(&key("a"), None, None).await.unwrap();
    assert!(fetched.body == pattern(MIB));
    assert_eq!(stage.server.count(Op::GetObject), 2);
}

/// Writes through the store, so that the object has a checksum.
async fn put(stage: &Stage, body: Bytes) {
    stage.store.put(&key("a"), body, &when(Condition::Always)).await.unwrap();
}

#[tokio::test]
async fn an_object_that_grew_while_it_was_read_is_read_again() {
    let stage = Stage::set().await;
    put(&stage, pattern(1_000)).await;
    let beyond_the_end = Action::Refuse(Refusal::new(416, "InvalidRange"));
    stage.server.fault(Fault::on(Op::GetObject, beyond_the_end).first(1));
    let fetched = stage.store.get(&key("a"), Some(500..1_000), None).await.unwrap();
    assert_eq!(fetched.body, pattern(1_000).slice(500..));
    assert_eq!(stage.server.count(Op::GetObject), 2);
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_sent_again() {
    let stage = Stage::set().await;
    stage.server.fault(Fault::on(Op::PutObject, Action::CutUpload(1_000_000)).first(2));
    put(&stage, pattern(4 * MIB)).await;
    assert!(stage.server.object("bucket", "a").unwrap().body == pattern(4 * MIB));
    assert_eq!(stage.server.count(Op::PutObject), 3);
}

#[tokio::test]
async fn a_part_that_arrives_wrong_is_refused_by_its_checksum_also_where_it_is_not_signed() {
    for signed_parts in [SignedParts::WithoutTls, SignedParts::Never] {
        let server = S3Server::start(Options::default());
        let store = connect_by(&S3Options { signed_parts, ..options(&server, TIMEOUT) }).await;
        let how = when(Condition::Always);
        let upload = store.begin_upload(&key("a"), 9, &how).await.unwrap();
        let fault = server.fault(Fault::on(Op::UploadPart, Action::CorruptUpload(5)).first(1));
        store.upload_part(&key("a"), &upload, 1, Bytes::from("the bytes")).await.unwrap_err();
        assert_eq!(fault.fired(), 1);
        let part = store.upload_part(&key("a"), &upload, 1, Bytes::from("the bytes")).await.unwrap();
        store.complete_upload(&key("a"), &upload, &[part], &how).await.unwrap();
        assert_eq!(server.object("bucket", "a").unwrap().body, "the bytes");
        let parts = server.requests().into_iter().filter(|one| one.op == Op::UploadPart);
        let signed: Vec<bool> = parts.map(|one| one.body_is_signed).collect();
        assert_eq!(signed, [signed_parts == SignedParts::WithoutTls; 2]);
    }
}

/// Takes what arrives, until it has `most` bytes.
async fn arriving(stage: &Stage, range: std::ops::Range<u64>, most: usize) -> (Vec<u8>, Result<()>) {
    let meta = stage.store.head(&key("a")).await.unwrap().unwrap();
    let mut taken = Vec::new();
    let mut taker = |piece: &[u8]| {
        taken.extend_from_slice(piece);
        if taken.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let handed = stage.store.get_arriving(&key("a"), range, &meta.version, &mut taker).await;
    (taken, handed)
}

#[tokio::test]
async fn bytes_are_handed_over_before_the_rest_is_here() {
    let stage = Stage::set().await;
    stage.server.put_object("bucket", "a", pattern(MIB));
    let gate = Gate::new();
    stage.server.fault(Fault::on(Op::GetObject, Action::HoldBody(300_000, gate.clone())));
    // It is enough, so the rest, which is held for ever, is not waited for.
    let (taken, handed) = arriving(&stage, 1_000..MIB as u64, 200_000).await;
    assert_eq!(kind(handed), None);
    assert!((200_000..=300_000).contains(&taken.len()), "{}", taken.len());
    assert!(taken == pattern(MIB)[1_000..1_000 + taken.len()]);
    gate.open();
}

#[tokio::test]
async fn what_was_handed_over_is_not_asked_for_again() {
    let stage = Stage::set().await;
    let etag = stage.server.put_object("bucket", "a", pattern(3 * MIB));
    stage.server.fault(Fault::on(Op::GetObject, Action::CutBody(200_000)));
    let (taken, handed) = arriving(&stage, 100..3 * MIB as u64 - 100, usize::MAX).await;
    assert_eq!(kind(handed), None);
    assert!(taken == pattern(3 * MIB)[100..3 * MIB - 100]);
    let requests = stage.server.requests();
    let gets: Vec<_> = requests.iter().filter(|request| request.range.is_some()).collect();
    assert!(gets.len() > 8, "{gets:?}");
    let version = format!("\"{etag}\"");
    assert!(gets.iter().all(|get| get.if_match.as_ref() == Some(&version)), "{gets:?}");
}

#[tokio::test]
async fn of_an_object_that_is_replaced_on_the_way_only_the_old_version_is_handed_over() {
    let replace = |server: &S3Server| {
        server.put_object("bucket", "a", vec![7; 2 * MIB]);
    };
    let stage = Stage::set_with(Options::default(), replace).await;
    stage.server.put_object("bucket", "a", pattern(MIB));
    stage.server.fault(Fault::on(Op::GetObject, Action::CutBody(300_000)).first(1));
    let (taken, handed) = arriving(&stage, 0..MIB as u64, usize::MAX).await;
    assert_eq!(kind(handed), Some(ErrorKind::Changed));
    assert!(!taken.is_empty() && taken == pattern(MIB)[..taken.len()]);
}
