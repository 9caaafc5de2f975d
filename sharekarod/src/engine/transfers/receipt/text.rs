//! The text of a receipt: JSON with its fields in one order, written and read file by file, as it may name a million.
//!
//! What is signed is the BLAKE3 hash (derive-key mode, context "sharekaro 2026 receipt v1") of: the sender's key, the
//! receiver's key, the time as it stands in the receipt, and for each file its path, its size as eight bytes
//! little-endian and its 32-byte hash; texts have their length in front, eight bytes little-endian. The hash alone is
//! signed, so that a receipt over a million files is checked in one pass.

use std::{
    cell::Cell,
    fmt,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::Path,
    rc::Rc,
};

use data_encoding::HEXLOWER;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use sharekaro_proto::{
    DeviceId,
    control::transfer::{Receipt, ReceiptFile},
    nouns::text::lossless,
};

use crate::{
    engine::transfers::ending,
    files::{self, Manifest, Staging},
    identity,
};

/// The most text of one file of a receipt that is read: the longest path that Linux takes, every byte of it escaped.
const ONE_FILE_MAX: usize = 32 << 10;

/// What is signed, in the making.
struct Digest(blake3::Hasher);

impl Digest {
    fn new(from: DeviceId, to: DeviceId, at: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("sharekaro 2026 receipt v1");
        hasher.update(from.as_bytes()).update(to.as_bytes());
        let mut digest = Self(hasher);
        digest.text(at);
        digest
    }

    fn text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }

    fn file(&mut self, file: &ReceiptFile) {
        self.text(&file.path);
        self.0.update(&file.size.to_le_bytes());
        self.text(&file.hash);
    }

    fn finish(&self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Whether the receiver that it names signed exactly this.
pub(super) fn is_valid(receipt: &Receipt) -> bool {
    let mut digest = Digest::new(receipt.from, receipt.to, &receipt.at);
    receipt.files.iter().for_each(|file| digest.file(file));
    is_signed(receipt.to, &digest.finish(), &receipt.signature)
}

/// What a receipt says beside its files.
pub(super) struct Head {
    pub(super) from: DeviceId,
    pub(super) to: DeviceId,
    signature: String,
    digest: [u8; 32],
}

impl Head {
    /// Whether the receiver that it names signed exactly this.
    pub(super) fn is_true(&self) -> bool {
        is_signed(self.to, &self.digest, &self.signature)
    }
}

fn is_signed(by: DeviceId, digest: &[u8; 32], signature: &str) -> bool {
    identity::verify(by, digest, &HEXLOWER.decode(signature.as_bytes()).unwrap_or_default())
}

/// Reads a receipt, whoever it is from, file by file.
///
/// # Errors
/// It is no receipt, or has its fields in another order than `write`.
pub(super) fn read(text: impl Read, each: impl FnMut(ReceiptFile)) -> serde_json::Result<Head> {
    let budget = Rc::new(Cell::new(ONE_FILE_MAX));
    let text = Thrifty { text: BufReader::new(text), budget: Rc::clone(&budget) };
    let mut json = serde_json::Deserializer::from_reader(text);
    let head = json.deserialize_map(Fields { each, budget })?;
    json.end()?;
    Ok(head)
}

/// Stops a text in which one file takes more than its share.
struct Thrifty<R> {
    text: R,
    budget: Rc<Cell<usize>>,
}

impl<R: Read> Read for Thrifty<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let most = to.len().min(self.budget.get());
        if most == 0 && !to.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "one file takes too much room"));
        }
        let count = self.text.read(&mut to[..most])?;
        self.budget.set(self.budget.get() - count);
        Ok(count)
    }
}

struct Fields<F> {
    each: F,
    budget: Rc<Cell<usize>>,
}

