//! The kernel's totals, from `/proc/net/dev` of our own network namespace: one small file for all interfaces.
//!
//! sysfs, and with it every library that reads there, belongs to the namespace that mounted it. Whether an interface can
//! carry packets does not stand here.

use std::{
    fs::File,
    io::{Read, Seek},
    path::{Path, PathBuf},
};

use sharekaro_proto::control::net::Counters;
use thiserror::Error;

use crate::monitor::sample::Reading;

/// The kernel's table is a line an interface; this holds thousands.
const LARGEST: u64 = 1 << 20;

/// The counters cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file does not open or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what we know.
    #[error("{} has another form than we know", .0.display())]
    Form(PathBuf),
}

/// Keeps the files open: reading again is a seek and a read.
#[derive(Debug)]
pub struct Kernel {
    directory: PathBuf,
    totals: File,
    text: Vec<u8>,
}

impl Kernel {
    /// Our namespace's table.
    pub fn open() -> Result<Self, ReadError> {
        Self::open_in(Path::new("/proc/self/net"))
    }

    fn open_in(directory: &Path) -> Result<Self, ReadError> {
        let path = directory.join("dev");
        let totals = File::open(&path).map_err(|source| ReadError::Read { path, source })?;
        Ok(Self { directory: directory.into(), totals, text: Vec::new() })
    }

    /// The totals of every interface, in the kernel's order.
    pub fn read(&mut self) -> Result<Vec<Reading>, ReadError> {
        let path = || self.directory.join("dev");
        self.text.clear();
        let read = self.totals.rewind().and_then(|()| (&self.totals).take(LARGEST).read_to_end(&mut self.text));
        read.map_err(|source| ReadError::Read { path: path(), source })?;
        parse(&self.text).ok_or_else(|| ReadError::Form(path()))
    }
}

fn parse(text: &[u8]) -> Option<Vec<Reading>> {
    let mut lines = text.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
    lines.next().filter(|title| title.starts_with(b"Inter-|"))?;
    lines.next()?;
    lines.map(|text| std::str::from_utf8(text).map_or_else(|_| line(&text.escape_ascii().to_string()), line)).collect()
}

/// A name need not be UTF-8: other bytes stand in it as `\xff`.
/// `name: bytes packets errs drop fifo frame compressed multicast` received, then `bytes packets errs drop ...` sent.
fn line(line: &str) -> Option<Reading> {
    let (name, numbers) = line.rsplit_once(':')?;
    let numbers: Vec<u64> = numbers.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let number = |place: usize| numbers.get(place).copied();
    let counters = Counters {
        bytes_received: number(0)?,
        packets_received: number(1)?,
        errors_received: number(2)?,
        drops_received: number(3)?,
        bytes_sent: number(8)?,
        packets_sent: number(9)?,
        errors_sent: number(10)?,
        drops_sent: number(11)?,
    };
    Some(Reading { interface: name.trim().into(), up: true, counters })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\nwlan0:123456789012    2000    3    4    0     0          0         7      555      66    7    8    0     0       0          0\n";

    #[test]
    fn the_table_is_read_as_the_kernel_writes_it() {
        let readings = parse(DEV.as_bytes()).expect("the table above");

        assert_eq!(&*readings[1].interface, "wlan0");
        let c = readings[1].counters;
        assert_eq!((c.bytes_received, c.packets_received, c.errors_received, c.drops_received), (123_456_789_012, 2000, 3, 4));
        assert_eq!((c.bytes_sent, c.packets_sent, c.errors_sent, c.drops_sent), (555, 66, 7, 8));
        assert!(parse(b"what is this\n").is_none());
        assert!(parse(DEV.replace("2000", "many").as_bytes()).is_none());
    }

    #[test]
    fn a_name_that_is_no_text_hides_no_other_interface() {
        let named =
            |name: &[u8]| DEV.as_bytes().split_at(DEV.find("wlan0").expect("above")).0.iter().chain(name).copied().collect::<Vec<_>>();
        let text = [&named(b"e\xfft\xfe")[..], &DEV.as_bytes()[DEV.find(":123").expect("above")..]].concat();

        let readings = parse(&text).expect("a table");

        assert_eq!((&*readings[0].interface, &*readings[1].interface), ("lo", "e\\xfft\\xfe"));
        assert_eq!(readings[1].counters.bytes_sent, 555);
    }

    #[test]
    fn our_own_kernel_can_be_read_again_and_again() {
        let mut kernel = Kernel::open().expect("Linux");

        let first = kernel.read().expect("readable");
        let second = kernel.read().expect("readable");

        assert!(first.iter().any(|reading| &*reading.interface == "lo"));
        assert_eq!(first.len(), second.len());
    }
}
