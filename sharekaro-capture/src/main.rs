//! Opens a packet socket and hands it over: the only program of ShareKaro that may need a privilege.
//!
//! `sharekaro-capture INTERFACE`, with a Unix socket as standard input. The socket that it opens receives nothing yet:
//! whoever gets it says from which interface, with which filter. Not one packet is read here. Exit codes as those of
//! `sharectl`: 0 handed over, 2 usage, 4 no such interface, 14 not permitted, 1 anything else.

use std::{
    io::IoSlice,
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

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(interface), None) = (arguments.next(), arguments.next()) else {
        return fail(USAGE, "usage: sharekaro-capture INTERFACE, with a Unix socket as standard input; the daemon calls it");
    };
    match open(&interface).and_then(|socket| hand_over(&socket)) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => fail(code, &message),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(code)
}

/// A packet socket of protocol 0: nothing arrives at it before its holder binds it.
fn open(interface: &str) -> Result<OwnedFd, (u8, String)> {
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
fn hand_over(socket: &OwnedFd) -> Result<(), (u8, String)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [socket.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = sendmsg(std::io::stdin(), &[IoSlice::new(&[0])], &mut ancillary, SendFlags::empty());
    sent.map(drop).map_err(|error| (1, format!("cannot hand the packet socket over through standard input: {error}")))
}