impl<'de, F: FnMut(ReceiptFile)> Visitor<'de> for Fields<F> {
    type Value = Head;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a receipt")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        let from = field(&mut map, "from")?;
        let to = field(&mut map, "to")?;
        let at: String = field(&mut map, "at")?;
        let mut digest = Digest::new(from, to, &at);
        named(&mut map, "files")?;
        map.next_value_seed(Files { digest: &mut digest, each: self.each, budget: &self.budget })?;
        let signature = field(&mut map, "signature")?;
        if let Some(more) = map.next_key::<String>()? {
            return Err(A::Error::custom(format!("a receipt has no {more:?}")));
        }
        Ok(Head { from, to, signature, digest: digest.finish() })
    }
}

fn field<'de, A: MapAccess<'de>, T: serde::Deserialize<'de>>(map: &mut A, name: &'static str) -> Result<T, A::Error> {
    named(map, name)?;
    map.next_value()
}

fn named<'de, A: MapAccess<'de>>(map: &mut A, name: &'static str) -> Result<(), A::Error> {
    match map.next_key::<String>()? {
        Some(key) if key == name => Ok(()),
        _ => Err(A::Error::missing_field(name)),
    }
}

struct Files<'a, F> {
    digest: &'a mut Digest,
    each: F,
    budget: &'a Cell<usize>,
}

impl<'de, F: FnMut(ReceiptFile)> DeserializeSeed<'de> for Files<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(ReceiptFile)> Visitor<'de> for Files<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the files of a receipt")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(file) = seq.next_element::<ReceiptFile>()? {
            self.budget.set(ONE_FILE_MAX);
            self.digest.file(&file);
            (self.each)(file);
        }
        Ok(())
    }
}

