use std::{
    ffi::OsStr,
    fs::OpenOptions,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
};

use sharekaro_proto::nouns::transfer::SkipReason;

use super::*;
use crate::files::FileName;

struct Given {
    temp: tempfile::TempDir,
    options: WalkOptions,
}

impl Given {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("notes")).unwrap();
        Self { temp, options: WalkOptions::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn walk(&self, tops: &[&str]) -> (SourceTree, Walked) {
        let paths: Vec<_> = tops.iter().map(|top| self.path(top)).collect();
        let watch = Watch { progress: &mut |_| {}, cancel: &AtomicBool::new(false) };
        SourceTree::walk(&self.path("notes"), &paths, &self.options, watch).unwrap()
    }
}

fn paths(tree: &SourceTree) -> Vec<String> {
    let joined = |no| tree.manifest().path(no).unwrap().iter().map(FileName::to_string).collect::<Vec<_>>().join("/");
    (1..=tree.manifest().count()).map(joined).collect()
}

fn skipped(walked: &Walked) -> Vec<(&str, SkipReason)> {
    walked.skipped.iter().map(|it| (it.path.to_str().unwrap(), it.reason)).collect()
}

fn number(tree: &SourceTree, path: &str) -> u32 {
    paths(tree).iter().position(|it| it == path).unwrap() as u32 + 1
}

#[test]
fn a_tree_is_walked_whole_and_what_is_no_file_is_named() {
    let given = Given::new();
    given.write("tree/b/deep/file", "12345");
    given.write("tree/a.txt", "1");
    given.write("outside", "x");
    fs::create_dir_all(given.path("tree/empty/emptier")).unwrap();
    symlink("../a.txt", given.path("tree/b/inside")).unwrap();
    symlink("../../outside", given.path("tree/b/outside")).unwrap();
    symlink("/etc/passwd", given.path("tree/absolute")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, given.path("tree/pipe"), 0o600.into()).unwrap();
    let _socket = UnixListener::bind(given.path("tree/socket")).unwrap();
    fs::write(given.path("tree").join(OsStr::from_bytes(b"\xff\n")), "odd").unwrap();

    let (tree, walked) = given.walk(&["tree"]);

    assert_eq!(
        paths(&tree),
        [
            "tree",
            "tree/a.txt",
            "tree/b",
            "tree/empty",
            "tree/\u{fffd}\\n",
            "tree/b/deep",
            "tree/b/inside",
            "tree/b/deep/file",
            "tree/empty/emptier"
        ]
    );
    let left_out = [
        ("tree/absolute", SkipReason::Link),
        ("tree/pipe", SkipReason::Special),
        ("tree/socket", SkipReason::Special),
        ("tree/b/outside", SkipReason::Link),
    ];
    assert_eq!(skipped(&walked), left_out);
    assert_eq!((walked.files, walked.bytes, walked.entries), (3, 9, 9));
    assert_eq!(tree.manifest().get(number(&tree, "tree/b/inside")).unwrap().target, b"../a.txt");
}

#[test]
fn things_of_the_same_name_are_numbered() {
    let given = Given::new();
    given.write("one/a.txt", "1");
    given.write("two/a.txt", "22");
    symlink("two/a.txt", given.path("link.txt")).unwrap();

    let (tree, walked) = given.walk(&["one/a.txt", "two/a.txt", "one/a.txt", "link.txt", "one", "one/."]);

    assert_eq!(paths(&tree), ["a.txt", "a (2).txt", "a (3).txt", "link.txt", "one", "one/a.txt", "one (2)", "one (2)/a.txt"]);
    assert_eq!(tree.read_piece(4, 0, Vec::new()).unwrap().bytes, b"22", "a link that was named stands for what it points to");
    assert_eq!(walked.bytes, 1 + 2 + 1 + 2 + 1 + 1);
}

#[test]
fn what_is_excluded_is_not_sent_and_not_missed() {
    let mut given = Given::new();
    given.write("tree/a.o", "1");
    given.write("tree/src/b.o", "1");
    given.write("tree/src/b.c", "1");
    given.write("tree/target/x", "1");
    given.write("tree/.gitignore", "*.log\n!keep.log\n");
    given.write("tree/src/x.log", "1");
    given.write("tree/src/keep.log", "1");
    given.options = WalkOptions { exclude: vec!["*.o".into(), "target/".into()], ignore_files: true, ..WalkOptions::default() };

    let (tree, walked) = given.walk(&["tree"]);

    assert_eq!(paths(&tree), ["tree", "tree/.gitignore", "tree/src", "tree/src/b.c", "tree/src/keep.log"]);
    assert_eq!(walked.skipped_count, 0);
}

