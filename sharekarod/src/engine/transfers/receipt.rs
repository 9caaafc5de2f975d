//! Receipts: the receiver's signature over what came, when, and from whom.
//!
//! What is signed is the BLAKE3 hash (derive-key mode, context "sharekaro 2026 receipt v1") of: the sender's key, the
//! receiver's key, the time as it stands in the receipt, and for each file its path, its size as eight bytes
//! little-endian and its 32-byte hash; texts have their length in front, eight bytes little-endian. The hash alone is
//! signed, so that a receipt over a million files is checked in one pass.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode, TransferId, TransferKey,
    control::transfer::{Receipt, ReceiptFile, ReceiptVerdict},
    nouns::transfer::Direction,
    wire::{INLINE_RECEIPT_MAX, PAGE_MAX, ReceiptRequest, Reply, Request, Status, request},
};

use super::{pull, record::Record, table::not_found};
use crate::{
    engine::{Engine, clock, peers::serve::Answer},
    files::{self, Staging, Value},
    identity,
    net::{Body, Session},
};

/// The longest receipt that is taken from a peer: a million files with long paths.
const RECEIPT_MAX: usize = 512 << 20;

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
pub fn is_valid(receipt: &Receipt) -> bool {
    let mut digest = Digest::new(receipt.from, receipt.to, &receipt.at);
    receipt.files.iter().for_each(|file| digest.file(file));
    let signature = HEXLOWER.decode(receipt.signature.as_bytes()).unwrap_or_default();
    identity::verify(receipt.to, &digest.finish(), &signature)
}

impl Engine {
    pub(crate) fn receipt_path(&self, record: &Record) -> PathBuf {
        let side = if record.direction == Direction::Out { "out" } else { "in" };
        self.config().state_dir.join("receipts").join(format!("{}-{side}.json", record.key))
    }

    /// Writes and signs the receipt for what was stored. It is written file by file, as it may be long.
    pub(crate) async fn write_receipt(&self, record: &Record, staging: std::sync::Arc<Staging>) -> Result<(), pull::Stop> {
        let (path, from, to, engine) = (self.receipt_path(record), record.peer, self.id(), self.clone());
        let at = clock::timestamp(clock::now_ms()).to_string();
        pull::blocking(move || {
            write(&path, from, to, &at, &staging, |digest| engine.inner.identity.sign(digest)).map_err(|e| match e {
                WriteError::Files(e) => e.into(),
                WriteError::Io(e) => pull::Stop::Wait(
                    ErrorBody::new(ErrorCode::LocalFile, format!("cannot write the receipt: {e}"))
                        .hint("is there room in the state folder?"),
                ),
            })
        })
        .await
    }

