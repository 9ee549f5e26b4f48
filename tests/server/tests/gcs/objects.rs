//! Requests on objects: what was written is read, conditions are judged, requests are counted.

use bayou_test_server::{GcsOptions, GcsServer, Op};
use google_cloud_gax::error::rpc::Code;
use google_cloud_gax::paginator::ItemPaginator as _;
use google_cloud_storage::model_ext::ReadRange;

use crate::support::{BUCKET, Client, code, status};

async fn start() -> (GcsServer, Client) {
    let server = GcsServer::start(GcsOptions::default());
    let client = Client::of(&server).await;
    (server, client)
}

#[tokio::test]
async fn what_was_written_is_what_is_read() {
    let (server, client) = start().await;
    let write = client.bytes.write_object(BUCKET, "a/b ü+", "hello").set_content_type("text/plain");
    let written = write.set_metadata([("nonce", "n-1")]).send_unbuffered().await.unwrap();
    assert_eq!((written.size, written.metageneration), (5, 1));
    assert_eq!(written.checksums.as_ref().unwrap().crc32c, Some(0x9a71_bb4c));

    let mut read = client.bytes.read_object(BUCKET, "a/b ü+").send().await.unwrap();
    assert_eq!(read.object().generation, written.generation);
    assert_eq!(read.object().content_type, "text/plain");
    assert_eq!(read.object().metadata["nonce"], "n-1");
    assert_eq!(read.next().await.unwrap().unwrap(), "hello");

    let got = client.control.get_object().set_bucket(BUCKET).set_object("a/b ü+").send().await.unwrap();
    assert_eq!((got.generation, got.size), (written.generation, 5));
    assert_eq!((got.etag, got.create_time), (written.etag, written.create_time));
    assert_eq!(got.metadata["nonce"], "n-1");
    assert_eq!(server.object("bucket", "a/b ü+").unwrap().body, "hello");
    let ops: Vec<_> = server.requests().iter().map(|one| (one.op, one.rpc, one.status)).collect();
    assert_eq!(
        ops,
        [
            (Op::PutObject, false, Some(200)),
            (Op::GetObject, false, Some(200)),
            (Op::HeadObject, true, Some(200))
        ]
    );
}

#[tokio::test]
async fn conditions_are_judged() {
    let (server, client) = start().await;
    let write = |body: &str, generation: i64| {
        client
            .bytes
            .write_object(BUCKET, "k", body.to_owned())
            .set_if_generation_match(generation)
            .send_unbuffered()
    };
    let first = write("1", 0).await.unwrap().generation;
    assert_eq!(status(write("2", 0).await), 412);
    assert_eq!(status(write("2", first - 1).await), 412);
    let second = write("2", first).await.unwrap().generation;
    assert!(second > first);
    let read = client.bytes.read_object(BUCKET, "k").set_if_generation_match(first).send().await;
    assert_eq!(status(read.map(drop)), 412);
    let read = client.bytes.read_object(BUCKET, "k").set_generation(first).send().await;
    assert_eq!(status(read.map(drop)), 404);
    let delete = |generation: i64| {
        client
            .control
            .delete_object()
            .set_bucket(BUCKET)
            .set_object("k")
            .set_if_generation_match(generation)
            .send()
    };
    assert_eq!(code(delete(first).await), Some(Code::FailedPrecondition));
    assert_eq!(server.object("bucket", "k").unwrap().body, "2");
    delete(second).await.unwrap();
    assert_eq!(code(delete(second).await), Some(Code::NotFound));
    assert_eq!(status(client.read("k").await), 404);
    assert!(client.write("k", "3").await.unwrap().generation > second);
}

#[tokio::test]
async fn ranges_are_read() {
    let (server, client) = start().await;
    server.put_object("bucket", "k", "0123456789");
    for (range, found) in [
        (ReadRange::segment(2, 3), "234"),
        (ReadRange::offset(8), "89"),
        (ReadRange::tail(4), "6789"),
        (ReadRange::segment(8, 100), "89"),
    ] {
        let mut read = client.bytes.read_object(BUCKET, "k").set_read_range(range).send().await.unwrap();
        assert_eq!(read.next().await.unwrap().unwrap(), found);
    }
    let beyond = client.bytes.read_object(BUCKET, "k").set_read_range(ReadRange::offset(10)).send().await;
    assert_eq!(status(beyond.map(drop)), 416);
}

