//! The test server as a program, for scripts: prints its URL and serves until it is killed.
//!
//! `bayou-test-server [--port P] [--bucket NAME]... [--access-key KEY --secret-key SECRET]`

use std::process::ExitCode;

use bayou_test_server::{KeyPair, Options, S3Server};

const USAGE: &str =
    "Usage: bayou-test-server [--port P] [--bucket NAME]... [--access-key KEY] [--secret-key SECRET]";

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(options) => {
            let server = S3Server::start(options);
            announce(&server);
            loop {
                std::thread::park();
            }
        }
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::disallowed_macros, reason = "scripts read the URL from standard output")]
fn announce(server: &S3Server) {
    println!("{}", server.url());
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut buckets = Vec::new();
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} wants a value"));
        match name.as_str() {
            "--port" => options.port = value()?.parse().map_err(|error| format!("--port: {error}"))?,
            "--bucket" => buckets.push(value()?),
            "--access-key" => options.keys = KeyPair { access_key: value()?, ..options.keys },
            "--secret-key" => options.keys = KeyPair { secret_key: value()?, ..options.keys },
            _ => return Err(format!("Unknown argument {name}")),
        }
    }
    if !buckets.is_empty() {
        options.buckets = buckets;
    }
    Ok(options)
}
