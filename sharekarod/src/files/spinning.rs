//! Disks that spin: two streams of bytes onto one of them cost a seek each time that they take turns.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{major, minor};

/// Where the kernel lists its disks by number.
const BLOCK_DEVICES: &str = "/sys/dev/block";

/// So many layers (LUKS, LVM, RAID) may lie between a file system and its disk.
const LAYERS: u32 = 8;

/// What virtual machines call disks that spin by name only.
const IMITATED: [&str; 4] = ["qemu", "vbox", "vmware", "virtual"];

/// The disk below a folder, where that spins; a folder that is not there yet lies where its parents do.
pub fn spinning_disk(folder: &Path) -> Option<PathBuf> {
    let dev = folder.ancestors().find_map(|path| fs::metadata(path).ok())?.dev();
    let device = Path::new(BLOCK_DEVICES).join(format!("{}:{}", major(dev), minor(dev)));
    spinning(&device, LAYERS)
}

fn spinning(device: &Path, layers: u32) -> Option<PathBuf> {
    let device = device.canonicalize().ok()?;
    let disk = if device.join("partition").exists() { device.parent()?.to_owned() } else { device };
    let below = fs::read_dir(disk.join("slaves")).into_iter().flatten().flatten().next();
    match below {
        Some(below) => spinning(&below.path(), layers.checked_sub(1)?),
        None => spins(&disk).then_some(disk),
    }
}

/// Disks that are files or memory have no model; those of a virtual machine say that they spin, whatever is below them.
fn spins(disk: &Path) -> bool {
    let read = |name: &str| fs::read_to_string(disk.join(name)).unwrap_or_default().trim().to_lowercase();
    let model = read("device/model");
    read("queue/rotational") == "1" && !model.is_empty() && !IMITATED.iter().any(|name| model.contains(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A disk as the kernel shows it.
    fn disk(sys: &Path, name: &str, rotational: &str, model: Option<&str>) -> PathBuf {
        let disk = sys.join(name);
        for part in ["queue", "device", "slaves", "part1"] {
            fs::create_dir_all(disk.join(part)).unwrap();
        }
        fs::write(disk.join("queue/rotational"), rotational).unwrap();
        fs::write(disk.join("part1/partition"), "1\n").unwrap();
        if let Some(model) = model {
            fs::write(disk.join("device/model"), model).unwrap();
        }
        disk
    }

    #[test]
    fn a_disk_spins_where_it_is_a_real_one_that_says_so() {
        let sys = tempfile::tempdir().unwrap();
        let spinning_one = disk(sys.path(), "sda", "1\n", Some("WDC WD40EFRX-68N\n"));
        let solid = disk(sys.path(), "nvme0n1", "0\n", Some("Samsung SSD 980\n"));
        let imitated = disk(sys.path(), "sdb", "1\n", Some("QEMU HARDDISK\n"));
        let virtio = disk(sys.path(), "vda", "1\n", None);

        assert_eq!(spinning(&spinning_one, LAYERS), Some(spinning_one.clone()));
        assert_eq!(spinning(&spinning_one.join("part1"), LAYERS), Some(spinning_one));
        for other in [solid, imitated, virtio, sys.path().join("nothing")] {
            assert_eq!(spinning(&other, LAYERS), None, "{}", other.display());
        }
    }

    #[test]
    fn what_lies_on_a_disk_that_spins_spins_and_a_circle_ends() {
        let sys = tempfile::tempdir().unwrap();
        let below = disk(sys.path(), "sda", "1\n", Some("ST2000DM008\n"));
        let mapped = disk(sys.path(), "dm-0", "1\n", None);
        symlink(below.join("part1"), mapped.join("slaves/sda1")).unwrap();
        let circle = disk(sys.path(), "dm-1", "1\n", None);
        symlink(&circle, circle.join("slaves/dm-1")).unwrap();

        assert_eq!(spinning(&mapped, LAYERS), Some(below));
        assert_eq!(spinning(&circle, LAYERS), None);
    }
}
