//! What is there already is not sent: the same content anywhere in what we received, equal pieces of an older file at
//! the same place.

use std::{
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sharekaro_proto::{
    nouns::transfer::SkipReason,
    wire::{LayerRequest, Request, reply, request},
};

use super::{
    ending::path_of,
    fetch::{Fetch, lost},
    pull::read,
    receipt::each_stored,
    record::Record,
    sources::Source,
    stop::{Stop, blocking, granted, kind_of, odd},
};
use crate::{
    engine::Engine,
    files::{
        self, Item, Value,
        cage::{Small, open_regular, read_listing},
        piece_len, piece_range, piece_value, root,
    },
    net::Ask,
    store::{Durability, contents},
};

/// A sender may have to read and hash a large file before it can name its pieces.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1800);

/// So many files of the same size are looked at, by one piece each.
const ALIKE_MAX: u32 = 16;

/// So many files of one transfer are remembered by their content; a tree of a million is not worth the room.
const REMEMBERED_MAX: usize = 200_000;

impl Fetch {
    /// Takes a small file from a copy on this machine, if the sender named its content and there is one.
    ///
    /// # Errors
    /// The disk of the cage.
    pub fn reuse_small(&self, no: u32, item: &Item) -> Result<bool, Stop> {
        let Some(hash) = item.content else { return Ok(false) };
        for path in self.engine.store().now(|c| contents::paths_with(c, &hash)).unwrap_or_default() {
            let Ok(bytes) = std::fs::read(&path) else { continue };
            if bytes.len() as u64 != item.size || piece_value(0, &bytes, item.size) != Some(hash) {
                continue;
            }
            self.staging.write_small(&[Small { no, bytes: &bytes, value: hash }])?;
            self.count_reused(item.size);
            self.counters.files.fetch_add(1, Ordering::Relaxed);
            return Ok(true);
        }
        Ok(false)
    }

    /// Takes what there is of a big file from this machine.
    ///
    /// # Errors
    /// The session, the disk of the cage.
    pub async fn reuse_big(&self, no: u32, item: Item) -> Result<(), Stop> {
        if let Some(hash) = item.content
            && self.reuse_whole(no, hash, item.size).await?
        {
            return Ok(());
        }
        let basis = self.basis(no).await?;
        let size = item.size;
        if basis.is_none() && (item.content.is_some() || !self.is_likely_here(no, size).await?) {
            return Ok(());
        }
        let layer = match self.layer(no, size).await {
            Ok(Ok(layer)) => layer,
            Ok(Err(_)) | Err(Stop::Wait(_)) => return Ok(()), // whoever asks for a piece hears why
            Err(stop) => return Err(stop),
        };
        if let Some(hash) = root(&layer, size)
            && item.content.is_none()
            && self.reuse_whole(no, hash, size).await?
        {
            return Ok(());
        }
        let Some(basis) = basis else { return Ok(()) };
        let staging = Arc::clone(&self.staging);
        let compare = move || Ok((staging.reuse_pieces(no, &basis, &layer, &AtomicBool::new(false))?, basis, layer));
        let (reused, basis, layer) = blocking(compare).await?;
        self.count_reused(reused);
        self.delta(no, size, basis, layer).await
    }

    /// Whether a file that was received has the size of this one, and the same piece in its middle: then it is worth the
    /// sender's while to hash all of it.
    async fn is_likely_here(&self, no: u32, size: u64) -> Result<bool, Stop> {
        let paths = self.engine.store().read(move |c| contents::paths_of_size(c, size, ALIKE_MAX)).await.unwrap_or_default();
        if paths.is_empty() {
            return Ok(false);
        }
        let piece = files::piece_count(size) / 2;
        let one_byte = vec![0, 1]; // the value that comes with it is what counts
        let value = match self.ask_piece(no, piece, one_byte, 1).await {
            Ok(Ok(came)) => came.value,
            Ok(Err(_)) | Err(Stop::Wait(_)) => return Ok(false), // whoever asks for a piece hears why
            Err(stop) => return Err(stop),
        };
        blocking(move || Ok(paths.iter().any(|path| value_of(path, piece, size) == Some(value)))).await
    }

    async fn reuse_whole(&self, no: u32, hash: Value, size: u64) -> Result<bool, Stop> {
        for path in self.engine.store().read(move |c| contents::paths_with(c, &hash)).await.unwrap_or_default() {
            let staging = Arc::clone(&self.staging);
            if blocking(move || Ok(staging.reuse_whole(no, &path, &hash, &AtomicBool::new(false))?)).await? {
                self.count_reused(size);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An older file where this one is to go.
    async fn basis(&self, no: u32) -> Result<Option<PathBuf>, Stop> {
        let (staging, destination) = (Arc::clone(&self.staging), self.destination.clone());
        blocking(move || {
            let names = staging.manifest().path(no).map_err(files::Error::from)?;
            let path: PathBuf = std::iter::once(destination.as_os_str()).chain(names.iter().map(files::FileName::as_os_str)).collect();
            Ok(std::fs::symlink_metadata(&path).ok().filter(std::fs::Metadata::is_file).map(|_| path))
        })
        .await
    }

    /// The chaining values of a file, from the sender.
    ///
    /// # Errors
    /// Why the pull cannot go on; within, why the file will never come.
    pub async fn layer(&self, no: u32, size: u64) -> Result<Result<Vec<Value>, SkipReason>, Stop> {
        let count = files::piece_count(size);
        let mut layer: Vec<Value> = Vec::new();
        while (layer.len() as u64) < count {
            let asked = LayerRequest { key: self.key.0.to_vec(), file: no, first: layer.len() as u32 };
            let ask = Ask::new(Request { kind: Some(request::Kind::Layer(asked)) }).patience(PATIENCE);
            let (reply, mut body) = self.source()?.request(ask).await?;
            if let Some(reason) = lost(reply.status()) {
                return Ok(Err(reason));
            }
            kind_of(granted(reply)?, |kind| if let reply::Kind::Layer(page) = kind { Some(page) } else { None })?;
            let values = read(&mut body).await?;
            let before = layer.len();
            layer.extend(values.chunks_exact(32).filter_map(|value| Value::try_from(value).ok()));
            if layer.len() == before || layer.len() as u64 > count {
                return Err(odd());
            }
        }
        Ok(Ok(layer))
    }

    /// Bytes that were there already.
    pub fn count_reused(&self, bytes: u64) {
        self.count(bytes);
        self.counters.reused.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The value of one piece of a file that may be here.
fn value_of(path: &Path, piece: u64, size: u64) -> Option<Value> {
    let file = open_regular(path)?;
    let mut bytes = vec![0; piece_len(piece, size)?];
    file.read_exact_at(&mut bytes, piece_range(piece, size)?.start).ok()?;
    piece_value(piece, &bytes, size)
}

impl Engine {
    /// Remembers what a transfer brought, by content. A failure costs time later, nothing else.
    pub(crate) async fn remember_contents(&self, listing: PathBuf, destination: PathBuf) {
        let written = self.store().write(Durability::Soon, move |t| {
            let listed = read_listing(&listing).into_iter().flatten().flatten().filter(|it| it.size > 0).take(REMEMBERED_MAX);
            for it in listed {
                if let Ok(hash) = Value::try_from(it.content.as_slice()) {
                    let path = destination.join(it.path());
                    contents::remove(t, &path)?;
                    contents::add(t, &hash, it.size, &path)?;
                }
            }
            Ok(())
        });
        if let Err(e) = written.await {
            tracing::warn!("cannot remember what was received: {e}");
        }
    }

    /// Remembers the hashes of what was sent, as the receipt names them, so that it is known before it is read next time
    /// that it goes to the same device.
    pub(crate) async fn remember_hashes(&self, record: &Record, source: Arc<Source>) {
        let (path, receiver) = (self.receipt_path(record), record.peer);
        let skipped: std::collections::BTreeSet<String> = record.skipped.iter().map(|it| it.path.clone()).collect();
        let written = self.store().write(Durability::Soon, move |t| {
            let manifest = source.tree.manifest();
            let files = manifest.iter_from(1).filter_map(Result::ok).filter(|(_, item)| item.is_file());
            let mut stored = files
                .filter(|(no, _)| skipped.is_empty() || path_of(manifest, *no).is_ok_and(|path| !skipped.contains(&path)))
                .take(REMEMBERED_MAX);
            let mut kept = Ok(());
            each_stored(&path, |size, hash| {
                let Some((no, item)) = stored.next().filter(|_| kept.is_ok()) else { return };
                if let (Some(hash), Ok(key)) = (hash, source.tree.key(no))
                    && item.size == size
                    && size > 0
                    && source.tree.doubted(no).is_none()
                {
                    kept = contents::set_hash(t, &key, &hash, receiver);
                }
            });
            kept
        });
        if let Err(e) = written.await {
            tracing::warn!("cannot remember the hashes of what was sent: {e}");
        }
    }
}
