mod arriving;
mod measures;
mod placing;
mod quarantine;
mod trouble;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Command,
};

use proptest::prelude::*;
use sharekaro_proto::{
    nouns::transfer::Conflict,
    wire::{Entry, EntryKind, encode_frame},
};

use super::*;
use crate::files::{
    SourceTree,
    manifest::{Intake, ManifestWriter, Totals},
    piece_value,
    source::{WalkOptions, Watch},
};

const KEY: TransferKey = TransferKey([7; 16]);

/// A folder to send from, a folder to receive into, and a canary beside both.
struct Given {
    root: PathBuf,
    /// Removes it all at the end.
    _temp: Option<tempfile::TempDir>,
}

impl Given {
    fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    fn below(dir: &Path) -> Self {
        // Rights are lent within the umask, and that of whoever runs the tests may be a strict one.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let temp = tempfile::tempdir_in(dir).unwrap();
        let given = Self { root: temp.path().to_owned(), _temp: Some(temp) };
        for dir in ["src", "inbox", "state", "notes", "canary"] {
            fs::create_dir(given.path(dir)).unwrap();
        }
        fs::write(given.path("canary/alive"), "alive").unwrap();
        given
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Walks everything in `src`.
    fn source(&self) -> SourceTree {
        let mut tops: Vec<_> = fs::read_dir(self.path("src")).unwrap().map(|entry| entry.unwrap().path()).collect();
        tops.sort();
        let watch = Watch { progress: &mut |_| {}, cancel: &AtomicBool::new(false) };
        SourceTree::walk(&self.path("notes"), &tops, &WalkOptions { xattrs: true, ..Default::default() }, watch).unwrap().0
    }

    fn staging(&self) -> Staging {
        let manifest = Arc::new(Manifest::open(&self.path("notes/manifest")).unwrap());
        Staging::open(&self.path("state/partial"), KEY, manifest).unwrap()
    }

    /// A cage for entries that no honest sender makes.
    fn staging_of(&self, entries: &[Entry]) -> Staging {
        let mut writer = ManifestWriter::create(&self.path("notes/manifest")).unwrap();
        entries.iter().for_each(|entry| {
            writer.append(entry).unwrap();
        });
        writer.finish().unwrap();
        self.staging()
    }

    fn commit(&self, staging: &Staging, conflict: Conflict) -> Result<Vec<Placed>, Error> {
        staging.commit(&self.path("inbox"), conflict, &self.path("notes/listing"))
    }

    /// Sends all of `src` to `inbox`.
    fn transfer(&self, conflict: Conflict) -> Vec<Placed> {
        let (source, staging) = (self.source(), self.staging());
        receive(&source, &staging);
        let placed = self.commit(&staging, conflict).unwrap();
        staging.discard().unwrap();
        placed
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(self.path(dir)).unwrap().map(|it| it.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn assert_canary(&self) {
        assert_eq!(self.names("canary"), ["alive"]);
        assert_eq!(self.read("canary/alive"), "alive");
    }
}

fn missing(staging: &Staging, no: u32) -> Vec<u64> {
    staging.missing(no).unwrap().into_iter().flatten().collect()
}

fn never() -> AtomicBool {
    AtomicBool::new(false)
}

fn receive(source: &SourceTree, staging: &Staging) {
    staging.verify_claims(&never(), &mut |_| {}).unwrap();
    staging.prepare(&never()).unwrap();
    while let Some(no) = staging.first_missing(1) {
        let item = staging.manifest().get(no).unwrap();
        if item.size <= SMALL_MAX {
            let piece = source.read_small(&item, no, Vec::new()).unwrap();
            let small = Small { no, bytes: &piece.bytes, value: piece.value };
            assert_eq!(staging.write_small(&[small]).unwrap().files, 1);
            continue;
        }
        for piece in missing(staging, no) {
            let read = source.read_piece(no, piece, Vec::new()).unwrap();
            staging.write_piece(no, piece, &read.bytes, &read.value).unwrap();
        }
        assert_eq!(staging.finish_file(no).unwrap(), source.layer(no, &never()).unwrap().0);
    }
}

fn file(parent: u32, name: &[u8], size: u64) -> Entry {
    Entry { parent, name: name.to_vec(), kind: EntryKind::File.into(), size, mode: 0o644, mtime_s: 1_000_000, ..Default::default() }
}

fn folder(parent: u32, name: &[u8]) -> Entry {
    Entry { parent, name: name.to_vec(), kind: EntryKind::Folder.into(), mode: 0o755, ..Default::default() }
}

fn small(no: u32, bytes: &[u8]) -> Small<'_> {
    Small { no, bytes, value: *blake3::hash(bytes).as_bytes() }
}
