//! From the cage into its place: names that are taken, commits that were cut off, what is taken back.

use super::*;

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
fn a_link_that_is_there_already_is_not_put_beside_itself() {
    for conflict in [Conflict::Skip, Conflict::Newer, Conflict::Overwrite] {
        let given = Given::new();
        for dir in ["src", "inbox"] {
            given.write(&format!("{dir}/tree/file"), "x");
            symlink("file", given.path(&format!("{dir}/tree/same"))).unwrap();
            symlink(if dir == "src" { "file" } else { "gone" }, given.path(&format!("{dir}/tree/other"))).unwrap();
        }

        given.transfer(conflict);

        assert_eq!(given.names("inbox/tree"), ["file", "other", "other (2)", "same"], "{conflict}");
        undo(&given.path("inbox"), &given.path("notes/listing")).unwrap();
        assert_eq!(given.names("inbox/tree"), ["file", "other", "same"], "{conflict}");
        assert_eq!(fs::read_link(given.path("inbox/tree/other")).unwrap(), Path::new("gone"), "{conflict}");
    }
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

/// `new a` has the name in the inbox, and `old a` waits in the cage: as a crash in the middle of an exchange leaves it.
fn half_exchanged() -> Given {
    let given = Given::new();
    given.write("src/a", "new a");
    given.write("inbox/a", "old a");
    let (source, staging) = (given.source(), given.staging());
    receive(&source, &staging);
    let home = given.path("state/partial").join(KEY.to_string());
    let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
    let note = fs::File::options().read(true).write(true).create_new(true).open(home.join("commit")).unwrap();
    let displaced = commit::Displaced { name: FileName::own("a (2)"), inode: inode(given.path("inbox/a")) };
    commit::note_exchange(note, &given.path("inbox"), "a", inode(home.join("tree/a")), displaced);
    staging.sync().unwrap();
    fs::rename(home.join("tree/a"), given.path("aside")).unwrap();
    fs::rename(given.path("inbox/a"), home.join("tree/a")).unwrap();
    fs::rename(given.path("aside"), given.path("inbox/a")).unwrap();
    given
}

#[test]
fn a_crash_between_an_exchange_and_its_second_half_loses_nothing() {
    let given = half_exchanged();

    let placed = given.commit(&given.staging(), Conflict::Overwrite).unwrap();

    assert_eq!(placed[0].path, given.path("inbox/a"));
    assert_eq!(given.names("inbox"), ["a", "a (2)"]);
    assert_eq!((given.read("inbox/a"), given.read("inbox/a (2)")), ("new a".into(), "old a".into()));
}

#[test]
fn an_older_thing_that_waits_in_the_cage_does_not_go_with_it() {
    for (taken, expected) in [(false, "a (2)"), (true, "a (3)")] {
        let given = half_exchanged();
        if taken {
            given.write("inbox/a (2)", "somebody took that name");
        }
        let root = given.path("state/partial");

        fs::rename(given.path("inbox"), given.path("unplugged")).unwrap();
        assert!(matches!(discard(&root, KEY), Err(Error::Gone { .. })));
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(100 * 24 * 3600);
        assert_eq!(sweep(&root, &std::collections::HashSet::new(), later).unwrap(), 0);
        assert_eq!(fs::read_to_string(root.join(KEY.to_string()).join("tree/a")).unwrap(), "old a");

        fs::rename(given.path("unplugged"), given.path("inbox")).unwrap();
        discard(&root, KEY).unwrap();
        discard(&root, KEY).unwrap();

        assert!(!root.exists());
        assert_eq!((given.read("inbox/a"), given.read(&format!("inbox/{expected}"))), ("new a".into(), "old a".into()));
    }
}

#[test]
fn an_older_thing_that_waits_in_the_cage_is_never_taken_for_what_was_received() {
    let given = half_exchanged();
    fs::remove_file(given.path("inbox/a")).unwrap();

    given.commit(&given.staging(), Conflict::Overwrite).unwrap();

    assert_eq!((given.names("inbox"), given.read("inbox/a (2)")), (vec!["a (2)".into()], "old a".into()));
    let undone = undo(&given.path("inbox"), &given.path("notes/listing")).unwrap();
    assert_eq!((undone.removed, undone.restored, given.read("inbox/a")), (0, 1, "old a".into()));
}

/// A tree and a file are in their place, and the commit has to be repeated, as nobody noted that it was done.
fn placed_once() -> (Given, Staging) {
    let given = Given::new();
    for name in ["tree/a", "tree/deep/b", "tree/deep/c", "single"] {
        given.write(&format!("src/{name}"), name);
    }
    let (source, staging) = (given.source(), given.staging());
    receive(&source, &staging);
    given.commit(&staging, Conflict::Rename).unwrap();
    (given, staging)
}

#[test]
fn a_commit_goes_on_whatever_a_person_took_away_meanwhile() {
    let takes: [fn(&Given); 4] = [
        |given| fs::remove_file(given.path("inbox/single")).unwrap(),
        |given| fs::remove_dir_all(given.path("inbox/tree")).unwrap(),
        |given| {
            fs::rename(given.path("inbox/tree/deep"), given.path("inbox/mine")).unwrap();
            symlink("../mine", given.path("inbox/tree/deep")).unwrap();
        },
        |given| {
            fs::remove_dir_all(given.path("inbox/tree/deep")).unwrap();
            given.write("inbox/tree/deep", "a file of mine");
        },
    ];
    for take in takes {
        let (given, staging) = placed_once();
        take(&given);
        let before = given.names("inbox");

        given.commit(&staging, Conflict::Rename).unwrap();

        assert_eq!(given.names("inbox"), before);
        assert_eq!(read_listing(&given.path("notes/listing")).unwrap().count(), 6);
        undo(&given.path("inbox"), &given.path("notes/listing")).unwrap();
        let mine = given.path("inbox/tree/deep");
        assert!(!mine.is_file() || given.read("inbox/tree/deep") == "a file of mine");
        assert!(!given.path("inbox/mine").exists() || given.names("inbox/mine") == ["b", "c"]);
    }
}

#[test]
fn what_was_edited_before_a_repeated_commit_is_not_taken_back() {
    let (given, staging) = placed_once();
    given.write("inbox/tree/a", "mine");
    given.write("inbox/single", "elgnis");
    drop(staging);

    given.commit(&given.staging(), Conflict::Rename).unwrap();
    let undone = undo(&given.path("inbox"), &given.path("notes/listing")).unwrap();

    assert_eq!((undone.removed, undone.spared.len()), (2, 2));
    assert_eq!((given.read("inbox/tree/a"), given.read("inbox/single")), ("mine".into(), "elgnis".into()));
}

#[test]
fn a_hash_that_a_power_cut_took_is_noted_again_before_anybody_could_edit_its_file() {
    let given = Given::new();
    given.write("src/small", "small");
    given.write("src/large", vec![7; (2 << 20) + 9]);
    let (source, staging) = (given.source(), given.staging());
    receive(&source, &staging);
    let known = [staging.hash(1), staging.hash(2)];
    staging.hashes.write_all_at(&[0; 64], 0).unwrap();

    given.commit(&staging, Conflict::Rename).unwrap();

    assert!(known.iter().all(Option::is_some));
    assert_eq!([staging.hash(1), staging.hash(2)], known);
    let listed: Vec<_> =
        read_listing(&given.path("notes/listing")).unwrap().map(|it| Some(it.unwrap().content.try_into().unwrap())).collect();
    assert_eq!(listed, known);
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
