//! From quarantine to where it was to go: what one transfer put there is placed elsewhere, names that are taken met in the
//! same ways. Each step can be repeated after a crash.

use std::{
    collections::BTreeSet,
    fs::{self, File, FileTimes},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use rustix::io::Errno;
use sharekaro_proto::{TransferKey, nouns::transfer::Conflict};

use super::{
    Pair, Placing, Way,
    intents::Intents,
    older::put_beside,
    placing::{rename_beside, rename_new},
};
use crate::files::{
    Error, FileName,
    cage::{
        listing::{Listed, ListingWriter, read_listing},
        place::{open_home, remove_home, staging_root_for},
    },
    dir::Dir,
};

/// Places what a listing names of `held` in `destination`, and rewrites the listing. What is gone from `held` is left
/// out. Returns where what lay at the top lies now.
///
/// # Errors
/// Where either folder is gone, does not let us, or is full; then what was not placed lies in `held` again, or, where
/// that is impossible, waits for the next try.
pub fn release(
    held: &Path,
    destination: &Path,
    state_dir: &Path,
    key: TransferKey,
    conflict: Conflict,
    listing_path: &Path,
) -> Result<Vec<PathBuf>, Error> {
    let root_path = staging_root_for(destination, state_dir);
    let (root, home) = open_home(&root_path, key)?;
    let tree = home.make_folder(&FileName::own("tree"), 0o700).map_err(Error::on("make", "the tree"))?;
    let placed = Dir::open(destination).map_err(Error::on("open", destination.display()))?;
    let from = Dir::open(held).map_err(Error::on("open", held.display()))?;
    let listed: Vec<Listed> = read_listing(listing_path)?.collect::<Result<_, _>>()?;
    let tops: BTreeSet<FileName> = listed.iter().filter_map(|it| it.parsed().into_iter().next()).collect();
    let moved = bring(&tops, &from, held, &tree, &root_path.join(key.to_string()).join("tree")).and_then(|copied| {
        let noted = home.open_or_create(&FileName::own("commit"), 0o600)?;
        Ok((copied, Intents::load(noted)?))
    });
    let placing = moved.map_err(Error::on("bring together what lies in", held.display())).and_then(|(copied, mut intents)| {
        let pair = Pair::at_the_top(&tree, &placed).map_err(Error::on("open", destination.display()))?;
        Placing { intents: &mut intents, conflict, destination }.place(&pair)?;
        placed.sync_all().map_err(Error::on("sync", destination.display()))?;
        Ok((copied, intents))
    });
    let (copied, intents) = match placing {
        Ok(done) => done,
        Err(e) => {
            let kept = give_back(&home, &tree, &from).and_then(|renamed| {
                relist_renamed(&listed, &renamed, listing_path)?;
                remove_home(&root_path, &root, key) // copies, at most; the next try makes them anew
            });
            if let Err(error) = kept {
                // the next try goes on with it
                tracing::error!(%error, cage = %root_path.join(key.to_string()).display(), "what was to be released waits here");
            }
            return Err(e);
        }
    };
    let found = relist(&listed, &intents, destination, listing_path)?;
    for name in copied {
        from.remove_tree(&name).map_err(Error::on("remove the released", &name))?;
    }
    remove_home(&root_path, &root, key)?;
    Ok(found)
}

/// Moves everything into the tree; across file systems it is copied, and these names are returned.
fn bring(tops: &BTreeSet<FileName>, from: &Dir, held: &Path, tree: &Dir, tree_path: &Path) -> io::Result<Vec<FileName>> {
    let mut copied = Vec::new();
    for name in tops {
        match rename_new(from, name, tree, name) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {} // gone, or brought by an earlier try
            Err(e) if Errno::from_io_error(&e) == Some(Errno::XDEV) => {
                tree.remove_tree(name)?; // what an earlier try left may be half of it
                copy(&held.join(name.as_os_str()), &tree_path.join(name.as_os_str()))?;
                copied.push(name.clone());
            }
            Err(e) => return Err(e),
        }
    }
    if !copied.is_empty() {
        tree.sync_all()?;
    }
    Ok(copied)
}

/// Copies a file, a link or a folder, with times and modes.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if meta.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if meta.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
    } else {
        fs::copy(from, to)?;
    }
    File::open(to)?.set_times(FileTimes::new().set_modified(meta.modified()?))?;
    fs::set_permissions(to, meta.permissions())
}