#[test]
fn a_name_that_is_not_there_is_an_error_and_a_cancelled_walk_ends() {
    let given = Given::new();
    given.write("file", "1");
    let walk = |name: &str, cancel| {
        let watch = Watch { progress: &mut |_| {}, cancel: &AtomicBool::new(cancel) };
        SourceTree::walk(&given.path("notes"), &[given.path(name)], &given.options, watch).map(|_| ())
    };

    assert!(matches!(walk("nothing", false), Err(WalkError::Missing { .. })));
    assert!(matches!(walk("file", true), Err(WalkError::Cancelled)));
    assert!(walk("file", false).is_ok());
}

#[test]
fn pieces_and_layer_are_those_of_the_file() {
    let given = Given::new();
    for len in [0usize, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 5] {
        let bytes: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
        given.write("file", &bytes);
        let (tree, _) = given.walk(&["file"]);

        let (root, values) = tree.layer(1, &AtomicBool::new(false)).unwrap();

        assert_eq!(root, *blake3::hash(&bytes).as_bytes());
        let mut joined = Vec::new();
        for (piece, value) in (0..).zip(&values) {
            let read = tree.read_piece(1, piece, Vec::new()).unwrap();
            assert_eq!(read.value, *value);
            joined.extend(read.bytes);
        }
        assert_eq!(joined, bytes);
        assert!(matches!(tree.read_piece(1, values.len().max(1) as u64, Vec::new()), Err(SourceError::NoSuch(1))));
        let small = tree.read_small(&tree.manifest().get(1).unwrap(), 1, Vec::new());
        assert_eq!(small.is_ok(), len <= 1 << 20);
    }
}

#[test]
fn a_file_that_is_written_to_is_changed_and_never_a_mix() {
    let given = Given::new();
    let path = given.write("tree/file", vec![1; 3 << 20]);
    let (tree, _) = given.walk(&["tree"]);
    tree.read_piece(2, 0, Vec::new()).unwrap();

    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"more").unwrap();
    file.sync_all().unwrap();

    for _ in 0..2 {
        assert!(matches!(tree.read_piece(2, 1, Vec::new()), Err(SourceError::Changed(2))));
    }
    let same_size = given.write("tree/other", "12345");
    let (tree, _) = given.walk(&["tree/other"]);
    let new = given.write("new", "54321");
    // written in the same tick of the kernel's clock it would have the same times
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    OpenOptions::new().write(true).open(&new).unwrap().set_modified(old).unwrap();
    fs::rename(new, &same_size).unwrap();
    assert!(matches!(tree.read_piece(1, 0, Vec::new()), Err(SourceError::Changed(1))));
}

#[test]
fn what_was_swapped_for_a_link_or_pipe_is_not_followed() {
    let given = Given::new();
    given.write("secret/file", "12345");
    given.write("tree/inner/file", "12345");
    given.write("tree/one", "12345");
    let (tree, _) = given.walk(&["tree"]);
    let (one, inner) = (number(&tree, "tree/one"), number(&tree, "tree/inner/file"));

    fs::remove_dir_all(given.path("tree/inner")).unwrap();
    symlink("../secret", given.path("tree/inner")).unwrap();
    fs::remove_file(given.path("tree/one")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, given.path("tree/one"), 0o600.into()).unwrap();

    assert!(matches!(tree.read_piece(inner, 0, Vec::new()), Err(SourceError::Changed(_) | SourceError::Vanished(_))));
    assert!(matches!(tree.read_piece(one, 0, Vec::new()), Err(SourceError::Changed(_))));
}

#[test]
fn a_file_that_was_removed_differs_from_a_source_that_is_away() {
    let given = Given::new();
    given.write("disk/tree/file", "1");
    given.write("disk/tree/other", "1");
    given.write("disk/single", "1");
    let (tree, _) = given.walk(&["disk/tree", "disk/single"]);
    let single = number(&tree, "single");

    fs::remove_file(given.path("disk/tree/file")).unwrap();
    fs::remove_file(given.path("disk/single")).unwrap();
    assert!(matches!(tree.read_piece(2, 0, Vec::new()), Err(SourceError::Vanished(2))));
    assert!(matches!(tree.read_piece(single, 0, Vec::new()), Err(SourceError::Vanished(_))));

    tree.release();
    fs::rename(given.path("disk"), given.path("drawer")).unwrap();
    assert!(matches!(tree.read_piece(3, 0, Vec::new()), Err(SourceError::Away(path)) if path == given.path("disk/tree")));
    assert!(matches!(tree.read_piece(single, 0, Vec::new()), Err(SourceError::Away(_))));

    fs::rename(given.path("drawer"), given.path("disk")).unwrap();
    assert!(tree.read_piece(3, 0, Vec::new()).is_ok());
}

