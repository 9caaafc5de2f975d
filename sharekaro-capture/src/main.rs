//! Opens a packet socket and hands it over: the only program of ShareKaro that may need a privilege.
//!
//! `sharekaro-capture INTERFACE`, with a Unix socket as standard input: through that it goes. Without INTERFACE standard
//! input is a socket that listens, as systemd hands it over: a line of each connection names an interface, and a failure
//! goes back as the exit code in a byte and a sentence. The socket that is opened receives nothing yet: whoever gets it
//! says from which interface, with which filter. Not one packet is read here. Exit codes as those of `sharectl`: 0 handed
//! over, 2 usage, 4 no such interface, 14 not permitted, 1 anything else.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, IoSlice, Read},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, netdevice::name_to_index, sendmsg,
        socket_with, sockopt::socket_acceptconn,
    },
};

const USAGE: u8 = 2;
const NOT_FOUND: u8 = 4;
const NOT_PERMITTED: u8 = 14;

/// A line with the name of an interface: 15 bytes in Linux, and some to see that it is too long.
const LINE_MAX: u64 = 64;

/// Whoever asks has this long to name an interface; the others wait behind him.
const ASKING: Duration = Duration::from_secs(2);

/// Nobody asked for so long: systemd starts us again for the next who does.
const IDLE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// The exit code, and the sentence.
type Failure = (u8, String);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let done = match (arguments.next(), arguments.next()) {
        (Some(interface), None) => named(&interface).and_then(open).and_then(|socket| hand_over(&socket, std::io::stdin().as_fd())),
        (None, _) => answer_all(),
        _ => Err((USAGE, "usage: sharekaro-capture [INTERFACE], with a Unix socket as standard input; the daemon calls it".to_owned())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => fail(code, &message),
    }
}

/// The interface of an argument. Linux allows names that are no text; nobody asks for one of those.
fn named(interface: &OsStr) -> Result<&str, Failure> {
    interface.to_str().ok_or_else(|| (NOT_FOUND, format!("there is no interface {interface:?}")))
}

/// Answers each connection, one after the other, until nobody asks any more.
fn answer_all() -> Result<(), Failure> {
    let listener = std::io::stdin().as_fd().try_clone_to_owned().map(UnixListener::from);
    let listener = listener.map_err(|error| (1, format!("cannot use standard input: {error}")))?;
    if !socket_acceptconn(&listener).unwrap_or(false) {
        return Err((USAGE, "without an interface, standard input has to be a socket that listens, as systemd hands it over".to_owned()));
    }
    while poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&IDLE)).is_ok_and(|ready| ready > 0) {
        let Ok((connection, _)) = listener.accept() else { continue }; // it went away meanwhile
        let done = asked(&connection).and_then(|interface| hand_over(&open(&interface)?, connection.as_fd()));
        if let Err((code, message)) = done {
            refuse(&connection, code, &message);
        }
    }
    Ok(())
}

/// The interface that a connection names.
fn asked(connection: &UnixStream) -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| (USAGE, format!("cannot read the name of an interface: {error}"));
    connection.set_read_timeout(Some(ASKING)).map_err(unreadable)?;
    let mut line = String::new();
    BufReader::new(connection.take(LINE_MAX)).read_line(&mut line).map_err(unreadable)?;
    let name = line.strip_suffix('\n').ok_or_else(|| (USAGE, "a line with the name of an interface is wanted".to_owned()))?;
    Ok(name.to_owned())
}

/// Tells a connection why not; one that went away does not want to know.
fn refuse(connection: &UnixStream, code: u8, message: &str) {
    let answer = [&[code], message.as_bytes()].concat();
    let _ = sendmsg(connection, &[IoSlice::new(&answer)], &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL);
}

fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(code)
}

/// A packet socket of protocol 0: nothing arrives at it before its holder binds it.
fn open(interface: &str) -> Result<OwnedFd, Failure> {
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None).map_err(|error| match error {
        Errno::PERM | Errno::ACCESS => (NOT_PERMITTED, how_to_permit()),
        error => (1, format!("cannot open a packet socket: {error}")),
    })?;
    name_to_index(&socket, interface).map_err(|error| match error {
        Errno::NODEV | Errno::NXIO => (NOT_FOUND, format!("there is no interface {interface:?}")),
        error => (1, format!("cannot look for the interface {interface:?}: {error}")),
    })?;
    Ok(socket)
}

fn how_to_permit() -> String {
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("sharekaro-capture"));
    format!(
        "capturing packets needs the capability CAP_NET_RAW, which this program does not have; allow it with: sudo setcap cap_net_raw+ep {}",
        own.display()
    )
}

/// Sends the socket through another (SCM_RIGHTS), with one byte, as no message is empty.
fn hand_over(socket: &OwnedFd, through: BorrowedFd<'_>) -> Result<(), Failure> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [socket.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = sendmsg(through, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL);
    sent.map(drop).map_err(|error| (1, format!("cannot hand the packet socket over to who asked: {error}")))
}