/// Why a receipt could not be written.
pub(super) enum WriteError {
    Files(files::Error),
    Io(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<E: Into<files::Error>> From<E> for WriteError {
    fn from(error: E) -> Self {
        Self::Files(error.into())
    }
}

/// Writes and signs the receipt for what a cage holds.
pub(super) fn write(
    path: &Path,
    from: DeviceId,
    to: DeviceId,
    at: &str,
    staging: &Staging,
    sign: impl Fn(&[u8]) -> [u8; 64],
) -> Result<(), WriteError> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let partial = path.with_extension("part");
    let mut out = BufWriter::new(File::create(&partial)?);
    let mut digest = Digest::new(from, to, at);
    write!(out, "{{\"from\":\"{from}\",\"to\":\"{to}\",\"at\":\"{at}\",\"files\":[")?;
    let mut first = true;
    for file in stored(staging) {
        let file = file.map_err(WriteError::Files)?;
        digest.file(&file);
        if !std::mem::take(&mut first) {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut out, &file).map_err(io::Error::from)?;
    }
    write!(out, "],\"signature\":\"{}\"}}", HEXLOWER.encode(&sign(&digest.finish())))?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(settle(&file, &partial, path)?)
}

/// Gives a receipt its name, durably: the end of its transfer is kept next, and without it nobody believes that end.
pub(super) fn settle(file: &File, partial: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(partial, path)?;
    // Renamed first, one sync is enough for both on most file systems, and the folder's costs nothing then.
    file.sync_all()?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// The files of a transfer that are here, with their hashes.
fn stored(staging: &Staging) -> impl Iterator<Item = Result<ReceiptFile, files::Error>> + '_ {
    let mut folder = Folder { no: 0, path: String::new() };
    staging.manifest().iter_from(1).filter_map(move |entry| {
        let (no, item) = match entry {
            Ok(entry) => entry,
            Err(e) => return Some(Err(e.into())),
        };
        if !item.is_file() || matches!(staging.state(no), files::EntryState::Skipped(_)) {
            return None;
        }
        let hash = HEXLOWER.encode(&staging.hash(no).unwrap_or_default());
        let path = folder.path_in(staging.manifest(), item.parent).map(|folder| folder.to_owned() + &lossless(item.name.as_bytes()));
        Some(path.map(|path| ReceiptFile { path, size: item.size, hash }))
    })
}

/// The folder of the last file: mostly that of the next one.
struct Folder {
    no: u32,
    /// With a slash at its end; empty at the top.
    path: String,
}

impl Folder {
    fn path_in(&mut self, manifest: &Manifest, no: u32) -> Result<&str, files::Error> {
        if self.no != no {
            self.path = if no == 0 { String::new() } else { ending::path_of(manifest, no)? + "/" };
            self.no = no;
        }
        Ok(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    /// All of it at once.
    fn read_all(text: &[u8]) -> serde_json::Result<(Head, Vec<ReceiptFile>)> {
        let mut files = Vec::new();
        let head = read(text, |file| files.push(file))?;
        Ok((head, files))
    }

    fn signed(identity: &Identity) -> Receipt {
        let files = vec![
            ReceiptFile { path: "a/b.txt".into(), size: 5, hash: "0".repeat(64) },
            ReceiptFile { path: "c".into(), size: 0, hash: "1".repeat(64) },
        ];
        let mut receipt = Receipt {
            from: DeviceId::from_bytes([7; 32]),
            to: identity.id(),
            at: "2026-11-21T00:00:00Z".into(),
            files,
            signature: String::new(),
        };
        let mut digest = Digest::new(receipt.from, receipt.to, &receipt.at);
        receipt.files.iter().for_each(|file| digest.file(file));
        receipt.signature = HEXLOWER.encode(&identity.sign(&digest.finish()));
        receipt
    }

    #[test]
    fn a_true_receipt_is_valid_and_every_forgery_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let good = signed(&Identity::load_or_create(dir.path()).unwrap());
        let mut forged: Vec<Receipt> = Vec::new();
        let mut forge = |change: &dyn Fn(&mut Receipt)| {
            let mut bad = good.clone();
            change(&mut bad);
            forged.push(bad);
        };
        forge(&|r| r.from = DeviceId::from_bytes([8; 32]));
        forge(&|r| r.to = DeviceId::from_bytes([8; 32]));
        forge(&|r| r.at = "2026-11-21T00:00:01Z".into());
        forge(&|r| r.files[0].size = 6);
        forge(&|r| r.files[0].path = "a/c.txt".into());
        forge(&|r| r.files[0].hash = "2".repeat(64));
        forge(&|r| drop(r.files.pop()));
        forge(&|r| r.files.swap(0, 1));
        forge(&|r| r.signature = "0".repeat(128));
        forge(&|r| r.signature.clear());

        assert!(is_valid(&good));
        for bad in forged {
            assert!(!is_valid(&bad), "{bad:?}");
        }
    }

    #[test]
    fn a_receipt_is_read_file_by_file_as_it_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut receipt = signed(&Identity::load_or_create(dir.path()).unwrap());
        let text = serde_json::to_vec(&receipt).unwrap();

        let (head, files) = read_all(&text).unwrap();

        assert!(head.is_true());
        assert_eq!((head.from, head.to, &files), (receipt.from, receipt.to, &receipt.files));
        receipt.files[0].size = 6;
        assert!(!read_all(&serde_json::to_vec(&receipt).unwrap()).unwrap().0.is_true());
        for cut in 0..text.len() {
            assert!(read_all(&text[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_receipt_with_another_order_or_a_file_without_end_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let receipt = signed(&Identity::load_or_create(dir.path()).unwrap());
        let text = serde_json::to_string(&receipt).unwrap();
        let from = format!("\"from\":\"{}\",", receipt.from);

        assert!(read_all(format!("{}{from}}}", text.replace(&from, "").trim_end_matches('}')).as_bytes()).is_err());
        assert!(read_all(text.replace("a/b.txt", &"a".repeat(ONE_FILE_MAX)).as_bytes()).is_err());
        assert!(read_all((text.clone() + "x").as_bytes()).is_err());
        assert!(read_all(text.replace("a/b.txt", &"\\u0001".repeat(4096)).as_bytes()).is_ok());
    }
}
