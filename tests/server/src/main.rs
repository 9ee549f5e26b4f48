//! The test servers as a program, for scripts: prints its URL and serves until it is killed.
//!
//! `bayou-test-server [--port P] [--bucket NAME]... [--access-key KEY --secret-key SECRET]`
//! is an S3 server, and `bayou-test-server --gcs [--port P] [--bucket NAME]... [--bearer TOKEN]`
//! one for GCS.

use std::process::ExitCode;

use bayou_test_server::{Access, GcsOptions, GcsServer, KeyPair, Options, S3Server};

const USAGE: &str = "\
Usage: bayou-test-server [--port P] [--bucket NAME]... [--access-key KEY] [--secret-key SECRET]
       bayou-test-server --gcs [--port P] [--bucket NAME]... [--bearer TOKEN]";

/// What is to be served.
enum Service {
    S3(Options),
    Gcs(GcsOptions),
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(Service::S3(options)) => {
            let server = S3Server::start(options);
            announce(&server.url())
        }
        Ok(Service::Gcs(options)) => {
            let server = GcsServer::start(options);
            announce(&server.url())
        }
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::disallowed_macros, reason = "scripts read the URL from standard output")]
fn announce(url: &str) -> ! {
    println!("{url}");
    loop {
        std::thread::park();
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Service, String> {
    let (mut s3, mut gcs, mut is_gcs) = (Options::default(), GcsOptions::default(), false);
    let (mut buckets, mut of_s3, mut of_gcs) = (Vec::new(), None, None);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} wants a value"));
        match name.as_str() {
            "--gcs" => is_gcs = true,
            "--port" => s3.port = value()?.parse().map_err(|error| format!("--port: {error}"))?,
            "--bucket" => buckets.push(value()?),
            "--access-key" => s3.keys = KeyPair { access_key: value()?, ..s3.keys },
            "--secret-key" => s3.keys = KeyPair { secret_key: value()?, ..s3.keys },
            "--bearer" => gcs.access = Access::Bearer(value()?),
            _ => return Err(format!("Unknown argument {name}")),
        }
        match name.as_str() {
            "--access-key" | "--secret-key" => of_s3 = Some(name),
            "--bearer" => of_gcs = Some(name),
            _ => {}
        }
    }
    if let Some(name) = if is_gcs { of_s3 } else { of_gcs } {
        return Err(format!("{name} is for the other service"));
    }
    if !buckets.is_empty() {
        s3.buckets.clone_from(&buckets);
        gcs.buckets = buckets;
    }
    gcs.port = s3.port;
    Ok(if is_gcs { Service::Gcs(gcs) } else { Service::S3(s3) })
}
