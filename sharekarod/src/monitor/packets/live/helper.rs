//! Asks `sharekaro-capture` for a packet socket: the daemon itself has no privilege and needs none.

use std::{
    io::{IoSliceMut, Read},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::LiveError;

const PROGRAM: &str = "sharekaro-capture";

/// Exit codes of the program.
const NOT_FOUND: i32 = 4;
const NOT_PERMITTED: i32 = 14;

/// It opens a socket and ends: more than this is a hang.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Its words are one line.
const WORDS_MAX: u64 = 4096;

/// A packet socket that receives nothing yet. Blocks for as long as the program runs.
///
/// # Errors
/// Where there is no such interface or no right, or the program is missing.
pub fn open_socket(interface: &str) -> Result<OwnedFd, LiveError> {
    let (ours, theirs) = UnixStream::pair().map_err(LiveError::NoHelper)?;
    ours.set_read_timeout(Some(TIMEOUT)).map_err(LiveError::NoHelper)?;
    let mut command = Command::new(program());
    command.arg(interface).stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped()).env_clear();
    let child = command.spawn().map_err(LiveError::NoHelper)?;
    // The command holds their end: with it gone, the program's end is the end.
    drop(command);
    match received(&ours) {
        Some(socket) => {
            end(child);
            Ok(socket)
        }
        None => Err(refused(interface, child)),
    }
}

/// Beside our own program, otherwise wherever the path has it.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(PROGRAM)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PROGRAM.into())
}

fn received(from: &UnixStream) -> Option<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC).ok()?;
    let mut messages = ancillary.drain();
    messages.find_map(|message| if let RecvAncillaryMessage::ScmRights(mut descriptors) = message { descriptors.next() } else { None })
}

/// What the program says of its failure.
fn refused(interface: &str, mut child: Child) -> LiveError {
    let mut words = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(WORDS_MAX).read_to_string(&mut words);
    }
    let words = words.trim().to_owned();
    match end(child) {
        Some(NOT_FOUND) => LiveError::NoInterface(interface.into()),
        Some(NOT_PERMITTED) => LiveError::NotPermitted(words),
        _ => LiveError::Helper(words),
    }
}

/// Ends the program if it has not, and its code. After its message it has nothing left to do.
fn end(mut child: Child) -> Option<i32> {
    child.wait().ok()?.code()
}
