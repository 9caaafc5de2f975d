//! What earlier runs left behind and no transfer knows any more: cages, notes of walks.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::SystemTime,
};

use sharekaro_proto::{TransferKey, nouns::transfer::Direction};

use crate::{engine::Engine, files::cage};

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
                sweep_notes(&state_dir.join("outgoing"), &sets);
                // We were killed between the end of these and the removal of their cages.
                for (root, key) in ended {
                    cage::discard(&root, key)?;
                }
                cage::sweep(&state_dir.join("partial"), &cages, SystemTime::now())
            });
            match swept.await {
                Ok(Ok(count)) if count > 0 => tracing::info!(count, "removed what old transfers left behind"),
                Ok(Err(e)) => tracing::warn!("cannot remove what old transfers left behind: {e}"),
                _ => {}
            }
        });
    }
}

/// Notes of walks belong to transfers alone: without one they are of no use.
fn sweep_notes(dir: &Path, known: &HashSet<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_name().to_str().is_some_and(|name| known.contains(name))
            && let Err(e) = std::fs::remove_dir_all(entry.path())
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
        }

        sweep_notes(dir.path(), &HashSet::from(["known".to_owned()]));

        assert!(dir.path().join("known").exists() && !dir.path().join("orphan").exists());
    }
}
