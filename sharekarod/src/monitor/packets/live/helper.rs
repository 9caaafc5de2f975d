//! Asks `sharekaro-capture` for a packet socket: the daemon itself has no privilege and needs none.
//!
//! As a unit it may not even run a program that has one (`NoNewPrivileges`): there a service of the system's hands the
//! socket over. Without that service, or where it is not for us, the program is run.

use std::{
    io::{ErrorKind, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::LiveError;

const PROGRAM: &str = "sharekaro-capture";

/// Where `sharekaro-capture.socket` listens, for the group that may.
const SERVICE: &str = "/run/sharekaro/capture.sock";

/// What a person does who may not.
const JOIN: &str = "capturing packets needs the capability CAP_NET_RAW, which sharekaro-capture has (setcap) for members of the group \
                    sharekaro alone: sudo usermod --append --groups sharekaro $USER, then log in again";

/// Exit codes of the program.
const NOT_FOUND: i32 = 4;
const NOT_PERMITTED: i32 = 14;

/// It opens a socket and ends: more than this is a hang.
const TIMEOUT: Duration = Duration::from_secs(5);

/// It ends within a few milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Its words are one line.
const WORDS_MAX: usize = 4096;

/// A packet socket that receives nothing yet. Blocks for as long as the service or the program runs.
///
/// # Errors
/// Where there is no such interface or no right, or the program is missing.
pub fn open_socket(interface: &str) -> Result<OwnedFd, LiveError> {
    match UnixStream::connect(SERVICE) {
        Ok(service) => ask_service(service, interface),
        Err(_) => run_program(&program(), interface, TIMEOUT),
    }
}

fn ask_service(mut service: UnixStream, interface: &str) -> Result<OwnedFd, LiveError> {
    service.set_read_timeout(Some(TIMEOUT)).map_err(LiveError::NoHelper)?;
    service.write_all(format!("{interface}\n").as_bytes()).map_err(LiveError::NoHelper)?;
    let (socket, answer) = receive(&service);
    socket.ok_or_else(|| match answer.split_first() {
        Some((code, words)) => refusal(interface, Some(i32::from(*code)), String::from_utf8_lossy(words).trim().to_owned()),
        None => LiveError::Helper("its service did not answer".to_owned()),
    })
}

/// Waits so long for its answer, and as long again for its end.
fn run_program(program: &Path, interface: &str, patience: Duration) -> Result<OwnedFd, LiveError> {
    let (ours, theirs) = UnixStream::pair().map_err(LiveError::NoHelper)?;
    ours.set_read_timeout(Some(patience)).map_err(LiveError::NoHelper)?;
    let mut command = Command::new(program);
    command.arg(interface).stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped()).env_clear();
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => LiveError::NotPermitted(JOIN.to_owned()),
        _ => LiveError::NoHelper(error),
    })?;
    // The command holds their end: with it gone, the program's end is the end.
    drop(command);
    match receive(&ours) {
        (Some(socket), _) => {
            end(&mut child, patience);
            Ok(socket)
        }
        (None, _) => Err(refused(interface, child, patience)),
    }
}

/// Beside our own program, otherwise wherever the path has it.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(PROGRAM)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PROGRAM.into())
}

/// The socket that comes, and the bytes that it comes with.
fn receive(from: &UnixStream) -> (Option<OwnedFd>, Vec<u8>) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; WORDS_MAX];
    let Ok(received) = recvmsg(from, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) else {
        return (None, Vec::new());
    };
    bytes.truncate(received.bytes);
    let mut messages = ancillary.drain();
    let socket =
        messages.find_map(|message| if let RecvAncillaryMessage::ScmRights(mut descriptors) = message { descriptors.next() } else { None });
    (socket, bytes)
}

/// What the program says of its failure, once it has ended.
fn refused(interface: &str, mut child: Child, patience: Duration) -> LiveError {
    let code = end(&mut child, patience);
    let mut words = String::new();
    if let Some(stderr) = child.stderr.take().filter(|_| code.is_some()) {
        let _ = stderr.take(WORDS_MAX as u64).read_to_string(&mut words);
    }
    match code {
        None => LiveError::Helper("it hung, and was ended".to_owned()),
        code => refusal(interface, code, words.trim().to_owned()),
    }
}

fn refusal(interface: &str, code: Option<i32>, words: String) -> LiveError {
    match code {
        Some(NOT_FOUND) => LiveError::NoInterface(interface.into()),
        Some(NOT_PERMITTED) => LiveError::NotPermitted(words),
        _ => LiveError::Helper(words),
    }
}

/// Waits for the program's end, and its code. After its message it has nothing left to do: one that does not end by itself
/// is ended, and has none.
fn end(child: &mut Child, patience: Duration) -> Option<i32> {
    let began = Instant::now();
    while began.elapsed() < patience {
        match child.try_wait() {
            Ok(None) => thread::sleep(LOOK_EVERY),
            ended => return ended.ok().flatten()?.code(),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended_and_one_that_refuses_is_heard() {
        let folder = tempfile::tempdir().expect("a folder");
        let cases = [
            ("echo $$ > PID; exec sleep 1000", Duration::from_millis(300), "hung"),
            ("echo not for you >&2; exit 14", TIMEOUT, "not for you"),
            ("exit 4", TIMEOUT, "no interface \"eth0\""),
        ];

        for (number, (script, patience, said)) in cases.into_iter().enumerate() {
            let (path, pid) = (folder.path().join(format!("helper{number}")), folder.path().join("pid"));
            let script = format!("#!/bin/sh\n{}\n", script.replace("PID", &pid.to_string_lossy()));
            fs::write(&path, script).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755))).expect("a program");

            // Others start programs meanwhile, which hold what was just written open for a moment.
            let refused = crate::testing::soon(|| match run_program(&path, "eth0", patience) {
                Err(LiveError::NoHelper(error)) if error.kind() == ErrorKind::ExecutableFileBusy => None,
                refused => Some(refused),
            });

            let refused = refused.expect_err("refused").to_string();
            assert!(refused.contains(said), "{refused}");
            if let Ok(pid) = fs::read_to_string(&pid) {
                assert!(!Path::new("/proc").join(pid.trim()).exists(), "{pid} still runs");
            }
        }
    }
}
