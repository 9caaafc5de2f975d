//! Which entries are here: one byte each, on disk and in memory.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Mutex, PoisonError},
};

use sharekaro_proto::nouns::transfer::SkipReason;

/// How far one entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Not here, or not all of it.
    Missing,
    /// Written and verified; a power cut may still take it.
    Claimed,
    /// Here for good.
    Whole,
    /// It will never come.
    Skipped(SkipReason),
}

/// Codes from here on are reasons, in the order in which these are declared.
const SKIPPED: u8 = 16;

impl EntryState {
    fn code(self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::Claimed => 1,
            Self::Whole => 2,
            Self::Skipped(reason) => {
                let at = SkipReason::ALL.iter().position(|it| *it == reason);
                SKIPPED + at.and_then(|at| u8::try_from(at).ok()).unwrap_or(0)
            }
        }
    }

    /// What no version of ours wrote counts as missing: then it is fetched once more.
    fn from_code(code: u8) -> Self {
        let reason = || SkipReason::ALL.get(usize::from(code.checked_sub(SKIPPED)?)).copied();
        match code {
            1 => Self::Claimed,
            2 => Self::Whole,
            _ => reason().map_or(Self::Missing, Self::Skipped),
        }
    }
}

/// The states of all entries of a transfer.
pub(super) struct States {
    file: File,
    codes: Mutex<Vec<u8>>,
}

impl States {
    pub(super) fn load(file: File, count: u32) -> io::Result<Self> {
        let mut codes = vec![0; count as usize];
        let had = file.metadata()?.len().min(u64::from(count)) as usize;
        file.read_exact_at(codes.get_mut(..had).unwrap_or_default(), 0)?;
        file.set_len(count.into())?;
        Ok(Self { file, codes: Mutex::new(codes) })
    }

    pub(super) fn get(&self, no: u32) -> EntryState {
        self.with(|codes| codes.get(index(no)).map_or(EntryState::Missing, |code| EntryState::from_code(*code)))
    }

    /// Sets entries, in the order of their numbers as far as that is cheap: a run of them is one write.
    pub(super) fn set(&self, numbers: &[u32], state: EntryState) -> io::Result<()> {
        let code = state.code();
        for run in numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
            let Some(first) = run.first() else { continue };
            self.file.write_all_at(&vec![code; run.len()], index(*first) as u64)?;
        }
        self.with(|codes| {
            for no in numbers {
                if let Some(slot) = codes.get_mut(index(*no)) {
                    *slot = code;
                }
            }
        });
        Ok(())
    }

    /// Makes durable what was set.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The first entry from `from` on in this state.
    pub(super) fn first(&self, from: u32, state: EntryState) -> Option<u32> {
        let code = state.code();
        self.with(|codes| {
            let from = index(from.max(1));
            let at = codes.get(from..)?.iter().position(|it| EntryState::from_code(*it).code() == code)?;
            u32::try_from(from + at + 1).ok()
        })
    }

    /// All entries in this state, ascending.
    pub(super) fn all(&self, state: EntryState) -> Vec<u32> {
        let code = state.code();
        self.with(|codes| (1..).zip(codes.iter()).filter(|(_, it)| **it == code).map(|(no, _)| no).collect())
    }

    fn with<R>(&self, work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        work(&mut self.codes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where in the list an entry stands; 0, which is none, stands behind every list.
fn index(no: u32) -> usize {
    no.checked_sub(1).map_or(usize::MAX, |at| at as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_and_unknown_ones_are_missing() {
        let file = tempfile::tempfile().unwrap();
        let states = States::load(file.try_clone().unwrap(), 6).unwrap();

        states.set(&[1, 2, 5], EntryState::Whole).unwrap();
        states.set(&[3], EntryState::Skipped(SkipReason::Unstorable)).unwrap();
        file.write_all_at(&[200], 3).unwrap();

        let again = States::load(file, 6).unwrap();
        let read: Vec<_> = (0..=7).map(|no| again.get(no)).collect();
        let (missing, whole) = (EntryState::Missing, EntryState::Whole);
        let skipped = EntryState::Skipped(SkipReason::Unstorable);
        assert_eq!(read, [missing, whole, whole, skipped, missing, whole, missing, missing]);
        assert_eq!(again.first(1, missing), Some(4));
        assert_eq!(again.first(5, missing), Some(6));
        assert_eq!(again.first(7, missing), None);
        assert_eq!(again.all(whole), [1, 2, 5]);
    }
}