/// After a failure: what was moved out of `held` and not placed goes back. Returns what got another name there, as
/// something else has its own meanwhile. One that fails keeps none of the others from going back.
fn give_back(home: &Dir, tree: &Dir, held: &Dir) -> Result<Vec<(FileName, FileName)>, Error> {
    put_beside(home)?; // what is not from `held` must not go there
    let (mut renamed, mut failed) = (Vec::new(), Ok(()));
    for name in tree.names().map_err(Error::on("list", "what is to be put back"))? {
        match rename_beside(tree, &name, held, name.clone(), &name) {
            Ok(back) if back == name => {}
            Ok(back) => renamed.push((name, back)),
            Err(e) if Errno::from_io_error(&e) == Some(Errno::XDEV) => {} // a copy: what it was made from lies in `held`
            Err(e) => failed = failed.and(Err(Error::at("put back", &name, e))),
        }
    }
    failed.map(|()| renamed)
}

/// Writes the listing anew where something at the top got another name in the same folder.
fn relist_renamed(listed: &[Listed], renamed: &[(FileName, FileName)], listing_path: &Path) -> Result<(), Error> {
    if renamed.is_empty() {
        return Ok(());
    }
    let mut writer = ListingWriter::create(listing_path)?;
    for it in listed {
        let mut it = it.clone();
        if let Some(top) = it.names.first_mut()
            && let Some((_, now)) = renamed.iter().find(|(before, _)| before.as_bytes() == *top)
        {
            *top = now.as_bytes().to_vec();
        }
        writer.write(&it)?;
    }
    writer.finish()
}

/// Writes the listing anew, with the new places, and returns those at the top.
fn relist(listed: &[Listed], intents: &Intents, destination: &Path, listing_path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut writer = ListingWriter::create(listing_path)?;
    let mut tops = Vec::new();
    for it in listed {
        let mut way = Way::default();
        for name in it.parsed() {
            way.place = way.place_of(&name, intents)?;
            way.staged.push(name);
        }
        // what was not moved either was taken out of quarantine before, or is listed already where it went
        let it = way.place.map_or_else(|| it.clone(), |place| it.at(&place));
        let path = destination.join(it.path());
        if fs::symlink_metadata(&path).is_err() {
            continue;
        }
        if it.names.len() == 1 {
            tops.push(path);
        }
        writer.write(&it)?;
    }
    writer.finish()?;
    Ok(tops)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::cage::read_listing;

    /// A cage with what was to be released, and the folder that it is from.
    fn given() -> (tempfile::TempDir, [Dir; 3]) {
        let temp = tempfile::tempdir().unwrap();
        for (path, content) in [("home/tree/x", "released"), ("home/tree/y", "released"), ("held/x", "somebody else's")] {
            fs::create_dir_all(temp.path().join(path).parent().unwrap()).unwrap();
            fs::write(temp.path().join(path), content).unwrap();
        }
        let dirs = ["home", "home/tree", "held"].map(|name| Dir::open(&temp.path().join(name)).unwrap());
        (temp, dirs)
    }

    #[test]
    fn what_goes_back_takes_no_name_and_is_found_under_its_new_one() {
        let (temp, [home, tree, held]) = given();
        let text = |name: &str| fs::read_to_string(temp.path().join("held").join(name)).unwrap();

        let renamed = give_back(&home, &tree, &held).unwrap();

        assert_eq!(renamed, [(FileName::own("x"), FileName::own("x (2)"))]);
        assert_eq!([text("x"), text("x (2)"), text("y")], ["somebody else's", "released", "released"]);
        let listing = temp.path().join("listing");
        let listed = |name: &str| Listed { names: vec![name.into(), b"x".to_vec()], ..Listed::default() };
        relist_renamed(&[listed("x"), listed("y")], &renamed, &listing).unwrap();
        let paths: Vec<_> = read_listing(&listing).unwrap().map(|it| it.unwrap().path()).collect();
        assert_eq!(paths, [Path::new("x (2)/x"), Path::new("y/x")]);
    }

    #[test]
    fn what_cannot_go_back_is_said_to_be_here_still() {
        let (temp, [home, tree, held]) = given();
        fs::remove_dir_all(temp.path().join("held")).unwrap();

        assert!(matches!(give_back(&home, &tree, &held), Err(Error::Gone { .. })));

        assert_eq!(tree.names().unwrap(), [FileName::own("x"), FileName::own("y")]);
    }
}
