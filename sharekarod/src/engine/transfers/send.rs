//! `send`: from what a person asks for to transfers that are recorded and run.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode, TransferId, TransferKey,
    control::transfer::{RawPath, Send, Transfers},
    nouns::{
        shell::ShellWord,
        text::lossless,
        transfer::{Direction, Priority, TransferState},
    },
};

use super::{
    crowd::Crowd,
    outgoing,
    record::{Record, SendOptions},
};
use crate::{
    crash,
    engine::{Engine, clock},
    store::{self, Durability},
};

/// The most targets of one send.
const TARGETS_MAX: usize = 256;

/// The most paths of one send.
const PATHS_MAX: usize = 100_000;

/// The longest note, in bytes.
const NOTE_MAX: usize = 2_000;

/// A transfer that nobody finishes ends after seven days.
pub const TRANSFER_LASTS_MS: i64 = 7 * 86_400_000;

impl Engine {
    /// Records a transfer to each target and lets them run. Returns at once; the work follows.
    ///
    /// # Errors
    /// Nobody of that name, another key under a known name, a path that cannot be read.
    pub async fn send(&self, send: Send) -> Result<Transfers, ErrorBody> {
        let peers = self.targets(&send.target).await?;
        let sources = check_paths(send.paths.clone()).await?;
        check_patterns(&send.exclude)?;
        self.send_to(&send, &peers, &sources).await
    }

    /// Records a transfer of these sources to each of these peers.
    pub(crate) async fn send_to(&self, send: &Send, peers: &[DeviceId], sources: &[PathBuf]) -> Result<Transfers, ErrorBody> {
        let found = |record: Record| Record { peer_address: self.address_of_stranger(record.peer), unoffered: true, ..record };
        let ids = self.record_all(records(send, peers, sources).into_iter().map(found).collect()).await?;
        for id in &ids {
            self.spawn_transfer(*id);
        }
        self.look(|state| Ok(Transfers { transfers: ids.iter().filter_map(|id| state.transfers.view(*id, &state.peers)).collect() }))
    }

    /// The peers that are meant, each once; those named by address are reached first.
    pub(crate) async fn targets(&self, target: &str) -> Result<Vec<DeviceId>, ErrorBody> {
        for part in target.split(',').map(str::trim).filter(|part| part.contains(['.', ':'])) {
            self.find_or_reach(part).await?;
        }
        let peers = match self.resolve(target) {
            Err(e) if e.code == ErrorCode::NotFound && target.contains(['.', ':']) => {
                let mut found = Vec::new();
                for part in target.split(',') {
                    found.push(self.find_or_reach(part.trim()).await?);
                }
                found
            }
            found => found?,
        };
        if peers.len() > TARGETS_MAX {
            return Err(ErrorBody::new(ErrorCode::Usage, format!("{} targets at once", peers.len())).hint(format!("at most {TARGETS_MAX}")));
        }
        for peer in &peers {
            self.refuse_impostors(*peer)?;
        }
        Ok(peers)
    }

    /// A paired peer that is off while another key uses its name: somebody has to look before anything is sent.
    pub(crate) fn refuse_impostors(&self, peer: DeviceId) -> Result<(), ErrorBody> {
        self.look(|state| {
            let Some(known) = state.peers.get(&peer) else { return Ok(()) };
            let impostor =
                if known.trust == sharekaro_proto::nouns::trust::Trust::Changed { Some(known) } else { state.peers.impostor(known) };
            match impostor {
                Some(other) if known.open_session().is_none() || other.id == peer => {
                    let (name, word) = (known.label(), ShellWord(known.label()));
                    Err(ErrorBody::new(
                        ErrorCode::KeyChanged,
                        format!("a device with another key (k:{}) says that it is {name}", other.id.short()),
                    )
                    .hint(format!(
                        "if {name} was set up anew: `sharectl peer forget {word}`, then `sharectl pair {word}`; otherwise somebody pretends"
                    )))
                }
                _ => Ok(()),
            }
        })
    }

    pub(crate) async fn record_all(&self, records: Vec<Record>) -> Result<Vec<TransferId>, ErrorBody> {
        let kept = records.clone();
        let ids = self
            .store()
            .write(Durability::Durable, move |t| {
                kept.iter().map(|record| store::transfers::insert(t, record)).collect::<Result<Vec<_>, _>>()
            })
            .await?;
        crash::point("send-kept");
        self.show_recorded(&ids, records);
        Ok(ids)
    }

    /// These are in the store and run from now on.
    pub(crate) fn run_recorded(&self, ids: &[TransferId], records: Vec<Record>) {
        self.show_recorded(ids, records);
        for id in ids {
            self.spawn_transfer(*id);
        }
    }

    fn show_recorded(&self, ids: &[TransferId], records: Vec<Record>) {
        self.update(|state| {
            for (id, record) in ids.iter().zip(records) {
                state.transfers.insert(Record { id: *id, ..record });
            }
        });
    }

    /// Lets a transfer run, if it does not yet.
    pub(crate) fn spawn_transfer(&self, id: TransferId) {
        let job = self.inner.jobs.of(id);
        if !job.claim() {
            return job.wake();
        }
        let direction = self.look(|state| state.transfers.get(id).map(|row| row.record.direction));
        match direction {
            Some(Direction::Out) => self.spawn(outgoing::run(self.clone(), id)),
            Some(Direction::In) => self.spawn(super::incoming::run(self.clone(), id)),
            None => {}
        }
    }

    /// After a start: every transfer that has not ended goes on.
    pub(crate) fn resume_transfers(&self) {
        let open: Vec<TransferId> =
            self.look(|state| state.transfers.iter().filter(|row| !row.record.state.ended()).map(|row| row.record.id).collect());
        for id in open {
            self.spawn_transfer(id);
        }
    }
}

