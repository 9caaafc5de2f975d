//! By what a file on our own disk is known to be unchanged.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use rustix::fs::Stat;

/// Bytes of a key on disk.
pub(super) const KEY_BYTES: usize = 40;

/// What the kernel says of a file. Two equal keys mean the same content; whoever remembers hashes, remembers them under
/// this. After a medium was taken out and put back, the same file may have another key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HashKey {
    /// Which file system.
    pub dev: u64,
    /// Which file there.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// When its content changed: nanoseconds since 1970. Ends at the years 1677 and 2262.
    pub mtime_ns: i64,
    /// When anything of it changed; nobody can set it.
    pub ctime_ns: i64,
}

impl HashKey {
    /// The key of what was looked at.
    pub fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime_ns: nanos(stat.st_mtime, stat.st_mtime_nsec),
            ctime_ns: nanos(stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Whether both are the same state of what has the same name. Nobody can set the time of a change, so that even a
    /// file that was put in another's place shows; the numbers of device and file say nothing more, and change when a
    /// medium is put back (the device) or by themselves (files on vfat).
    pub fn is_same_state(&self, other: &Self) -> bool {
        (self.size, self.mtime_ns, self.ctime_ns) == (other.size, other.mtime_ns, other.ctime_ns)
    }

    /// Whether no other file will ever have it. vfat and exfat number their files anew at each mount and cut times to hundredths
    /// of a second or to whole ones: there, a file of equal size that was copied at the same time may get it.
    pub fn is_unique(&self) -> bool {
        self.ctime_ns % 10_000_000 != 0
    }

    fn to_bytes(self) -> Vec<u8> {
        let words = [self.dev, self.ino, self.size, self.mtime_ns.cast_unsigned(), self.ctime_ns.cast_unsigned()];
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |at: usize| words.get(at).map_or(0, |word| u64::from_le_bytes(*word));
        Self { dev: word(0), ino: word(1), size: word(2), mtime_ns: word(3).cast_signed(), ctime_ns: word(4).cast_signed() }
    }
}

fn nanos(seconds: i64, nanos: u64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add_unsigned(nanos)
}

/// Writes the keys of entries, from entry 1 on.
pub(super) struct KeyWriter(BufWriter<File>);

impl KeyWriter {
    pub(super) fn new(file: File) -> Self {
        Self(BufWriter::new(file))
    }

    pub(super) fn append(&mut self, key: HashKey) -> io::Result<()> {
        self.0.write_all(&key.to_bytes())
    }

    pub(super) fn finish(self) -> io::Result<()> {
        self.0.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()
    }
}

/// All keys of a file of keys, from entry 1 on.
pub(super) fn read_keys(path: &Path) -> io::Result<impl Iterator<Item = io::Result<HashKey>>> {
    let mut keys = BufReader::new(File::open(path)?);
    Ok(std::iter::from_fn(move || {
        let mut bytes = [0; KEY_BYTES];
        match keys.read_exact(&mut bytes) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
            read => Some(read.map(|()| HashKey::from_bytes(&bytes))),
        }
    }))
}

/// The key of entry `no` (from 1) in a file of keys.
pub(super) fn read_key(keys: &File, no: u32) -> io::Result<HashKey> {
    let mut bytes = [0; KEY_BYTES];
    keys.read_exact_at(&mut bytes, u64::from(no.saturating_sub(1)) * KEY_BYTES as u64)?;
    Ok(HashKey::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_from_its_place() {
        let file = tempfile::tempfile().unwrap();
        let key = |ino| HashKey { dev: 1, ino, size: u64::MAX, mtime_ns: -5, ctime_ns: i64::MAX };
        let mut writer = KeyWriter::new(file.try_clone().unwrap());

        (1..=3).for_each(|ino| writer.append(key(ino)).unwrap());
        writer.finish().unwrap();

        assert_eq!(read_key(&file, 3).unwrap(), key(3));
        assert_eq!(read_key(&file, 1).unwrap(), key(1));
        assert!(read_key(&file, 4).is_err());
    }

    #[test]
    fn times_of_a_coarse_clock_tell_no_file_from_another() {
        let unique = |ctime_ns| HashKey { ctime_ns, ..HashKey::default() }.is_unique();

        assert!(unique(1_790_000_000_123_456_789) && unique(1_790_000_000_004_000_000));
        assert!(!unique(1_790_000_000_000_000_000) && !unique(1_790_000_000_120_000_000));
    }

    #[test]
    fn a_medium_that_was_put_back_holds_the_same_files() {
        let key = HashKey { dev: 1, ino: 2, size: 3, mtime_ns: 4, ctime_ns: 5 };

        assert!(key.is_same_state(&HashKey { dev: 9, ino: 9, ..key }));
        for other in [HashKey { size: 9, ..key }, HashKey { mtime_ns: 9, ..key }, HashKey { ctime_ns: 9, ..key }] {
            assert!(!key.is_same_state(&other));
        }
    }
}
