//! A pipe that is sent: what a client streams is kept in a private file and then sent like any other.
//!
//! The transfer begins when the stream ends, as an offer names sizes. The file goes when its last transfer ends; what a
//! crash left is swept at the next start.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    control::transfer::{RawPath, Send, SendPipe, Transfers},
    nouns::transfer::Direction,
};

use super::{OUT, make_dir};
use crate::{
    engine::{Engine, transfers::record::Record},
    files::FileName,
};

/// Written at once: the stream comes in small parts.
const BLOCK: usize = 1 << 20;

/// A file in the making; dropping it removes it, unless it was handed over.
struct Spool {
    path: PathBuf,
    handed_over: bool,
}

impl Drop for Spool {
    fn drop(&mut self) {
        if !self.handed_over {
            remove(&self.path);
        }
    }
}

impl Engine {
    /// Sends what a client streams under a name, once all of it is here.
    ///
    /// # Errors
    /// As `send`; a name that is none; a stream that breaks off, or that finds no room here.
    pub async fn send_pipe<E: std::fmt::Display>(
        &self,
        wanted: SendPipe,
        bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Transfers, ErrorBody> {
        let name = FileName::parse(wanted.name.as_bytes())
            .map_err(|e| ErrorBody::new(ErrorCode::Usage, format!("{:?} is no file name: {e}", wanted.name)).hint("as --name dump.sql"))?;
        let peers = self.targets(&wanted.target).await?;
        let spool_dir = self.spool_dir();
        let (mut spool, file) = off_thread(move || create(&spool_dir, &name)).await?;
        fill(file, bytes).await?;
        let send = Send {
            target: wanted.target,
            paths: vec![RawPath(spool.path.clone())],
            note: wanted.note,
            conflict: wanted.conflict,
            limit: wanted.limit,
            priority: wanted.priority,
            apart: wanted.apart,
            ..Send::default()
        };
        let sent = self.send_to(&send, &peers, std::slice::from_ref(&spool.path)).await?;
        spool.handed_over = true;
        Ok(sent)
    }

    /// The last transfer of these sources ended: a spooled one goes.
    pub(crate) async fn let_go_of_spool(&self, record: &Record) {
        let spool_dir = self.spool_dir();
        let spooled: Vec<PathBuf> = record.sources.iter().map(|path| path.0.clone()).filter(|path| path.starts_with(&spool_dir)).collect();
        if !spooled.is_empty() {
            let removed = off_thread(move || {
                spooled.iter().for_each(|path| remove(path));
                Ok(())
            })
            .await;
            drop(removed); // each failure was logged
        }
    }

    /// After a start: what a crash left of pipes that no transfer knows.
    pub(crate) fn sweep_spool(&self) {
        let used: Vec<PathBuf> = self.look(|state| {
            let open = state.transfers.iter().map(|row| &row.record).filter(|it| it.direction == Direction::Out && !it.state.ended());
            open.flat_map(|record| record.sources.iter().map(|path| path.0.clone())).collect()
        });
        let orphans = entries(&self.spool_dir(), OUT).into_iter().filter(|dir| !used.iter().any(|path| path.starts_with(dir)));
        for dir in orphans {
            if let Err(e) = std::fs::remove_dir_all(&dir) {
                tracing::warn!("cannot remove what is left of a pipe, {}: {e}", dir.display());
            }
        }
    }
}

/// The folders of one kind in the spool.
pub(super) fn entries(spool_dir: &Path, kind: &str) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(spool_dir).into_iter().flatten().flatten();
    listed.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(kind.as_bytes())).map(|entry| entry.path()).collect()
}

fn create(spool_dir: &Path, name: &FileName) -> io::Result<(Spool, File)> {
    let path = make_dir(spool_dir, OUT)?.join(name.as_os_str());
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let spool = Spool { path, handed_over: false };
    Ok((spool, file?))
}

/// Writes until the stream ends; the client is read only as fast as the disk writes.
async fn fill<E: std::fmt::Display>(file: File, mut bytes: impl Stream<Item = Result<Bytes, E>> + Unpin) -> Result<(), ErrorBody> {
    let file = Arc::new(file);
    let mut block = Vec::with_capacity(BLOCK);
    while let Some(part) = bytes.next().await {
        let part = part.map_err(|e| ErrorBody::new(ErrorCode::Cancelled, format!("the pipe broke off: {e}")))?;
        block.extend_from_slice(&part);
        if block.len() >= BLOCK {
            let (file, full) = (Arc::clone(&file), std::mem::take(&mut block));
            off_thread(move || (&*file).write_all(&full)).await?;
        }
    }
    off_thread(move || {
        (&*file).write_all(&block)?;
        file.sync_all() // the transfer that is recorded next survives a power cut, and needs this
    })
    .await
}

fn remove(path: &Path) {
    let Some(dir) = path.parent() else { return };
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => tracing::warn!("cannot remove what is left of a pipe, {}: {e}", dir.display()),
        _ => {}
    }
}

/// Disk work, on a thread that may block.
pub(super) async fn off_thread<T: std::marker::Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + std::marker::Send + 'static,
) -> Result<T, ErrorBody> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(e)) => Err(ErrorBody::new(ErrorCode::LocalFile, format!("cannot keep what comes through the pipe: {e}"))
            .hint("is there room in the state folder?")),
        Err(_) => Err(ErrorBody::new(ErrorCode::Unexpected, "disk work was interrupted")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn stream(parts: Vec<Result<&'static [u8], &'static str>>) -> impl Stream<Item = Result<Bytes, &'static str>> + Unpin {
        futures_util::stream::iter(parts.into_iter().map(|part| part.map(Bytes::from_static)))
    }

    #[tokio::test]
    async fn what_comes_is_kept_for_us_alone_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, file) = create(&dir.path().join("spool"), &FileName::parse(b"dump.sql").unwrap()).unwrap();

        fill(file, stream(vec![Ok(b"one "), Ok(b""), Ok(b"two")])).await.unwrap();

        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(std::fs::read(&spool.path).unwrap(), b"one two");
        assert_eq!((mode(&spool.path), mode(spool.path.parent().unwrap())), (0o600, 0o700));
        drop(spool);
        assert!(entries(&dir.path().join("spool"), OUT).is_empty());
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (_spool, file) = create(dir.path(), &FileName::parse(b"x").unwrap()).unwrap();

        let broken = fill(file, stream(vec![Ok(b"one"), Err("reset")])).await;

        assert_eq!(broken.unwrap_err().code, ErrorCode::Cancelled);
    }
}
