//! Full disks, and a process that is killed at each point.

use super::*;

#[test]
fn a_full_disk_stops_one_file_and_goes_on_when_there_is_room() {
    const NAME: &str = "files::cage::tests::trouble::a_full_disk_stops_one_file_and_goes_on_when_there_is_room";
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
    const NAME: &str = "files::cage::tests::trouble::whatever_is_killed_anywhere_goes_on_and_ends_the_same";
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
