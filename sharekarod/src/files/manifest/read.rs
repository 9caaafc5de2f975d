//! A whole manifest, on disk.

use std::{fs::File, path::Path};

use prost::Message;
use sharekaro_proto::wire::Entry;

use super::{Broken, Item, ManifestError, frames::Frames};
use crate::files::FileName;

/// One offset is remembered for so many entries: 16 bytes a thousand, and a look-up reads some kilobytes.
pub(super) const STEP: u32 = 64;

/// A whole manifest. Its questions may be asked from several threads at once.
#[derive(Debug)]
pub struct Manifest {
    file: File,
    /// Where the entries 1, 1 + STEP, 1 + 2 * STEP, ... begin.
    offsets: Vec<u64>,
    count: u32,
    /// Bits that the modes of files are read without.
    lost_mode: u32,
}

impl Manifest {
    /// The manifest in this file, which nobody writes any more.
    ///
    /// # Errors
    /// `Torn` where it does not end with a whole entry.
    pub fn open(manifest_path: &Path) -> Result<Self, ManifestError> {
        let file = File::open(manifest_path).map_err(ManifestError::io("open"))?;
        let len = file.metadata().map_err(ManifestError::io("look at"))?.len();
        let (mut offsets, mut count) = (Vec::new(), 0u32);
        let mut frames = Frames::at(&file, 0);
        loop {
            let offset = frames.offset();
            if frames.next().map_err(ManifestError::io("read"))?.is_none() {
                break;
            }
            if count % STEP == 0 {
                offsets.push(offset);
            }
            count += 1;
        }
        if frames.offset() != len {
            return Err(ManifestError::Torn(count));
        }
        Ok(Self { file, offsets, count, lost_mode: 0 })
    }

    /// From now on the modes of files are read without these bits.
    pub fn files_lose(&mut self, mode: u32) {
        self.lost_mode = mode;
    }

    /// How many entries it has.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// One entry.
    ///
    /// # Errors
    /// `NoSuch` for 0 and for what lies behind the end.
    pub fn get(&self, no: u32) -> Result<Item, ManifestError> {
        self.cursor().get(no)
    }

    /// Reads entries near each other faster than `get`.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor { manifest: self, frames: Frames::at(&self.file, 0), next: 1 }
    }

    /// All entries from this one on, with their numbers.
    pub fn iter_from(&self, no: u32) -> impl Iterator<Item = Result<(u32, Item), ManifestError>> + '_ {
        let mut cursor = self.cursor();
        (no.max(1)..=self.count).map(move |no| Ok((no, cursor.get(no)?)))
    }

    /// All entries, the last first: what lies in a folder comes before the folder.
    pub fn iter_back(&self) -> impl Iterator<Item = Result<(u32, Item), ManifestError>> + '_ {
        (0..self.count.div_ceil(STEP)).rev().flat_map(move |block| {
            let first = block * STEP + 1;
            let last = first.saturating_add(STEP - 1).min(self.count);
            let mut cursor = self.cursor();
            let items: Vec<_> = (first..=last).map(|no| Ok((no, cursor.get(no)?))).collect();
            items.into_iter().rev()
        })
    }

    /// Frames from entry `from` on and how many they are: as many as fit into `max_bytes`, but at least one. None where
    /// `from` lies behind the end.
    ///
    /// # Errors
    /// `NoSuch` for 0.
    pub fn page(&self, from: u32, max_bytes: usize) -> Result<(Vec<u8>, u32), ManifestError> {
        let (mut page, mut count) = (Vec::new(), 0);
        if from > self.count {
            return Ok((page, count));
        }
        let mut cursor = self.cursor();
        cursor.seek(from)?;
        while let Some(frame) = cursor.frames.next().map_err(ManifestError::io("read"))? {
            if count > 0 && page.len() + frame.whole.len() > max_bytes {
                break;
            }
            page.extend_from_slice(frame.whole);
            count += 1;
        }
        Ok((page, count))
    }

    /// The names on the way to an entry, its own last.
    ///
    /// # Errors
    /// As `get`.
    pub fn path(&self, no: u32) -> Result<Vec<FileName>, ManifestError> {
        let (mut names, mut at) = (Vec::new(), no);
        while at != 0 {
            let item = self.get(at)?;
            // A folder stands before what is in it; were it not so, this would never end.
            at = if item.parent < at { item.parent } else { return Err(ManifestError::Torn(at)) };
            names.push(item.name);
        }
        names.reverse();
        Ok(names)
    }
}

