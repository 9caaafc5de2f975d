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
        end => {
            run.close()?;
            Ok(run.report(end.map(|error| broken(path, &error))))
        }
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
        if self.options.filter.as_ref().is_some_and(|filter| !filter.matches(&dissection, packet.on_the_wire())) {
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

    /// Writes the export to its end.
    ///
    /// # Errors
    /// Where that cannot be done. What was counted stays.
    pub fn close(&mut self) -> Result<(), Failure> {
        let Some((path, export)) = self.export.take() else { return Ok(()) };
        export.finish().map(drop).map_err(|source| Failure::Write { path: path.to_path_buf(), source })
    }

    /// What was counted, and why it is not all.
    pub fn report(self, error: Option<ErrorBody>) -> Packets {
        let abnormal = self.judge.map(|judge| judge.abnormal(&self.stats, self.options.top)).unwrap_or_default();
        Packets { abnormal, error, ..self.stats.report(self.options.top) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A pcap with this packet, so many times.
    fn capture(packet: &[u8], times: usize) -> Vec<u8> {
        let header = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
        let size = u32::try_from(packet.len()).expect("a packet");
        let record = [&[1_750_000_000, 0, size, size].map(u32::to_le_bytes).concat()[..], packet].concat();
        [header, record.repeat(times)].concat()
    }

    fn written_to(path: PathBuf) -> Options {
        Options { export: Some((path, Format::Pcapng)), ..Options::default() }
    }

    #[test]
    fn what_is_read_is_not_written_over_whatever_it_is_called_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let bytes = capture(&[0; 60], 3);
        fs::write(at("a.pcapng"), &bytes).expect("written");
        std::os::unix::fs::symlink("a.pcapng", at("soft.pcapng")).expect("a link");
        fs::hard_link(at("a.pcapng"), at("hard.pcapng")).expect("a link");

        for (from, to) in
            [("a.pcapng", "a.pcapng"), ("a.pcapng", "soft.pcapng"), ("soft.pcapng", "hard.pcapng"), ("hard.pcapng", "a.pcapng")]
        {
            let refused = analyse(&at(from), &written_to(at(to)), &CancellationToken::new());

            assert!(matches!(refused, Err(Failure::Same(_))), "{from} to {to}: {refused:?}");
            assert!(fs::read(at("a.pcapng")).expect("still there") == bytes, "{from} to {to}");
        }
        assert!(analyse(&at("a.pcapng"), &written_to(at("b.pcapng")), &CancellationToken::new()).is_ok());
    }

    #[test]
    fn what_cannot_be_written_is_still_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let full = folder.path().join("full.pcapng");
        std::os::unix::fs::symlink("/dev/full", &full).expect("a link");
        let bytes = capture(&[0; 60], 5);
        let options = written_to(full);
        let (mut capture, mut run) = (Capture::open(bytes.as_slice()).expect("a capture"), Run::begin(&options).expect("begun"));

        let read = run.read(&mut capture, &CancellationToken::new());
        let closed = run.close();

        assert!(read.is_ok() && matches!(closed, Err(Failure::Write { .. })), "{closed:?}");
        assert_eq!(run.report(None).packets, 5);
    }
}