/// A transfer of these sources to each of these peers, as it will be recorded.
pub(crate) fn records(send: &Send, peers: &[DeviceId], sources: &[PathBuf]) -> Vec<Record> {
    let set = TransferKey::fresh();
    let crowd = (peers.len() > 1 && !send.apart).then(Crowd::fresh);
    let key = |i| if i == 0 { set } else { TransferKey::fresh() };
    peers.iter().enumerate().map(|(i, peer)| Record { crowd: crowd.clone(), ..record(send, *peer, key(i), set, sources) }).collect()
}

fn record(send: &Send, peer: DeviceId, key: TransferKey, set: TransferKey, sources: &[PathBuf]) -> Record {
    let now = clock::now_ms();
    // a path that ends in .. has the name of what it leads to
    let name = |path: &PathBuf| path.file_name().map(Into::into).or_else(|| Some(path.canonicalize().ok()?.file_name()?.to_owned()));
    let first = sources.first().and_then(name).unwrap_or_else(|| OsString::from("/"));
    Record {
        id: TransferId(0),
        key,
        set,
        direction: Direction::Out,
        peer,
        peer_address: None,
        state: TransferState::Queued,
        title: lossless(first.as_encoded_bytes()),
        note: send
            .note
            .chars()
            .scan(0, |bytes, c| {
                *bytes += c.len_utf8();
                (*bytes <= NOTE_MAX).then_some(c)
            })
            .collect(),
        bytes_total: 0,
        files_total: 0,
        entries: 0,
        bytes_confirmed: 0,
        bytes_reused: 0,
        files_done: 0,
        error: None,
        sources: sources.iter().cloned().map(RawPath).collect(),
        options: SendOptions { exclude: send.exclude.clone(), ignore_files: send.ignore_files, xattrs: send.xattrs, dropped: false },
        conflict: send.conflict,
        placed: Vec::new(),
        destination: None,
        otherwise: crate::store::record::Otherwise::default(),
        staging: None,
        crowd: None,
        given: Vec::new(),
        skipped: Vec::new(),
        skipped_more: 0,
        skipped_entries: Vec::new(),
        limit_here: send.limit,
        limit_there: None,
        priority: send.priority.unwrap_or(Priority::Normal),
        steered: false,
        paused_here: false,
        paused_there: false,
        accepted: false,
        rule: String::new(),
        judged: true,
        quarantined: false,
        undone: false,
        run: Vec::new(),
        untold: false,
        unoffered: false,
        scanned: false,
        created_ms: now,
        changed_ms: now,
        expires_ms: Some(now + TRANSFER_LASTS_MS),
    }
}

/// The paths, if each can be looked at right now.
pub(super) async fn check_paths(paths: Vec<RawPath>) -> Result<Vec<PathBuf>, ErrorBody> {
    if paths.is_empty() || paths.len() > PATHS_MAX {
        return Err(ErrorBody::new(ErrorCode::Usage, format!("{} paths to send", paths.len()))
            .hint(format!("name 1 to {PATHS_MAX} files or folders")));
    }
    let checked = tokio::task::spawn_blocking(move || paths.into_iter().map(|RawPath(path)| check_path(&path).map(|()| path)).collect());
    checked.await.unwrap_or_else(|_| Err(ErrorBody::new(ErrorCode::Unexpected, "looking at the paths was interrupted")))
}

fn check_path(path: &Path) -> Result<(), ErrorBody> {
    let shown = lossless(path.as_os_str().as_encoded_bytes());
    let local = |why: String, hint: &str| ErrorBody::new(ErrorCode::LocalFile, why).hint(hint);
    if !path.is_absolute() {
        return Err(ErrorBody::new(ErrorCode::Usage, format!("{shown} is no absolute path")));
    }
    let metadata = std::fs::metadata(path).map_err(|e| local(format!("cannot send {shown}: {e}"), "check the path and its permissions"))?;
    if metadata.is_file() {
        std::fs::File::open(path).map_err(|e| local(format!("cannot read {shown}: {e}"), "check its permissions"))?;
    } else if metadata.is_dir() {
        std::fs::read_dir(path).map_err(|e| local(format!("cannot list {shown}: {e}"), "check its permissions"))?;
    } else {
        return Err(local(format!("{shown} is neither a file nor a folder"), "send files and folders"));
    }
    Ok(())
}

pub(super) fn check_patterns(patterns: &[String]) -> Result<(), ErrorBody> {
    for pattern in patterns {
        if pattern.is_empty() {
            return Err(ErrorBody::new(ErrorCode::Usage, "an empty pattern leaves out everything").hint("as *.o, target or docs/**/*.pdf"));
        }
        globset::Glob::new(pattern).map_err(|e| {
            ErrorBody::new(ErrorCode::Usage, format!("{pattern:?} is no pattern: {e}")).hint("as *.o, target or docs/**/*.pdf")
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_name_of_its_own_is_called_by_what_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("photos/inner");
        std::fs::create_dir_all(&inner).unwrap();
        let title = |path: PathBuf| {
            record(&Send::default(), DeviceId::from_bytes([1; 32]), TransferKey::fresh(), TransferKey::fresh(), &[path]).title
        };

        assert_eq!(title(inner.join("..")), "photos");
        assert_eq!(title(inner), "inner");
        assert_eq!(title("/".into()), "/");
    }

    #[test]
    fn a_pattern_that_leaves_out_everything_by_mistake_is_refused() {
        assert!(check_patterns(&["*.o".into()]).is_ok());
        assert!(check_patterns(&["*.o".into(), String::new()]).is_err_and(|e| e.code == ErrorCode::Usage));
    }
}
