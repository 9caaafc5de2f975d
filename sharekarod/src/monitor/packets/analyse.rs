//! One capture from its file to its report: read, dissect, choose, count, judge, perhaps write.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use sharekaro_proto::{
    ErrorBody,
    control::{error::ErrorCode, packets::Packets},
};

use tokio_util::sync::CancellationToken;

use super::{
    captures::{Capture, CaptureError, Packet},
    dissect::Dissection,
    export::{Export, Format},
    filter::Filter,
    forest::judge::Judge,
    open,
    stats::Stats,
};

/// So many talkers, flows, names and abnormal packets are told where nobody says how many.
pub const TOP: usize = 20;

/// Packets between two looks at whether anybody still waits.
const LOOK_EVERY: u64 = 4096;

/// What is asked of a capture.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which packets; `None` is all.
    pub filter: Option<Filter>,
    /// The length of each list; where it is 0, packets are counted and not judged.
    pub top: usize,
    /// Where the chosen packets are written, in which format.
    pub export: Option<(PathBuf, Format)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { filter: None, top: TOP, export: None }
    }
}

/// Why there is no report at all.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing of it can be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: CaptureError,
    },
    /// What was chosen would be written over what is read.
    #[error("{} is the capture that is read: writing there would destroy it", .0.display())]
    Same(PathBuf),
    /// Nobody waits for it any more.
    #[error("whoever asked has gone")]
    Abandoned,
    /// What was chosen cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Reads a capture to its end. Blocks for as long as that takes: call it where that is allowed.
///
/// A capture that breaks after its first packet gives a report of what came before, with `error` in it. Once `abandoned` is
/// cancelled it ends soon; an export then holds what was chosen up to there.
///
/// # Errors
/// Where nothing can be read, the export cannot be written, or it was abandoned.
pub fn analyse(path: &Path, options: &Options, abandoned: &CancellationToken) -> Result<Packets, Failure> {
    let source = open(path).map_err(|source| Failure::Open { path: path.into(), source })?;
    if let Some((to, _)) = options.export.as_ref().filter(|(to, _)| is_at(&source, to)) {
        return Err(Failure::Same(to.clone()));
    }
    let unreadable = |source| Failure::Read { path: path.into(), source };
    let mut capture = Capture::open(source).map_err(unreadable)?;
    let mut run = Run::begin(options)?;
    let end = run.read(&mut capture, abandoned)?;
    match end {
        Some(error) if run.read == 0 => Err(unreadable(error)),
        end => run.finish(end.map(|error| broken(path, &error))),
    }
}

/// Whether that path leads to this very file, through whatever links. One that leads nowhere does not.
fn is_at(file: &File, path: &Path) -> bool {
    let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    std::fs::metadata(path).ok().map(place).is_some_and(|there| file.metadata().is_ok_and(|here| place(here) == there))
}

/// What is said of a capture that ends early.
pub(in crate::monitor) fn broken(path: &Path, error: &CaptureError) -> ErrorBody {
    let body = ErrorBody::new(ErrorCode::Partial, format!("cannot read all of {}: {error}", path.display()));
    body.hint("What stands before that place is counted.")
}

/// A capture being counted, from a file or live.
pub struct Run<'o> {
    options: &'o Options,
    stats: Stats,
    /// None where no list is wanted: judging costs more than counting.
    judge: Option<Judge>,
    export: Option<(&'o Path, Export<std::io::BufWriter<File>>)>,
    /// Packets read, chosen or not: the number of the latest.
    read: u64,
}

impl<'o> Run<'o> {
    /// Begins, with an empty export where one is asked for.
    ///
    /// # Errors
    /// Where that cannot be made.
    pub fn begin(options: &'o Options) -> Result<Self, Failure> {
        let export = match &options.export {
            None => None,
            Some((path, format)) => {
                let created = Export::create(path, *format).map_err(|source| Failure::Write { path: path.clone(), source })?;
                Some((path.as_path(), created))
            }
        };
        Ok(Self { options, stats: Stats::default(), judge: (options.top > 0).then(Judge::default), export, read: 0 })
    }

    /// Takes a packet; returns whether it was chosen.
    ///
    /// # Errors
    /// Where it cannot be written.
    #[inline]
    pub fn take(&mut self, packet: &Packet<'_>) -> Result<bool, Failure> {
        self.read += 1;
        let dissection = Dissection::of(packet);
        if self.options.filter.as_ref().is_some_and(|filter| !filter.matches(&dissection, packet.length)) {
            return Ok(false);
        }
        let before = self.stats.add(self.read, packet, &dissection);
        if let Some(judge) = &mut self.judge {
            judge.observe(self.read, packet, &dissection, &before, self.stats.share(dissection.last));
        }
        if let Some((path, export)) = &mut self.export {
            export.add(packet, &dissection).map_err(|source| Failure::Write { path: path.to_path_buf(), source })?;
        }
        Ok(true)
    }

    /// Takes all packets of a capture; returns how it breaks, where it does.
    fn read<R: Read>(&mut self, capture: &mut Capture<R>, abandoned: &CancellationToken) -> Result<Option<CaptureError>, Failure> {
        loop {
            if self.read.is_multiple_of(LOOK_EVERY) && abandoned.is_cancelled() {
                return Err(Failure::Abandoned);
            }
            match capture.next_packet() {
                Ok(Some(packet)) => self.take(&packet)?,
                Ok(None) => return Ok(None),
                Err(error) => return Ok(Some(error)),
            };
        }
    }

    /// The report.
    ///
    /// # Errors
    /// Where the export cannot be written to its end.
    pub fn finish(self, error: Option<ErrorBody>) -> Result<Packets, Failure> {
        if let Some((path, export)) = self.export {
            export.finish().map_err(|source| Failure::Write { path: path.to_path_buf(), source })?;
        }
        let abnormal = self.judge.map(|judge| judge.abnormal(&self.stats, self.options.top)).unwrap_or_default();
        Ok(Packets { abnormal, error, ..self.stats.report(self.options.top) })
    }
}
