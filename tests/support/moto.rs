//! The independent judge: `moto`, an S3 server from PyPI that nobody here has written.
//!
//! Known to be right on conditional puts, races and odd keys; it checks no signature, stores
//! what fails its checksum, ignores conditions on copies and completions, and its answer to
//! ListParts cannot be read. A machine without it fails the test: `scripts/test` installs it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// How long the server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the server until its own standard input ends, so that it never outlives the test.
const UNTIL_STDIN_ENDS: &str =
    r#""$0" -H 127.0.0.1 -p 0 & server=$!; cat >/dev/null; kill $server; wait $server"#;

/// A running moto. It stops when dropped.
#[derive(Debug)]
pub(crate) struct Moto {
    shell: Child,
    address: String,
}

impl Moto {
    /// Starts a server that has one bucket.
    ///
    /// # Panics
    /// If moto is not installed, or does not come up.
    pub(crate) fn start(bucket: &str) -> Self {
        let program = find();
        let mut shell = Command::new("sh")
            .args(["-c", UNTIL_STDIN_ENDS])
            .arg(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell can be started");
        let log = shell.stderr.take().expect("its standard error is piped");
        let (found, address) = channel();
        let reader = std::thread::Builder::new().name("moto-log".to_owned());
        reader.spawn(move || read_log(log, &found)).expect("a thread can be started");
        let address = address.recv_timeout(PATIENCE);
        let address =
            address.unwrap_or_else(|_| panic!("{} did not say where it listens", program.display()));
        let moto = Self { shell, address };
        moto.make_bucket(bucket);
        moto
    }

    /// Returns the endpoint. Any key pair will do.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends the one request that needs no client: moto checks no signature.
    fn make_bucket(&self, bucket: &str) {
        let mut connection = TcpStream::connect(&self.address).expect("moto accepts connections");
        let host = &self.address;
        let request = format!(
            "PUT /{bucket} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).expect("moto reads requests");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("moto answers");
        let ok = answer.split_whitespace().nth(1) == Some("200");
        assert!(ok, "Moto did not make the bucket {bucket}: {answer}");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let ended = self.shell.wait();
        assert!(ended.is_ok() || std::thread::panicking(), "moto could not be stopped: {ended:?}");
    }
}

/// Passes on the address that the log names, and reads on to its end so that it never blocks.
fn read_log(log: impl Read, found: &Sender<String>) {
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        if let Some((_, address)) = line.split_once("Running on http://") {
            // The receiver may have given up waiting; the log is read to its end anyway.
            drop(found.send(address.trim().to_owned()));
        }
    }
}

/// Returns the program: as the environment says, from the build's own folder, or from `PATH`.
fn find() -> PathBuf {
    let told = std::env::var_os("BAYOU_MOTO_SERVER").map(PathBuf::from);
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("moto-venv");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join("moto_server"));
    let candidates = told.into_iter().chain([venv.join("bin/moto_server")]).chain(installed);
    candidates.into_iter().find(|program| program.is_file()).unwrap_or_else(|| {
        let venv = venv.display();
        panic!(
            "The independent S3 server moto is not installed. Run scripts/test, \
             or: python3 -m venv {venv} && {venv}/bin/pip install 'moto[server]'"
        )
    })
}