#[tokio::test]
async fn a_listing_comes_in_pages_in_byte_order() {
    let (server, client) = start().await;
    for name in ["b", "a/2", "a/1", "ä", "B", "a-"] {
        server.put_object("bucket", name, "x");
    }
    let list = client.control.list_objects().set_parent(BUCKET).set_page_size(2);
    let mut items = list.by_item();
    let mut names = Vec::new();
    while let Some(item) = items.next().await {
        names.push(item.unwrap().name);
    }
    assert_eq!(names, ["B", "a-", "a/1", "a/2", "b", "ä"]);
    assert_eq!(server.count(Op::ListObjectsV2), 3);
    let folded =
        client.control.list_objects().set_parent(BUCKET).set_delimiter("/").set_lexicographic_start("a");
    let page = folded.send().await.unwrap();
    let names: Vec<_> = page.objects.iter().map(|object| object.name.as_str()).collect();
    assert_eq!((names, page.prefixes), (vec!["a-", "b", "ä"], vec!["a/".to_owned()]));
}

#[tokio::test]
async fn a_large_rewrite_takes_several_calls() {
    let (server, client) = start().await;
    let body = vec![7; 9 * 1024 * 1024];
    let source = server.put_object_with("bucket", "from", body.clone(), &[("nonce", "n")]);
    let mut token = String::new();
    let copy = loop {
        let call = client.control.rewrite_object().set_source_bucket(BUCKET).set_source_object("from");
        let call = call.set_destination_bucket(BUCKET).set_destination_name("to").set_rewrite_token(token);
        let call = call.set_if_source_generation_match(source).set_if_generation_match(0);
        let done = call.send().await.unwrap();
        if let Some(copy) = done.resource {
            break copy;
        }
        token = done.rewrite_token;
    };
    assert_eq!(server.count(Op::CopyObject), 3);
    assert_eq!((copy.size, copy.metadata["nonce"].as_str()), (9 * 1024 * 1024, "n"));
    assert!(copy.generation > source && server.object("bucket", "to").unwrap().body == body);
}

#[tokio::test]
async fn a_resumable_upload_comes_in_chunks() {
    let (server, client) = start().await;
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let write = client.bytes.write_object(BUCKET, "k", bytes::Bytes::from(body.clone()));
    let write =
        write.with_resumable_upload_threshold(0_usize).with_resumable_upload_buffer_size(262_144_usize);
    let written = write.set_if_generation_match(0).send_buffered().await.unwrap();
    assert_eq!(written.size, 1_000_000);
    assert_eq!((server.count(Op::StartResumable), server.count(Op::UploadChunk)), (1, 4));
    assert!(server.object("bucket", "k").unwrap().body == body && server.uploads("bucket").is_empty());
}

#[tokio::test]
async fn objects_are_composed_and_updated() {
    let (server, client) = start().await;
    server.put_object("bucket", "1", "one ");
    server.put_object("bucket", "2", "two");
    let source =
        |name: &str| google_cloud_storage::model::compose_object_request::SourceObject::new().set_name(name);
    let destination = google_cloud_storage::model::Object::new().set_bucket(BUCKET).set_name("k");
    let compose = client.control.compose_object().set_destination(destination).set_if_generation_match(0);
    let made = compose.set_source_objects([source("1"), source("2")]).send().await.unwrap();
    assert_eq!((made.component_count, client.read("k").await.unwrap().as_slice()), (2, &b"one two"[..]));

    let changed = made.clone().set_metadata([("a", "1")]);
    let update = client.control.update_object().set_object(changed).set_if_metageneration_match(1);
    let update = update.set_update_mask(google_cloud_wkt::FieldMask::default().set_paths(["metadata"]));
    let updated = update.send().await.unwrap();
    assert_eq!((updated.generation, updated.metageneration), (made.generation, 2));
    assert_eq!(server.object("bucket", "k").unwrap().attributes.meta["a"], "1");
}
