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

#[test]
fn a_tree_arrives_as_it_was() {
    let given = Given::new();
    for (name, len) in [("0", 0), ("1", 1), ("small", 256 << 10), ("more", (256 << 10) + 1), ("under", (1 << 20) - 1)] {
        given.write(&format!("src/tree/a/{name}"), vec![5; len]);
    }
    for (name, len) in [("piece", 1 << 20), ("over", (1 << 20) + 1), ("many", (3 << 20) + 77)] {
        given.write(&format!("src/tree/b/{name}"), (0..len).map(|i| (i / 3) as u8).collect::<Vec<_>>());
    }
    given.write("src/single.txt", "single");
    fs::create_dir_all(given.path("src/tree/empty/emptier")).unwrap();
    symlink("../b/many", given.path("src/tree/a/link")).unwrap();
    let shut = |name: &str, mode| fs::set_permissions(given.path(name), fs::Permissions::from_mode(mode)).unwrap();
    shut("src/tree/a/1", 0o6755);
    shut("src/tree/b/many", 0o400);
    shut("src/tree/b", 0o555);
    let old = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_nanos(1_234_567_890));
    fs::File::open(given.path("src/tree/a/1")).unwrap().set_times(old).unwrap();
    fs::File::open(given.path("src/tree/b")).unwrap().set_times(old).unwrap();

    let placed = given.transfer(Conflict::Rename);

    let same = Command::new("diff").args(["-r", "--no-dereference"]).args([given.path("src"), given.path("inbox")]).output().unwrap();
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
    let meta = |name: &str| fs::metadata(given.path(name)).unwrap();
    for name in ["tree/a/0", "tree/a/1", "tree/b/many", "tree/b", "tree/a"] {
        let (there, here) = (meta(&format!("src/{name}")), meta(&format!("inbox/{name}")));
        assert_eq!((there.mtime(), there.mtime_nsec()), (here.mtime(), here.mtime_nsec()), "{name}");
        assert_eq!(there.mode() & 0o777, here.mode() & 0o7777, "no bit that lends rights: {name}");
    }
    assert_eq!(placed.iter().map(|it| it.path.clone()).collect::<Vec<_>>(), [given.path("inbox/single.txt"), given.path("inbox/tree")]);
    assert!(!given.path("state/partial").exists(), "nothing is left behind");
    shut("src/tree/b", 0o755);
    shut("inbox/tree/b", 0o755);
}

#[test]
fn a_read_only_folder_arrives_for_an_ordinary_user_too() {
    if crate::files::testing::ran_as_an_ordinary_user("files::cage::tests::a_read_only_folder_arrives_for_an_ordinary_user_too") {
        return;
    }
    let given = Given::new();
    let entries = [
        folder(0, b"tree"),
        Entry { mode: 0o555, ..folder(1, b"closed") },
        Entry { mode: 0o000, ..file(2, b"file", 3) },
        Entry { mode: 0o444, ..file(2, b"large", 300_000) },
    ];
    let staging = given.staging_of(&entries);
    staging.prepare(&never()).unwrap();
    staging.write_small(&[small(3, b"abc")]).unwrap();
    let large = vec![1; 300_000];
    staging.write_piece(4, 0, &large, blake3::hash(&large).as_bytes()).unwrap();
    staging.finish_file(4).unwrap();

    for _ in 0..2 {
        given.commit(&staging, Conflict::Rename).unwrap();
    }

    let mode = |name: &str| fs::metadata(given.path(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("inbox/tree/closed"), mode("inbox/tree/closed/file"), mode("inbox/tree/closed/large")), (0o555, 0, 0o444));
    assert_eq!(undo(&given.path("inbox"), &given.path("notes/listing")).unwrap().removed, 2);
    assert_eq!(given.names("inbox"), [""; 0]);
}

#[test]
fn wrong_bytes_are_refused_and_nothing_of_them_is_kept() {
    let given = Given::new();
    let bytes = vec![3; 3 << 20];
    let staging =
        given.staging_of(&[file(0, b"large", 3 << 20), file(0, b"small", 3), Entry { content: vec![9; 32], ..file(0, b"other", 3) }]);
    let value = piece_value(1, &bytes[..1 << 20], 3 << 20).unwrap();

    assert!(matches!(staging.write_piece(1, 0, &bytes[..1 << 20], &value), Err(Error::Integrity { no: 1, piece: 0 })));
    assert!(matches!(staging.write_piece(1, 1, &bytes[..5], &value), Err(Error::Integrity { no: 1, piece: 1 })));
    assert!(matches!(staging.write_piece(1, 3, &bytes[..1 << 20], &value), Err(Error::NoSuch(1))));
    assert!(matches!(staging.write_piece(9, 0, &[], &value), Err(Error::Manifest(_))));
    assert!(matches!(staging.finish_file(1), Err(Error::Incomplete(1))));
    assert_eq!(missing(&staging, 1), [0, 1, 2]);
    staging.write_piece(1, 1, &bytes[..1 << 20], &value).unwrap();
    assert_eq!(missing(&staging, 1), [0, 2]);
    let wrong = Small { no: 2, bytes: b"abc", value: *blake3::hash(b"abd").as_bytes() };
    let stored = staging.write_small(&[wrong, small(3, b"abc"), small(2, b"abcd")]).unwrap();
    assert_eq!(stored, Stored { refused: vec![2, 3, 2], ..Default::default() });
    assert!(matches!(given.commit(&staging, Conflict::Rename), Err(Error::Incomplete(1))));
    assert_eq!(given.names("inbox"), [""; 0]);
}

