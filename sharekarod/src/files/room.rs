//! How much room a file system has for us.

use std::path::Path;

use rustix::fs;

use super::Error;

/// What always stays free for others: a hundredth of the file system, at most so many bytes.
const RESERVE_MAX: u64 = 64 << 20;

/// Room for received files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Which disk it is, as `stat` numbers them.
    pub disk: u64,
    /// Bytes that may be used, the reserve not among them.
    pub bytes: u64,
    /// Files that may be made; `None` where the file system makes as many as there is room for.
    pub inodes: Option<u64>,
    /// Bytes that the smallest file takes.
    pub block: u64,
}

impl Room {
    /// The room where a folder is, for whom we are.
    ///
    /// # Errors
    /// `Gone` where the folder is not there.
    pub fn at(dir_path: &Path) -> Result<Self, Error> {
        let stat = fs::statvfs(dir_path).map_err(|e| Error::at("look for room in", dir_path.display(), e.into()))?;
        let block = stat.f_frsize.max(1);
        let reserve = (stat.f_blocks.saturating_mul(block) / 100).min(RESERVE_MAX);
        let disk = fs::stat(dir_path).map_err(|e| Error::at("look at", dir_path.display(), e.into()))?.st_dev;
        Ok(Self {
            disk,
            bytes: stat.f_bavail.saturating_mul(block).saturating_sub(reserve),
            inodes: (stat.f_files > 0).then_some(stat.f_favail),
            block,
        })
    }

    /// Whether so many bytes in so many files, folders and links have room: each wastes half a block on the average.
    pub fn fits(&self, bytes: u64, entries: u64) -> bool {
        let wasted = entries.saturating_mul(self.block / 2);
        bytes.saturating_add(wasted) <= self.bytes && self.inodes.is_none_or(|inodes| entries <= inodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_files_must_both_fit() {
        let room = Room { disk: 1, bytes: 10_000, inodes: Some(2), block: 4096 };

        assert!(room.fits(7_952, 1) && !room.fits(7_953, 1));
        assert!(room.fits(0, 2) && !room.fits(0, 3));
        assert!(!room.fits(u64::MAX, u64::MAX));
        assert!(Room { inodes: None, block: 1, ..room }.fits(10, 1000));
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_room() {
        let temp = tempfile::tempdir().unwrap();

        assert!(Room::at(temp.path()).unwrap().bytes > 0);
        assert!(matches!(Room::at(&temp.path().join("nothing")), Err(Error::Gone { .. })));
    }
}
