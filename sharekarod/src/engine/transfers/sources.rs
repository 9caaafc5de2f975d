//! What is sent: walked once for all transfers of one `send`, opened again from the notes of that walk after a restart.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    crowd::{Shared, is_worth_sharing},
    jobs::Opening,
    record::Record,
};
use crate::{
    crash,
    engine::Engine,
    files::{
        Item, ManifestError, SourceTree,
        manifest::Totals,
        source::{WalkError, WalkOptions, Walked, Watch},
    },
    store::{Durability, Store, contents},
};
use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode,
    control::transfer::Skipped,
    nouns::{
        text::lossless,
        transfer::{Direction, Phase},
    },
    wire::encode_frame,
};

/// What a set of transfers sends.
pub struct Source {
    /// The files and the notes of the walk.
    pub tree: SourceTree,
    /// What there is to send.
    pub totals: Totals,
    /// What was left out.
    pub skipped: Vec<Skipped>,
    /// Left out too, and not named.
    pub skipped_more: u64,
    /// When it was walked; `None` where it was opened from the notes of an earlier walk.
    pub walked: Option<Instant>,
    /// What its receivers share.
    pub shared: Shared,
}

/// A walk that ended so lately still says what there is.
const FRESH: Duration = Duration::from_secs(2);

/// The bytes that a content hash adds to an entry of the manifest: tag, length and 32 bytes.
const CONTENT_BYTES: usize = 34;

impl Source {
    /// A page of the manifest, with the content of each file named that one of the `witnesses` hashed and that did not
    /// change since.
    pub fn page(&self, store: &Store, witnesses: &[DeviceId], from: u32, max_bytes: usize) -> Result<(Vec<u8>, u32), ManifestError> {
        let manifest = self.tree.manifest();
        if !store.now(contents::knows_hashes).unwrap_or(false) && !self.shared.knows_contents() {
            return manifest.page(from, max_bytes);
        }
        let (mut page, mut count) = (Vec::new(), 0);
        for entry in manifest.iter_from(from) {
            let (no, item) = entry?;
            let key = if item.is_file() && item.size > 0 { self.tree.key(no).ok() } else { None };
            let known = || key.and_then(|key| store.now(|c| contents::hash_of(c, &key, witnesses)).ok().flatten());
            let content = self.tree.doubted(no).or_else(|| self.shared.content(no)).or_else(known);
            let frame = encode_frame(&Item { content: content.or(item.content), ..item }.to_entry());
            if page.len() + frame.len() > max_bytes && (count > 0 || frame.len() > max_bytes + CONTENT_BYTES) {
                break;
            }
            page.extend_from_slice(&frame);
            count += 1;
        }
        Ok((page, count))
    }
}

impl Engine {
    /// What a transfer sends.
    ///
    /// # Errors
    /// It is not there, or cannot be walked.
    pub(crate) async fn source(&self, record: &Record) -> Result<Arc<Source>, ErrorBody> {
        let opening = self.inner.jobs.source(record.set);
        let source = opening.source.get_or_try_init(|| self.open_source(record, &opening)).await?;
        if !record.scanned {
            self.change_transfer(record.id, Durability::Soon, |row| {
                row.record.bytes_total = source.totals.bytes;
                row.record.files_total = source.totals.files;
                row.record.entries = source.totals.entries;
                row.record.skipped.clear();
                row.record.leave_out(source.skipped.iter().cloned(), source.skipped_more);
                row.record.scanned = true;
            })
            .await?;
        }
        Ok(Arc::clone(source))
    }

    async fn open_source(&self, record: &Record, opening: &Arc<Opening>) -> Result<Arc<Source>, ErrorBody> {
        let alone = Arc::clone(&opening.walking).lock_owned().await;
        if !Arc::ptr_eq(&self.inner.jobs.source(record.set), opening) {
            return Err(ErrorBody::new(ErrorCode::Busy, "it is walked anew"));
        }
        let cancel = Arc::new(AtomicBool::new(false));
        let _until_nobody_waits = Cancel(Arc::clone(&cancel));
        self.update(|state| state.transfers.edit(record.id).filter(|row| !row.record.state.ended()).map(|row| row.phase = Phase::Scanning));
        let notes_dir = self.notes_dir(record);
        let paths: Vec<PathBuf> = record.sources.iter().map(|path| path.0.clone()).collect();
        let options = WalkOptions {
            exclude: record.options.exclude.clone(),
            ignore_files: record.options.ignore_files,
            xattrs: record.options.xattrs,
            dropped: record.options.dropped,
        };
        let before = self.left_out_before(record);
        let (engine, id) = (self.clone(), record.id);
        let opened = tokio::task::spawn_blocking(move || {
            let _alone = alone;
            let found = |walked: &Walked| {
                engine.update(|state| {
                    if let Some(row) = state.transfers.edit(id).filter(|row| !row.record.state.ended()) {
                        (row.record.files_total, row.record.bytes_total) = (walked.files, walked.bytes);
                    }
                });
            };
            match before {
                Some((skipped, more)) => open(&notes_dir, skipped, more),
                None => walk(&notes_dir, &paths, &options, found, &cancel),
            }
        });
        let source = match opened.await {
            Ok(source) => {
                crash::point("walked");
                Arc::new(source?)
            }
            Err(_) => return Err(ErrorBody::new(ErrorCode::Unexpected, "the walk was interrupted")),
        };
        if record.crowd.is_some() && is_worth_sharing(source.totals.bytes) {
            self.hash_for_crowd(Arc::clone(&source)).await;
        }
        Ok(source)
    }