#[test]
fn it_goes_on_where_it_was_killed() {
    let given = Given::new();
    given.write("src/large", (0..5 << 20).map(|i| (i / 5) as u8).collect::<Vec<_>>());
    given.write("src/small", "small");
    let source = given.source();
    let staging = given.staging();
    staging.prepare(&never()).unwrap();
    for piece in [1, 3] {
        let read = source.read_piece(1, piece, Vec::new()).unwrap();
        staging.write_piece(1, piece, &read.bytes, &read.value).unwrap();
    }
    staging.write_small(&[small(2, b"small")]).unwrap();
    drop(staging);

    let staging = given.staging();

    assert!(staging.is_verified(), "the machine was not started anew");
    assert_eq!(missing(&staging, 1), [0, 2, 4]);
    assert_eq!(staging.prepare(&never()).unwrap(), Tally { files: 1, bytes: 5 + (2 << 20) });
    receive(&source, &staging);
    given.commit(&staging, Conflict::Rename).unwrap();
    assert_eq!(fs::read(given.path("inbox/large")).unwrap(), fs::read(given.path("src/large")).unwrap());
}

#[test]
fn after_a_power_cut_only_what_is_true_is_kept() {
    let given = Given::new();
    given.write("src/large", vec![9; 4 << 20]);
    given.write("src/small", "small");
    given.write("src/tree/durable", "durable");
    let source = given.source();
    let staging = given.staging();
    staging.prepare(&never()).unwrap();
    staging.write_small(&[small(4, b"durable")]).unwrap();
    staging.sync().unwrap();
    for piece in 0..3 {
        let read = source.read_piece(1, piece, Vec::new()).unwrap();
        staging.write_piece(1, piece, &read.bytes, &read.value).unwrap();
    }
    staging.write_small(&[small(2, b"small")]).unwrap();
    drop(staging);
    let home = given.path("state/partial").join(KEY.to_string());
    fs::write(home.join("boot"), "another start").unwrap();
    let data = fs::OpenOptions::new().write(true).open(home.join("tree/large")).unwrap();
    data.write_all_at(&[0; 4096], (1 << 20) + 5).unwrap();

    let staging = given.staging();
    assert!(!staging.is_verified());
    assert!(matches!(staging.finish_file(1), Err(Error::Unverified)));
    let mut read = 0;
    staging.verify_claims(&never(), &mut |bytes| read = bytes).unwrap();

    assert_eq!(read, 3 << 20);
    assert_eq!(missing(&staging, 1), [1, 3]);
    assert_eq!(staging.state(2), EntryState::Missing, "a small file that was not synced comes again");
    assert_eq!(staging.state(4), EntryState::Whole);
    receive(&source, &staging);
    given.commit(&staging, Conflict::Rename).unwrap();
    assert_eq!(fs::read(given.path("inbox/large")).unwrap(), vec![9; 4 << 20]);
    assert_eq!(given.read("inbox/tree/durable"), "durable");
}

#[test]
fn pieces_of_one_file_come_from_many_threads_at_once() {
    let given = Given::new();
    given.write("src/tree/large", (0..16 << 20).map(|i| (i / 13) as u8).collect::<Vec<_>>());
    let (source, staging) = (given.source(), given.staging());

    std::thread::scope(|scope| {
        for first in 0..8 {
            let (source, staging) = (&source, &staging);
            scope.spawn(move || {
                for piece in [first, first + 8] {
                    let read = source.read_piece(2, piece, Vec::new()).unwrap();
                    staging.write_piece(2, piece, &read.bytes, &read.value).unwrap();
                }
            });
        }
    });

    assert_eq!(missing(&staging, 2), Vec::<u64>::new());
    assert_eq!(staging.finish_file(2).unwrap(), source.layer(2, &never()).unwrap().0);
}

#[test]
fn holes_stay_holes_and_nothing_shows_through_them() {
    let given = Given::new();
    let holes = fs::File::create(given.path("src/holes")).unwrap();
    holes.set_len(64 << 20).unwrap();
    holes.write_all_at(&[1; 100], (10 << 20) + 70_000).unwrap();
    let source = given.source();
    let staging = given.staging();
    staging.prepare(&never()).unwrap();
    // What was written there and never claimed, as a crash leaves it.
    staging.partial(1).unwrap().data.write_all_at(&[7; 4096], 20 << 20).unwrap();

    receive(&source, &staging);
    given.commit(&staging, Conflict::Rename).unwrap();

    let (there, here) = (fs::read(given.path("src/holes")).unwrap(), fs::read(given.path("inbox/holes")).unwrap());
    assert!(there == here);
    assert!(fs::metadata(given.path("inbox/holes")).unwrap().blocks() * 512 < 1 << 20);
}

