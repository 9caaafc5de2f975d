//! What comes is kept as it was sent, wherever it is interrupted, and nothing of it leaves the cage.

use super::*;

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
    if crate::files::testing::ran_as_an_ordinary_user("files::cage::tests::arriving::a_read_only_folder_arrives_for_an_ordinary_user_too") {
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
fn folders_that_keep_everybody_out_arrive_and_are_taken_back() {
    if crate::files::testing::ran_as_an_ordinary_user(
        "files::cage::tests::arriving::folders_that_keep_everybody_out_arrive_and_are_taken_back",
    ) {
        return;
    }
    for mode in [0o000, 0o400, 0o100, 0o500] {
        let given = Given::new();
        let shut = |parent, name: &[u8]| Entry { mode, ..folder(parent, name) };
        let entries = [shut(0, b"tree"), shut(1, b"inner"), file(2, b"deep", 3), shut(2, b"empty"), file(1, b"file", 3)];
        let staging = given.staging_of(&entries);
        staging.prepare(&never()).unwrap();
        staging.write_small(&[small(3, b"abc"), small(5, b"abc")]).unwrap();

        for _ in 0..2 {
            given.commit(&staging, Conflict::Rename).unwrap();
        }

        let tree = given.path("inbox/tree");
        assert_eq!(fs::metadata(&tree).unwrap().mode() & 0o777, mode);
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(tree.join("file"), "mine").unwrap();
        fs::set_permissions(&tree, fs::Permissions::from_mode(mode)).unwrap();
        let undone = undo(&given.path("inbox"), &given.path("notes/listing")).unwrap();
        assert_eq!((undone.removed, undone.spared), (1, vec!["tree/file".into()]));
        assert_eq!(fs::metadata(&tree).unwrap().mode() & 0o777, mode, "what stays is as closed as before");
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(given.names("inbox/tree"), ["file"]);
    }
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
fn nothing_stands_behind_the_end_of_a_file() {
    let given = Given::new();
    given.write("src/large", vec![3; (2 << 20) + 7]);
    let (source, staging) = (given.source(), given.staging());
    staging.prepare(&never()).unwrap();
    // as a clone of a copy that grew meanwhile leaves it
    staging.partial(1).unwrap().data.write_all_at(&[7; 4096], (2 << 20) + 7).unwrap();

    receive(&source, &staging);
    given.commit(&staging, Conflict::Rename).unwrap();

    assert_eq!(fs::read(given.path("inbox/large")).unwrap(), vec![3; (2 << 20) + 7]);
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
