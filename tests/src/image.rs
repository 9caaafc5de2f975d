//! A disk of its own: a file system in an image, mounted through a loop device. Its power can be cut.
//!
//! Needs root, as loop devices belong to no namespace.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::sh;

/// A mounted file system. Dropping it unmounts it.
pub struct Image {
    image_path: PathBuf,
    around_dir: PathBuf,
    mount_dir: PathBuf,
}

impl Image {
    /// Makes `DIR/NAME.img` of so many bytes (sparse), formats it with `mkfs.KIND` and mounts it below `DIR/NAME`.
    ///
    /// # Errors
    /// There is no such program, no such file system in this kernel, or no loop device for us; the text says which.
    pub fn new(dir: &Path, name: &str, kind: &str, size: u64) -> Result<Self> {
        let (image_path, around_dir) = (dir.join(format!("{name}.img")), dir.join(name));
        let mount_dir = around_dir.join("disk");
        File::create(&image_path)?.set_len(size)?;
        fs::create_dir_all(&mount_dir)?;
        let image = image_path.to_str().context("an odd temporary folder")?;
        sh(&[&format!("mkfs.{kind}"), "-q", image]).with_context(|| format!("cannot make an {kind} image; is its package installed?"))?;
        // Daemons in mount namespaces of their own would hold on to what is unmounted here, were it not for a shared
        // mount around it, which tells them.
        let around = around_dir.to_str().context("an odd temporary folder")?;
        sh(&["mount", "--bind", around, around])?;
        let disk = Self { image_path, mount_dir, around_dir };
        sh(&["mount", "--make-shared", &disk.around_dir.to_string_lossy()])?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount_dir
    }

    /// The file that it is in.
    pub fn image_path(&self) -> &Path {
        &self.image_path
    }

    /// From now on this process moves no more than so many bytes a second from or to the disk; what lies in memory is not
    /// counted. Ends when the result is dropped.
    ///
    /// # Errors
    /// This kernel has no blkio controller (of cgroup version 1) mounted where systemd mounts it.
    pub fn slow_for(&self, pid: u32, bytes_a_second: u64) -> Result<Slow> {
        let group_dir = PathBuf::from(format!("/sys/fs/cgroup/blkio/sharekaro-{pid}"));
        fs::create_dir(&group_dir).context("cannot slow a disk down: no blkio controller of cgroup version 1 is mounted")?;
        let slow = Slow { group_dir, pid };
        let device = fs::metadata(&self.mount_dir)?.dev();
        let limit = format!("{}:{} {bytes_a_second}", rustix::fs::major(device), rustix::fs::minor(device));
        for way in ["read", "write"] {
            fs::write(slow.group_dir.join(format!("blkio.throttle.{way}_bps_device")), &limit)?;
        }
        fs::write(slow.group_dir.join("cgroup.procs"), pid.to_string())?;
        Ok(slow)
    }

    /// From now on nothing reaches the disk, its log neither; every call fails. `mount_again` shows what had.
    ///
    /// # Errors
    /// This file system knows no such call: ext4 and xfs do, btrfs does not.
    pub fn cut_power(&self) -> Result<()> {
        sh(&["xfs_io", "-x", "-c", "shutdown", &self.mount_dir.to_string_lossy()]).map(drop)
    }

    /// Unmounts it and mounts it again, its log replayed. Nobody may use it meanwhile.
    ///
    /// # Errors
    /// Somebody does, or the file system is broken.
    pub fn mount_again(&self) -> Result<()> {
        sh(&["umount", &self.mount_dir.to_string_lossy()])?;
        self.mount()
    }

    fn mount(&self) -> Result<()> {
        sh(&["mount", "-o", "loop", &self.image_path.to_string_lossy(), &self.mount_dir.to_string_lossy()])
            .context("cannot mount an image; loop devices need root")
            .map(drop)
    }
}

/// A disk that is slow for one process.
pub struct Slow {
    group_dir: PathBuf,
    pid: u32,
}

impl Drop for Slow {
    fn drop(&mut self) {
        // it may have ended, and then it is in no group
        let _ = fs::write("/sys/fs/cgroup/blkio/cgroup.procs", self.pid.to_string());
        let _ = fs::remove_dir(&self.group_dir);
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        for dir in [&self.mount_dir, &self.around_dir] {
            let _ = sh(&["umount", "-l", &dir.to_string_lossy()]);
        }
    }
}