#[test]
fn the_holes_of_a_file_need_not_travel() {
    let given = Given::new();
    given.write("src/holes", "");
    let holes = fs::File::options().write(true).open(given.path("src/holes")).unwrap();
    holes.set_len((9 << 20) + 5).unwrap();
    holes.write_all_at(&[1; 100], (4 << 20) + 70_000).unwrap();
    let source = given.source();
    let staging = given.staging();
    assert_eq!(staging.prepare(&never()).unwrap(), Tally::default());
    assert_eq!(staging.wanted().bytes(), 0, "most of it needs no room");
    // What was written there and never claimed, as a crash leaves it.
    staging.partial(1).unwrap().data.write_all_at(&[7; 4096], 8 << 20).unwrap();

    assert_eq!(staging.claim_holes(1, 0..4).unwrap(), 4 << 20);
    assert_eq!(staging.prepare(&never()).unwrap(), Tally { bytes: 4 << 20, files: 0 });
    assert_eq!(staging.claim_holes(1, 3..4).unwrap(), 0, "already so");
    assert_eq!(staging.claim_holes(1, 5..10).unwrap(), (4 << 20) + 5);
    assert!(staging.claim_holes(1, 10..11).is_err(), "no such piece");
    assert_eq!(missing(&staging, 1), [4]);
    receive(&source, &staging);
    given.commit(&staging, Conflict::Rename).unwrap();

    assert!(fs::read(given.path("src/holes")).unwrap() == fs::read(given.path("inbox/holes")).unwrap());
}

#[test]
fn an_old_state_of_a_file_and_a_copy_of_it_need_not_travel() {
    let given = Given::new();
    let mut bytes: Vec<u8> = (0..4 << 20).map(|i| (i / 9) as u8).collect();
    given.write("src/a", &bytes);
    given.write("src/b", &bytes);
    given.write("copy", &bytes);
    bytes[(2 << 20) + 9] ^= 1;
    given.write("older", &bytes[..(3 << 20) + 5]);
    let source = given.source();
    let staging = given.staging();
    let (hash, layer) = source.layer(1, &never()).unwrap();

    assert!(!staging.reuse_whole(2, &given.path("older"), &hash, &never()).unwrap());
    assert!(!staging.reuse_whole(2, &given.path("nothing"), &hash, &never()).unwrap());
    assert!(!staging.reuse_whole(2, &given.path("copy"), &[1; 32], &never()).unwrap());
    assert_eq!(missing(&staging, 2), [0, 1, 2, 3]);
    assert!(staging.reuse_whole(2, &given.path("copy"), &hash, &never()).unwrap());
    assert_eq!(staging.reuse_pieces(1, &given.path("older"), &layer, &never()).unwrap(), 2 << 20);
    assert_eq!(missing(&staging, 1), [2, 3]);
    assert_eq!(staging.finish_file(2).unwrap(), hash);
    let piece = staging.read_piece(1, 1, Vec::new()).unwrap().unwrap();
    assert_eq!(piece.value, layer[1]);
    assert!(staging.read_piece(1, 2, Vec::new()).unwrap().is_none());
    receive(&source, &staging);
    given.commit(&staging, Conflict::Rename).unwrap();
    assert!(fs::read(given.path("inbox/a")).unwrap() == fs::read(given.path("src/b")).unwrap());
}

#[test]
fn a_copy_of_a_file_with_holes_keeps_them() {
    let given = Given::new();
    for name in ["src/holes", "copy"] {
        let holes = fs::File::create(given.path(name)).unwrap();
        holes.set_len((64 << 20) + 11).unwrap();
        holes.write_all_at(&[1; 70_000], (10 << 20) + 70_000).unwrap();
    }
    let source = given.source();
    let staging = given.staging();
    staging.prepare(&never()).unwrap();
    let (hash, _) = source.layer(1, &never()).unwrap();

    assert!(staging.reuse_whole(1, &given.path("copy"), &hash, &never()).unwrap());
    receive(&source, &staging);
    given.commit(&staging, Conflict::Rename).unwrap();

    assert!(fs::read(given.path("src/holes")).unwrap() == fs::read(given.path("inbox/holes")).unwrap());
    assert!(fs::metadata(given.path("inbox/holes")).unwrap().blocks() * 512 < 1 << 20);
}

#[test]
fn room_that_was_found_is_not_wanted_again() {
    for (disk, at_once) in [(std::env::temp_dir().as_path(), true), (Path::new("/dev/shm"), false)] {
        let given = Given::below(disk);
        given.write("src/large", vec![3; 4 << 20]);
        given.write("src/small", vec![4; 1000]);
        given.write("src/third", vec![5; 2 << 20]);
        let source = given.source();
        let staging = given.staging();
        staging.prepare(&never()).unwrap();
        let wanted = staging.wanted();
        assert_eq!(wanted.bytes(), (6 << 20) + 1000);

        let piece = source.read_piece(1, 2, Vec::new()).unwrap();
        staging.write_piece(1, 2, &piece.bytes, &piece.value).unwrap();
        staging.write_small(&[small(2, &[4; 1000])]).unwrap();
        // Some file systems promise no room ahead; what lies in memory gets none.
        let still = [2 << 20, (2 << 20) + (3 << 20)];
        assert!(still[usize::from(!at_once)..].contains(&wanted.bytes()), "{} are wanted on {}", wanted.bytes(), disk.display());
        let before = wanted.bytes();
        drop(staging);

        let staging = given.staging();
        staging.prepare(&never()).unwrap();
        assert_eq!(staging.wanted().bytes(), before, "a restart on {}", disk.display());
        staging.forget(1).unwrap();
        assert_eq!(staging.wanted().bytes(), 6 << 20, "it comes anew");
        staging.skip(3, SkipReason::Vanished).unwrap();
        assert_eq!(staging.wanted().bytes(), 4 << 20);
        receive(&source, &staging);
        assert_eq!(staging.wanted().bytes(), 0);
    }
}

