//! The control socket: one daemon a user, its own user only, as many connections as it can serve.
//!
//! Whoever holds the lock beside the socket is the daemon; a socket without a holder is dead and is taken over. Nobody
//! else can put another socket there between two steps: the folder is ours alone, or, where a person chose another one,
//! keeps what is ours in it.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    http::{StatusCode, header::CONNECTION},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use interprocess::{
    local_socket::{
        GenericFilePath, ListenerOptions, ToFsName,
        tokio::{Listener, Stream},
        traits::{StreamCommon, tokio::Listener as _},
    },
    os::unix::local_socket::ListenerOptionsExt,
};
use sharekaro_proto::{ErrorBody, ErrorCode, control::error::ErrorReply};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::lock::{self, Lock};

/// Connections served at once; a page, a desktop and scripts together need far fewer.
const CONNECTIONS_MAX: usize = 128;

/// Clients beyond those that are told so at once, instead of being served; whoever comes beyond these too finds the door
/// shut.
const REFUSALS_MAX: usize = 32;

/// A client has to send its request's head within this.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// The same for a client that is refused whatever it asks: it makes room for the next one sooner.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);

/// The longest head of a request, in bytes.
const HEADERS_MAX: usize = 16 << 10;

/// Open requests (events above all) have this long to end when the daemon does.
const DRAIN: Duration = Duration::from_millis(500);

/// The folder in `$XDG_RUNTIME_DIR` that is made for the socket, and kept closed.
const OUR_FOLDER: &str = "sharekaro";

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon serves it.
    #[error(transparent)]
    Taken(#[from] lock::Error),
    /// Others could put another socket in the place of ours.
    #[error("{} has to be a folder that belongs to you alone: {why}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The kernel says no.
    #[error("cannot serve the control socket {}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// What to do about it, where the place is at fault.
    pub fn hint(&self) -> Option<&'static str> {
        let denied = matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied);
        (denied || matches!(self, Self::Folder { .. })).then_some(
            "XDG_RUNTIME_DIR has to be a folder of the user that the daemon runs as: log in as that user, or name another place for the daemon and for sharectl: SHAREKARO_SOCKET",
        )
    }
}

/// The control socket, held as long as this lives.
pub struct ControlSocket {
    listener: Listener,
    path: PathBuf,
    _lock: Lock,
}

impl ControlSocket {
    /// Takes the lock and binds the socket, for our user alone.
    ///
    /// # Errors
    /// Another daemon has it; others can change what is in the folder.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: path.into(), source };
        guarded_dir(path.parent().unwrap_or(Path::new("/")))?;
        let lock = Lock::take(&path.with_extension("lock"))?;
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {} // nobody holds the lock: what is there is dead
        }
        let name = path.to_fs_name::<GenericFilePath>().map_err(failed)?;
        let listener = ListenerOptions::new().name(name).mode(0o600).create_tokio().map_err(failed)?;
        Ok(Self { listener, path: path.into(), _lock: lock })
    }

    /// Serves the router to every client of our user until `shutdown`.
    pub async fn serve(self, router: Router, shutdown: CancellationToken) {
        let doors = [
            Door { places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), headers_within: HEADERS_WITHIN, router },
            Door { places: Arc::new(Semaphore::new(REFUSALS_MAX)), headers_within: REFUSED_WITHIN, router: one_too_many() },
        ];
        let clients = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.cancelled() => break,
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(e) => {
                    tracing::warn!("cannot accept a client: {e}"); // no descriptors left, as a rule: do not spin
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if !is_ours(&stream) {
                continue;
            }
            let open = doors.iter().find_map(|door| Some((door.places.clone().try_acquire_owned().ok()?, door)));
            let Some((place, door)) = open else {
                tracing::warn!("far more than {CONNECTIONS_MAX} clients at once; one is turned away");
                continue;
            };
            clients.spawn(serve_one(stream, door.router.clone(), door.headers_within, shutdown.clone(), place));
        }
        clients.close();
        let _ = tokio::time::timeout(DRAIN, clients.wait()).await;
        let _ = fs::remove_file(&self.path); // the next daemon would take it over anyway
    }
}

/// How a client is served that found a place here.
struct Door {
    places: Arc<Semaphore>,
    headers_within: Duration,
    router: Router,
}

/// Tells every client the same: the error that it knows, and that this connection is over.
fn one_too_many() -> Router {
    Router::new().fallback(|| async {
        let message = format!("{CONNECTIONS_MAX} programs talk to the daemon already, and it serves no more at once");
        let error = ErrorBody::new(ErrorCode::Busy, message).hint("try again in a moment; end programs that watch and are not needed");
        let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
        (status, [(CONNECTION, "close")], Json(ErrorReply { error }))
    })
}

