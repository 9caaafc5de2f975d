//! Files instead of the network: a capture counted, a recording judged. Blocks for as long as that takes, and touches
//! nothing of the running monitor.

mod air;
mod heard;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use sharekaro_proto::{
    ErrorBody, ErrorCode,
    control::{
        net::{Findings, Scores},
        packets::Packets,
    },
};
use tokio_util::sync::CancellationToken;

use self::heard::Heard;
use super::{
    detect::replay::{Recording, ReplayError},
    history::HistoryError,
    packets::{
        Failure, Options, analyse,
        analyse::{TOP, broken},
        captures::{Capture, CaptureError},
        export::Format,
        filter::Filter,
        open,
    },
};

/// Lists are for people: longer ones are what an export is for.
const TOP_MAX: usize = 10_000;

/// What is asked of packets, in its typed form.
///
/// # Errors
/// A filter that is none, a name that says no format.
pub fn options(filter: Option<&str>, top: Option<usize>, write: Option<PathBuf>) -> Result<Options, ErrorBody> {
    let filter = filter.map(Filter::parse).transpose().map_err(|error| {
        ErrorBody::new(ErrorCode::Usage, error.to_string()).hint("as `udp and port 53` or `src net 10.0.0.0/8 and greater 600`")
    })?;
    let export = match write {
        None => None,
        Some(path) => {
            let format = Format::of(&path).ok_or_else(|| {
                ErrorBody::new(ErrorCode::Usage, format!("{} says no format that can be written", path.display()))
                    .hint("end its name in .pcapng, .csv or .json")
            })?;
            Some((path, format))
        }
    };
    Ok(Options { filter, top: top.unwrap_or(TOP).min(TOP_MAX), export })
}

/// What the packets of a capture are. Ends early once `abandoned` is cancelled.
///
/// # Errors
/// Nothing can be read, the export cannot be written, or it was abandoned.
pub fn packets(path: &Path, options: &Options, abandoned: &CancellationToken) -> Result<Packets, Failure> {
    analyse(path, options, abandoned)
}

/// What would have been told, had the file's content happened live. A capture that breaks gives what stands before that
/// place, and `error`. Ends early once `abandoned` is cancelled.
///
/// # Errors
/// It cannot be read, is nothing that we know, or was abandoned.
pub fn replay(path: &Path, warm_up: Duration, abandoned: &CancellationToken) -> Result<Findings, ErrorBody> {
    let capture = open(path).map_err(CaptureError::Read).and_then(Capture::open);
    match capture {
        Ok(capture) => Ok(replay_capture(path, capture, warm_up, abandoned)?),
        Err(error @ CaptureError::Compressed(_)) => Err(Failure::Read { path: path.into(), source: error }.into()),
        Err(_) => {
            let findings = Recording::read(path)?.findings(warm_up, || !abandoned.is_cancelled());
            still_wanted(abandoned)?;
            Ok(Findings { findings, error: None })
        }
    }
}

fn replay_capture(path: &Path, mut capture: Capture<File>, warm_up: Duration, abandoned: &CancellationToken) -> Result<Findings, Failure> {
    let mut heard = Heard::new();
    let error = loop {
        still_wanted(abandoned)?;
        match capture.next_packet() {
            Ok(Some(packet)) => heard.packet(&packet, warm_up),
            Ok(None) => break None,
            Err(error) => break Some(broken(path, &error)),
        }
    };
    Ok(Findings { findings: heard.findings(warm_up), error })
}

/// How unlike the rows before it each row of a CSV is. Ends early once `abandoned` is cancelled.
///
/// # Errors
/// It cannot be read, is no series, or was abandoned.
pub fn scores(path: &Path, abandoned: &CancellationToken) -> Result<Scores, ErrorBody> {
    let scores = Recording::read(path)?.scores(|| !abandoned.is_cancelled())?;
    still_wanted(abandoned)?;
    Ok(Scores { scores })
}

fn still_wanted(abandoned: &CancellationToken) -> Result<(), Failure> {
    if abandoned.is_cancelled() { Err(Failure::Abandoned) } else { Ok(()) }
}