    /// A receiver is about to hear of it, the first of all: what is sent is as it is now, and not as it was when a person
    /// said so. From here on every entry has its number.
    ///
    /// # Errors
    /// It could not be kept that somebody hears of it from now on.
    pub(crate) async fn settle_source(&self, record: &Record, source: &Source) -> Result<(), ErrorBody> {
        let _alone = self.inner.jobs.renewing.lock().await;
        let set: Vec<Record> = self.look(|state| {
            let all = state.transfers.iter().map(|row| &row.record);
            all.filter(|it| it.direction == Direction::Out && it.set == record.set).cloned().collect()
        });
        let is_fresh = source.walked.is_some_and(|at| at.elapsed() < FRESH);
        let renewed = !is_fresh && set.iter().all(|it| it.unoffered);
        if renewed {
            self.inner.jobs.renew_source(record.set);
        }
        for it in set.iter().filter(|it| it.unoffered) {
            self.change_transfer(it.id, Durability::Durable, |row| {
                row.record.unoffered = false;
                row.record.scanned &= !renewed;
            })
            .await?;
        }
        Ok(())
    }

    /// What an earlier walk of this set left out; `None` where nobody kept what came of one.
    fn left_out_before(&self, record: &Record) -> Option<(Vec<Skipped>, u64)> {
        let is_of_it = |it: &Record| it.direction == Direction::Out && it.set == record.set && it.scanned;
        self.look(|state| {
            state.transfers.iter().find(|row| is_of_it(&row.record)).map(|row| (row.record.skipped.clone(), row.record.skipped_more))
        })
    }

    fn notes_dir(&self, record: &Record) -> PathBuf {
        self.config().state_dir.join("outgoing").join(record.set.to_string())
    }

    /// A transfer ended: what it held is let go; the notes of the walk too, with the last of its set.
    pub(crate) async fn let_go_of_source(&self, record: &Record) {
        let in_use = |it: &Record| it.direction == Direction::Out && it.set == record.set && !it.state.ended();
        if self.look(|state| state.transfers.iter().any(|row| in_use(&row.record))) {
            return;
        }
        let walking = Arc::clone(&self.inner.jobs.source(record.set).walking);
        self.inner.jobs.end_source(record.set);
        let _walked = walking.lock().await; // what was under way writes no more notes now
        self.let_go_of_spool(record).await;
        let notes_dir = self.notes_dir(record);
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(notes_dir)).await;
        if let Ok(Err(e)) = removed
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove the notes of a walk: {e}");
        }
    }
}

/// Ends a walk when whoever waits for it is dropped.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// By the notes of an earlier walk, and by nothing else: what was offered has the numbers that these notes gave, and another
/// walk may give other ones.
fn open(notes_dir: &Path, skipped: Vec<Skipped>, skipped_more: u64) -> Result<Source, ErrorBody> {
    const HINT: &str = "it goes on by itself when they can be read; if they are lost, `sharectl transfer cancel` it and send again";
    let tree = SourceTree::open(notes_dir).map_err(|e| trouble(&e).hint(HINT))?;
    let totals = count(&tree).map_err(|e| trouble(&e))?;
    Ok(Source { tree, totals, skipped, skipped_more, walked: None, shared: Shared::default() })
}

fn walk(
    notes_dir: &Path,
    paths: &[PathBuf],
    options: &WalkOptions,
    mut found: impl FnMut(&Walked),
    cancel: &AtomicBool,
) -> Result<Source, ErrorBody> {
    let _ = std::fs::remove_dir_all(notes_dir); // of a walk that was cut short
    std::fs::create_dir_all(notes_dir).map_err(|e| {
        ErrorBody::new(ErrorCode::LocalFile, format!("cannot make {}: {e}", notes_dir.display())).hint("is there room in the state folder?")
    })?;
    let watch = Watch { progress: &mut found, cancel };
    let (tree, walked) = SourceTree::walk(notes_dir, paths, options, watch).map_err(|e| walk_trouble(&e))?;
    let totals = Totals { bytes: walked.bytes, files: walked.files, entries: walked.entries };
    let skipped_more = walked.skipped_count - walked.skipped.len() as u64;
    let skipped = walked
        .skipped
        .into_iter()
        .map(|it| Skipped { path: lossless(it.path.as_os_str().as_encoded_bytes()), reason: it.reason })
        .collect();
    Ok(Source { tree, totals, skipped, skipped_more, walked: Some(Instant::now()), shared: Shared::default() })
}

fn count(tree: &SourceTree) -> Result<Totals, ManifestError> {
    let mut totals = Totals::default();
    for entry in tree.manifest().iter_from(1) {
        let (_, item) = entry?;
        totals.entries += 1;
        totals.files += u64::from(item.is_file());
        totals.bytes += item.size;
    }
    Ok(totals)
}

fn walk_trouble(error: &WalkError) -> ErrorBody {
    let hint = match error {
        WalkError::Missing { .. } => "it goes on by itself when it is back; `sharectl transfer cancel` ends it",
        _ => "",
    };
    ErrorBody::new(ErrorCode::LocalFile, with_causes(error)).hint(hint)
}

fn trouble(error: &dyn std::error::Error) -> ErrorBody {
    ErrorBody::new(ErrorCode::LocalFile, with_causes(error))
}

/// An error with what caused it, as one sentence.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        text.push_str(&format!(": {it}"));
        cause = it.source();
    }
    text
}
