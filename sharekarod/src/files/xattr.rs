//! Extended attributes of users. Those of the system (owners, capabilities, access lists) never travel.

use std::fs::File;

use rustix::{fs, fs::XattrFlags};

use super::manifest::{XATTR_BYTES_MAX, Xattr};

/// The only namespace that travels.
const PREFIX: &[u8] = b"user.";

/// Those of a file, as long as they fit into an entry; none where the file system has none.
pub fn read(file: &File) -> Vec<Xattr> {
    let mut list = Vec::with_capacity(XATTR_BYTES_MAX);
    if fs::flistxattr(file, rustix::buffer::spare_capacity(&mut list)).is_err() {
        return Vec::new();
    }
    let (mut found, mut room) = (Vec::new(), XATTR_BYTES_MAX);
    for name in list.split(|byte| *byte == 0).filter(|name| name.starts_with(PREFIX)) {
        let mut value = Vec::with_capacity(XATTR_BYTES_MAX);
        if fs::fgetxattr(file, name, rustix::buffer::spare_capacity(&mut value)).is_err() || name.len() + value.len() > room {
            continue;
        }
        room -= name.len() + value.len();
        value.shrink_to_fit();
        found.push((name.to_vec(), value));
    }
    found
}

/// Sets those of a received file. One that the file system does not take is not worth the file.
pub fn write(file: &File, attributes: &[Xattr]) {
    for (name, value) in attributes.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        if let Err(error) = fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
            tracing::debug!(%error, name = %name.escape_ascii(), "an extended attribute was not taken");
        }
    }
}
