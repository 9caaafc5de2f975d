//! Files instead of the network: a capture counted, a recording judged. Blocks for as long as that takes, and touches
//! nothing of the running monitor.

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

/// What the packets of a capture are.
///
/// # Errors
/// Nothing can be read, or the export cannot be written.
pub fn packets(path: &Path, options: &Options) -> Result<Packets, Failure> {
    analyse(path, options)
}

/// What would have been told, had the file's content happened live. A capture that breaks gives what stands before that
/// place, and `error`.
///
/// # Errors
/// It cannot be read, or is nothing that we know.
pub fn replay(path: &Path, warm_up: Duration) -> Result<Findings, ErrorBody> {
    let capture = File::open(path).map_err(CaptureError::Read).and_then(Capture::open);
    match capture {
        Ok(capture) => Ok(replay_capture(path, capture, warm_up)),
        Err(error @ CaptureError::Compressed(_)) => Err(Failure::Read { path: path.into(), source: error }.into()),
        Err(_) => Ok(Findings { findings: Recording::read(path)?.findings(warm_up), error: None }),
    }
}

fn replay_capture(path: &Path, mut capture: Capture<File>, warm_up: Duration) -> Findings {
    let mut heard = Heard::default();
    let error = loop {
        match capture.next_packet() {
            Ok(Some(packet)) => heard.packet(&packet, warm_up),
            Ok(None) => break None,
            Err(error) => break Some(broken(path, &error)),
        }
    };
    Findings { findings: heard.findings(warm_up), error }
}

/// How unlike the rows before it each row of a CSV is.
///
/// # Errors
/// It cannot be read, or is no series.
pub fn scores(path: &Path) -> Result<Scores, ReplayError> {
    Ok(Scores { scores: Recording::read(path)?.scores()? })
}

impl From<Failure> for ErrorBody {
    fn from(failure: Failure) -> Self {
        let hint = match &failure {
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
        let capture: ErrorBody = packets(Path::new("/nowhere.pcap"), &Options::default()).unwrap_err().into();
        let recording: ErrorBody = scores(Path::new("/nowhere.csv")).unwrap_err().into();

        for error in [capture, recording] {
            assert_eq!(error.code, ErrorCode::LocalFile);
            assert!(error.message.contains("/nowhere.") && error.message.contains("No such file"), "{}", error.message);
        }
    }
}
