//! The listening side, in the process of a mount.
//!
//! Requests are carried out by the handler in a task of their own: a client that goes away
//! does not stop what it asked for. While the handler works, the client is told a few times
//! a second how far it is, which also shows that the process is alive.

use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::{Answer, Failure, FailureKind, Progress, Request, Response};
use crate::os::clock::SharedClock;

/// How often a waiting client hears of the progress.
const BEAT: Duration = Duration::from_millis(250);
/// Longest request; a path is at most a few kilobytes.
const MAX_REQUEST_BYTES: u64 = 4 << 20;

/// What carries out a request.
pub type Handler =
    Arc<dyn Fn(Request, ProgressSink) -> BoxFuture<'static, Result<Answer, Failure>> + Send + Sync>;

/// Where a handler says how far it is; only the latest word counts.
#[derive(Debug, Clone)]
pub struct ProgressSink(watch::Sender<Progress>);

impl ProgressSink {
    /// Returns a sink and the place where its latest word can be read.
    pub fn new() -> (Self, watch::Receiver<Progress>) {
        let (sender, receiver) = watch::channel(Progress::default());
        (Self(sender), receiver)
    }

    /// Says how far it is.
    pub fn say(&self, progress: Progress) {
        self.0.send_replace(progress);
    }
}

/// Answers requests at this listener for ever. Needs a tokio runtime.
pub async fn serve(listener: StdListener, handler: Handler, clock: SharedClock) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, Arc::clone(&handler), Arc::clone(&clock)));
            }
            Err(error) => {
                tracing::warn!(%error, "Control socket does not accept");
                clock.sleep(BEAT).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, handler: Handler, clock: SharedClock) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let outcome = match next_request(&mut reader).await {
            Ok(None) => return,
            Ok(Some(Ok(request))) => answer(request, &handler, &clock, &mut writer).await,
            Ok(Some(Err(failure))) => send(&mut writer, &Response::Failed(failure)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "Control connection ended early");
            return;
        }
    }
}

/// Reads one line; `None` when the client has gone.
async fn next_request(
    reader: &mut BufReader<OwnedReadHalf>,
) -> std::io::Result<Option<Result<Request, Failure>>> {
    let mut line = Vec::new();
    reader.take(MAX_REQUEST_BYTES).read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        return Ok(None);
    }
    let refused = |error: serde_json::Error| {
        let message = "The mount does not understand this request; is it of another version of bayou?";
        Failure::new(FailureKind::Usage, message).caused_by(&error)
    };
    Ok(Some(serde_json::from_slice(&line).map_err(refused)))
}

async fn answer(
    request: Request,
    handler: &Handler,
    clock: &SharedClock,
    writer: &mut OwnedWriteHalf,
) -> std::io::Result<()> {
    let (sink, progress) = ProgressSink::new();
    let mut work = tokio::spawn(handler(request, sink));
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut work => break outcome,
            () = clock.sleep(BEAT) => {
                let latest = progress.borrow().clone();
                send(writer, &Response::Progress(latest)).await?;
            }
        }
    };
    let last = progress.borrow().clone();
    if last != Progress::default() {
        send(writer, &Response::Progress(last)).await?;
    }
    let response = match outcome {
        Ok(Ok(answer)) => Response::Done { answer },
        Ok(Err(failure)) => Response::Failed(failure),
        Err(panic) => {
            let message = "The mount made a mistake and did not carry out the request; its log says more";
            Response::Failed(Failure::new(FailureKind::Panicked, message).caused_by(&panic))
        }
    };
    send(writer, &response).await
}