    /// The receipt where it fits into `Complete`.
    pub(crate) fn short_receipt(&self, record: &Record) -> Vec<u8> {
        let path = self.receipt_path(record);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() <= INLINE_RECEIPT_MAX as u64 => std::fs::read(&path).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// A part of a receipt, for the sender.
    pub(crate) async fn serve_receipt(&self, session: &Session, asked: ReceiptRequest) -> Answer {
        let Some(key) = TransferKey::from_slice(&asked.key) else { return Answer::no(Status::Invalid, "a transfer key has 16 bytes") };
        let Some(record) = self.look(|state| state.transfers.by_key(Direction::In, session.peer(), key).cloned()) else {
            return Answer::no(Status::NotFound, "there is no such transfer here");
        };
        let path = self.receipt_path(&record);
        let read = tokio::task::spawn_blocking(move || read_part(&path, asked.from)).await;
        match read {
            Ok(Ok(part)) => Answer { body: part.into(), ..Answer::ok(None) },
            _ => Answer::no(Status::NotFound, "there is no receipt of it"),
        }
    }

    /// Takes the receiver's receipt, the short one or in parts, if it is what it should be.
    pub(crate) async fn take_receipt(&self, session: &Session, record: &Record, inline: Vec<u8>) -> Result<(), ErrorBody> {
        let text = if inline.is_empty() { self.fetch_receipt(session, record).await? } else { inline };
        let (path, from, to) = (self.receipt_path(record), self.id(), record.peer);
        let kept = tokio::task::spawn_blocking(move || keep(&path, &text, from, to)).await;
        kept.unwrap_or_else(|_| Err(ErrorBody::new(ErrorCode::Unexpected, "keeping the receipt was interrupted")))
    }

    async fn fetch_receipt(&self, session: &Session, record: &Record) -> Result<Vec<u8>, ErrorBody> {
        let mut text = Vec::new();
        loop {
            let asked = ReceiptRequest { key: record.key.0.to_vec(), from: text.len() as u64 };
            let request = Request { kind: Some(request::Kind::Receipt(asked)) };
            let lost = |e: crate::net::SessionError| ErrorBody::new(ErrorCode::Offline, format!("the receipt did not get through: {e}"));
            let (reply, mut body): (Reply, Body) = session.request(request).await.map_err(lost)?;
            if reply.status() != Status::Ok {
                return Err(ErrorBody::new(ErrorCode::NotFound, format!("the receiver has no receipt: {}", reply.message)));
            }
            let part = pull::read(&mut body).await.map_err(lost)?;
            if part.is_empty() {
                return Ok(text);
            }
            text.extend_from_slice(&part);
            if text.len() > RECEIPT_MAX {
                return Err(ErrorBody::new(ErrorCode::Integrity, "the receiver's receipt has no end"));
            }
        }
    }

    /// The receipt of a transfer that is done, on either side.
    ///
    /// # Errors
    /// There is no such transfer, or no receipt (yet).
    pub async fn receipt(&self, id: TransferId) -> Result<Receipt, ErrorBody> {
        let record = self.any_record(id).await?;
        let path = self.receipt_path(&record);
        let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        let none = || {
            ErrorBody::new(ErrorCode::WrongState, format!("there is no receipt of {id}: it is {}", record.state))
                .hint("a receipt comes when all is stored")
        };
        let text = read.ok().and_then(Result::ok).ok_or_else(none)?;
        serde_json::from_slice(&text).map_err(|e| ErrorBody::new(ErrorCode::Integrity, format!("the receipt of {id} is damaged: {e}")))
    }

    /// Whether a receipt is true, whoever it is from.
    pub fn verify_receipt(&self, receipt: &Receipt) -> ReceiptVerdict {
        ReceiptVerdict { valid: is_valid(receipt) }
    }

    /// A record, also one of the history.
    pub(crate) async fn any_record(&self, id: TransferId) -> Result<Record, ErrorBody> {
        match self.record(id) {
            Some(record) => Ok(record),
            None => self.store().read(move |c| crate::store::transfers::find(c, id)).await?.ok_or_else(|| not_found(id)),
        }
    }
}

enum WriteError {
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

fn write(
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
fn settle(file: &File, partial: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(partial, path)?;
    // Renamed first, one sync is enough for both on most file systems, and the folder's costs nothing then.
    file.sync_all()?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// The files of a transfer that are here, with their hashes.
fn stored(staging: &Staging) -> impl Iterator<Item = Result<ReceiptFile, files::Error>> + '_ {
    staging.manifest().iter_from(1).filter_map(|entry| {
        let (no, item) = match entry {
            Ok(entry) => entry,
            Err(e) => return Some(Err(e.into())),
        };
        if !item.is_file() || matches!(staging.state(no), files::EntryState::Skipped(_)) {
            return None;
        }
        let hash = staging.hash(no).unwrap_or_default();
        Some(pull::path_of(staging.manifest(), no).map(|path| ReceiptFile { path, size: item.size, hash: HEXLOWER.encode(&hash) }))
    })
}

fn keep(path: &Path, text: &[u8], from: DeviceId, to: DeviceId) -> Result<(), ErrorBody> {
    let receipt: Receipt = serde_json::from_slice(text)
        .map_err(|e| ErrorBody::new(ErrorCode::Integrity, format!("the receiver's receipt makes no sense: {e}")))?;
    if receipt.from != from || receipt.to != to || !is_valid(&receipt) {
        return Err(ErrorBody::new(ErrorCode::Integrity, "the receiver's receipt is not true"));
    }
    let unkept = |e: io::Error| ErrorBody::new(ErrorCode::LocalFile, format!("cannot keep the receipt: {e}"));
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(unkept)?;
    }
    let partial = path.with_extension("part");
    let written = File::create(&partial).and_then(|mut file| file.write_all(text).map(|()| file));
    written.and_then(|file| settle(&file, &partial, path)).map_err(unkept)
}

/// Sizes and hashes of the files of a receipt that is kept here, in its order.
pub(super) fn stored_hashes(path: &Path) -> Option<Vec<(u64, Value)>> {
    let receipt: Receipt = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    receipt.files.iter().map(|file| Some((file.size, Value::try_from(HEXLOWER.decode(file.hash.as_bytes()).ok()?).ok()?))).collect()
}

fn read_part(path: &Path, from: u64) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let left = file.metadata()?.len().saturating_sub(from);
    let mut part = vec![0; left.min(PAGE_MAX as u64) as usize];
    file.read_exact_at(&mut part, from)?;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

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
}
