//! One HTTP/1.1 connection over the control socket. With `frontends/socket.rs` of the daemon the only user of
//! interprocess.

use std::{io, path::Path};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use interprocess::local_socket::{
    GenericFilePath, ToFsName,
    tokio::Stream,
    traits::{StreamCommon, tokio::Stream as _},
};

use crate::{ErrorBody, ErrorCode, control::socket::own_uid};

/// What a request carries; a body that is read while it is sent fits too.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A connection with the task that drives it; both end together.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<Body>,
    driver: tokio::task::JoinHandle<()>,
}

impl Connection {
    pub(crate) async fn open(socket_path: &Path) -> Result<Self, ErrorBody> {
        let no_socket = |error: io::Error| unreachable(socket_path, &error);
        let name = socket_path.to_fs_name::<GenericFilePath>().map_err(no_socket)?;
        let stream = Stream::connect(name).await.map_err(no_socket)?;
        served_by(&stream, own_uid()).map_err(|uid| impostor(socket_path, uid))?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| unreachable(socket_path, &io::Error::other(error)))?;
        let driver = tokio::spawn(async move {
            let _ = connection.await; // whoever waits for a reply on it gets the error
        });
        sender.ready().await.map_err(|error| unreachable(socket_path, &io::Error::other(error)))?;
        Ok(Self { sender, driver })
    }

    /// Whether another request can go on it: waits until the last one is over; false where the daemon closed it.
    pub(crate) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    pub(crate) async fn send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        self.sender.send_request(request).await
    }
}

/// Whether the daemon is our user's. Where the folder of the socket is open to others, one of them may have put a socket
/// there to be told our secrets. Root may talk to anybody's daemon.
fn served_by(stream: &Stream, ours: u32) -> Result<(), Option<u32>> {
    let uid = stream.peer_creds().ok().and_then(|creds| creds.euid());
    if ours == 0 || uid == Some(ours) { Ok(()) } else { Err(uid) }
}

fn impostor(socket_path: &Path, uid: Option<u32>) -> ErrorBody {
    let whose = uid.map_or_else(|| "an unknown user".to_owned(), |uid| format!("user {uid}"));
    ErrorBody::new(ErrorCode::NotTrusted, format!("{} belongs to the daemon of {whose}, not to yours", socket_path.display()))
        .hint("start your own: `systemctl --user start sharekarod`; if its folder is not yours either, somebody means harm")
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn unreachable(socket_path: &Path, error: &io::Error) -> ErrorBody {
    let at = socket_path.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ErrorBody::new(ErrorCode::NoDaemon, format!("no daemon listens at {at}"))
                .hint("start it: `systemctl --user start sharekarod`, or `sharekarod` in another terminal")
        }
        io::ErrorKind::PermissionDenied => ErrorBody::new(ErrorCode::Unavailable, format!("may not use the control socket {at}"))
            .hint("it serves the user who started the daemon; run sharectl as that user"),
        _ => ErrorBody::new(ErrorCode::NoDaemon, format!("cannot use the control socket {at}: {error}"))
            .hint("name another one with --socket"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_daemon_of_another_user_is_not_talked_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let _listener = tokio::net::UnixListener::bind(&path).unwrap();
        let stream = Stream::connect(path.as_path().to_fs_name::<GenericFilePath>().unwrap()).await.unwrap();

        let another = own_uid() + 1;

        assert_eq!(served_by(&stream, own_uid()), Ok(()));
        assert_eq!(served_by(&stream, another), Err(Some(own_uid())));
        assert_eq!(impostor(&path, Some(another)).code, ErrorCode::NotTrusted);
    }
}