async fn send(writer: &mut OwnedWriteHalf, response: &Response) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream as StdStream;

    use futures::FutureExt;
    use tokio::sync::Notify;

    use super::*;
    use crate::control::client::{AskError, Client, Patience};
    use crate::control::place::{Found, MountRecord};
    use crate::control::{Amount, Direction};
    use crate::os::clock::SystemClock;
    use crate::sync::scope::SyncContext;

    struct Mount {
        scratch: tempfile::TempDir,
        runtime: tokio::runtime::Runtime,
    }

    impl Mount {
        fn serving(handler: Handler) -> Self {
            let scratch = tempfile::tempdir().unwrap();
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let listener = StdListener::bind(scratch.path().join("s")).unwrap();
            runtime.spawn(serve(listener, handler, SystemClock::shared()));
            Self { scratch, runtime }
        }

        fn stream(&self) -> StdStream {
            StdStream::connect(self.scratch.path().join("s")).unwrap()
        }

        fn client(&self) -> Client {
            let record = MountRecord {
                pid: std::process::id(),
                source: "s3://b".to_owned(),
                namespace: None,
                mountpoint: "/mnt".into(),
                cache_dir: "/c".into(),
            };
            Client::new(Found { record, stream: Some(self.stream()) }).unwrap()
        }
    }

    fn pong() -> Handler {
        Arc::new(|_, _| async { Ok(Answer::Pong) }.boxed())
    }

    #[test]
    fn one_connection_may_ask_several_times() {
        let mount = Mount::serving(pong());
        let mut client = mount.client();
        for _ in 0..3 {
            assert_eq!(client.ask(&Request::Ping, |_| Patience::Wait).unwrap(), Answer::Pong);
        }
    }

    #[test]
    fn the_client_hears_of_progress_before_the_answer() {
        let done = Arc::new(Notify::new());
        let release = Arc::clone(&done);
        let handler: Handler = Arc::new(move |_, sink| {
            let done = Arc::clone(&done);
            async move {
                let total = Amount { files: 2, bytes: 20 };
                sink.say(Progress { step: "uploading".to_owned(), total, ..Progress::default() });
                done.notified().await;
                Ok(Answer::Pong)
            }
            .boxed()
        });
        let mount = Mount::serving(handler);
        let mut heard = Vec::new();
        let answer = mount.client().ask(&Request::Flush, |progress| {
            heard.push(progress.clone());
            release.notify_one();
            Patience::Wait
        });
        assert_eq!(answer.unwrap(), Answer::Pong);
        assert_eq!(heard.last().unwrap().total, Amount { files: 2, bytes: 20 });
    }

    #[test]
    fn a_failure_reaches_the_client_as_it_was_said() {
        let failure = Failure::new(FailureKind::Unreachable, "No way");
        let said = failure.clone();
        let handler: Handler = Arc::new(move |_, _| futures::future::ready(Err(said.clone())).boxed());
        let mount = Mount::serving(handler);
        let request = Request::Sync { direction: Direction::Both, context: SyncContext::default() };
        let heard = mount.client().ask(&request, |_| Patience::Wait).unwrap_err();
        assert!(matches!(heard, AskError::Failed(heard) if heard == failure));
    }

    #[test]
    fn a_request_that_nobody_understands_is_refused_and_the_connection_lives_on() {
        use std::io::{BufRead, Write};
        let mount = Mount::serving(pong());
        let mut stream = mount.stream();
        stream.write_all(b"{\"request\":\"dance\"}\n{\"request\":\"ping\"}\n").unwrap();
        let mut lines = std::io::BufReader::new(stream).lines();
        assert!(lines.next().unwrap().unwrap().contains(r#""kind":"usage""#));
        assert_eq!(lines.next().unwrap().unwrap(), r#"{"response":"done","answer":{"answer":"pong"}}"#);
    }

    #[test]
    fn a_handler_that_panics_is_a_failure_and_not_the_end() {
        let handler: Handler = Arc::new(|request, _| {
            async move { if request == Request::Flush { panic!("on purpose") } else { Ok(Answer::Pong) } }
                .boxed()
        });
        let mount = Mount::serving(handler);
        let mut client = mount.client();
        let said = client.ask(&Request::Flush, |_| Patience::Wait).unwrap_err();
        assert!(matches!(said, AskError::Failed(failure) if failure.kind == FailureKind::Panicked));
        assert_eq!(client.ask(&Request::Ping, |_| Patience::Wait).unwrap(), Answer::Pong);
    }

    #[test]
    fn a_client_that_gives_up_does_not_stop_what_it_asked_for() {
        let (go, finished) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (start, end) = (Arc::clone(&go), Arc::clone(&finished));
        let handler: Handler = Arc::new(move |_, _| {
            let (start, end) = (Arc::clone(&start), Arc::clone(&end));
            async move {
                start.notified().await;
                end.notify_one();
                Ok(Answer::Pong)
            }
            .boxed()
        });
        let mount = Mount::serving(handler);
        let mut client = mount.client();
        assert!(matches!(client.ask(&Request::Flush, |_| Patience::GiveUp), Err(AskError::GivenUp)));
        drop(client);
        go.notify_one();
        let ended = mount.runtime.block_on(async {
            let limit = SystemClock::shared().sleep(Duration::from_secs(20));
            tokio::select! { () = finished.notified() => true, () = limit => false }
        });
        assert!(ended);
    }

    #[test]
    fn a_mount_that_ends_in_the_middle_is_told_apart_from_a_failure() {
        let scratch = tempfile::tempdir().unwrap();
        let listener = StdListener::bind(scratch.path().join("s")).unwrap();
        let stream = StdStream::connect(scratch.path().join("s")).unwrap();
        drop(listener.accept().unwrap());
        let record = MountRecord {
            pid: 1,
            source: String::new(),
            namespace: None,
            mountpoint: "/m".into(),
            cache_dir: "/c".into(),
        };
        let mut client = Client::new(Found { record, stream: Some(stream) }).unwrap();
        assert!(matches!(client.ask(&Request::Ping, |_| Patience::Wait), Err(AskError::Gone)));
    }
}
