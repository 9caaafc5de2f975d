//! Files that came as open descriptors: they get a path in a private folder of the state folder, and it goes when the
//! transfers that send from it have ended.
//!
//! Each call has a folder of its own below `descriptors/`. After a crash nothing but the folders themselves is left to
//! tell what they are, so a folder goes when no open transfer names it, and at the latest with the next start.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::fs::{AtFlags, OFlags};
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    control::{event::Fact, transfer::RawPath},
    nouns::text::lossless,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::engine::Engine;

/// Calls that are copied for at once: a descriptor of a file system that hangs keeps its thread.
const FILLS: usize = 2;

/// Bytes copied at a time where a file can be neither cloned nor linked.
const COPY_BYTES: usize = 1 << 20;

/// Why descriptors cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    /// No file at all.
    #[error("no file to send")]
    Nothing,
    /// It is not one component of a path.
    #[error("{0:?} is no file name")]
    Name(String),
    /// Two files of one call have the same name.
    #[error("two files are called {0:?}")]
    Twice(String),
    /// A pipe, a folder, a device.
    #[error("{0:?} is no regular file")]
    Irregular(String),
    /// It was opened for writing only, or for nothing.
    #[error("{0:?} is not open for reading")]
    Unreadable(String),
    /// The disk or the file said no.
    #[error("cannot keep {name:?} until it is sent: {source}")]
    Keep {
        /// The file.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// The work ended early.
    #[error("keeping the files until they are sent was interrupted")]
    Interrupted,
}

impl From<SpoolError> for ErrorBody {
    fn from(error: SpoolError) -> Self {
        let (code, hint) = match &error {
            SpoolError::Nothing | SpoolError::Name(_) | SpoolError::Twice(_) => {
                (ErrorCode::Usage, "each file is a name without slashes and an open descriptor")
            }
            SpoolError::Irregular(_) | SpoolError::Unreadable(_) => (ErrorCode::Usage, "open a regular file for reading"),
            SpoolError::Keep { .. } => (ErrorCode::LocalFile, "check the free space where our state folder lies"),
            SpoolError::Interrupted => (ErrorCode::Unexpected, "try again"),
        };
        Self::new(code, error.to_string()).hint(hint)
    }
}

/// The folder of folders.
pub(super) struct Spool {
    root: PathBuf,
    /// Folders that no transfer names yet.
    filling: Mutex<HashSet<PathBuf>>,
    turns: Semaphore,
}

/// A folder that was filled. Dropped, it is removed; kept, it goes with its transfers.
pub(super) struct Filled {
    spool: Arc<Spool>,
    folder: PathBuf,
    paths: Vec<RawPath>,
    keep: bool,
}

impl Filled {
    /// The files.
    pub(super) fn paths(&self) -> &[RawPath] {
        &self.paths
    }

    /// Transfers name it now.
    pub(super) fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        if !self.keep {
            remove(&self.folder);
        }
        self.spool.filling().remove(&self.folder);
    }
}

impl Spool {
    /// The spool in this state folder; it is made when it is first needed.
    pub(super) fn new(state_dir: &Path) -> Arc<Self> {
        Arc::new(Self { root: state_dir.join("descriptors"), filling: Mutex::default(), turns: Semaphore::new(FILLS) })
    }

    /// Gives each file a path.
    pub(super) async fn fill(self: &Arc<Self>, files: Vec<(String, OwnedFd)>) -> Result<Filled, SpoolError> {
        check_names(&files)?;
        let _turn = self.turns.acquire().await.map_err(|_| SpoolError::Interrupted)?;
        let spool = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || spool.fill_blocking(files));
        work.await.map_err(|_| SpoolError::Interrupted)?
    }

    fn fill_blocking(self: Arc<Self>, files: Vec<(String, OwnedFd)>) -> Result<Filled, SpoolError> {
        let folder = self.root.join(Uuid::now_v7().as_simple().to_string());
        self.filling().insert(folder.clone());
        let mut filled = Filled { spool: self, folder, paths: Vec::with_capacity(files.len()), keep: false };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&filled.folder);
        made.map_err(|source| SpoolError::Keep { name: filled.folder.display().to_string(), source })?;
        for (name, fd) in files {
            let path = filled.folder.join(&name);
            take(&name, File::from(fd), &path)?;
            filled.paths.push(RawPath(path));
        }
        Ok(filled)
    }

    /// Whether a path, as a transfer shows it, lies in here.
    fn holds(&self, shown: &str) -> bool {
        shown.strip_prefix(&shown_root(&self.root)).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Removes every folder that neither a call nor an open transfer needs.
    async fn sweep(self: Arc<Self>, engine: Engine) {
        let swept = tokio::task::spawn_blocking(move || {
            let idle = self.idle_folders();
            if idle.is_empty() {
                return;
            }
            // asked after the folders were listed: what is kept by now is named by a transfer by now
            let open: Vec<String> =
                engine.transfers().transfers.into_iter().filter(|it| !it.state.ended()).flat_map(|it| it.paths).collect();
            for folder in idle {
                let prefix = shown_root(&folder) + "/";
                if !open.iter().any(|path| path.starts_with(&prefix)) {
                    remove(&folder);
                }
            }
        });
        let _ = swept.await; // interrupted: the next one does it
    }

    fn idle_folders(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.root) else { return Vec::new() }; // not made yet
        let folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let filling = self.filling();
        folders.into_iter().filter(|folder| !filling.contains(folder)).collect()
    }

    fn filling(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes what is over, until `shutdown`.
pub(super) async fn keep_tidy(spool: Arc<Spool>, engine: Engine, shutdown: CancellationToken) {
    let mut events = engine.subscribe();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = shutdown.cancelled() => return,
        };
        let over = match event.as_deref().map(|event| &event.fact) {
            None => return,
            Some(Fact::Snapshot(_)) => true,
            Some(Fact::TransferChanged(transfer)) => transfer.state.ended() && transfer.paths.iter().any(|path| spool.holds(path)),
            Some(_) => false,
        };
        if over {
            Arc::clone(&spool).sweep(engine.clone()).await;
        }
    }
}