#[test]
fn a_file_with_holes_is_known_as_one() {
    let given = Given::new();
    given.write("full", vec![0; 3 << 20]);
    let holes = File::create(given.path("holes")).unwrap();
    holes.set_len(64 << 20).unwrap();
    holes.write_all_at(b"data", 8 << 20).unwrap();

    let (tree, walked) = given.walk(&["full", "holes"]);

    assert!(!tree.manifest().get(1).unwrap().sparse);
    assert!(tree.manifest().get(2).unwrap().sparse);
    assert_eq!(walked.bytes, 67 << 20);
    let found = tree.extents(2, 0).unwrap();
    assert_eq!(found.next, 0);
    assert!(matches!(found.data[..], [(at, len)] if at == 8 << 20 && len < 1 << 20));
    assert!(tree.read_piece(2, 0, Vec::new()).unwrap().zero && !tree.read_piece(2, 8, Vec::new()).unwrap().zero);
}

#[test]
fn an_earlier_walk_is_opened_again() {
    let given = Given::new();
    given.write("tree/a/b", "123");
    given.walk(&["tree"]);

    let tree = SourceTree::open(&given.path("notes")).unwrap();

    assert_eq!(tree.read_piece(3, 0, Vec::new()).unwrap().bytes, b"123");
    assert!(matches!(tree.read_piece(1, 0, Vec::new()), Err(SourceError::NoSuch(1))));
    assert!(matches!(tree.read_piece(0, 0, Vec::new()), Err(SourceError::NoSuch(0))));
    assert!(matches!(tree.read_piece(4, 0, Vec::new()), Err(SourceError::NoSuch(4))));
}

#[test]
fn what_may_not_be_read_is_named_and_the_rest_is_sent() {
    if crate::files::testing::ran_as_an_ordinary_user("files::source::tests::what_may_not_be_read_is_named_and_the_rest_is_sent") {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let given = Given::new();
    let shut = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    shut(given.write("tree/secret", "1"), 0o000);
    given.write("tree/closed/file", "1");
    shut(given.path("tree/closed"), 0o311);
    given.write("tree/open", "1");

    let (tree, walked) = given.walk(&["tree"]);
    shut(given.path("tree/closed"), 0o755);

    assert_eq!(paths(&tree), ["tree", "tree/open"]);
    assert_eq!(skipped(&walked), [("tree/closed", SkipReason::Unreadable), ("tree/secret", SkipReason::Unreadable)]);
}

/// The keys of the walk say that this is how the file is: what a write that shows no time would leave behind.
fn takes_it_for_unchanged(given: &Given, no: u32, path: &Path) {
    let keys = OpenOptions::new().write(true).open(given.path("notes/keys")).unwrap();
    let mut now = KeyWriter::new(fs::File::create(given.path("now")).unwrap());
    now.append(HashKey::of(&rustix::fs::stat(path).unwrap())).unwrap();
    now.finish().unwrap();
    keys.write_all_at(&fs::read(given.path("now")).unwrap(), u64::from(no - 1) * 40).unwrap();
}

#[test]
fn of_a_file_that_may_change_without_showing_it_only_one_state_is_given_away() {
    let given = Given::new();
    let path = given.write("disk.img", vec![1; 3 << 20]);
    let (mut tree, _) = given.walk(&["disk.img"]);
    tree.doubt([1].into_iter(), &given.path("notes/doubted")).unwrap();
    let first = tree.read_piece(1, 0, Vec::new()).unwrap();

    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[2], 2 << 20).unwrap();
    takes_it_for_unchanged(&given, 1, &path);

    assert_eq!(first.bytes, vec![1; 1 << 20]);
    assert_eq!(tree.read_piece(1, 1, Vec::new()).unwrap().bytes, first.bytes);
    assert!(matches!(tree.read_piece(1, 2, Vec::new()), Err(SourceError::Changed(1))));
    let again = SourceTree::open(&given.path("notes")).unwrap();
    assert_eq!(again.doubted(1), tree.doubted(1));
    assert!(matches!(again.read_piece(1, 0, Vec::new()), Err(SourceError::Changed(1))), "another state after a restart");
    assert_eq!(again.extents(1, 0).unwrap(), Extents { data: vec![(0, 3 << 20)], next: 0 });
}

#[test]
fn a_file_that_another_process_holds_open_is_hashed_before_it_is_sent() {
    let given = Given::new();
    for name in ["tree/held", "tree/free"] {
        given.write(name, vec![1; 2 << 20]);
    }
    given.write("tree/small", "x");
    let mut holder = std::process::Command::new("sh")
        .args(["-c", "exec 8>>tree/held 9>>tree/small; echo ready; read wait"])
        .current_dir(given.temp.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();

    let (tree, _) = given.walk(&["tree"]);

    assert!(tree.doubted(number(&tree, "tree/held")).is_some());
    // Where a process of ours is closed to us, as an agent that guards keys is, whatever was touched just now is doubted.
    if crate::files::writers::held_open(&Default::default()).complete {
        assert_eq!([tree.doubted(number(&tree, "tree/free")), tree.doubted(number(&tree, "tree/small"))], [None; 2]);
    }
    drop(holder.stdin.take());
    holder.wait().unwrap();
}
