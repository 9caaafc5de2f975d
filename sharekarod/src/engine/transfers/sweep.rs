//! What earlier runs left behind and no transfer knows any more: cages, manifests, notes of walks.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sharekaro_proto::{TransferKey, nouns::transfer::Direction};

use crate::{engine::Engine, files::cage};

/// What is younger may be that of a transfer that began after the sweep did.
const YOUNG: Duration = Duration::from_secs(60);

impl Engine {
    /// Sweeps once, after a start. A failure costs room, nothing else.
    pub(crate) fn sweep(&self) {
        let (ended, cages, sets) = self.look(|state| {
            let all = || state.transfers.iter().map(|row| &row.record);
            // what lies in quarantine may be on its way out, through a cage of its own
            let ended: Vec<(PathBuf, TransferKey)> = all()
                .filter(|record| record.state.ended() && !record.quarantined)
                .filter_map(|record| Some((record.staging.as_ref()?.0.clone(), record.key)))
                .collect();
            let open = || all().filter(|record| !record.state.ended());
            let kept = || all().filter(|record| !record.state.ended() || record.quarantined);
            let cages: HashSet<TransferKey> = kept().filter(|record| record.direction == Direction::In).map(|record| record.key).collect();
            let sets: HashSet<String> =
                open().filter(|record| record.direction == Direction::Out).map(|record| record.set.to_string()).collect();
            (ended, cages, sets)
        });
        let state_dir = self.config().state_dir.clone();
        self.spawn(async move {
            let swept = tokio::task::spawn_blocking(move || {
                let now = SystemTime::now();
                sweep_notes(&state_dir.join("outgoing"), now, |name| sets.contains(name));
                let manifests: HashSet<String> = cages.iter().map(|key| format!("{key}.manifest")).collect();
                sweep_notes(&state_dir.join("incoming"), now, |name| manifests.contains(name));
                // We were killed between the end of these and the removal of their cages.
                for (root, key) in ended {
                    if let Err(e) = cage::discard(&root, key) {
                        tracing::warn!(%key, "a cage stays: {e}");
                    }
                }
                cage::sweep(&state_dir.join("partial"), &cages, now)
            });
            match swept.await {
                Ok(Ok(count)) if count > 0 => tracing::info!(count, "removed what old transfers left behind"),
                Ok(Err(e)) => tracing::warn!("cannot remove what old transfers left behind: {e}"),
                _ => {}
            }
        });
    }
}

/// Notes of walks and manifests belong to transfers alone: without one they are of no use.
fn sweep_notes(dir: &Path, now: SystemTime, is_known: impl Fn(&str) -> bool) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let changed = entry.metadata().and_then(|meta| meta.modified());
        if changed.is_ok_and(|at| now.duration_since(at).unwrap_or_default() < YOUNG) {
            continue;
        }
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let remove = if is_folder { std::fs::remove_dir_all } else { std::fs::remove_file::<PathBuf> };
        if !entry.file_name().to_str().is_some_and(&is_known)
            && let Err(e) = remove(entry.path())
        {
            tracing::warn!("cannot remove old notes {}: {e}", entry.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_notes_that_no_transfer_knows_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["known", "orphan"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(format!("{name}.manifest")), name).unwrap();
        }
        let later = SystemTime::now() + YOUNG;

        sweep_notes(dir.path(), SystemTime::now(), |_| false);
        sweep_notes(dir.path(), later, |name| name.starts_with("known"));

        for name in ["known", "known.manifest"] {
            assert!(dir.path().join(name).exists(), "{name}");
        }
        for name in ["orphan", "orphan.manifest"] {
            assert!(!dir.path().join(name).exists(), "{name}");
        }
    }
}