fn check_names(files: &[(String, OwnedFd)]) -> Result<(), SpoolError> {
    if files.is_empty() {
        return Err(SpoolError::Nothing);
    }
    let mut seen = HashSet::new();
    for (name, _) in files {
        let mut parts = Path::new(name).components();
        let one = matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name.as_str());
        if !one || name.len() > 255 || name.contains('\0') {
            return Err(SpoolError::Name(name.clone()));
        }
        if !seen.insert(name) {
            return Err(SpoolError::Twice(name.clone()));
        }
    }
    Ok(())
}

/// Makes `path` the file that is open here: cloned where the file system can, linked where it is the same one, copied
/// otherwise.
fn take(name: &str, file: File, path: &Path) -> Result<(), SpoolError> {
    let keep = |source: io::Error| SpoolError::Keep { name: name.to_owned(), source };
    let metadata = file.metadata().map_err(keep)?;
    if !metadata.is_file() {
        return Err(SpoolError::Irregular(name.to_owned()));
    }
    let flags = rustix::fs::fcntl_getfl(&file).map_err(|e| keep(e.into()))?;
    if flags.contains(OFlags::PATH) || flags & OFlags::RWMODE == OFlags::WRONLY {
        return Err(SpoolError::Unreadable(name.to_owned()));
    }
    let mut copy = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(keep)?;
    if rustix::fs::ioctl_ficlone(&copy, &file).is_err() {
        drop(copy);
        fs::remove_file(path).map_err(keep)?;
        if link(&file, path).is_ok() {
            return Ok(());
        }
        copy = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(keep)?;
        copy_bytes(&file, &mut copy, metadata.len()).map_err(keep)?;
    }
    copy.set_permissions(fs::Permissions::from_mode(metadata.permissions().mode() & 0o777 | 0o400)).map_err(keep)?;
    metadata.modified().and_then(|at| copy.set_modified(at)).map_err(keep)
}

/// Another name for an open file. Refused by the kernel for a file of somebody else and for one on another file system.
fn link(file: &File, path: &Path) -> rustix::io::Result<()> {
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(rustix::fs::CWD, open, rustix::fs::CWD, path, AtFlags::SYMLINK_FOLLOW)
}

/// From its beginning, wherever the client's offset stands, as far as it reached when we looked: it may go on growing.
fn copy_bytes(from: &File, to: &mut File, bytes: u64) -> io::Result<()> {
    let (mut buffer, mut at) = (vec![0; COPY_BYTES], 0);
    while at < bytes {
        let read = match from.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        to.write_all(buffer.get(..read).unwrap_or_default())?;
        at += read as u64; // a usize always fits
    }
    Ok(())
}

fn shown_root(path: &Path) -> String {
    lossless(path.as_os_str().as_encoded_bytes())
}

fn remove(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => tracing::warn!("cannot remove {}: {e}", folder.display()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    #[tokio::test]
    async fn a_file_without_a_path_gets_one_with_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, source) = (Spool::new(dir.path()), dir.path().join("gone"));
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        fs::write(&source, &bytes).unwrap();
        let fd = open(&source);
        fs::remove_file(&source).unwrap();

        let filled = spool.fill(vec![("handed over".into(), fd)]).await.unwrap();

        let path = filled.paths()[0].0.clone();
        assert_eq!(path.file_name().unwrap(), "handed over");
        assert!(fs::read(&path).unwrap() == bytes);
        assert_eq!(fs::metadata(&spool.root).unwrap().permissions().mode() & 0o777, 0o700);
        drop(filled);
        assert!(!path.exists(), "nobody kept it");
    }

    #[tokio::test]
    async fn what_is_no_readable_regular_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, source) = (Spool::new(dir.path()), dir.path().join("x"));
        fs::write(&source, "x").unwrap();
        let write_only: OwnedFd = File::options().write(true).open(&source).unwrap().into();
        let path_only: OwnedFd = File::options().read(true).custom_flags(libc_o_path()).open(&source).unwrap().into();

        for fd in [open(Path::new("/dev/null")), open(dir.path())] {
            assert!(matches!(spool.fill(vec![("a".into(), fd)]).await, Err(SpoolError::Irregular(_))));
        }
        for fd in [write_only, path_only] {
            assert!(matches!(spool.fill(vec![("a".into(), fd)]).await, Err(SpoolError::Unreadable(_))));
        }
        assert!(spool.idle_folders().is_empty(), "nothing is left of what failed");
    }

    #[tokio::test]
    async fn a_name_is_one_component_of_a_path_and_used_once() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, source) = (Spool::new(dir.path()), dir.path().join("x"));
        fs::write(&source, "x").unwrap();

        for name in ["", ".", "..", "../x", "/etc/x", "a/b", "a/", "a\0b", &"x".repeat(256)] {
            assert!(matches!(spool.fill(vec![(name.into(), open(&source))]).await, Err(SpoolError::Name(_))), "{name:?}");
        }
        let twice = vec![("x".to_owned(), open(&source)), ("x".to_owned(), open(&source))];
        assert!(matches!(spool.fill(twice).await, Err(SpoolError::Twice(_))));
        assert!(matches!(spool.fill(Vec::new()).await, Err(SpoolError::Nothing)));
    }

    fn libc_o_path() -> i32 {
        i32::try_from(OFlags::PATH.bits()).unwrap()
    }
}
