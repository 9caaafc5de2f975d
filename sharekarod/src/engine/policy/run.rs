//! The program that a rule has run when all is stored. There is no shell: the paths are arguments. The transfer is done
//! before it starts, and stays done whatever becomes of it.
//!
//! It is owed until it ended: a daemon that was killed meanwhile runs it again.

use std::{
    ffi::OsStr,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use sharekaro_proto::{TransferId, control::transfer::RawPath, nouns::transfer::TransferState};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

use super::log::Decided;
use crate::engine::{Engine, transfers::record::Record};

/// A program that has not ended by then is killed, with all that it started.
const ENDS_WITHIN: Duration = Duration::from_secs(600);

/// Bytes of paths in one run: the kernel takes 2 MiB of arguments and environment (`execve(2)`); what is more is another run.
const ARGUMENTS_MAX: usize = 512 << 10;

/// So much of what it says on standard error is told, in bytes.
const SAID_MAX: u64 = 500;

/// What it said is waited for so long once it ended: something that it started may hold its standard error open.
const SAID_WITHIN: Duration = Duration::from_secs(1);

/// What systemd gave the daemon, and is not for others.
const NOT_INHERITED: [&str; 5] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"];

/// Said of a program that did not do what it should.
const WARNING: &str = "policy_run_failed";

impl Engine {
    /// After a start: programs that were owed.
    pub(crate) fn run_what_was_owed(&self) {
        let owed: Vec<TransferId> = self.look(|state| {
            let records = state.transfers.iter().map(|row| &row.record);
            records.filter(|record| record.state == TransferState::Done && !record.run.is_empty()).map(|record| record.id).collect()
        });
        for id in owed {
            self.run_after(id);
        }
    }

    /// Runs what a rule has run after this transfer, if it does.
    pub(crate) fn run_after(&self, id: TransferId) {
        let Some(record) = self.record(id).filter(|record| !record.run.is_empty()) else { return };
        let engine = self.clone();
        self.spawn(async move {
            let Ok(_permit) = engine.inner.policy.programs.acquire().await else { return };
            let ended = run_on_all(&record).await;
            engine.note_transfer(id, |row| row.record.run.clear()).await;
            engine.tell_of_program(&record, ended);
        });
    }

    fn tell_of_program(&self, record: &Record, ended: Result<(), String>) {
        let program = record.run.first().cloned().unwrap_or_default();
        let note = match ended {
            Ok(()) => {
                self.unwarn(WARNING);
                format!("{program} ended well")
            }
            Err(why) => {
                let rule = &record.rule;
                self.warn(
                    WARNING,
                    format!("the rule {rule:?} ran {program} after {}, and it {why}", record.id),
                    "the files are as they came; `sharectl policy log` keeps this",
                );
                format!("{program} {why}")
            }
        };
        self.note_decision(Decided { peer: record.peer, rule: &record.rule, action: "run", transfer: Some(record.id), note });
    }
}

async fn run_on_all(record: &Record) -> Result<(), String> {
    let Some((program, arguments)) = record.run.split_first() else { return Ok(()) };
    let dir = record.destination.as_ref().map(|dir| dir.0.clone());
    for paths in parts(&record.placed) {
        let mut command = Command::new(program);
        command.args(arguments).args(paths).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        if let Some(dir) = &dir {
            command.current_dir(dir);
        }
        let child = command.spawn().map_err(|e| format!("cannot be started: {e}"))?;
        wait_for(child).await?;
    }
    Ok(())
}

/// The paths in as many parts as it takes.
fn parts(placed: &[RawPath]) -> Vec<Vec<&OsStr>> {
    let mut parts: Vec<Vec<&OsStr>> = Vec::new();
    let mut room = 0;
    for RawPath(path) in placed {
        let needed = path.as_os_str().len() + 1 + size_of::<usize>();
        if parts.is_empty() || needed > room {
            parts.push(Vec::new());
            room = ARGUMENTS_MAX;
        }
        room = room.saturating_sub(needed);
        if let Some(part) = parts.last_mut() {
            part.push(path.as_os_str());
        }
    }
    parts
}

/// Waits for its end, within bounds.
async fn wait_for(mut child: Child) -> Result<(), String> {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let said = tokio::spawn(beginning(child.stderr.take()));
    let ended = timeout(ENDS_WITHIN, child.wait()).await;
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{}{}", shown(status), said_in(said).await)),
        Ok(Err(e)) => Err(format!("cannot be waited for: {e}")),
        Err(_) => {
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL); // it may have ended just now
            }
            Err(format!("had not ended after {} s, and was killed", ENDS_WITHIN.as_secs()))
        }
    }
}

fn shown(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended otherwise".to_owned(),
    }
}

/// The beginning of what it says; all of it is read, or it would wait for us.
async fn beginning(stderr: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut said = Vec::new();
    if let Some(mut stderr) = stderr {
        let _ = (&mut stderr).take(SAID_MAX).read_to_end(&mut said).await; // what was read counts
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    }
    said
}

async fn said_in(mut said: tokio::task::JoinHandle<Vec<u8>>) -> String {
    match timeout(SAID_WITHIN, &mut said).await {
        Ok(Ok(bytes)) if !bytes.is_empty() => format!(": {}", String::from_utf8_lossy(&bytes).trim()),
        Ok(_) => String::new(),
        Err(_) => {
            said.abort();
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn record(run: &[&str], placed: &[PathBuf]) -> Record {
        let record = crate::engine::transfers::table::tests::record(1, TransferState::Done);
        let placed = placed.iter().cloned().map(RawPath).collect();
        Record { run: run.iter().map(|it| (*it).to_owned()).collect(), placed, ..record }
    }

    #[tokio::test]
    async fn paths_are_arguments_and_nothing_is_a_shell() {
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("a b; touch harm $(touch harm)");
        std::fs::write(&odd, "x").unwrap();
        let made = dir.path().join("made");
        std::fs::create_dir(&made).unwrap();

        run_on_all(&record(&["cp", "-t", made.to_str().unwrap()], std::slice::from_ref(&odd))).await.unwrap();

        assert!(made.join(odd.file_name().unwrap()).exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn what_goes_wrong_is_told() {
        let path = [PathBuf::from("/nowhere")];

        let missing = run_on_all(&record(&["/no/such/program"], &path)).await.unwrap_err();
        let failed = run_on_all(&record(&["sh", "-c", "echo too bad >&2; exit 3"], &path)).await.unwrap_err();

        assert!(missing.contains("started"), "{missing}");
        assert!(failed.contains("ended with 3") && failed.contains("too bad"), "{failed}");
    }

    #[test]
    fn many_paths_are_several_runs() {
        let placed: Vec<RawPath> = (0..20_000).map(|no| RawPath(format!("/inbox/{no:0>100}").into())).collect();

        let parts = parts(&placed);

        assert!(parts.len() > 1 && parts.iter().all(|part| part.iter().map(|it| it.len() + 1).sum::<usize>() <= ARGUMENTS_MAX));
        assert_eq!(parts.concat().len(), placed.len());
    }
}
