//! A manifest in the making, at the receiver: pages of a peer become part of it or are refused.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use prost::Message;
use sharekaro_proto::wire::{Entry, FRAME_MAX, frame_length};

use super::{Broken, ENTRIES_MAX, Item, Manifest, ManifestError, frames::Frames, rules::Rules};

/// What an offer promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sum of the sizes of the files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Files, folders and links.
    pub entries: u64,
}

/// Takes pages in. What was taken in survives a crash: opened again, it goes on behind the last whole entry.
pub struct Intake {
    path: PathBuf,
    file: File,
    offered: Totals,
    found: Totals,
    rules: Rules,
    /// A page broke a rule in its middle: what is remembered is no longer what is in the file.
    broken: bool,
}

impl Intake {
    /// Begins, or goes on with, the manifest in this file. A torn end is cut off. Where something in it breaks a rule, which a
    /// power cut can do to what was not durable yet, it begins anew.
    ///
    /// # Errors
    /// Where the file cannot be opened, read or cut.
    pub fn open(manifest_path: &Path, offered: Totals) -> Result<Self, ManifestError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(manifest_path).map_err(ManifestError::io("open"))?;
        let (mut found, mut rules, mut whole) = (Totals::default(), Rules::default(), 0);
        let mut frames = Frames::at(&file, 0);
        while let Some(frame) = frames.next().map_err(ManifestError::io("read"))? {
            if let Err(error) = take(frame.payload, &offered, &mut found, &mut rules) {
                tracing::warn!("the list of files is fetched anew: {error}");
                (found, rules, whole) = (Totals::default(), Rules::default(), 0);
                break;
            }
            whole = frames.offset();
        }
        file.set_len(whole).map_err(ManifestError::io("cut"))?;
        Ok(Self { path: manifest_path.to_owned(), file, offered, found, rules, broken: false })
    }

    /// The number of the entry that is wanted next.
    pub fn next(&self) -> u32 {
        // At most ENTRIES_MAX are taken in.
        u32::try_from(self.found.entries).map_or(u32::MAX, |entries| entries + 1)
    }

    /// Whether all that was offered is here.
    pub fn is_whole(&self) -> bool {
        self.found.entries == self.offered.entries
    }

    /// Takes a page of frames in, all of it or nothing, and returns how many entries it had.
    ///
    /// # Errors
    /// Where an entry breaks a rule; the peer is then not to be asked again, and this is of no more use.
    pub fn append(&mut self, page: &[u8]) -> Result<u32, ManifestError> {
        let before = self.next();
        if self.broken {
            return Err(ManifestError::Torn(before - 1));
        }
        self.broken = true;
        let mut rest = page;
        while !rest.is_empty() {
            let torn = || ManifestError::Entry { no: self.found.entries + 1, why: Broken::Frame };
            let (length, head) = frame_length(rest, FRAME_MAX).ok().flatten().ok_or_else(torn)?;
            let payload = rest.get(head..head + length).ok_or_else(torn)?;
            take(payload, &self.offered, &mut self.found, &mut self.rules)?;
            rest = rest.get(head + length..).unwrap_or_default();
        }
        self.file.write_all(page).map_err(ManifestError::io("write"))?;
        self.broken = false;
        Ok(self.next() - before)
    }

    /// Makes it durable, once all of it is here and is what was offered.
    ///
    /// # Errors
    /// `Totals` where it is not.
    pub fn finish(self) -> Result<Manifest, ManifestError> {
        if self.found != self.offered {
            return Err(ManifestError::Totals { offered: self.offered, found: self.found });
        }
        self.file.sync_data().map_err(ManifestError::io("sync"))?;
        Manifest::open(&self.path)
    }
}

