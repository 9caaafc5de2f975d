//! Where the cages are, and who may keep one.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{Mode, fchmod, fstat},
    io::Errno,
};
use sharekaro_proto::TransferKey;

use super::commit::put_beside;
use crate::files::{Error, FileName, dir::Dir};

/// The folder of cages in a destination on another file system than our state.
pub const STAGING_NAME: &str = ".sharekaro";

/// A cage that no transfer knows is kept so long: somebody may have restored an older state.
const ORPHAN_AGE: Duration = Duration::from_hours(14 * 24);

/// The folder of cages for a destination: beside our state where a file can be renamed from there, else inside the
/// destination.
pub fn staging_root_for(destination: &Path, state_dir: &Path) -> PathBuf {
    let beside = state_dir.join("partial");
    if can_rename(&beside, destination) { beside } else { destination.join(STAGING_NAME) }
}

/// Whether a rename works is tried, as two mounts of one file system look alike and refuse it.
fn can_rename(from_dir: &Path, to_dir: &Path) -> bool {
    let dev = |path: &Path| fs::metadata(path).map(|meta| meta.dev());
    if ensure_private(from_dir).is_err() || !matches!((dev(from_dir), dev(to_dir)), (Ok(a), Ok(b)) if a == b) {
        return false;
    }
    let probe = format!(".sharekaro-probe-{}", TransferKey::fresh());
    let (from, to) = (from_dir.join(&probe), to_dir.join(&probe));
    let renamed = fs::File::create_new(&from).and_then(|_| fs::rename(&from, &to)).is_ok();
    let left = fs::remove_file(if renamed { to } else { from });
    if let Err(error) = left.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }) {
        tracing::warn!(%error, dir = %to_dir.display(), "cannot remove an empty file of ours");
    }
    renamed
}

/// A folder of ours that nobody else may look into, made where it is not there.
fn ensure_private(dir_path: &Path) -> Result<Dir, Error> {
    match rustix::fs::mkdir(dir_path, Mode::RWXU) {
        Err(Errno::NOENT) => {
            let above = dir_path.parent().unwrap_or(Path::new("/"));
            fs::create_dir(above).map_err(Error::on("make", above.display()))?;
            rustix::fs::mkdir(dir_path, Mode::RWXU).map_err(Error::on("make", dir_path.display()))?;
        }
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(Error::at("make", dir_path.display(), e.into())),
    }
    let (above, name) = (dir_path.parent(), dir_path.file_name().map(std::os::unix::ffi::OsStrExt::as_bytes));
    let name = FileName::parse(name.unwrap_or_default())?;
    let above = Dir::open(above.unwrap_or(Path::new("/"))).map_err(Error::on("open what holds", dir_path.display()))?;
    // A link that somebody put there is refused here.
    let dir = above.folder(&name).map_err(|_| Error::Foreign(dir_path.display().to_string()))?;
    let stat = fstat(&dir).map_err(Error::on("look at", dir_path.display()))?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(Error::Foreign(dir_path.display().to_string()));
    }
    if stat.st_mode & 0o077 != 0 && fchmod(&dir, Mode::RWXU).is_err() {
        // vfat and its like have no modes; there the whole destination is as open as this.
        tracing::debug!(dir = %dir_path.display(), "cannot be made private");
    }
    Ok(dir)
}

/// The root, and in it the cage of one transfer.
pub(super) fn open_home(staging_root: &Path, key: TransferKey) -> Result<(Dir, Dir), Error> {
    let mut tries = 3;
    loop {
        let root = ensure_private(staging_root)?;
        tries -= 1;
        match root.make_folder(&key_name(key), 0o700) {
            Ok(home) => return Ok((root, home)),
            // Another transfer ended and took the empty root away just now.
            Err(e) if e.kind() == io::ErrorKind::NotFound && tries > 0 => {}
            Err(e) => return Err(Error::at("make the cage of", key, e)),
        }
    }
}

/// Removes what arrived so far of one transfer, and the root where nothing else is in it. Already so is not an error. An
/// older file that lost its name to a received one, and waits in the cage, is put beside that first.
///
/// # Errors
/// Where the kernel refuses; then some of it is gone. Where an older file cannot be put back, all of it stays.
pub fn discard(staging_root: &Path, key: TransferKey) -> Result<(), Error> {
    match Dir::open(staging_root) {
        Ok(root) => remove_home(staging_root, &root, key),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::at("open", staging_root.display(), e)),
    }
}

