//! Servers that answer every request in the same, strange way; and what we send them.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use super::*;
use bayou::store::{UploadId, Version};
use futures::TryStreamExt;

/// A server with one answer for everything; it remembers what it was asked.
struct Parrot {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Parrot {
    fn saying(head: &str, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let ear = Arc::clone(&heard);
        spawn("parrot", move || {
            for stream in listener.incoming() {
                let (stream, answer, ear) = (stream.unwrap(), answer.clone(), Arc::clone(&ear));
                spawn("parrot's ear", move || repeat(stream, &answer, &ear));
            }
        });
        Self { url, heard }
    }

    async fn store(&self) -> S3Store {
        let keys = StaticKeys { access_key: "any".to_owned(), secret_key: "any".to_owned() };
        let url = Some(self.url.clone());
        connect_by(&S3Options { endpoint_url: url, keys: Some(keys), ..S3Options::default() }).await
    }

    /// Returns the last request's line and headers, in lower case.
    fn heard(&self) -> String {
        self.heard.lock().last().unwrap().to_ascii_lowercase()
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).unwrap();
}

fn repeat(stream: TcpStream, answer: &str, ear: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        ear.lock().push(request);
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}

/// Reads a request with its body; `None` when the connection ends.
fn read_request(reader: &mut impl BufRead) -> Option<String> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            reader.read_exact(&mut vec![0; length]).unwrap();
            return Some(head);
        }
        head.push_str(&line);
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_condition_of_a_get_cannot_pass_off_another_version() {
    let parrot = Parrot::saying("206 X\r\netag: \"new\"\r\ncontent-range: bytes 0-3/9", "body");
    let store = parrot.store().await;
    let (new, old) = (Version::new("new").unwrap(), Version::new("old").unwrap());
    assert!(store.get(&key("a"), Some(0..4), Some(&new)).await.is_ok());
    assert_eq!(kind(store.get(&key("a"), Some(0..4), Some(&old)).await), Some(ErrorKind::Changed));
    assert!(parrot.heard().contains("if-match: \"old\""), "{}", parrot.heard());
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_found_out() {
    let parrot = Parrot::saying("200 OK\r\netag: \"e\"", "the whole body");
    let store = parrot.store().await;
    assert_eq!(kind(store.get(&key("a"), Some(4..9), None).await), Some(ErrorKind::Unsupported));
    assert_eq!(store.get(&key("a"), Some(0..100), None).await.unwrap().body, "the whole body");
}

#[tokio::test]
async fn an_answer_without_a_version_is_not_believed() {
    let store = Parrot::saying("200 OK", "").store().await;
    let put = store.put(&key("a"), Bytes::new(), &when(Condition::Always)).await;
    assert_eq!(kind(put), Some(ErrorKind::Corrupt));
    assert_eq!(kind(store.head(&key("a")).await), Some(ErrorKind::Corrupt));
}

#[tokio::test]
async fn a_listing_that_ignores_where_to_start_is_cut_there() {
    let page = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents>\
                <Contents><Key>b</Key></Contents><Contents><Key>c+c%41</Key></Contents></ListBucketResult>";
    let store = Parrot::saying("200 OK", page).store().await;
    let listed: Vec<_> = store.list("", Some(&key("a"))).try_collect().await.unwrap();
    let keys: Vec<_> = listed.concat().into_iter().map(|one| one.key.to_string()).collect();
    assert_eq!(keys, ["b", "c+c%41"], "and keys are not decoded unless it says that it encoded them");
}

#[tokio::test]
async fn a_page_that_names_no_next_one_does_not_end_the_listing() {
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    let store = Parrot::saying("200 OK", page).store().await;
    let listed: Result<Vec<_>> = store.list("", None).try_collect().await;
    assert_eq!(kind(listed), Some(ErrorKind::Corrupt));
}

#[tokio::test]
async fn h_4_a_proxy_that_answers_in_its_own_words_is_understood_by_the_status() {
    for (head, expected) in [
        ("502 Bad Gateway", ErrorKind::Unreachable),
        ("429 Slow", ErrorKind::Throttled),
        ("403 Forbidden", ErrorKind::Denied),
        ("200 OK", ErrorKind::Corrupt),
    ] {
        let head = format!("{head}\r\nx-amz-request-id: R-17");
        let store = Parrot::saying(&head, "<html>Something is <b>wrong</b></html>").store().await;
        let listed: Result<Vec<_>> = store.list("", None).try_collect().await;
        let failed = listed.unwrap_err();
        assert_eq!(failed.kind, expected, "{head}");
        assert!(
            expected == ErrorKind::Corrupt || failed.detail.contains("Something is <b>wrong"),
            "{failed}"
        );
    }
}

#[tokio::test]
async fn an_error_behind_a_200_is_an_error() {
    let upload = UploadId("id".to_owned());
    for (code, expected) in [
        ("InternalError", ErrorKind::Unreachable),
        ("SlowDown", ErrorKind::Throttled),
        ("PreconditionFailed", ErrorKind::Exists),
    ] {
        let body = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code></Error>");
        let store = Parrot::saying("200 OK", &body).store().await;
        let completed = store.complete_upload(&key("a"), &upload, &[], &when(Condition::IfAbsent)).await;
        assert_eq!(kind(completed), Some(expected), "{code}");
    }
}

#[tokio::test]
async fn uploads_carry_their_checksum_and_length_in_headers_and_nothing_behind_the_body() {
    let parrot = Parrot::saying("200 OK\r\netag: \"e\"", "");
    let store = parrot.store().await;
    let (body, options) = (Bytes::from_static(b"123456789"), when(Condition::Always));
    store.put(&key("a"), body.clone(), &options).await.unwrap();
    let put = parrot.heard();
    store.upload_part(&key("a"), &UploadId("id".to_owned()), 1, body).await.unwrap();
    for request in [put, parrot.heard()] {
        assert!(request.contains("x-amz-checksum-crc32: y/q5jg=="), "{request}");
        assert!(request.contains("content-length: 9\r"), "{request}");
        for unwanted in ["aws-chunked", "x-amz-trailer", "transfer-encoding"] {
            assert!(!request.contains(unwanted), "{request}");
        }
    }
    store.begin_upload(&key("a"), 9, &options).await.unwrap_err();
    assert!(parrot.heard().contains("x-amz-checksum-algorithm: crc32"), "{}", parrot.heard());
}
