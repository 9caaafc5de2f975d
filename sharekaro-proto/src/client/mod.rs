//! The client of the control API: typed requests and the stream of events over the control socket.
//!
//! One connection is kept and used again; a stream of events keeps the one it came on for itself. A request that was
//! sent is never sent twice: a connection is looked at before its use, not mended after it. Needs a tokio runtime.

mod connection;
mod events;
mod pipe;
mod sse;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, body::Incoming, header};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

use self::connection::{Body, Connection};
pub use self::{events::EventStream, pipe::Download};
use crate::{
    ErrorBody, ErrorCode,
    control::{error::ErrorReply, routes},
};

/// The daemon answers at once; only what asks another machine takes some seconds.
const REPLY_TIMEOUT: Duration = Duration::from_secs(120);

/// The largest reply that is read: a receipt. A list of some thousand transfers has a few MiB.
const REPLY_MAX: usize = crate::control::transfer::RECEIPT_MAX;

/// A daemon that can be asked. Dropping it closes its connection; what the daemon was told to do goes on.
#[derive(Debug)]
pub struct Client {
    socket_path: PathBuf,
    idle: Mutex<Option<Connection>>,
}

impl Client {
    /// Connects to the daemon behind this socket.
    ///
    /// # Errors
    /// `NoDaemon` where nobody listens, `Unavailable` where we may not use the socket.
    pub async fn connect(socket_path: &Path) -> Result<Self, ErrorBody> {
        let connection = Connection::open(socket_path).await?;
        Ok(Self { socket_path: socket_path.to_owned(), idle: Mutex::new(Some(connection)) })
    }

    /// Asks for something.
    ///
    /// # Errors
    /// What the daemon refuses, or `NoDaemon` where it is gone.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ErrorBody> {
        self.ask(Method::GET, path, None).await
    }

    /// Asks to do something that needs nothing told.
    ///
    /// # Errors
    /// As `get`.
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ErrorBody> {
        self.ask(Method::POST, path, None).await
    }

    /// Asks to do something.
    ///
    /// # Errors
    /// As `get`.
    pub async fn post_with<B: Serialize + Sync, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, ErrorBody> {
        let json = serde_json::to_vec(body).map_err(|e| unexpected("write the request", path, &e))?;
        self.ask(Method::POST, path, Some(json)).await
    }

    /// Asks to end something.
    ///
    /// # Errors
    /// As `get`.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ErrorBody> {
        self.ask(Method::DELETE, path, None).await
    }

    /// A snapshot of all state, then every change.
    ///
    /// # Errors
    /// As `get`.
    pub async fn events(&self) -> Result<EventStream, ErrorBody> {
        let request = request(Method::GET, routes::EVENTS, None)?;
        let (connection, response) = self.send(request).await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        Ok(EventStream::new(connection, response.into_body()))
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, json: Option<Vec<u8>>) -> Result<T, ErrorBody> {
        let request = request(method, path, json)?;
        let (connection, response) = self.send(request).await?;
        if !response.status().is_success() {
            let refused = refusal(response).await;
            self.keep(connection);
            return Err(refused);
        }
        let body = whole(response.into_body()).await?;
        self.keep(connection);
        let json: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(json).map_err(|e| unexpected("understand the daemon's reply to", path, &e))
    }

    /// Sends raw bytes as they come, for as long as they come, and returns what the daemon says of them.
    ///
    /// # Errors
    /// As `get`.
    pub async fn upload<T: DeserializeOwned>(&self, path: &str, parts: mpsc::Receiver<io::Result<Bytes>>) -> Result<T, ErrorBody> {
        let request = Request::builder().method(Method::POST).uri(path).header(header::HOST, "localhost");
        let request = request.body(pipe::body(parts)).map_err(|e| unexpected("build the request", path, &e))?;
        let mut connection = self.usable_connection().await?;
        let response = connection.send(request).await.map_err(|e| broken(path, &e))?;
        if !response.status().is_success() {
            return Err(refusal(response).await); // it may not have read all: the connection is of no more use
        }
        let body = whole(response.into_body()).await?;
        self.keep(connection);
        serde_json::from_slice(&body).map_err(|e| unexpected("understand the daemon's reply to", path, &e))
    }

    /// Asks for raw bytes, and waits for them without end; drop the future to give up.
    ///
    /// # Errors
    /// As `get`.
    pub async fn download<B: Serialize + Sync>(&self, path: &str, body: &B) -> Result<Download, ErrorBody> {
        let json = serde_json::to_vec(body).map_err(|e| unexpected("write the request", path, &e))?;
        let request = request(Method::POST, path, Some(json))?;
        let mut connection = self.usable_connection().await?;
        let response = connection.send(request).await.map_err(|e| broken(path, &e))?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        Ok(Download::new(connection, response.into_body()))
    }

    async fn send(&self, request: Request<Body>) -> Result<(Connection, Response<Incoming>), ErrorBody> {
        let mut connection = self.usable_connection().await?;
        let path = request.uri().path().to_owned();
        let answered = tokio::time::timeout(REPLY_TIMEOUT, connection.send(request)).await;
        let response = answered.map_err(|_| silent(&path))?.map_err(|e| broken(&path, &e))?;
        Ok((connection, response))
    }

    async fn usable_connection(&self) -> Result<Connection, ErrorBody> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut connection) = kept
            && connection.ready().await
        {
            return Ok(connection);
        }
        Connection::open(&self.socket_path).await
    }

    fn keep(&self, connection: Connection) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }
}