impl From<Failure> for ErrorBody {
    fn from(failure: Failure) -> Self {
        let hint = match &failure {
            Failure::Abandoned => return Self::new(ErrorCode::Cancelled, failure.to_string()).hint("ask again"),
            Failure::Same(_) => return Self::new(ErrorCode::Usage, failure.to_string()).hint("name another file to write to"),
            Failure::Open { .. } => "name a capture that you may read",
            Failure::Read { .. } => "pcap and pcapng are read, as tcpdump and Wireshark write them",
            Failure::Write { .. } => "name a file in a folder that you may write",
        };
        Self::new(ErrorCode::LocalFile, with_causes(&failure)).hint(hint)
    }
}

impl From<ReplayError> for ErrorBody {
    fn from(error: ReplayError) -> Self {
        let hint = "a Network.csv, a CSV with the columns timestamp and value, and a capture can be judged";
        Self::new(ErrorCode::LocalFile, with_causes(&error)).hint(hint)
    }
}

impl From<HistoryError> for ErrorBody {
    fn from(error: HistoryError) -> Self {
        let hint = "where monitor.db in the state folder is damaged, remove it: it holds measurements only";
        Self::new(ErrorCode::LocalFile, with_causes(&error)).hint(hint)
    }
}

/// The error and what stands behind it, each once.
fn with_causes(error: &dyn std::error::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_wrongly_is_told_with_what_would_do() {
        let bad_filter = options(Some("src"), None, None).unwrap_err();
        let bad_name = options(None, None, Some("/tmp/x.txt".into())).unwrap_err();

        assert_eq!((bad_filter.code, bad_name.code), (ErrorCode::Usage, ErrorCode::Usage));
        assert!(bad_filter.message.contains("character") && bad_name.hint.contains(".pcapng"));
        assert_eq!(options(None, Some(usize::MAX), None).unwrap().top, TOP_MAX);
    }

    #[test]
    fn a_file_that_is_not_there_is_told_with_its_cause() {
        let capture: ErrorBody = packets(Path::new("/nowhere.pcap"), &Options::default(), &CancellationToken::new()).unwrap_err().into();
        let recording = scores(Path::new("/nowhere.csv"), &CancellationToken::new()).unwrap_err();

        for error in [capture, recording] {
            assert_eq!(error.code, ErrorCode::LocalFile);
            assert!(error.message.contains("/nowhere.") && error.message.contains("No such file"), "{}", error.message);
        }
    }

    #[test]
    fn what_is_no_file_is_refused_and_keeps_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).expect("a pipe");
        let here = CancellationToken::new();

        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            let packets = packets(path, &Options::default(), &here).map_err(ErrorBody::from).expect_err("no file");
            let ends = [packets, replay(path, Duration::ZERO, &here).expect_err("no file"), scores(path, &here).expect_err("no file")];
            for error in ends {
                assert!(error.code == ErrorCode::LocalFile && error.message.contains("a pipe or a device"), "{error:?}");
            }
        }
    }

    #[test]
    fn what_nobody_waits_for_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let (capture, series) = (folder.path().join("a.pcap"), folder.path().join("a.csv"));
        let header = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
        std::fs::write(&capture, header).expect("written");
        std::fs::write(&series, "timestamp,value\n2025-01-01 00:00:00,1\n").expect("written");
        let (here, gone) = (CancellationToken::new(), CancellationToken::new());
        gone.cancel();

        assert!(packets(&capture, &Options::default(), &here).is_ok() && replay(&capture, Duration::ZERO, &here).is_ok());
        assert!(scores(&series, &here).is_ok() && replay(&series, Duration::ZERO, &here).is_ok());
        assert!(matches!(packets(&capture, &Options::default(), &gone), Err(Failure::Abandoned)));
        let ends =
            [replay(&capture, Duration::ZERO, &gone).err(), replay(&series, Duration::ZERO, &gone).err(), scores(&series, &gone).err()];
        assert!(ends.iter().all(|end| end.as_ref().is_some_and(|error| error.code == ErrorCode::Cancelled)), "{ends:?}");
    }
}
