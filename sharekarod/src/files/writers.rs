//! Who holds a file open for writing, as far as the kernel lets us see: the open files of every process in `/proc`, and
//! what it has mapped so that its stores reach the file.
//!
//! Inside a user namespace of our own, as systemd's `PrivateUsers` makes one, the processes outside are closed to us;
//! the answer says so, and whoever asks has to be patient instead. A lease (`F_SETLEASE`) would tell more, and no
//! library takes one without `unsafe`.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use rustix::process::{geteuid, getpid};

/// A file, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FileId {
    /// Which file system.
    pub dev: u64,
    /// Which file there.
    pub ino: u64,
}

/// What was found out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holders {
    /// These files are.
    pub held: HashSet<FileId>,
    /// Whether every process of this user could be looked into.
    pub complete: bool,
}

/// Which of these files are open for writing in another process.
pub fn held_open(files: &HashSet<FileId>) -> Holders {
    let mut holders = Holders { held: HashSet::new(), complete: true };
    let (own, user) = (getpid().as_raw_nonzero().get().to_string(), geteuid().as_raw());
    let Ok(processes) = fs::read_dir("/proc") else { return Holders::default() };
    for process in processes.flatten() {
        let name = process.file_name();
        let is_process = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        if !is_process || name == *own {
            continue;
        }
        // gone meanwhile, or another user's: nothing of ours to look into
        let Ok(owner) = process.metadata() else { continue };
        match fs::read_dir(process.path().join("fd")) {
            Ok(open) => {
                open.flatten().for_each(|fd| look_at(&fd.path(), &process.path(), files, &mut holders));
                look_at_maps(&process.path(), files, &mut holders);
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) if owner.uid() == user => holders.complete = false,
            Err(_) => {}
        }
    }
    holders
}

/// One open file of a process: `/proc/PID/fd/N`.
fn look_at(fd: &Path, process: &Path, files: &HashSet<FileId>, holders: &mut Holders) {
    // sockets and pipes are no paths, and need no further look
    let Ok(target) = fs::read_link(fd) else { return };
    let is_device = target.starts_with("/dev") && !target.starts_with("/dev/shm");
    if !target.is_absolute() || is_device || target.starts_with("/proc") {
        return;
    }
    let Ok(at) = fs::metadata(fd) else { return };
    let id = FileId { dev: at.dev(), ino: at.ino() };
    let Some(name) = fd.file_name().filter(|_| files.contains(&id)) else { return };
    if fs::read_to_string(process.join("fdinfo").join(name)).is_ok_and(|info| is_for_writing(&info)) {
        holders.held.insert(id);
    }
}

/// What a process has mapped: a file may be closed and still be written to.
fn look_at_maps(process: &Path, files: &HashSet<FileId>, holders: &mut Holders) {
    let Ok(maps) = fs::read(process.join("maps")) else { return };
    for path in maps.split(|byte| *byte == b'\n').filter_map(shared_writable) {
        if let Ok(at) = fs::metadata(Path::new(OsStr::from_bytes(path))) {
            holders.held.extend(Some(FileId { dev: at.dev(), ino: at.ino() }).filter(|id| files.contains(id)));
        }
    }
}

/// The file of a line of `/proc/PID/maps` (proc(5): range, permissions, offset, device, inode, path) whose stores reach
/// it. What was removed, or has a newline in its name, is not found.
fn shared_writable(line: &[u8]) -> Option<&[u8]> {
    let permissions = line.split(|byte| *byte == b' ').nth(1)?;
    let path = line.get(line.iter().position(|byte| *byte == b'/')?..)?;
    (permissions.get(1) == Some(&b'w') && permissions.get(3) == Some(&b's')).then_some(path)
}

/// Whether `flags:` of `/proc/PID/fdinfo/N`, an octal number, has another access mode than reading (proc(5)).
fn is_for_writing(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & 0o3 != 0)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::testing::soon;

    fn id(path: &Path) -> FileId {
        let at = fs::metadata(path).unwrap();
        FileId { dev: at.dev(), ino: at.ino() }
    }

    #[test]
    fn a_file_that_another_process_writes_is_held_open() {
        let temp = tempfile::tempdir().unwrap();
        let (written, read) = (temp.path().join("written"), temp.path().join("read"));
        fs::write(&written, "").unwrap();
        fs::write(&read, "").unwrap();
        // it holds both until its standard input ends, and says when it does
        let mut holder = Command::new("sh")
            .args(["-c", "exec 8>>written 9<read; echo ready; read wait"])
            .current_dir(temp.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
        let written_id = id(&written);
        let files = HashSet::from([written_id, id(&read)]);

        soon(|| (held_open(&files).held == HashSet::from([written_id])).then_some(()));
        fs::rename(&written, temp.path().join("renamed")).unwrap();
        soon(|| (held_open(&files).held == HashSet::from([written_id])).then_some(()));

        drop(holder.stdin.take());
        holder.wait().unwrap();
        soon(|| held_open(&files).held.is_empty().then_some(()));
    }

    #[test]
    fn only_a_mapping_that_is_shared_and_writable_writes() {
        let line = |permissions: &str, path: &str| format!("7f0000000000-7f0000001000 {permissions} 00000000 00:1f 12345    {path}");

        assert_eq!(shared_writable(line("rw-s", "/home/a b").as_bytes()), Some(b"/home/a b".as_slice()));
        for (permissions, path) in [("r--s", "/home/a"), ("rw-p", "/home/a"), ("rw-s", "")] {
            assert_eq!(shared_writable(line(permissions, path).as_bytes()), None, "{permissions} {path}");
        }
        assert_eq!(shared_writable(b""), None);
    }

    #[test]
    fn only_the_access_mode_says_who_writes() {
        assert!(is_for_writing("pos:\t0\nflags:\t0102001\nmnt_id:\t1\n") && is_for_writing("flags: 02"));
        assert!(!is_for_writing("pos:\t0\nflags:\t0100000\n") && !is_for_writing("") && !is_for_writing("flags: x"));
    }
}
