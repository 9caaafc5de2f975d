//! What is not trusted lies apart until a person lets it out.

use super::*;

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
fn what_an_earlier_release_left_in_its_cage_is_never_removed_with_it() {
    let given = quarantined();
    let release =
        || release(&given.path("apart"), &given.path("inbox"), &given.path("state"), KEY, Conflict::Rename, &given.path("notes/listing"));
    // it could not be put back, and meanwhile something else got its name
    let tree = given.path("state/partial").join(KEY.to_string()).join("tree");
    fs::create_dir_all(&tree).unwrap();
    fs::rename(given.path("apart/same"), tree.join("same")).unwrap();
    given.write("apart/same", "somebody else's");

    release().unwrap_err();

    assert_eq!((given.names("apart"), given.names("inbox")), (["run.sh", "same", "same (2)", "tree"].map(String::from).to_vec(), vec![]));
    assert_eq!(release().unwrap(), ["run.sh", "same (2)", "tree"].map(|name| given.path("inbox").join(name)));
    assert_eq!((given.read("inbox/same (2)"), given.names("apart")), ("same".into(), vec!["same".into()]));
}
