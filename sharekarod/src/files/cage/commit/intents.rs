//! What is about to be moved where, noted before it is: after a crash the same is done again, or is seen to be done.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use prost::Message;
use sharekaro_proto::wire::{FRAME_MAX, frame_length};

use crate::files::FileName;

/// Bytes of the checksum behind each record: a power cut may leave anything behind the last sync.
const CHECK: usize = 8;

/// How something gets to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(in crate::files::cage) enum Step {
    /// It takes a name that is free.
    Move = 0,
    /// It takes the name of an older thing, which gets another one beside it.
    Exchange = 1,
    /// The same is there already.
    Same = 2,
    /// It is a folder, and what is in it joins what is in the folder there.
    Merge = 3,
}

/// One thing that is about to be moved.
#[derive(Clone, PartialEq, Message)]
pub(in crate::files::cage) struct Intent {
    #[prost(enumeration = "Step", tag = "1")]
    step: i32,
    /// Names from the cage's tree on.
    #[prost(bytes = "vec", repeated, tag = "2")]
    staged: Vec<Vec<u8>>,
    /// Names from the destination on.
    #[prost(bytes = "vec", repeated, tag = "3")]
    placed: Vec<Vec<u8>>,
    /// Number of the staged file on its file system: after an exchange, the name in the cage has another one.
    #[prost(fixed64, tag = "4")]
    pub(in crate::files::cage) inode: u64,
    /// What the older thing is called from an exchange on, in the same folder; nothing where there is none.
    #[prost(bytes = "vec", tag = "5")]
    aside: Vec<u8>,
    /// And its number.
    #[prost(fixed64, tag = "6")]
    older: u64,
    /// The destination, where an older thing steps aside: the cage may have to go without the rest of the commit.
    #[prost(bytes = "vec", tag = "7")]
    destination: Vec<u8>,
}

/// An older thing that lost its name to a received one, and lies beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::files::cage) struct Displaced {
    /// What it is called now.
    pub(in crate::files::cage) name: FileName,
    /// Its number on its file system.
    pub(in crate::files::cage) inode: u64,
}

impl Intent {
    pub(super) fn new(step: Step, staged: &[FileName], placed: &[FileName], inode: u64) -> Self {
        Self { step: step.into(), staged: bytes_of(staged), placed: bytes_of(placed), inode, ..Self::default() }
    }

    /// The same, with an older thing that steps aside.
    pub(super) fn displacing(self, displaced: Displaced) -> Self {
        Self { aside: displaced.name.as_bytes().to_vec(), older: displaced.inode, ..self }
    }

    /// The same, with the destination.
    pub(super) fn below(self, destination: &Path) -> Self {
        Self { destination: destination.as_os_str().as_bytes().to_vec(), ..self }
    }

    /// The destination, where an older thing steps aside; else nothing.
    pub(super) fn destination(&self) -> PathBuf {
        OsStr::from_bytes(&self.destination).into()
    }

    /// Whether what has the staged name, and this number, is the older thing: the exchange was made.
    pub(super) fn is_older(&self, inode: u64) -> bool {
        self.step() == Step::Exchange && self.displaced().map_or(inode != self.inode, |older| inode == older.inode)
    }

    /// The older thing that steps aside; `None` where none does.
    pub(in crate::files::cage) fn displaced(&self) -> Option<Displaced> {
        FileName::parse(&self.aside).ok().map(|name| Displaced { name, inode: self.older })
    }

    /// Its names from the cage's tree on; `None` where the note is damaged.
    pub(super) fn staged(&self) -> Option<Vec<FileName>> {
        parsed(&self.staged)
    }

    /// Its names from the destination on; `None` where the note is damaged.
    pub(in crate::files::cage) fn placed(&self) -> Option<Vec<FileName>> {
        parsed(&self.placed)
    }

    fn key(&self) -> Vec<u8> {
        self.staged.join(&b'/')
    }
}

/// All that was noted, by the place in the cage. The later of two counts.
pub(in crate::files::cage) struct Intents {
    file: File,
    by_staged: HashMap<Vec<u8>, Intent>,
}

impl Intents {
    /// What was noted by an earlier try; what a crash left behind the last whole record is cut off.
    pub(super) fn load(mut file: File) -> io::Result<Self> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (mut by_staged, mut rest) = (HashMap::new(), bytes.as_slice());
        while let Some((intent, behind)) = split(rest) {
            by_staged.insert(intent.key(), intent);
            rest = behind;
        }
        file.set_len((bytes.len() - rest.len()) as u64)?;
        io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        Ok(Self { file, by_staged })
    }

    /// Notes what is about to happen, durably.
    pub(super) fn note(&mut self, intents: &[Intent]) -> io::Result<()> {
        if intents.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for intent in intents {
            let payload = intent.encode_to_vec();
            bytes.extend(intent.encode_length_delimited_to_vec());
            bytes.extend(check(&payload));
        }
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.by_staged.extend(intents.iter().map(|intent| (intent.key(), intent.clone())));
        Ok(())
    }

    pub(in crate::files::cage) fn get(&self, staged: &[FileName]) -> Option<&Intent> {
        self.by_staged.get(&bytes_of(staged).join(&b'/'))
    }

    /// Everything that was noted, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Intent> {
        self.by_staged.values()
    }
}

fn bytes_of(names: &[FileName]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn parsed(names: &[Vec<u8>]) -> Option<Vec<FileName>> {
    names.iter().map(|name| FileName::parse(name).ok()).collect()
}

fn check(payload: &[u8]) -> Vec<u8> {
    blake3::hash(payload).as_bytes().iter().copied().take(CHECK).collect()
}

fn split(bytes: &[u8]) -> Option<(Intent, &[u8])> {
    let (length, head) = frame_length(bytes, FRAME_MAX).ok()??;
    let payload = bytes.get(head..head + length)?;
    let (found, rest) = bytes.get(head + length..)?.split_at_checked(CHECK)?;
    (found == check(payload)).then_some(())?;
    Some((Intent::decode(payload).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_records_count() {
        let name = |text: &str| FileName::parse(text.as_bytes()).unwrap();
        let temp = tempfile::NamedTempFile::new().unwrap();
        let mut intents = Intents::load(temp.reopen().unwrap()).unwrap();
        let first = Intent::new(Step::Move, &[name("a")], &[name("a (2)")], 1);
        let second = Intent::new(Step::Merge, &[name("b"), name("c")], &[name("b"), name("c")], 2);
        intents.note(&[first.clone(), second]).unwrap();

        let whole = std::fs::read(temp.path()).unwrap();
        std::fs::write(temp.path(), [&whole[..whole.len() - 1], b"\0"].concat()).unwrap();

        let again = Intents::load(temp.reopen().unwrap()).unwrap();
        assert_eq!(again.get(&[name("a")]), Some(&first));
        assert_eq!(again.get(&[name("b"), name("c")]), None);
        assert_eq!(first.placed(), Some(vec![name("a (2)")]));
    }
}
