//! Chosen packets as a file: pcapng, CSV or JSON, by the ending of its name.
//!
//! The capture goes out as it came in: link types, times to the nanosecond, cut packets. In a table nothing that somebody
//! sent is a formula: a cell that a spreadsheet would run begins with an apostrophe.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use serde::Serialize;

use super::{
    captures::Packet,
    dissect::{Dissection, protocol::Protocol},
    stats::moment,
};

/// The columns of a table, which are the fields of an object too.
const COLUMNS: &str = "time,source,source_port,destination,destination_port,protocol,length,name";

/// More link types than there are in one capture, each an interface in the file.
const LINKS_MAX: usize = 65_535;

/// What a name's ending asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Packets as they are.
    Pcapng,
    /// One row a packet.
    Csv,
    /// An array with one object a packet.
    Json,
}

impl Format {
    /// The format that the ending of a name says; `None` for another ending.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "pcapng" => Some(Self::Pcapng),
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Packets being written. `finish` is needed for a whole file.
pub struct Export<W: Write> {
    to: W,
    format: Format,
    links: Vec<u32>,
    rows: u64,
}

/// A packet as a row.
#[derive(Serialize)]
struct Row {
    time: String,
    source: String,
    source_port: Option<u16>,
    destination: String,
    destination_port: Option<u16>,
    protocol: &'static str,
    length: u32,
    name: Option<String>,
}

impl Export<BufWriter<File>> {
    /// Makes the file, or empties it.
    ///
    /// # Errors
    /// Where it cannot be made or written.
    pub fn create(path: &Path, format: Format) -> io::Result<Self> {
        Self::new(BufWriter::new(File::create(path)?), format)
    }
}

impl<W: Write> Export<W> {
    /// Writes the beginning.
    ///
    /// # Errors
    /// As the writer's.
    pub fn new(mut to: W, format: Format) -> io::Result<Self> {
        match format {
            Format::Pcapng => to.write_all(&SECTION)?,
            Format::Csv => writeln!(to, "{COLUMNS}")?,
            Format::Json => write!(to, "[")?,
        }
        Ok(Self { to, format, links: Vec::new(), rows: 0 })
    }

