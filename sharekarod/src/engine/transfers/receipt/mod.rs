//! Receipts: the receiver's signature over what came, when, and from whom.

mod text;

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode, TransferId, TransferKey,
    control::transfer::{RECEIPT_MAX, Receipt, ReceiptVerdict},
    nouns::transfer::Direction,
    wire::{INLINE_RECEIPT_MAX, PAGE_MAX, ReceiptRequest, Reply, Request, Status, request},
};

use super::{
    pull,
    record::Record,
    stop::{Stop, blocking},
    table::not_found,
};
use crate::{
    engine::{Engine, clock, peers::serve::Answer},
    files::{Staging, Value},
    net::{Body, Session},
};

/// The most that stands in a receipt beside its files, and for one of them: the longest path, every byte escaped.
const HEAD_MAX: u64 = 4 << 10;
const ONE_FILE_MAX: u64 = 32 << 10;

impl Engine {
    pub(crate) fn receipt_path(&self, record: &Record) -> PathBuf {
        let side = if record.direction == Direction::Out { "out" } else { "in" };
        self.config().state_dir.join("receipts").join(format!("{}-{side}.json", record.key))
    }

    /// Writes and signs the receipt for what was stored. It is written file by file, as it may be long.
    pub(crate) async fn write_receipt(&self, record: &Record, staging: std::sync::Arc<Staging>) -> Result<(), Stop> {
        let (path, from, to, engine) = (self.receipt_path(record), record.peer, self.id(), self.clone());
        let at = clock::timestamp(clock::now_ms()).to_string();
        blocking(move || {
            text::write(&path, from, to, &at, &staging, |digest| engine.inner.identity.sign(digest)).map_err(|e| match e {
                text::WriteError::Files(e) => e.into(),
                text::WriteError::Io(e) => Stop::Wait(
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
        let path = self.receipt_path(record);
        let partial = path.with_extension("part");
        let mut taken = Taken::begin(partial.clone()).await?;
        if inline.is_empty() {
            self.fetch_receipt(session, record, &mut taken).await?;
        } else {
            taken.append(inline).await?;
        }
        let (from, to) = (self.id(), record.peer);
        on_disk(move || keep(&partial, &path, from, to)).await
    }

    /// Part by part into a file: there may be a million files in it.
    async fn fetch_receipt(&self, session: &Session, record: &Record, taken: &mut Taken) -> Result<(), ErrorBody> {
        let most = (RECEIPT_MAX as u64).min(HEAD_MAX + record.files_total.saturating_mul(ONE_FILE_MAX));
        while taken.len <= most {
            let asked = ReceiptRequest { key: record.key.0.to_vec(), from: taken.len };
            let request = Request { kind: Some(request::Kind::Receipt(asked)) };
            let lost = |e: crate::net::SessionError| ErrorBody::new(ErrorCode::Offline, format!("the receipt did not get through: {e}"));
            let (reply, mut body): (Reply, Body) = session.request(request).await.map_err(lost)?;
            if reply.status() != Status::Ok {
                return Err(ErrorBody::new(ErrorCode::NotFound, format!("the receiver has no receipt: {}", reply.message)));
            }
            let part = pull::read(&mut body).await.map_err(lost)?;
            if part.is_empty() {
                return Ok(());
            }
            taken.append(part).await?;
        }
        Err(ErrorBody::new(ErrorCode::Integrity, "the receiver's receipt has no end"))
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
        ReceiptVerdict { valid: text::is_valid(receipt) }
    }

    /// A record, also one of the history.
    pub(crate) async fn any_record(&self, id: TransferId) -> Result<Record, ErrorBody> {
        match self.record(id) {
            Some(record) => Ok(record),
            None => self.store().read(move |c| crate::store::transfers::find(c, id)).await?.ok_or_else(|| not_found(id)),
        }
    }
}

/// What came of a receipt so far.
struct Taken {
    path: PathBuf,
    len: u64,
}

impl Taken {
    async fn begin(path: PathBuf) -> Result<Self, ErrorBody> {
        let partial = path.clone();
        on_disk(move || path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| File::create(&path)).map(drop).map_err(unkept))
            .await?;
        Ok(Self { path: partial, len: 0 })
    }

    async fn append(&mut self, part: Vec<u8>) -> Result<(), ErrorBody> {
        let path = self.path.clone();
        self.len += part.len() as u64;
        on_disk(move || File::options().append(true).open(&path).and_then(|mut file| file.write_all(&part)).map_err(unkept)).await
    }
}

async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T, ErrorBody> + Send + 'static) -> Result<T, ErrorBody> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(ErrorBody::new(ErrorCode::Unexpected, "keeping the receipt was interrupted")))
}

fn unkept(error: io::Error) -> ErrorBody {
    ErrorBody::new(ErrorCode::LocalFile, format!("cannot keep the receipt: {error}")).hint("is there room in the state folder?")
}

/// Gives what came its name, where it is a true receipt of what the one sent to the other.
fn keep(partial: &Path, path: &Path, from: DeviceId, to: DeviceId) -> Result<(), ErrorBody> {
    let file = File::open(partial).map_err(unkept)?;
    let head = text::read(&file, |_| {}).map_err(|e| {
        if e.is_io() {
            unkept(e.into())
        } else {
            ErrorBody::new(ErrorCode::Integrity, format!("the receiver's receipt makes no sense: {e}"))
        }
    })?;
    if head.from != from || head.to != to || !head.is_true() {
        return Err(ErrorBody::new(ErrorCode::Integrity, "the receiver's receipt is not true"));
    }
    text::settle(&file, partial, path).map_err(unkept)
}

/// Tells the sizes and hashes of the files of a receipt that is kept here, in its order.
pub(super) fn each_stored(path: &Path, mut each: impl FnMut(u64, Option<Value>)) {
    let Ok(file) = File::open(path) else { return };
    // It was read whole when it was kept; where the disk fails now, the rest is not remembered.
    let _ = text::read(file, |file| {
        let hash = HEXLOWER.decode(file.hash.as_bytes()).ok().and_then(|hash| Value::try_from(hash).ok());
        each(file.size, hash);
    });
}

fn read_part(path: &Path, from: u64) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let left = file.metadata()?.len().saturating_sub(from);
    let mut part = vec![0; left.min(PAGE_MAX as u64) as usize];
    file.read_exact_at(&mut part, from)?;
    Ok(part)
}