fn take(payload: &[u8], offered: &Totals, found: &mut Totals, rules: &mut Rules) -> Result<(), ManifestError> {
    let no = found.entries + 1;
    let broken = |why| ManifestError::Entry { no, why };
    let short = u32::try_from(no).ok().filter(|short| *short <= ENTRIES_MAX && no <= offered.entries);
    let item = Item::parse(Entry::decode(payload).map_err(|_| broken(Broken::Frame))?).map_err(broken)?;
    rules.accept(short.ok_or_else(|| broken(Broken::TooMany))?, &item).map_err(broken)?;
    found.entries = no;
    found.files += u64::from(item.is_file());
    found.bytes = found.bytes.checked_add(item.size).ok_or_else(|| broken(Broken::Size))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sharekaro_proto::wire::{EntryKind, encode_frame};

    use super::*;

    fn entry(parent: u32, name: &str, kind: EntryKind) -> Entry {
        Entry { parent, name: name.as_bytes().to_vec(), kind: kind.into(), size: 10, ..Default::default() }
    }

    fn page(entries: &[Entry]) -> Vec<u8> {
        entries.iter().flat_map(encode_frame).collect()
    }

    fn offered(entries: &[Entry]) -> Totals {
        let files = entries.iter().filter(|entry| entry.kind() == EntryKind::File).count() as u64;
        Totals { bytes: files * 10, files, entries: entries.len() as u64 }
    }

    fn refusal(entries: &[Entry]) -> Option<Broken> {
        let dir = tempfile::tempdir().unwrap();
        match Intake::open(&dir.path().join("m"), offered(entries)).unwrap().append(&page(entries)) {
            Ok(_) => None,
            Err(ManifestError::Entry { no, why }) => {
                assert_eq!(no, entries.len() as u64);
                Some(why)
            }
            Err(e) => panic!("{e}"),
        }
    }

    #[test]
    fn entries_must_lie_in_a_folder_before_them_under_a_free_name() {
        use EntryKind::{File, Folder};
        let deep: Vec<_> = (0..=u32::from(super::super::DEPTH_MAX)).map(|no| entry(no, "d", Folder)).collect();
        let long: Vec<_> = (0..17).map(|no| entry(no, &"n".repeat(255), Folder)).collect();

        assert_eq!(refusal(&[entry(0, "a", File), entry(1, "b", File)]), Some(Broken::Parent));
        assert_eq!(refusal(&[entry(1, "a", Folder)]), Some(Broken::Parent));
        assert_eq!(refusal(&[entry(0, "a", Folder), entry(3, "b", File)]), Some(Broken::Parent));
        assert_eq!(refusal(&[entry(u32::MAX, "a", Folder)]), Some(Broken::Parent));
        assert_eq!(refusal(&[entry(0, "a", File), entry(0, "a", Folder)]), Some(Broken::Twice));
        assert_eq!(refusal(&[entry(0, "a", Folder), entry(1, "a", File), entry(1, "A", File)]), None);
        assert_eq!(refusal(&deep), Some(Broken::Depth));
        assert_eq!(refusal(&deep[..deep.len() - 1]), None);
        assert_eq!(refusal(&long), Some(Broken::Path));
        assert_eq!(refusal(&[entry(0, "..", File)]), Some(Broken::Name(crate::files::NameError::Dots)));
    }

    #[test]
    fn it_goes_on_after_a_crash_in_the_middle_of_a_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        let entries = [entry(0, "a", EntryKind::Folder), entry(1, "b", EntryKind::File), entry(1, "c", EntryKind::File)];
        let all = page(&entries);
        for cut in 0..=all.len() {
            std::fs::write(&path, &all[..cut]).unwrap();

            let mut intake = Intake::open(&path, offered(&entries)).unwrap();
            let next = intake.next() as usize;
            intake.append(&page(&entries[next - 1..])).unwrap();
            let manifest = intake.finish().unwrap();

            assert_eq!(manifest.get(3).unwrap().name.as_bytes(), b"c");
            assert_eq!(std::fs::read(&path).unwrap(), all);
        }
    }

    #[test]
    fn what_a_power_cut_left_in_its_place_is_fetched_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        let entries = [entry(0, "a", EntryKind::Folder), entry(1, "b", EntryKind::File)];
        let all = page(&entries);
        let mut damaged = all.clone();
        damaged[all.len() / 2..].fill(0);
        std::fs::write(&path, &damaged).unwrap();

        let mut intake = Intake::open(&path, offered(&entries)).unwrap();

        assert_eq!(intake.next(), 1);
        intake.append(&all).unwrap();
        assert_eq!(intake.finish().unwrap().count(), 2);
        assert_eq!(std::fs::read(&path).unwrap(), all);
    }

    #[test]
    fn what_was_not_offered_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let entries = [entry(0, "a", EntryKind::File), entry(0, "b", EntryKind::File)];
        let fewer = Totals { entries: 1, ..offered(&entries) };
        let smaller = Totals { bytes: 19, ..offered(&entries) };

        let many = Intake::open(&dir.path().join("1"), fewer).unwrap().append(&page(&entries));
        let mut large = Intake::open(&dir.path().join("2"), smaller).unwrap();
        large.append(&page(&entries)).unwrap();

        assert!(matches!(many, Err(ManifestError::Entry { no: 2, why: Broken::TooMany })));
        assert!(matches!(large.finish(), Err(ManifestError::Totals { .. })));
        assert_eq!(std::fs::read(dir.path().join("1")).unwrap(), b"", "a page is taken whole or not at all");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_page_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let dir = tempfile::tempdir().unwrap();
            let totals = Totals { bytes: u64::MAX, files: 9, entries: 9 };
            let _ = Intake::open(&dir.path().join("m"), totals).unwrap().append(&bytes);
        }
    }
}