    /// Writes a packet.
    ///
    /// # Errors
    /// As the writer's.
    pub fn add(&mut self, packet: &Packet<'_>, dissection: &Dissection<'_>) -> io::Result<()> {
        match self.format {
            Format::Pcapng => self.block(packet)?,
            Format::Csv => self.line(&Row::of(packet, dissection))?,
            Format::Json => {
                write!(self.to, "{}", if self.rows == 0 { "\n" } else { ",\n" })?;
                serde_json::to_writer(&mut self.to, &Row::of(packet, dissection))?;
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Writes the end, and waits until the system has all of it.
    ///
    /// # Errors
    /// As the writer's.
    pub fn finish(mut self) -> io::Result<W> {
        if self.format == Format::Json {
            writeln!(self.to, "\n]")?;
        }
        self.to.flush()?;
        Ok(self.to)
    }

    fn line(&mut self, row: &Row) -> io::Result<()> {
        let port = |port: Option<u16>| port.map_or_else(String::new, |port| port.to_string());
        writeln!(
            self.to,
            "{},{},{},{},{},{},{},{}",
            row.time,
            row.source,
            port(row.source_port),
            row.destination,
            port(row.destination_port),
            row.protocol,
            row.length,
            cell(row.name.as_deref().unwrap_or_default())
        )
    }

    /// An enhanced packet block, after its interface's where the link type is new.
    fn block(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let number = match self.links.iter().position(|link| *link == packet.link) {
            Some(at) => at,
            None => self.interface(packet.link)?,
        };
        let captured = packet.data.len();
        let padding = captured.next_multiple_of(4) - captured;
        let size = number32(32 + captured + padding)?;
        let time = u64::try_from(packet.time).unwrap_or(0);
        let words = [6, size, number32(number)?, high(time), low(time), number32(captured)?, packet.length];
        for word in words {
            self.to.write_all(&word.to_le_bytes())?;
        }
        self.to.write_all(packet.data)?;
        self.to.write_all([0; 3].get(..padding).unwrap_or_default())?;
        self.to.write_all(&size.to_le_bytes())
    }

    /// An interface description block with nanoseconds; returns its number.
    fn interface(&mut self, link: u32) -> io::Result<usize> {
        if self.links.len() >= LINKS_MAX {
            return Err(io::Error::other("more link types than a capture can have"));
        }
        let link16 = u16::try_from(link).map_err(|_| io::Error::other(format!("link type {link} is none that pcapng can name")))?;
        let [a, b] = link16.to_le_bytes();
        self.to.write_all(&[1, 0, 0, 0, 32, 0, 0, 0, a, b, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0])?;
        self.links.push(link);
        Ok(self.links.len() - 1)
    }
}

/// A section header block of unknown length, least significant byte first.
const SECTION: [u8; 28] =
    [0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 28, 0, 0, 0];

impl Row {
    fn of(packet: &Packet<'_>, d: &Dissection<'_>) -> Self {
        Self {
            time: moment(packet.time).map_or_else(String::new, |time| time.to_string()),
            source: d.source.to_string(),
            source_port: d.ports.map(|ports| ports.0),
            destination: d.destination.to_string(),
            destination_port: d.ports.map(|ports| ports.1),
            protocol: d.last.map_or("", Protocol::name),
            length: packet.on_the_wire(),
            name: d.name.and_then(|source| source.read()),
        }
    }
}

/// A cell that is text to every spreadsheet (RFC 4180, OWASP's advice on CSV injection).
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let mark = if formula { "'" } else { "" };
    if formula || text.contains([',', '"', '\n', '\r', ';']) {
        return format!("\"{mark}{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

fn number32(value: usize) -> io::Result<u32> {
    u32::try_from(value).map_err(io::Error::other)
}

fn high(value: u64) -> u32 {
    u32::try_from(value >> 32).unwrap_or(u32::MAX)
}

fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{super::captures::Capture, *};

    fn write(format: Format, packets: &[Packet<'_>]) -> Vec<u8> {
        let mut export = Export::new(Vec::new(), format).unwrap();
        for packet in packets {
            export.add(packet, &Dissection::of(packet)).unwrap();
        }
        export.finish().unwrap()
    }

    #[test]
    fn a_capture_that_was_written_is_read_as_it_was() {
        let packets = [(1, &b"abcde"[..]), (101, b""), (1, b"xyz1")].map(|(link, data)| Packet {
            time: 1_750_000_000_123_456_789,
            link,
            big_endian: false,
            length: 60,
            data,
        });

        let file = write(Format::Pcapng, &packets);

        let mut capture = Capture::open(file.as_slice()).unwrap();
        for packet in &packets {
            assert_eq!(capture.next_packet().unwrap().as_ref(), Some(packet));
        }
        assert!(capture.next_packet().unwrap().is_none());
    }

    #[test]
    fn a_table_holds_no_formula() {
        for (name, want) in [
            ("=1+1", "\"'=1+1\""),
            ("@SUM(1)", "\"'@SUM(1)\""),
            ("a\"b,c", "\"a\"\"b,c\""),
            ("-2", "\"'-2\""),
            ("www.example.org", "www.example.org"),
        ] {
            assert_eq!(cell(name), want);
        }
    }

    #[test]
    fn every_packet_is_a_row_and_an_object() {
        let ip = [0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0x9c, 0x41, 0, 8, 0, 0];
        let packet = Packet { time: 1_750_000_000_000_000_000, link: 101, big_endian: false, length: 28, data: &ip };

        let table = String::from_utf8(write(Format::Csv, &[packet, packet])).unwrap();
        let array: Vec<serde_json::Value> = serde_json::from_slice(&write(Format::Json, &[packet, packet])).unwrap();
        let none: Vec<serde_json::Value> = serde_json::from_slice(&write(Format::Json, &[])).unwrap();

        let row = "2025-06-15T15:06:40Z,10.0.0.1,40000,10.0.0.2,40001,udp,28,";
        assert_eq!(table, format!("{COLUMNS}\n{row}\n{row}\n"));
        assert_eq!((array.len(), none.len()), (2, 0));
        assert_eq!(array[0]["protocol"], "udp");
    }

    #[test]
    fn the_ending_of_a_name_says_the_format() {
        assert_eq!(Format::of(Path::new("a/b.PCAPNG")), Some(Format::Pcapng));
        assert_eq!(Format::of(Path::new("b.pcap")), None);
        assert_eq!(Format::of(Path::new("b")), None);
    }
}
