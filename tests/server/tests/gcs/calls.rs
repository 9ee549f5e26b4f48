//! Calls of gRPC: their errors, the metadata they need, the fields they ask for.

use bayou_test_server::{GcsOptions, GcsServer, Op};
use google_cloud_gax::error::rpc::Code;
use google_cloud_storage::model::compose_object_request::SourceObject;
use google_cloud_storage::model::compose_object_request::source_object::ObjectPreconditions;
use google_cloud_storage::model::{Bucket, Object};
use google_cloud_wkt::FieldMask;

use crate::raw::{Connection, ROUTED, get_object};
use crate::support::{BUCKET, Client, code};

async fn start() -> (GcsServer, Client) {
    let server = GcsServer::start(GcsOptions::default());
    let client = Client::of(&server).await;
    (server, client)
}

#[tokio::test]
async fn what_is_missing_exists_or_is_wrong_has_its_code() {
    let (server, client) = start().await;
    server.put_object("bucket", "k", "x");
    let get =
        |bucket: &str, name: &str| client.control.get_object().set_bucket(bucket).set_object(name).send();
    assert_eq!(code(get(BUCKET, "none").await), Some(Code::NotFound));
    assert_eq!(code(get("projects/_/buckets/none", "k").await), Some(Code::NotFound));
    assert_eq!(code(get("bucket", "k").await), Some(Code::InvalidArgument));
    let get = client.control.get_object().set_bucket(BUCKET).set_object("k");
    let generation = server.object("bucket", "k").unwrap().generation;
    assert_eq!(code(get.clone().set_if_generation_match(1).send().await), Some(Code::FailedPrecondition));
    assert_eq!(code(get.clone().set_if_generation_not_match(generation).send().await), Some(Code::Aborted));
    assert_eq!(code(get.set_generation(1).send().await), Some(Code::NotFound));
    let statuses: Vec<_> = server.requests().iter().map(|one| one.status.unwrap()).collect();
    assert_eq!(statuses, [404, 404, 400, 412, 304, 404]);
    let list = client.control.list_objects().set_parent(BUCKET);
    assert_eq!(code(list.clone().set_page_size(-1).send().await), Some(Code::InvalidArgument));
    assert_eq!(code(list.set_page_token("x").send().await), Some(Code::InvalidArgument));
}

#[tokio::test]
async fn buckets_are_made_and_found() {
    let (_server, client) = start().await;
    let make = || {
        let bucket = Bucket::new().set_project("projects/p");
        client.control.create_bucket().set_parent("projects/_").set_bucket_id("two").set_bucket(bucket).send()
    };
    assert_eq!(make().await.unwrap().name, "projects/_/buckets/two");
    assert_eq!(code(make().await), Some(Code::AlreadyExists));
    let get = |name: &str| client.control.get_bucket().set_name(format!("projects/_/buckets/{name}")).send();
    assert_eq!(get("two").await.unwrap().bucket_id, "two");
    assert_eq!(code(get("three").await), Some(Code::NotFound));
}

#[tokio::test]
async fn a_call_needs_its_routing_metadata() {
    let (server, _client) = start().await;
    server.put_object("bucket", "k", "x");
    let connection = Connection::to(&server).await;
    let get = async |metadata: &[(&str, &str)]| {
        connection.call("GetObject", metadata, &get_object()).await.unwrap()
    };
    let found = get(&ROUTED).await;
    assert!(found.code == 0 && found.message.len() > 5);
    for wrong in [&[][..], &[("x-goog-request-params", "bucket=bucket")], &[("x-goog-request-params", "")]] {
        let refused = get(wrong).await;
        assert!(
            refused.code == 3 && refused.text.contains("x-goog-request-params"),
            "{wrong:?}: {refused:?}"
        );
    }
    assert_eq!(connection.call("Nothing", &ROUTED, b"").await.unwrap().code, 12);
    assert_eq!(connection.call("GetObject", &ROUTED, &[0x0a, 99]).await.unwrap().code, 3);
    assert_eq!(server.count(Op::Other), 2);
}

