//! Opens a packet socket and hands it over: the only program of ShareKaro that may need a privilege.
//!
//! `sharekaro-capture INTERFACE`, with a Unix socket as standard input. Without INTERFACE the name comes as a line
//! through that socket, as systemd starts it for a connection; then a failure goes back through it, too: the exit code
//! as a byte and a sentence. The socket that it opens receives nothing yet: whoever gets it says from which interface,
//! with which filter. Not one packet is read here. Exit codes as those of `sharectl`: 0 handed over, 2 usage, 4 no such
//! interface, 14 not permitted, 1 anything else.

use std::{
    io::{BufRead, BufReader, IoSlice, Read},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::ExitCode,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, netdevice::name_to_index, sendmsg,
        socket_with,
    },
};

const USAGE: u8 = 2;
const NOT_FOUND: u8 = 4;
const NOT_PERMITTED: u8 = 14;

/// A line with the name of an interface: 15 bytes in Linux, and some to see that it is too long.
const LINE_MAX: u64 = 64;

/// Said before the exit code becomes the process's: how to say it depends on who started us.
type Failure = (u8, String);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (done, asked_by_line) = match (arguments.next(), arguments.next()) {
        (Some(interface), None) => (serve(&interface), false),
        (None, _) => (asked().and_then(|interface| serve(&interface)), true),
        _ => (
            Err((USAGE, "usage: sharekaro-capture [INTERFACE], with a Unix socket as standard input; the daemon calls it".to_owned())),
            false,
        ),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) if asked_by_line => refuse(code, &message),
        Err((code, message)) => fail(code, &message),
    }
}

fn serve(interface: &str) -> Result<(), Failure> {
    hand_over(&open(interface)?)
}

/// The interface that the other end of standard input names.
fn asked() -> Result<String, Failure> {
    let mut line = String::new();
    let read = BufReader::new(std::io::stdin().take(LINE_MAX)).read_line(&mut line);
    match read {
        Ok(_) if line.ends_with('\n') => Ok(line.trim_end().to_owned()),
        Ok(_) => Err((USAGE, "a line with the name of an interface is wanted".to_owned())),
        Err(error) => Err((USAGE, format!("cannot read the name of an interface: {error}"))),
    }
}

/// Tells the other end of standard input why not. systemd has seen a connection served: that is no failure of a unit.
fn refuse(code: u8, message: &str) -> ExitCode {
    let answer = [&[code], message.as_bytes()].concat();
    let told = sendmsg(std::io::stdin(), &[IoSlice::new(&answer)], &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL);
    if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(code) }
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

/// Sends the socket through standard input (SCM_RIGHTS), with one byte, as no message is empty.
fn hand_over(socket: &OwnedFd) -> Result<(), Failure> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [socket.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = sendmsg(std::io::stdin(), &[IoSlice::new(&[0])], &mut ancillary, SendFlags::empty());
    sent.map(drop).map_err(|error| (1, format!("cannot hand the packet socket over through standard input: {error}")))
}