#[test]
fn a_piece_that_comes_while_its_file_is_given_up_does_not_bring_it_back() {
    let given = Given::new();
    given.write("src/large", vec![3; 3 << 20]);
    let source = given.source();
    let staging = given.staging();
    staging.prepare(&never()).unwrap();
    let pieces: Vec<_> = (0..3).map(|piece| source.read_piece(1, piece, Vec::new()).unwrap()).collect();

    for round in 0..300 {
        std::thread::scope(|scope| {
            for (no, piece) in (0..).zip(&pieces) {
                // Refused from a certain moment on.
                let staging = &staging;
                scope.spawn(move || drop(staging.write_piece(1, no, &piece.bytes, &piece.value)));
            }
            staging.skip(1, SkipReason::Changed).unwrap();
        });

        let left = staging.tree.find(&FileName::parse(b"large").unwrap()).unwrap();
        assert!(left.is_none(), "round {round}");
        staging.forget(1).unwrap();
    }
}

/// What stands in the inbox after a file and a tree met older ones.
fn met(conflict: Conflict, is_newer: bool) -> Vec<(String, String)> {
    let given = Given::new();
    let old = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    for (name, content) in [("file.txt", "new"), ("same", "same"), ("tree/x", "new x"), ("tree/only", "new only"), ("tree/deep/z", "new z")]
    {
        given.write(&format!("src/{name}"), content);
    }
    for (name, content) in [("file.txt", "old"), ("same", "same"), ("tree/x", "old x"), ("tree/mine", "mine"), ("tree/deep/z", "old z")] {
        given.write(&format!("inbox/{name}"), content);
    }
    for name in ["file.txt", "tree/x", "tree/deep/z"] {
        let older = if is_newer { "inbox" } else { "src" };
        fs::File::open(given.path(older).join(name)).unwrap().set_times(old).unwrap();
    }

    given.transfer(conflict);

    let listed = Command::new("find").arg(given.path("inbox")).args(["-type", "f", "-printf", "%P\\n"]).output().unwrap();
    let mut names: Vec<_> = String::from_utf8(listed.stdout).unwrap().lines().map(String::from).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), given.read(&format!("inbox/{name}")))).collect()
}