#[tokio::test]
async fn masks_name_the_fields_that_are_shown() {
    let (server, client) = start().await;
    server.put_object_with("bucket", "k", "x", &[("a", "1")]);
    let get = client.control.get_object().set_bucket(BUCKET).set_object("k");
    let mask = |paths: &[&str]| FieldMask::default().set_paths(paths.iter().copied());
    let shown = get.clone().set_read_mask(mask(&["name", "size"])).send().await.unwrap();
    assert_eq!(shown, Object::new().set_name("k").set_size(1));
    let all = get.clone().set_read_mask(mask(&["*"])).send().await.unwrap();
    assert_eq!(all.metadata["a"], "1");
    assert_eq!(code(get.set_read_mask(mask(&["nothing"])).send().await), Some(Code::InvalidArgument));
    let list = client.control.list_objects().set_parent(BUCKET).set_read_mask(mask(&["generation"]));
    let page = list.send().await.unwrap();
    assert_eq!(page.objects, [Object::new().set_generation(all.generation)]);
}

#[tokio::test]
async fn a_rewrite_token_is_good_for_its_rewrite_only() {
    let (server, client) = start().await;
    server.put_object("bucket", "from", vec![1; 9 * 1024 * 1024]);
    let call = client.control.rewrite_object().set_source_bucket(BUCKET).set_source_object("from");
    let call = call.set_destination_bucket(BUCKET).set_destination_name("to");
    let odd = call.clone().set_max_bytes_rewritten_per_call(1_000_000).send().await;
    assert_eq!(code(odd), Some(Code::InvalidArgument));
    let first = call.clone().set_max_bytes_rewritten_per_call(1024 * 1024).send().await.unwrap();
    assert_eq!(
        (first.done, first.total_bytes_rewritten, first.object_size),
        (false, 1024 * 1024, 9 * 1024 * 1024)
    );
    assert!(first.resource.is_none() && server.object("bucket", "to").is_none());
    let go_on = call.clone().set_rewrite_token(first.rewrite_token.clone());
    assert_eq!(code(go_on.clone().send().await), Some(Code::InvalidArgument));
    let go_on = go_on.set_max_bytes_rewritten_per_call(1024 * 1024);
    let other = go_on.clone().set_destination_name("other").send().await;
    assert_eq!(code(other), Some(Code::InvalidArgument));
    assert_eq!(go_on.clone().send().await.unwrap().total_bytes_rewritten, 2 * 1024 * 1024);
    // Another source under the same name is another rewrite.
    server.put_object("bucket", "from", vec![2; 9 * 1024 * 1024]);
    assert_eq!(code(go_on.send().await), Some(Code::InvalidArgument));
    // A condition on the target is judged by the first call already.
    server.put_object("bucket", "to", "x");
    let late = call.set_if_generation_match(0).send().await;
    assert_eq!(code(late), Some(Code::FailedPrecondition));
}

#[tokio::test]
async fn compositions_judge_their_sources() {
    let (server, client) = start().await;
    let one = server.put_object("bucket", "1", "one ");
    server.put_object("bucket", "2", "two");
    let compose =
        client.control.compose_object().set_destination(Object::new().set_bucket(BUCKET).set_name("k"));
    let source = |name: &str| SourceObject::new().set_name(name);
    let send = |sources: Vec<SourceObject>| compose.clone().set_source_objects(sources).send();
    assert_eq!(code(send(vec![]).await), Some(Code::InvalidArgument));
    assert_eq!(code(send(vec![source("1"); 33]).await), Some(Code::InvalidArgument));
    assert_eq!(code(send(vec![source("1"), source("none")]).await), Some(Code::NotFound));
    assert_eq!(code(send(vec![source("1").set_generation(1)]).await), Some(Code::NotFound));
    let newer = ObjectPreconditions::new().set_if_generation_match(one + 1);
    let newer = source("1").set_object_preconditions(newer);
    assert_eq!(code(send(vec![newer]).await), Some(Code::FailedPrecondition));
    let sums = google_cloud_storage::model::ObjectChecksums::new().set_crc32c(1_u32);
    let wrong = compose.clone().set_source_objects([source("1")]).set_object_checksums(sums).send().await;
    assert_eq!(code(wrong), Some(Code::InvalidArgument));
    assert_eq!(server.keys("bucket"), ["1", "2"]);
    let deletes = compose.clone().set_source_objects([source("1").set_generation(one), source("2")]);
    let made = deletes.set_delete_source_objects(true).send().await.unwrap();
    assert_eq!((made.size, server.keys("bucket")), (7, vec!["k".to_owned()]));
    assert!(made.checksums.unwrap().md5_hash.is_empty());
}
