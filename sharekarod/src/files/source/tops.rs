//! Where the things that a person named are: the only paths that a source opens.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Absolute paths by the number of their entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tops(BTreeMap<u32, PathBuf>);

impl Tops {
    pub(super) fn add(&mut self, no: u32, path: &Path) {
        self.0.insert(no, path.to_owned());
    }

    pub(super) fn get(&self, no: u32) -> Option<&Path> {
        self.0.get(&no).map(PathBuf::as_path)
    }

    /// On disk each is a number, a space, a path and a NUL, as no path has one.
    pub(super) fn write(&self, tops_path: &Path) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (no, path) in &self.0 {
            bytes.extend_from_slice(format!("{no} ").as_bytes());
            bytes.extend_from_slice(path.as_os_str().as_bytes());
            bytes.push(0);
        }
        let mut file = File::create(tops_path)?;
        file.write_all(&bytes)?;
        file.sync_data()
    }

    pub(super) fn read(tops_path: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(tops_path)?;
        let records = bytes.split(|byte| *byte == 0).filter(|record| !record.is_empty());
        let parsed: Option<BTreeMap<_, _>> = records.map(parse).collect();
        parsed.map(Self).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a list of numbered paths"))
    }
}

fn parse(record: &[u8]) -> Option<(u32, PathBuf)> {
    let space = record.iter().position(|byte| *byte == b' ')?;
    let no = std::str::from_utf8(record.get(..space)?).ok()?.parse().ok()?;
    Some((no, PathBuf::from(OsStr::from_bytes(record.get(space + 1..)?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_any_bytes_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut tops = Tops::default();
        tops.add(1, Path::new(OsStr::from_bytes(b"/a b/\xff\n")));
        tops.add(90, Path::new("/"));

        tops.write(&dir.path().join("tops")).unwrap();

        assert_eq!(Tops::read(&dir.path().join("tops")).unwrap(), tops);
        std::fs::write(dir.path().join("tops"), "x /a\0").unwrap();
        assert!(Tops::read(&dir.path().join("tops")).is_err());
    }
}