fn check_met(found: Vec<(String, String)>, expected: &[(&str, &str)]) {
    let found: Vec<_> = found.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_taken_name_is_met_as_the_receiver_wishes_and_nothing_is_lost() {
    check_met(
        met(Conflict::Rename, true),
        &[
            ("file (2).txt", "new"),
            ("file.txt", "old"),
            ("same", "same"),
            ("same (2)", "same"),
            ("tree (2)/deep/z", "new z"),
            ("tree (2)/only", "new only"),
            ("tree (2)/x", "new x"),
            ("tree/deep/z", "old z"),
            ("tree/mine", "mine"),
            ("tree/x", "old x"),
        ],
    );
    let kept_old = [
        ("file (2).txt", "new"),
        ("file.txt", "old"),
        ("same", "same"),
        ("tree/deep/z", "old z"),
        ("tree/deep/z (2)", "new z"),
        ("tree/mine", "mine"),
        ("tree/only", "new only"),
        ("tree/x", "old x"),
        ("tree/x (2)", "new x"),
    ];
    let took_new = [
        ("file (2).txt", "old"),
        ("file.txt", "new"),
        ("same", "same"),
        ("tree/deep/z", "new z"),
        ("tree/deep/z (2)", "old z"),
        ("tree/mine", "mine"),
        ("tree/only", "new only"),
        ("tree/x", "new x"),
        ("tree/x (2)", "old x"),
    ];
    check_met(met(Conflict::Skip, true), &kept_old);
    check_met(met(Conflict::Overwrite, false), &took_new);
    check_met(met(Conflict::Newer, true), &took_new);
    check_met(met(Conflict::Newer, false), &kept_old);
}

#[test]
fn a_link_in_the_destination_is_never_followed() {
    for conflict in [Conflict::Rename, Conflict::Skip, Conflict::Overwrite, Conflict::Newer] {
        let given = Given::new();
        given.write("src/tree/alive", "new");
        given.write("src/alive", "new");
        symlink("../canary", given.path("inbox/tree")).unwrap();
        symlink("../canary/alive", given.path("inbox/alive")).unwrap();

        given.transfer(conflict);

        given.assert_canary();
        assert_eq!(given.names("inbox"), ["alive", "alive (2)", "tree", "tree (2)"]);
    }
}

#[test]
fn a_commit_that_was_cut_off_is_repeated() {
    // What is moved by hand here is what a crash after one of its steps leaves.
    let given = Given::new();
    given.write("src/a", "new a");
    given.write("src/b", "new b");
    given.write("src/c/d", "new d");
    given.write("inbox/a", "old a");
    given.write("inbox/c/d", "old d");
    let (source, staging) = (given.source(), given.staging());
    receive(&source, &staging);
    given.write("inbox/c/d (2)", "x");
    fs::set_permissions(given.path("inbox/c"), fs::Permissions::from_mode(0o755)).unwrap();
    let first = given.commit(&staging, Conflict::Overwrite).unwrap();
    drop(staging);

    let staging = given.staging();
    let second = given.commit(&staging, Conflict::Overwrite).unwrap();

    assert_eq!(first, second);
    assert_eq!(given.names("inbox"), ["a", "a (2)", "b", "c"]);
    assert_eq!(given.names("inbox/c"), ["d", "d (2)", "d (3)"]);
    assert_eq!((given.read("inbox/a"), given.read("inbox/a (2)")), ("new a".into(), "old a".into()));
    assert_eq!((given.read("inbox/c/d"), given.read("inbox/c/d (3)")), ("new d".into(), "old d".into()));
}

#[test]
fn a_crash_between_an_exchange_and_its_second_half_loses_nothing() {
    let given = Given::new();
    given.write("src/a", "new a");
    given.write("inbox/a", "old a");
    let (source, staging) = (given.source(), given.staging());
    receive(&source, &staging);
    let home = given.path("state/partial").join(KEY.to_string());
    let inode = fs::metadata(home.join("tree/a")).unwrap().ino();
    let note = fs::File::options().read(true).write(true).create_new(true).open(home.join("commit")).unwrap();
    commit::note_exchange(note, "a", inode);
    staging.sync().unwrap();
    fs::rename(home.join("tree/a"), given.path("aside")).unwrap();
    fs::rename(given.path("inbox/a"), home.join("tree/a")).unwrap();
    fs::rename(given.path("aside"), given.path("inbox/a")).unwrap();
    drop(staging);

    let placed = given.commit(&given.staging(), Conflict::Overwrite).unwrap();

    assert_eq!(placed[0].path, given.path("inbox/a"));
    assert_eq!(given.names("inbox"), ["a", "a (2)"]);
    assert_eq!((given.read("inbox/a"), given.read("inbox/a (2)")), ("new a".into(), "old a".into()));
}

#[test]
fn undo_takes_back_what_nobody_edited() {
    let given = Given::new();
    for name in ["tree/a", "tree/edited", "tree/deep/b", "single", "same"] {
        given.write(&format!("src/{name}"), name);
    }
    symlink("a", given.path("src/tree/link")).unwrap();
    given.write("inbox/same", "same");
    given.write("inbox/mine", "mine");
    let placed = given.transfer(Conflict::Skip);
    given.write("inbox/tree/edited", "edited since");
    assert!(placed.iter().any(|it| it.existed));

    let first = undo(&given.path("inbox"), &given.path("notes/listing")).unwrap();
    let second = undo(&given.path("inbox"), &given.path("notes/listing")).unwrap();

    assert_eq!(first, Undone { removed: 4, restored: 0, spared: vec!["tree/edited".into()] });
    assert_eq!(second.removed, 0);
    assert_eq!(given.names("inbox"), ["mine", "same", "tree"]);
    assert_eq!(given.names("inbox/tree"), ["edited"]);
}

#[test]
fn undo_gives_names_back_to_what_lost_them() {
    for conflict in [Conflict::Overwrite, Conflict::Newer] {
        let given = Given::new();
        for name in ["doc", "tree/a", "edited", "folder/in it"] {
            given.write(&format!("inbox/{name}"), format!("old {name}"));
        }
        for name in ["doc", "tree/a", "edited", "folder"] {
            fs::File::open(given.path(&format!("inbox/{name}"))).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        }
        for name in ["doc", "tree/a", "tree/b", "edited", "folder"] {
            given.write(&format!("src/{name}"), format!("new {name}"));
        }
        given.transfer(conflict);
        assert_eq!(given.names("inbox"), ["doc", "doc (2)", "edited", "edited (2)", "folder", "folder (2)", "tree"], "{conflict}");
        given.write("inbox/edited", "edited since");

        let first = undo(&given.path("inbox"), &given.path("notes/listing")).unwrap();
        let second = undo(&given.path("inbox"), &given.path("notes/listing")).unwrap();

        assert_eq!(first, Undone { removed: 4, restored: 3, spared: vec!["edited".into()] });
        assert_eq!(second, Undone { spared: vec!["edited".into()], ..Undone::default() });
        assert_eq!(given.names("inbox"), ["doc", "edited", "edited (2)", "folder", "tree"]);
        assert_eq!(given.names("inbox/tree"), ["a"]);
        for name in ["doc", "tree/a", "edited (2)", "folder/in it"] {
            assert_eq!(given.read(&format!("inbox/{name}")), format!("old {}", name.trim_end_matches(" (2)")));
        }
        assert_eq!(given.read("inbox/edited"), "edited since");
    }
}

#[test]
fn an_older_thing_that_was_put_elsewhere_since_stays_there() {
    let given = Given::new();
    given.write("inbox/a", "old a");
    given.write("src/a", "new a");
    given.transfer(Conflict::Overwrite);
    fs::rename(given.path("inbox/a (2)"), given.path("inbox/kept")).unwrap();
    given.write("inbox/a (2)", "somebody else's");

    let undone = undo(&given.path("inbox"), &given.path("notes/listing")).unwrap();

    assert_eq!((undone.removed, undone.restored), (1, 0));
    assert_eq!(given.names("inbox"), ["a (2)", "kept"]);
}

/// What lies in quarantine, as a transfer puts it there.
fn quarantined() -> Given {
    let given = Given::new();
    for name in ["tree/a", "tree/deep/b", "run.sh", "same"] {
        given.write(&format!("src/{name}"), name);
    }
    fs::set_permissions(given.path("src/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(given.path("apart")).unwrap();
    let source = given.source();
    let mut manifest = Manifest::open(&given.path("notes/manifest")).unwrap();
    manifest.files_lose(0o111);
    let staging = Staging::open(&given.path("state/partial"), KEY, Arc::new(manifest)).unwrap();
    receive(&source, &staging);
    staging.commit(&given.path("apart"), Conflict::Rename, &given.path("notes/listing")).unwrap();
    staging.discard().unwrap();
    given
}

#[test]
fn what_lies_in_quarantine_cannot_be_executed_and_is_released_once() {
    let given = quarantined();
    given.write("inbox/run.sh", "mine");
    given.write("inbox/same", "same");
    assert_eq!(fs::metadata(given.path("apart/run.sh")).unwrap().mode() & 0o111, 0);
    assert_ne!(fs::metadata(given.path("apart/tree")).unwrap().mode() & 0o100, 0);
    let released =
        || release(&given.path("apart"), &given.path("inbox"), &given.path("state"), KEY, Conflict::Skip, &given.path("notes/listing"));

    let tops = released().unwrap();

    assert_eq!(tops, ["run (2).sh", "same", "tree"].map(|name| given.path("inbox").join(name)));
    assert_eq!((given.names("inbox"), given.names("apart")), (["run (2).sh", "run.sh", "same", "tree"].map(String::from).to_vec(), vec![]));
    assert_eq!(given.read("inbox/tree/deep/b"), "tree/deep/b");
    assert_eq!(fs::metadata(given.path("inbox/run (2).sh")).unwrap().mode() & 0o111, 0);
    let undone = undo(&given.path("inbox"), &given.path("notes/listing")).unwrap();
    assert_eq!((undone.removed, given.names("inbox")), (3, ["run.sh", "same"].map(String::from).to_vec()));
}

#[test]
fn what_lies_in_quarantine_crosses_file_systems() {
    let given = quarantined();
    let elsewhere = tempfile::tempdir_in("/dev/shm").expect("/dev/shm, which every Linux with glibc has");
    let listing = given.path("notes/listing");

    let tops = release(&given.path("apart"), elsewhere.path(), &given.path("state"), KEY, Conflict::Rename, &listing).unwrap();

    assert_eq!(tops, ["run.sh", "same", "tree"].map(|name| elsewhere.path().join(name)));
    assert_eq!(fs::read_to_string(elsewhere.path().join("tree/deep/b")).unwrap(), "tree/deep/b");
    assert_eq!((given.names("apart"), fs::read_dir(elsewhere.path()).unwrap().count()), (vec![], 3));
    assert_eq!(undo(elsewhere.path(), &listing).unwrap().removed, 4);
}

#[test]
fn what_cannot_be_released_stays_in_quarantine() {
    let given = quarantined();

    let refused =
        release(&given.path("apart"), &given.path("no/where"), &given.path("state"), KEY, Conflict::Rename, &given.path("notes/listing"));

    assert!(refused.is_err());
    assert_eq!(given.names("apart"), ["run.sh", "same", "tree"]);
}

#[test]
fn the_listing_names_every_file_with_its_hash() {
    let given = Given::new();
    given.write("src/tree/a", "12");
    given.write("src/tree/large", vec![1; 2 << 20]);
    given.write("src/tree/empty", "");

    given.transfer(Conflict::Rename);

    let listed: Vec<_> = read_listing(&given.path("notes/listing")).unwrap().map(Result::unwrap).collect();
    let hashes: Vec<_> = listed.iter().map(|it| (it.path(), it.size, it.content.clone())).collect();
    let hash = |bytes: &[u8]| blake3::hash(bytes).as_bytes().to_vec();
    assert_eq!(
        hashes,
        [
            ("tree".into(), 0, vec![]),
            ("tree/a".into(), 2, hash(b"12")),
            ("tree/empty".into(), 0, hash(b"")),
            ("tree/large".into(), 2 << 20, hash(&vec![1; 2 << 20])),
        ]
    );
}

#[test]
fn a_folder_of_the_cage_that_was_swapped_for_a_link_is_not_followed() {
    let given = Given::new();
    let staging = given.staging_of(&[folder(0, b"tree"), folder(1, b"in"), file(2, b"alive", 3), file(2, b"large", 2 << 20)]);
    staging.prepare(&never()).unwrap();
    staging.folders.forget_all();
    let inner = given.path("state/partial").join(KEY.to_string()).join("tree/tree/in");
    fs::remove_dir(&inner).unwrap();
    symlink(given.path("canary"), &inner).unwrap();

    let bytes = vec![1; 1 << 20];
    assert!(staging.write_small(&[small(3, b"abc")]).is_err());
    assert!(staging.write_piece(4, 0, &bytes, &piece_value(0, &bytes, 2 << 20).unwrap()).is_err());
    staging.discard().unwrap();

    given.assert_canary();
    assert_eq!(given.names("state"), [""; 0]);
}

#[test]
fn links_that_leave_their_tree_are_given_up() {
    let given = Given::new();
    let link = |parent, name: &[u8], target: &[u8]| Entry {
        parent,
        name: name.to_vec(),
        kind: EntryKind::Link.into(),
        target: target.to_vec(),
        ..Default::default()
    };
    let staging = given.staging_of(&[
        folder(0, b"tree"),
        link(1, b"out", b"../../canary"),
        link(1, b"abs", b"/etc/passwd"),
        link(0, b"top", b"tree"),
        link(1, b"in", b"x/y"),
        link(1, b"up", b"a/../../canary"),
    ]);
    staging.prepare(&never()).unwrap();

    given.commit(&staging, Conflict::Rename).unwrap();

    assert_eq!(staging.skipped(), [2, 3, 4, 6].map(|no| (no, SkipReason::Link)));
    assert_eq!(given.names("inbox/tree"), ["in"]);
}

#[test]
fn a_destination_that_is_gone_is_waited_for() {
    let given = Given::new();
    given.write("src/a", "1");
    let (source, staging) = (given.source(), given.staging());
    receive(&source, &staging);
    fs::rename(given.path("inbox"), given.path("elsewhere")).unwrap();

    let gone = given.commit(&staging, Conflict::Rename);
    fs::rename(given.path("elsewhere"), given.path("inbox")).unwrap();

    assert!(matches!(gone, Err(Error::Gone { .. })));
    assert_eq!(given.commit(&staging, Conflict::Rename).unwrap().len(), 1);
}

#[test]
fn an_entry_that_was_given_up_leaves_nothing() {
    let given = Given::new();
    let staging = given.staging_of(&[file(0, b"a", 3), file(0, b"large", 2 << 20)]);
    staging.write_small(&[small(1, b"abc")]).unwrap();
    let bytes = vec![1; 1 << 20];
    staging.write_piece(2, 0, &bytes, &piece_value(0, &bytes, 2 << 20).unwrap()).unwrap();

    staging.skip(2, SkipReason::Changed).unwrap();
    staging.skip(1, SkipReason::Vanished).unwrap();
    let placed = given.commit(&staging, Conflict::Rename).unwrap();

    assert!(placed.is_empty());
    assert_eq!(given.names("inbox"), [""; 0]);
    assert_eq!(staging.skipped(), [(1, SkipReason::Vanished), (2, SkipReason::Changed)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_a_peer_names_stays_within_the_inbox(
        entries in proptest::collection::vec((0u32..6, "[.a/\\\\\u{0}\u{202e}]{1,3}|[.]{1,2}", 0i32..5, "[./a]{0,8}"), 1..8)
    ) {
        let given = Given::new();
        let page: Vec<u8> = entries.iter().flat_map(|(parent, name, kind, target)| encode_frame(&Entry {
            parent: *parent, name: name.as_bytes().to_vec(), kind: *kind, target: target.as_bytes().to_vec(), mode: 0o7777, ..Default::default()
        })).collect();
        let files = entries.iter().filter(|entry| entry.2 == 1).count() as u64;
        let totals = Totals { bytes: 0, files, entries: entries.len() as u64 };
        let mut intake = Intake::open(&given.path("notes/manifest"), totals).unwrap();
        if intake.append(&page).is_ok() && intake.finish().is_ok() {
            let staging = given.staging();
            staging.prepare(&never()).unwrap();
            given.commit(&staging, Conflict::Overwrite).unwrap();
            staging.discard().unwrap();
        }
        given.assert_canary();
        let mut beside = given.names("");
        beside.retain(|name| !["canary", "inbox", "notes", "src", "state"].contains(&name.as_str()));
        prop_assert_eq!(beside, Vec::<String>::new());
    }
}

#[test]
fn a_full_disk_stops_one_file_and_goes_on_when_there_is_room() {
    const NAME: &str = "files::cage::tests::a_full_disk_stops_one_file_and_goes_on_when_there_is_room";
    let Some(disk) = crate::files::testing::small_disk(NAME, 32) else { return };
    let given = Given::new();
    let (inbox, state) = (disk.join("inbox"), given.path("state"));
    fs::create_dir(&inbox).unwrap();
    let room = crate::files::Room::at(&inbox).unwrap();
    assert!(room.fits(4 << 20, 1) && room.fits(31 << 20, 1) && !room.fits(64 << 20, 1));
    given.staging_of(&[file(0, b"huge", 64 << 20), file(0, b"some", 4 << 20), file(0, b"small", 3)]).discard().unwrap();
    let root = staging_root_for(&inbox, &state);
    assert_eq!(root, inbox.join(STAGING_NAME));
    let staging = Staging::open(&root, KEY, Arc::new(Manifest::open(&given.path("notes/manifest")).unwrap())).unwrap();
    let bytes = vec![1; 1 << 20];
    let write = |no, piece, size| staging.write_piece(no, piece, &bytes, &piece_value(piece, &bytes, size).unwrap());

    assert!(write(1, 0, 64 << 20).unwrap_err().is_no_space(), "before the first byte is written");
    (0..4).for_each(|piece| write(2, piece, 4 << 20).unwrap());
    fs::write(disk.join("ballast"), vec![1; 40 << 20]).unwrap_err();
    assert!(staging.write_small(&[small(3, b"abc")]).unwrap_err().is_no_space());
    fs::remove_file(disk.join("ballast")).unwrap();
    assert_eq!(staging.write_small(&[small(3, b"abc")]).unwrap().files, 1);

    staging.finish_file(2).unwrap();
    staging.skip(1, SkipReason::Unstorable).unwrap();
    staging.commit(&inbox, Conflict::Rename, &given.path("notes/listing")).unwrap();
    staging.discard().unwrap();
    let names: Vec<_> = fs::read_dir(&inbox).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

/// `cargo test -p sharekarod --lib --features crash-points killed`
#[cfg(feature = "crash-points")]
#[test]
fn whatever_is_killed_anywhere_goes_on_and_ends_the_same() {
    const DIR: &str = "SHAREKARO_TEST_CRASH_DIR";
    const NAME: &str = "files::cage::tests::whatever_is_killed_anywhere_goes_on_and_ends_the_same";
    let finish = |given: &Given| {
        let staging = given.staging();
        receive(&SourceTree::open(&given.path("notes")).unwrap(), &staging);
        given.commit(&staging, Conflict::Overwrite).unwrap();
        staging.discard().unwrap();
    };
    if let Some(root) = std::env::var_os(DIR) {
        finish(&Given { root: root.into(), _temp: None });
        return;
    }
    let points = [
        "small-written",
        "partial-made",
        "piece-written",
        "piece-noted",
        "piece-noted:2",
        "file-synced",
        "commit-noted",
        "commit-moved",
        "commit-exchanged",
        "commit-placed",
        "commit-ended",
    ];
    for point in points {
        let given = Given::new();
        given.write("src/a", "new a");
        given.write("src/large", (0..3 << 20).map(|i| (i / 11) as u8).collect::<Vec<_>>());
        given.write("src/tree/b", "new b");
        given.write("src/tree/c", "new c");
        given.write("inbox/a", "old a");
        given.write("inbox/tree/b", "old b");
        given.source();

        let mut child = Command::new(std::env::current_exe().unwrap());
        let status = child.args(["--exact", NAME]).env(DIR, &given.root).env("SHAREKARO_CRASH_AT", point).output().unwrap().status;
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{point} was not reached");
        assert!(["old a", "new a"].contains(&given.read("inbox/a").as_str()), "there is never nothing: {point}");
        finish(&given);

        assert_eq!(given.names("inbox"), ["a", "a (2)", "large", "tree"], "{point}");
        assert_eq!(given.names("inbox/tree"), ["b", "b (2)", "c"], "{point}");
        for (name, content) in [("a", "new a"), ("a (2)", "old a"), ("tree/b", "new b"), ("tree/b (2)", "old b"), ("tree/c", "new c")] {
            assert_eq!(given.read(&format!("inbox/{name}")), content, "{point}");
        }
        assert!(fs::read(given.path("inbox/large")).unwrap() == fs::read(given.path("src/large")).unwrap(), "{point}");
        assert_eq!(given.names("state"), [""; 0], "{point}");
    }
}

/// `cargo test --release -p sharekarod --lib -- --ignored --nocapture measures`
#[test]
#[ignore = "a measurement: run it alone, built for release"]
fn measures_small_files_a_second() {
    let given = Given::new();
    const FILES: u32 = 50_000;
    let entries: Vec<_> =
        (0..FILES)
            .map(|i| {
                if i % 500 == 0 { folder(0, format!("d{i}").as_bytes()) } else { file(i / 500 * 500 + 1, format!("f{i}").as_bytes(), 4096) }
            })
            .collect();
    let staging = given.staging_of(&entries);
    let bytes = vec![5; 4096];
    let value = *blake3::hash(&bytes).as_bytes();
    let begun = std::time::Instant::now();
    staging.prepare(&never()).unwrap();
    let files: Vec<_> = (1..=FILES).filter(|no| (no - 1) % 500 != 0).map(|no| Small { no, bytes: &bytes, value }).collect();
    for batch in files.chunks(256) {
        assert_eq!(staging.write_small(batch).unwrap().files, batch.len() as u64);
    }
    let written = begun.elapsed();
    staging.sync().unwrap();
    let synced = begun.elapsed();
    given.commit(&staging, Conflict::Rename).unwrap();
    let rate = |time: std::time::Duration| f64::from(FILES) / time.as_secs_f64();
    println!("files a second: written {:.0}, durable {:.0}, in place {:.0}", rate(written), rate(synced), rate(begun.elapsed()));
}

#[test]
#[ignore = "a measurement: run it alone, built for release"]
fn measures_a_manifest_of_a_million_entries() {
    let given = Given::new();
    const ENTRIES: u32 = 1_000_000;
    let entry = |no: u32| match no % 1000 {
        1 => folder(0, format!("folder {no}").as_bytes()),
        _ => file((no - 1) / 1000 * 1000 + 1, format!("a file with a name {no}").as_bytes(), 5),
    };
    let files = u64::from(ENTRIES - ENTRIES / 1000);
    let totals = Totals { bytes: files * 5, files, entries: ENTRIES.into() };
    let memory = || fs::read_to_string("/proc/self/status").unwrap().lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned();
    println!("before: {}", memory());
    let begun = std::time::Instant::now();
    let mut intake = Intake::open(&given.path("notes/manifest"), totals).unwrap();
    let mut no = 1;
    while no <= ENTRIES {
        let page: Vec<u8> = (no..no + 5000).flat_map(|no| encode_frame(&entry(no))).collect();
        no += intake.append(&page).unwrap();
    }
    let manifest = intake.finish().unwrap();
    println!("taken in after {:?}: {}", begun.elapsed(), memory());
    let staging = Staging::open(&given.path("state/partial"), KEY, Arc::new(manifest)).unwrap();
    staging.prepare(&never()).unwrap();
    println!("prepared after {:?}: {}", begun.elapsed(), memory());
}
