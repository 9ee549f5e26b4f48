//! The server as a program: scripts learn its URL from the first line it prints.

#![expect(clippy::unwrap_used, reason = "a step that fails has failed the test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

fn run(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayou-test-server"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn it_prints_its_url_and_answers_there() {
    let mut server = run(&["--bucket", "one", "--bucket", "two", "--access-key", "a", "--secret-key", "b"]);
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET /one/k HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("<Code>AccessDenied</Code>"), "{answer}");
}

#[test]
fn it_serves_gcs_when_it_is_told_to() {
    let mut server = run(&["--gcs", "--bucket", "one", "--bearer", "token"]);
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("http://").unwrap();
    let ask = |header: &str| {
        let mut connection = TcpStream::connect(address).unwrap();
        let request =
            format!("GET /storage/v1/b/one HTTP/1.1\r\nhost: {address}\r\n{header}connection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    };
    let (nobody, somebody) = (ask(""), ask("authorization: Bearer token\r\n"));
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(nobody.starts_with("HTTP/1.1 401") && nobody.contains("authError"), "{nobody}");
    assert!(somebody.starts_with("HTTP/1.1 200") && somebody.contains("storage#bucket"), "{somebody}");
}

#[test]
fn a_wrong_argument_is_refused_with_the_usage() {
    for arguments in [
        vec!["--colour", "red"],
        vec!["--port", "many"],
        vec!["--bucket"],
        vec!["--bearer", "token"],
        vec!["--gcs", "--access-key", "key"],
    ] {
        let ended = run(&arguments).wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8(ended.stderr).unwrap().contains("Usage:"), "{arguments:?}");
    }
}
