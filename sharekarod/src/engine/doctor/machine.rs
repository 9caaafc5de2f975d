//! What can be seen of this machine: asked of the kernel and the file system at the moment of the question.

use std::{
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{fs::inotify, io::Errno};
use socket2::{Domain, Protocol, Socket, Type};

use super::facts::{Exposed, Machine, MdnsPort, WatchLimit};
use crate::{config::Config, files::Room, interfaces, net::Buffers};

/// The port of multicast DNS (RFC 6762).
const MDNS_PORT: u16 = 5353;

/// IFF_MULTICAST of linux/if.h.
const IFF_MULTICAST: u32 = 0x1000;

/// A drop folder with more folders in it is not counted to its end.
const FOLDERS_COUNTED: u64 = 2_000_000;

/// Who may write besides its owner: its group and everybody.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Looks at everything; touches the disk, so not on a thread of the runtime. `port` is the one that we have.
pub(super) fn look(config: &Config, port: u16) -> Machine {
    Machine {
        port,
        mdns: if config.mdns { mdns_port() } else { MdnsPort::Unwanted },
        small_buffer: Buffers::granted_to_everybody().ok().filter(Buffers::are_small).map(|buffers| buffers.receive),
        full: [&config.inbox_dir, &config.state_dir].into_iter().filter(|dir| is_full(dir)).cloned().collect(),
        watches: watch_limit(&config.drop_dirs()),
        drop_folders: config.drop_dirs().iter().flat_map(|dir| exposed_in(dir)).collect(),
        without_multicast: without_multicast(),
    }
}

// ---- mDNS -------------------------------------------------------------------------------------------

/// Whether the port can be shared, tried as mDNS would use it. Who keeps it is only looked for where it cannot.
fn mdns_port() -> MdnsPort {
    let any: [SocketAddr; 2] = [(Ipv4Addr::UNSPECIFIED, MDNS_PORT).into(), (Ipv6Addr::UNSPECIFIED, MDNS_PORT).into()];
    let taken = |address: &SocketAddr| share(*address).is_err_and(|e| e.kind() == io::ErrorKind::AddrInUse);
    if any.iter().any(taken) { MdnsPort::Taken(holder()) } else { MdnsPort::Open }
}

fn share(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

/// Whoever has the port besides us: by name where we may look, else by user.
fn holder() -> String {
    let sockets: Vec<(u64, u32)> = ["/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .flat_map(|path| sockets_in(&fs::read_to_string(path).unwrap_or_default(), MDNS_PORT))
        .collect();
    let own = std::process::id();
    let named = sockets.iter().filter_map(|(inode, _)| owner(*inode)).find(|(process, _)| *process != own);
    match (named, sockets.iter().find(|(inode, _)| owner(*inode).is_none())) {
        (Some((process, name)), _) => format!("{name} (process {process})"),
        (None, Some((_, user))) => format!("a program of user {user}"),
        (None, None) => "another program".to_owned(),
    }
}

/// Inode and user of the sockets on this port: the second field ends in the port as four hex digits, the eighth is the
/// user and the tenth the inode.
fn sockets_in(table: &str, port: u16) -> Vec<(u64, u32)> {
    let ending = format!(":{port:04X}");
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let of_it = fields.get(1)?.ends_with(&ending);
        Some((fields.get(9)?.parse().ok()?, fields.get(7)?.parse().ok()?)).filter(|_| of_it)
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// The process that has a socket open, as far as we may see, and its name.
fn owner(inode: u64) -> Option<(u32, String)> {
    let socket = PathBuf::from(format!("socket:[{inode}]"));
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut holders = processes.filter_map(|entry| {
        let process: u32 = entry.file_name().to_str()?.parse().ok()?;
        let mut open = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let holds = open.any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == socket));
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        holds.then(|| (process, name.trim().to_owned()))
    });
    holders.next()
}

/// Interfaces of LANs that work and cannot send to groups.
fn without_multicast() -> Vec<String> {
    let mut names: Vec<String> = interfaces::links().into_iter().filter(|(_, _, up)| *up).map(|(name, ..)| name).collect();
    names.dedup();
    names.retain(|name| {
        let flags = fs::read_to_string(Path::new("/sys/class/net").join(name).join("flags")).unwrap_or_default();
        let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16);
        flags.is_ok_and(|flags| flags & IFF_MULTICAST == 0)
    });
    names
}

// ---- disks ------------------------------------------------------------------------------------------

/// Whether nothing more can be received where this folder is or would be made.
fn is_full(dir: &Path) -> bool {
    let there = dir.ancestors().find(|path| path.is_dir());
    there.and_then(|path| Room::at(path).ok()).is_some_and(|room| !room.fits(1, 1))
}

/// Whether a folder more could be watched, and all folders of all drop folders.
fn watch_limit(drop_dirs: &[PathBuf]) -> Option<WatchLimit> {
    let limit = |key: &'static str| WatchLimit { key, value: value_of(key) };
    let watched = drop_dirs.iter().find_map(|dir| dir.ancestors().find(|path| path.is_dir()))?;
    let tried = inotify::init(inotify::CreateFlags::CLOEXEC).and_then(|fd| inotify::add_watch(&fd, watched, inotify::WatchFlags::CREATE));
    match tried {
        Err(Errno::MFILE) => Some(limit("fs.inotify.max_user_instances")),
        Err(Errno::NOSPC) => Some(limit(if value_of(OF_NAMESPACE) == Some(0) { OF_NAMESPACE } else { OF_USER })),
        _ => {
            let limit = limit(OF_USER);
            limit.value.is_some_and(|value| drop_dirs.iter().map(|dir| folders_in(dir)).sum::<u64>() > value).then_some(limit)
        }
    }
}

const OF_USER: &str = "fs.inotify.max_user_watches";
const OF_NAMESPACE: &str = "user.max_inotify_watches";

fn value_of(key: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{}", key.replace('.', "/"))).ok()?.trim().parse().ok()
}

fn folders_in(dir: &Path) -> u64 {
    let (mut found, mut folders) = (0, vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        found += 1;
        if found >= FOLDERS_COUNTED {
            break;
        }
        let inner = fs::read_dir(folder).into_iter().flatten().flatten();
        folders.extend(inner.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
    }
    found
}

/// A drop folder that is there, and the folders in it, as far as others can put files into them. It may itself be behind
/// a link of its person's; nothing in it may.
fn exposed_in(drop_dir: &Path) -> Vec<(PathBuf, Exposed)> {
    if let Some(why) = fs::metadata(drop_dir).ok().and_then(|found| exposed(&found)) {
        return vec![(drop_dir.to_owned(), why)];
    }
    let inner = fs::read_dir(drop_dir).into_iter().flatten().flatten();
    let looked = |entry: fs::DirEntry| {
        let is_folder = fs::metadata(entry.path()).is_ok_and(|it| it.is_dir());
        let found = entry.metadata().ok().filter(|_| is_folder && !entry.file_name().as_encoded_bytes().starts_with(b"."))?;
        Some((entry.path(), if found.is_symlink() { Exposed::Link } else { exposed(&found)? }))
    };
    inner.filter_map(looked).collect()
}

/// Why others can put files into a folder.
fn exposed(found: &fs::Metadata) -> Option<Exposed> {
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Some(Exposed::Owner(found.uid()));
    }
    let mode = found.permissions().mode() & 0o7777;
    (mode & WRITABLE_BY_OTHERS != 0).then_some(Exposed::Writable(mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::soon;

    #[test]
    fn sockets_on_a_port_are_found_in_what_the_kernel_prints() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
            610: 00000000:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000   108        0 17433 2 0000000000000000 0\n \
            611: 00000000:BAC2 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 17434 2 0000000000000000 0\n";

        assert_eq!(sockets_in(table, 5353), [(17433, 108)]);
        assert_eq!(sockets_in("", 5353), []);
    }

    #[test]
    fn a_socket_that_is_open_has_an_owner_with_a_name() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let inode = rustix::fs::fstat(&socket).unwrap().st_ino;

        soon(|| owner(inode).filter(|(pid, _)| *pid == std::process::id()));
        drop(socket);
        soon(|| owner(inode).is_none().then_some(()));
    }

    #[test]
    fn a_drop_folder_and_all_in_it_is_ours_alone_or_the_reason_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let set = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();

        set(0o755);
        assert_eq!(exposed_in(dir.path()), []);
        set(0o777);
        assert_eq!(exposed_in(dir.path()), [(dir.path().to_owned(), Exposed::Writable(0o777))]);
        set(0o755);
        assert_eq!(exposed_in(&dir.path().join("nothing")), []);

        let (open, link) = (dir.path().join("bob"), dir.path().join("link"));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o770)).unwrap();
        std::os::unix::fs::symlink("/tmp", &link).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
        let mut found = exposed_in(dir.path());
        found.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(found, [(open, Exposed::Writable(0o770)), (link, Exposed::Link)]);
    }

    #[test]
    fn a_tree_of_folders_is_counted_and_a_folder_that_is_not_there_has_room() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        fs::write(dir.path().join("a/file"), "").unwrap();

        assert_eq!(folders_in(dir.path()), 4);
        assert!(!is_full(&dir.path().join("not/there/yet")));
    }
}