async fn serve_one(stream: Stream, router: Router, headers_within: Duration, shutdown: CancellationToken, _place: OwnedSemaphorePermit) {
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(headers_within).max_buf_size(HEADERS_MAX);
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!("a client went away: {e}");
    }
}

/// Whether the client is our user (or root, who can do everything anyway).
fn is_ours(stream: &Stream) -> bool {
    let uid = stream.peer_creds().ok().and_then(|creds| creds.euid());
    let ours = rustix::process::geteuid().as_raw();
    let ok = uid.is_some_and(|uid| uid == ours || uid == 0);
    if !ok {
        tracing::warn!(?uid, "a client of another user was turned away");
    }
    ok
}

/// The folder in which nobody else can exchange the socket, made where it is missing. What was there before us and has
/// not our name may be anybody's home, or `/tmp`: it is looked at and never changed.
fn guarded_dir(dir: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { path: dir.into(), source };
    let ours = rustix::process::geteuid().as_raw();
    let kept = |it: &fs::Metadata, why| {
        let keeps = keeps_what_is_in_it(it.uid(), it.permissions().mode(), ours);
        if keeps { Ok(()) } else { Err(Error::Folder { path: dir.into(), why }) }
    };
    let above = |it: &fs::Metadata| kept(it, "others can put another in its place, as the folder above it is not yours or open to them");
    // before anything is made: what root leaves in the folder of another user keeps that user's daemon out
    if let Some(there) = dir.ancestors().skip(1).find_map(|above| fs::metadata(above).ok()) {
        above(&there)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    above(&fs::metadata(dir.parent().unwrap_or(Path::new("/"))).map_err(failed)?)?;
    let metadata = fs::symlink_metadata(dir).map_err(failed)?;
    if !metadata.is_dir() {
        return Err(Error::Folder { path: dir.into(), why: "it is a link or a file" });
    }
    if dir.file_name() != Some(OsStr::new(OUR_FOLDER)) {
        return kept(&metadata, "it belongs to another user, or everybody may write into it");
    }
    if metadata.uid() != ours {
        return Err(Error::Folder { path: dir.into(), why: "it belongs to another user" });
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

/// Whether nobody but us and root can rename what is ours in a folder of this owner and mode: `/tmp` yes (sticky), a
/// folder that somebody else made there before us no.
fn keeps_what_is_in_it(owner: u32, mode: u32, ours: u32) -> bool {
    const STICKY: u32 = 0o1000;
    const OTHERS_WRITE: u32 = 0o002;
    (owner == ours || owner == 0) && (mode & OTHERS_WRITE == 0 || mode & STICKY != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::soon;

    #[tokio::test]
    async fn the_second_daemon_is_told_who_has_it_and_a_dead_socket_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sharekaro/control.sock");
        let first = ControlSocket::bind(&path).unwrap();

        let second = ControlSocket::bind(&path).err().unwrap().to_string();
        assert!(second.contains(&std::process::id().to_string()), "{second}");

        drop(first); // without removing the socket: as after kill -9
        fs::write(&path, "").unwrap();
        soon(|| ControlSocket::bind(&path).ok());
    }

    #[tokio::test]
    async fn socket_and_folder_are_for_us_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("sharekaro");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();

        let _socket = ControlSocket::bind(&folder.join("control.sock")).unwrap();

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("control.sock"))), (0o700, 0o600));
    }

    #[tokio::test]
    async fn a_folder_that_a_person_chose_stays_as_it_is_or_is_refused() {
        for (mode, taken) in [(0o755, true), (0o1777, true), (0o777, false)] {
            let dir = tempfile::tempdir().unwrap();
            let folder = dir.path().join("home");
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            let path = folder.join("x.sock");

            let bound = ControlSocket::bind(&path);

            assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, mode);
            assert_eq!(bound.is_ok(), taken, "{mode:o}: {:?}", bound.err());
            assert!(!taken || fs::metadata(&path).unwrap().permissions().mode() & 0o777 == 0o600);
        }
    }

    #[test]
    fn a_link_in_place_of_the_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/tmp", dir.path().join("sharekaro")).unwrap();

        assert!(matches!(guarded_dir(&dir.path().join("sharekaro")), Err(Error::Folder { .. })));
    }

    #[test]
    fn a_folder_that_others_can_exchange_is_refused() {
        for (owner, mode, keeps) in
            [(1000, 0o700, true), (0, 0o1777, true), (0, 0o755, true), (1000, 0o775, true), (1001, 0o700, false), (0, 0o777, false)]
        {
            assert_eq!(keeps_what_is_in_it(owner, mode, 1000), keeps, "{owner} {mode:o}");
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();

        let refused = guarded_dir(&dir.path().join("sharekaro")).unwrap_err();
        assert!(matches!(refused, Error::Folder { .. }) && refused.hint().is_some(), "{refused}");
        assert!(!dir.path().join("sharekaro").exists(), "something was left in the folder of others");
    }
}
