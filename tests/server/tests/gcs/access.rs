//! Who is let in, over both protocols.

use bayou_test_server::{Access, GcsOptions, GcsServer};
use google_cloud_gax::error::rpc::Code;

use crate::raw::send;
use crate::support::{BUCKET, Client, code, status};

#[tokio::test]
async fn a_demanded_token_is_told_from_others() {
    let access = Access::Bearer("right".to_owned());
    let server = GcsServer::start(GcsOptions { access, ..GcsOptions::default() });
    server.put_object("bucket", "k", "x");
    let line = "GET /storage/v1/b/bucket/o/k";
    let nobody = send(&server, line, &[], b"");
    assert_eq!(nobody.error(), (401, "authError".to_owned()));
    assert!(nobody.header("www-authenticate").unwrap().starts_with("Bearer"));
    assert_eq!(send(&server, line, &[("authorization", "Bearer wrong")], b"").status, 401);
    assert_eq!(send(&server, line, &[("authorization", "Bearer right")], b"").status, 200);
    let bearers: Vec<_> = server.requests().into_iter().map(|one| one.bearer).collect();
    assert_eq!(bearers, [None, Some("wrong".to_owned()), Some("right".to_owned())]);
    let client = Client::of(&server).await;
    assert_eq!(status(client.read("k").await), 401);
    let get = client.control.get_object().set_bucket(BUCKET).set_object("k").send().await;
    assert_eq!(code(get), Some(Code::Unauthenticated));
}

#[tokio::test]
async fn readers_do_not_write_and_the_denied_do_nothing() {
    let server = GcsServer::start(GcsOptions { access: Access::ReadOnly, ..GcsOptions::default() });
    server.put_object("bucket", "k", "x");
    let client = Client::of(&server).await;
    assert_eq!(client.read("k").await.unwrap(), b"x");
    assert_eq!(status(client.write("k", "y").await), 403);
    let resumable = client.bytes.write_object(BUCKET, "k", "y").with_resumable_upload_threshold(0_usize);
    assert_eq!(status(resumable.send_buffered().await), 403);
    let delete = client.control.delete_object().set_bucket(BUCKET).set_object("k").send().await;
    assert_eq!(code(delete), Some(Code::PermissionDenied));
    server.set_access(Access::Denied);
    assert_eq!(status(client.read("k").await), 403);
    let list = client.control.list_objects().set_parent(BUCKET).send().await;
    assert_eq!(code(list), Some(Code::PermissionDenied));
    server.set_access(Access::Open);
    assert_eq!(client.read("k").await.unwrap(), b"x");
}