/// A place in a manifest.
pub struct Cursor<'a> {
    manifest: &'a Manifest,
    frames: Frames<'a>,
    next: u32,
}

impl Cursor<'_> {
    /// One entry; cheap where it lies shortly behind the last one.
    ///
    /// # Errors
    /// `NoSuch` for 0 and for what lies behind the end.
    pub fn get(&mut self, no: u32) -> Result<Item, ManifestError> {
        self.seek(no)?;
        let frame = self.frames.next().map_err(ManifestError::io("read"))?.ok_or(ManifestError::Torn(no))?;
        self.next = no + 1;
        let broken = |why| ManifestError::Entry { no: no.into(), why };
        let entry = Entry::decode(frame.payload).map_err(|_| broken(Broken::Frame))?;
        let mut item = Item::parse(entry).map_err(broken)?;
        if item.is_file() {
            item.mode &= !self.manifest.lost_mode;
        }
        Ok(item)
    }

    fn seek(&mut self, no: u32) -> Result<(), ManifestError> {
        if no == 0 || no > self.manifest.count {
            return Err(ManifestError::NoSuch(no));
        }
        if no < self.next || no - self.next >= STEP {
            let block = (no - 1) / STEP;
            let offset = self.manifest.offsets.get(block as usize).ok_or(ManifestError::NoSuch(no))?;
            self.frames = Frames::at(&self.manifest.file, *offset);
            self.next = block * STEP + 1;
        }
        while self.next < no {
            self.frames.next().map_err(ManifestError::io("read"))?.ok_or(ManifestError::Torn(self.next))?;
            self.next += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::wire::EntryKind;

    use super::{super::ManifestWriter, *};

    fn written(count: u32) -> (tempfile::TempDir, Manifest) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest");
        let mut writer = ManifestWriter::create(&path).unwrap();
        for no in 1..=count {
            let name = format!("file {no}").into_bytes();
            writer.append(&Entry { name, kind: EntryKind::File.into(), size: no.into(), ..Default::default() }).unwrap();
        }
        writer.finish().unwrap();
        let manifest = Manifest::open(&path).unwrap();
        (dir, manifest)
    }

    #[test]
    fn entries_are_found_by_their_number() {
        for count in [0, 1, 63, 64, 65, 1000] {
            let (_dir, manifest) = written(count);

            assert_eq!(manifest.count(), count);
            for no in [1, 2, 63, 64, 65, 128, 129, 999, 1000].into_iter().filter(|no| *no <= count) {
                assert_eq!(manifest.get(no).unwrap().size, u64::from(no));
            }
            assert!(matches!(manifest.get(0), Err(ManifestError::NoSuch(0))));
            assert!(matches!(manifest.get(count + 1), Err(ManifestError::NoSuch(_))));
            let forth: Vec<_> = manifest.iter_from(1).map(|item| item.unwrap().0).collect();
            let mut back: Vec<_> = manifest.iter_back().map(|item| item.unwrap().0).collect();
            back.reverse();
            assert_eq!(forth, (1..=count).collect::<Vec<_>>());
            assert_eq!(back, forth);
        }
    }

    #[test]
    fn a_cursor_goes_forth_and_back() {
        let (_dir, manifest) = written(500);
        let mut cursor = manifest.cursor();

        for no in [1, 2, 5, 5, 4, 400, 401, 470, 1, 500, 64, 65] {
            assert_eq!(cursor.get(no).unwrap().size, u64::from(no));
        }
    }

    #[test]
    fn pages_put_together_are_the_whole_manifest() {
        let (dir, manifest) = written(1000);
        let (mut all, mut from) = (Vec::new(), 1);

        loop {
            let (page, count) = manifest.page(from, 500).unwrap();
            assert!(page.len() <= 500);
            all.extend(page);
            from += count;
            if count == 0 {
                break;
            }
        }

        assert_eq!(all, std::fs::read(dir.path().join("manifest")).unwrap());
        assert_eq!(manifest.page(7, 1).unwrap().1, 1, "one entry always fits");
        assert!(manifest.page(0, 500).is_err());
    }

    #[test]
    fn a_manifest_that_was_cut_off_is_not_opened() {
        let (dir, _) = written(100);
        let path = dir.path().join("manifest");
        let bytes = std::fs::read(&path).unwrap();

        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();

        assert!(matches!(Manifest::open(&path), Err(ManifestError::Torn(99))));
    }
}
