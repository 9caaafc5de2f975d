//! Folders to send, and whether two of them are the same.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{Host, MIB, digest, write_random};

/// A folder to send: one file of `big` bytes, four of some hundred KiB, many small ones in folders, an empty one.
///
/// # Errors
/// It cannot be written.
pub fn mixed_folder(host: &Host, name: &str, big: u64, small: u32) -> Result<PathBuf> {
    let top = host.home().join("outgoing").join(name);
    fs::create_dir_all(top.join("empty"))?;
    write_random(&top.join("big"), big, name)?;
    for i in 0u32..4 {
        write_random(&top.join(format!("medium-{i}")), MIB / 2 + u64::from(i) * 100_003, &format!("{name} medium {i}"))?;
    }
    for i in 0..small {
        let folder = top.join(format!("folder-{}", i / 50));
        fs::create_dir_all(&folder)?;
        write_random(&folder.join(format!("small-{i}")), u64::from(i * 613 % 20_000), &format!("{name} small {i}"))?;
    }
    Ok(top)
}

/// Every entry below a folder by its path in it: the hash of a file, nothing for a folder.
///
/// # Errors
/// Something of it cannot be read.
pub fn tree_digests(top: &Path) -> Result<BTreeMap<PathBuf, Option<String>>> {
    let (mut folders, mut all) = (vec![top.to_owned()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let is_folder = path.symlink_metadata()?.is_dir();
            all.insert(path.strip_prefix(top)?.to_owned(), if is_folder { None } else { Some(digest(&path)?) });
            if is_folder {
                folders.push(path);
            }
        }
    }
    Ok(all)
}