fn request(method: Method, path: &str, json: Option<Vec<u8>>) -> Result<Request<Body>, ErrorBody> {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    if json.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = Full::new(Bytes::from(json.unwrap_or_default())).map_err(|never| match never {}).boxed_unsync();
    request.body(body).map_err(|e| unexpected("build the request", path, &e))
}

async fn whole(body: Incoming) -> Result<Bytes, ErrorBody> {
    let read = tokio::time::timeout(REPLY_TIMEOUT, Limited::new(body, REPLY_MAX).collect()).await;
    match read {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(ErrorBody::new(ErrorCode::NoDaemon, format!("the daemon broke off its reply: {error}")).hint(SEE_LOG)),
        Err(_) => Err(silent("a reply that began")),
    }
}

async fn refusal(response: Response<Incoming>) -> ErrorBody {
    let status = response.status();
    let body = whole(response.into_body()).await.unwrap_or_default();
    match serde_json::from_slice::<ErrorReply>(&body) {
        Ok(reply) => reply.error,
        Err(_) if status == hyper::StatusCode::TOO_MANY_REQUESTS => {
            ErrorBody::new(ErrorCode::Busy, "the daemon has too many connections").hint("try again in a moment")
        }
        Err(_) => ErrorBody::new(ErrorCode::Unexpected, format!("the daemon answered {status}"))
            .hint("are sharectl and sharekarod of one version?"),
    }
}

const SEE_LOG: &str = "`sharectl status` tells whether it runs; `journalctl --user -u sharekarod` why it ended";

fn broken(path: &str, error: &hyper::Error) -> ErrorBody {
    ErrorBody::new(ErrorCode::NoDaemon, format!("the daemon went away before it answered {path}: {error}")).hint(SEE_LOG)
}

fn silent(path: &str) -> ErrorBody {
    let seconds = REPLY_TIMEOUT.as_secs();
    ErrorBody::new(ErrorCode::TimedOut, format!("the daemon did not answer {path} within {seconds} s")).hint(SEE_LOG)
}

fn unexpected(what: &str, path: &str, error: &dyn std::error::Error) -> ErrorBody {
    ErrorBody::new(ErrorCode::Unexpected, format!("cannot {what} {path}: {error}")).hint("are sharectl and sharekarod of one version?")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::control::event::Event;

    /// A daemon that gives each connection the next of these replies, whatever it is asked.
    fn daemon_that_says(replies: Vec<Vec<u8>>) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            for reply in replies {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        });
        (dir, path)
    }

    fn reply(status: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    async fn asked(reply: Vec<u8>) -> Result<serde_json::Value, ErrorBody> {
        let (_dir, path) = daemon_that_says(vec![reply]);
        Client::connect(&path).await.unwrap().get("/v1/status").await
    }

    #[tokio::test]
    async fn without_a_daemon_the_error_says_how_to_start_one() {
        let dir = tempfile::tempdir().unwrap();
        let dead = dir.path().join("dead.sock");
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());

        for path in [dir.path().join("missing.sock"), dead] {
            let error = Client::connect(&path).await.unwrap_err();

            assert_eq!(error.code, ErrorCode::NoDaemon, "{error:?}");
            assert!(error.hint.contains("sharekarod"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_the_error_that_the_daemon_wrote() {
        let body = r#"{"error":{"code":"not_found","message":"no peer is called \"x\"","hint":"look"}}"#;

        let error = asked(reply("404 Not Found", body)).await.unwrap_err();

        assert_eq!((error.code, error.hint.as_str()), (ErrorCode::NotFound, "look"));
    }

    #[tokio::test]
    async fn a_reply_that_is_none_of_ours_is_an_error_and_no_panic() {
        for (raw, code) in [
            (reply("200 OK", "{"), ErrorCode::Unexpected),
            (reply("500 Oops", "<html>"), ErrorCode::Unexpected),
            (reply("429 Too Many Requests", ""), ErrorCode::Busy),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}".to_vec(), ErrorCode::NoDaemon),
            (b"\xff\xfe\r\n\r\n".to_vec(), ErrorCode::NoDaemon),
        ] {
            assert_eq!(asked(raw.clone()).await.unwrap_err().code, code, "{}", raw.escape_ascii());
        }
    }

    #[tokio::test]
    async fn an_empty_reply_is_nothing() {
        let (_dir, path) = daemon_that_says(vec![b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()]);

        assert_eq!(Client::connect(&path).await.unwrap().delete::<()>("/v1/peers/x").await, Ok(()));
    }

    #[tokio::test]
    async fn events_of_a_kind_that_is_not_known_here_are_passed_over() {
        let mut stream = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n: hello\n\n".to_vec();
        let at = "2026-01-01T00:00:00Z";
        write!(stream, "id: 1\ndata: {{\"seq\":1,\"at\":\"{at}\",\"type\":\"from_the_future\",\"data\":7}}\n\n").unwrap();
        write!(stream, "id: 2\ndata: {{\"seq\":2,\"at\":\"{at}\",\"type\":\"warnings_changed\",\"data\":[]}}\n\n").unwrap();
        let (_dir, path) = daemon_that_says(vec![stream]);

        let mut events = Client::connect(&path).await.unwrap().events().await.unwrap();

        let event: Event = events.next().await.unwrap().unwrap();
        assert_eq!(event.seq, 2);
        assert!(events.next().await.unwrap().is_none());
    }
}
