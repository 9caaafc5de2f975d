//! Older things that lost their names to received ones and wait in the cage: a commit was cut off between the two halves
//! of an exchange, and will not go on.

use std::io;

use rustix::io::Errno;

use super::{Intents, intents::Intent, placing::rename_beside};
use crate::files::{Error, FileName, dir::Dir};

/// Puts each of them beside what took its name, before the cage goes.
///
/// # Errors
/// Where one cannot be put there: it stays in the cage then, and the cage has to stay with it.
pub(in crate::files::cage) fn put_beside(home: &Dir) -> Result<(), Error> {
    let looking = |e| Error::at("look for older files in", "the cage", e);
    let (commit, tree) = (FileName::own("commit"), FileName::own("tree"));
    if home.find(&commit).map_err(looking)?.is_none() || home.find(&tree).map_err(looking)?.is_none() {
        return Ok(());
    }
    let tree = home.folder(&tree).map_err(looking)?;
    if tree.names().map_err(looking)?.is_empty() {
        return Ok(()); // everything is in its place
    }
    let noted = home.open_or_create(&commit, 0o600).map_err(looking)?;
    let intents = Intents::load(noted).map_err(Error::on("read", "the commit"))?;
    intents.all().map(|intent| put_one(&tree, intent)).fold(Ok(()), Result::and)
}

fn put_one(tree: &Dir, intent: &Intent) -> Result<(), Error> {
    let (staged, placed) = (intent.staged().unwrap_or_default(), intent.placed().unwrap_or_default());
    let (Some((name, inside)), Some((target, above))) = (staged.split_last(), placed.split_last()) else { return Ok(()) };
    let looking = |e| Error::at("look for an older", target, e);
    let folder = match tree.descend(inside) {
        Err(e) if is_gone(&e) => return Ok(()), // merged, and emptied
        other => other.map_err(looking)?,
    };
    if folder.find(name).map_err(looking)?.is_none_or(|stat| !intent.is_older(stat.st_ino)) {
        return Ok(());
    }
    let destination = Dir::open(&intent.destination()).map_err(Error::on("open what held the older", target))?;
    let beside = match destination.descend(above) {
        Err(e) if is_gone(&e) => destination, // somebody took that folder away since
        other => other.map_err(Error::on("open what held the older", target))?,
    };
    let aside = intent.displaced().map_or_else(|| target.numbered(2), |older| older.name);
    rename_beside(&folder, name, &beside, aside, target).map_err(Error::on("put back the older", target))?;
    beside.sync().map_err(Error::on("put back the older", target))
}

/// Nothing is there, or something that is no folder of ours.
pub(in crate::files::cage) fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}
