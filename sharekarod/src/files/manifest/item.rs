//! An entry that can be trusted: each field parsed, none of it only believed.

use sharekaro_proto::wire::{Entry, EntryKind};

use super::{Broken, FILE_BYTES_MAX, PATH_BYTES_MAX, XATTR_BYTES_MAX};
use crate::files::{FileName, Value};

/// A file, folder or link of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Number of the folder it lies in; 0: at the top.
    pub parent: u32,
    /// What it is called there.
    pub name: FileName,
    /// File, folder or link; never `Unspecified`.
    pub kind: EntryKind,
    /// Bytes of a file, otherwise 0.
    pub size: u64,
    /// Permission bits as the sender has them (07777); what is taken from them is the receiver's decision.
    pub mode: u32,
    /// Modification time.
    pub mtime: Mtime,
    /// Hash of a file, where the sender knew it.
    pub content: Option<Value>,
    /// Where a link points. Nothing is said about it yet: see `link_stays_inside`.
    pub target: Vec<u8>,
    /// The file has holes worth keeping.
    pub sparse: bool,
    /// Extended attributes: name and value.
    pub xattrs: Vec<Xattr>,
}

/// Name and value of an extended attribute.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// A time as file systems keep it: seconds since 1970, which may be negative, and nanoseconds below 1,000,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mtime {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds after that.
    pub nanos: u32,
}

impl Item {
    /// The entry, once every field of it is what it should be.
    ///
    /// # Errors
    /// Which rule it breaks. Where it lies among the others is judged elsewhere.
    pub fn parse(entry: Entry) -> Result<Self, Broken> {
        let kind = EntryKind::try_from(entry.kind).ok().filter(|kind| *kind != EntryKind::Unspecified).ok_or(Broken::Kind)?;
        let size = if kind == EntryKind::File { entry.size } else { 0 };
        let content = match entry.content.len() {
            0 => None,
            _ => Some(Value::try_from(entry.content).map_err(|_| Broken::Content)?),
        };
        match () {
            () if size > FILE_BYTES_MAX => Err(Broken::Size),
            () if entry.mtime_ns >= 1_000_000_000 => Err(Broken::Time),
            () if entry.target.len() >= PATH_BYTES_MAX => Err(Broken::Target),
            () => Ok(Self {
                parent: entry.parent,
                name: FileName::parse(&entry.name)?,
                kind,
                size,
                mode: entry.mode & 0o7777,
                mtime: Mtime { seconds: entry.mtime_s, nanos: entry.mtime_ns },
                content,
                target: entry.target,
                sparse: entry.sparse,
                xattrs: pairs(entry.xattrs)?,
            }),
        }
    }

    /// As it travels.
    pub fn to_entry(&self) -> Entry {
        Entry {
            parent: self.parent,
            name: self.name.as_bytes().to_vec(),
            kind: self.kind.into(),
            size: self.size,
            mode: self.mode,
            mtime_s: self.mtime.seconds,
            mtime_ns: self.mtime.nanos,
            content: self.content.map_or_else(Vec::new, |content| content.to_vec()),
            target: self.target.clone(),
            sparse: self.sparse,
            xattrs: self.xattrs.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect(),
        }
    }

    /// Whether it is a file.
    pub fn is_file(&self) -> bool {
        self.kind == EntryKind::File
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.kind == EntryKind::Folder
    }

    /// Whether it is a link.
    pub fn is_link(&self) -> bool {
        self.kind == EntryKind::Link
    }
}

fn pairs(flat: Vec<Vec<u8>>) -> Result<Vec<Xattr>, Broken> {
    if !flat.len().is_multiple_of(2) || flat.iter().map(Vec::len).sum::<usize>() > XATTR_BYTES_MAX {
        return Err(Broken::Xattrs);
    }
    let mut pairs = Vec::with_capacity(flat.len() / 2);
    let mut flat = flat.into_iter();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            return Err(Broken::Xattrs);
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry { name: b"a".to_vec(), kind: EntryKind::File.into(), ..Default::default() }
    }

    fn check(change: impl FnOnce(&mut Entry), expected: Broken) {
        let mut entry = entry();
        change(&mut entry);
        assert_eq!(Item::parse(entry), Err(expected));
    }

    #[test]
    fn every_field_of_an_entry_is_judged() {
        check(|e| e.name = b"..".to_vec(), Broken::Name(crate::files::NameError::Dots));
        check(|e| e.kind = 0, Broken::Kind);
        check(|e| e.kind = 77, Broken::Kind);
        check(|e| e.size = FILE_BYTES_MAX + 1, Broken::Size);
        check(|e| e.mtime_ns = 1_000_000_000, Broken::Time);
        check(|e| e.content = vec![1; 31], Broken::Content);
        check(|e| e.target = vec![b'a'; 4096], Broken::Target);
        check(|e| e.xattrs = vec![b"user.a".to_vec()], Broken::Xattrs);
        check(|e| e.xattrs = vec![b"user.a".to_vec(), vec![0; 70_000]], Broken::Xattrs);
        check(|e| e.xattrs = vec![vec![], vec![]], Broken::Xattrs);
    }

    #[test]
    fn an_item_travels_and_comes_back() {
        let item = Item::parse(Entry {
            parent: 3,
            size: 5,
            mode: 0o104_755,
            mtime_s: -1,
            mtime_ns: 5,
            content: vec![7; 32],
            sparse: true,
            xattrs: vec![b"user.a".to_vec(), vec![]],
            ..entry()
        });

        let item = item.unwrap();

        assert_eq!(item.mode, 0o4755);
        assert_eq!(Item::parse(item.to_entry()), Ok(item));
    }
}