/// Removes the cage of one transfer, and the root where nothing else is in it; as `discard`.
pub(super) fn remove_home(staging_root: &Path, root: &Dir, key: TransferKey) -> Result<(), Error> {
    remove_cage(root, &key_name(key))?;
    match rustix::fs::rmdir(staging_root) {
        Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(e) => Err(Error::at("remove the empty", staging_root.display(), e.into())),
    }
}

/// Removes one cage, and nothing of a person with it.
fn remove_cage(root: &Dir, name: &FileName) -> Result<(), Error> {
    match root.folder(name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        home => put_beside(&home.map_err(Error::on("open the cage", name))?)?,
    }
    root.remove_tree(name).map_err(Error::on("remove the cage", name))
}

/// Removes cages that no transfer knows and nobody touched for 14 days, and returns how many.
///
/// # Errors
/// Where the root cannot be listed. One that is not there has none.
pub fn sweep(staging_root: &Path, known: &HashSet<TransferKey>, now: SystemTime) -> Result<u64, Error> {
    let root = match Dir::open(staging_root) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other.map_err(Error::on("open", staging_root.display()))?,
    };
    let known: HashSet<_> = known.iter().map(|key| key_name(*key)).collect();
    let mut swept = 0;
    for name in root.names().map_err(Error::on("list", staging_root.display()))? {
        if !is_key(&name) || known.contains(&name) || !is_old(&root, &name, now) {
            continue;
        }
        match remove_cage(&root, &name) {
            Ok(()) => swept += 1,
            Err(error) => tracing::warn!(%error, cage = %staging_root.join(name.as_os_str()).display(), "an old cage stays"),
        }
    }
    Ok(swept)
}

fn key_name(key: TransferKey) -> FileName {
    FileName::hex(&key.0)
}

fn is_key(name: &FileName) -> bool {
    name.as_bytes().len() == 32 && name.as_bytes().iter().all(u8::is_ascii_hexdigit)
}

/// The states are written to whenever something arrives.
fn is_old(root: &Dir, name: &FileName, now: SystemTime) -> bool {
    let touched = |stat: rustix::fs::Stat| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
    let states = root.folder(name).and_then(|home| home.stat(&FileName::own("states")));
    let latest = [root.stat(name).ok(), states.ok()].into_iter().flatten().map(touched).max();
    latest.is_some_and(|latest| now.duration_since(latest).is_ok_and(|age| age > ORPHAN_AGE))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn cages_lie_where_a_rename_reaches_the_destination() {
        let temp = tempfile::tempdir().unwrap();
        let (state, here) = (temp.path().join("state"), temp.path().join("inbox"));
        fs::create_dir_all(&state).unwrap();
        fs::create_dir_all(&here).unwrap();

        assert_eq!(staging_root_for(&here, &state), state.join("partial"));
        assert_eq!(fs::read_dir(&here).unwrap().count(), 0);
        let elsewhere = tempfile::tempdir_in("/dev/shm").expect("/dev/shm, which every Linux with glibc has");
        assert_eq!(staging_root_for(elsewhere.path(), &state), elsewhere.path().join(STAGING_NAME));
    }

    #[test]
    fn a_root_that_is_a_link_is_refused_and_one_that_is_open_is_closed() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("elsewhere")).unwrap();
        symlink("elsewhere", temp.path().join("link")).unwrap();
        fs::create_dir(temp.path().join("open")).unwrap();
        fs::set_permissions(temp.path().join("open"), fs::Permissions::from_mode(0o777)).unwrap();

        assert!(matches!(ensure_private(&temp.path().join("link")), Err(Error::Foreign(_))));
        ensure_private(&temp.path().join("open")).unwrap();
        assert_eq!(fs::metadata(temp.path().join("open")).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn only_old_cages_that_nobody_knows_are_swept() {
        let temp = tempfile::tempdir().unwrap();
        let (known, orphan) = (TransferKey([1; 16]), TransferKey([2; 16]));
        for name in [known.to_string(), orphan.to_string(), "somebody's".into()] {
            fs::create_dir_all(temp.path().join(name).join("tree")).unwrap();
        }
        let (now, later) = (SystemTime::now(), SystemTime::now() + ORPHAN_AGE * 2);

        assert_eq!(sweep(temp.path(), &HashSet::from([known]), now).unwrap(), 0);
        assert_eq!(sweep(temp.path(), &HashSet::from([known]), later).unwrap(), 1);
        assert!(temp.path().join(known.to_string()).exists() && temp.path().join("somebody's").exists());
        assert!(!temp.path().join(orphan.to_string()).exists());
        assert_eq!(sweep(&temp.path().join("nothing"), &HashSet::new(), later).unwrap(), 0);
    }
}
