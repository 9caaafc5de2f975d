//! What each part of the way to a peer can do: the line from memory to memory, one core, both disks.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ring::aead;
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    control::transfer::Bench,
    wire::{Measure, Measured, Reply, Request, Status, reply, request},
};
use tokio::{sync::Semaphore, task::JoinSet};

use super::serve::Answer;
use crate::{engine::Engine, net::Session};

/// New parts are asked for so long: the time in which the line's window opens is little of it.
const LINE_RUNS: Duration = Duration::from_secs(4);

/// Bytes of one answer, and how many are asked for at once: 4 MiB under way fill a Gbit/s line at 30 ms.
const PART: u32 = 256 << 10;
const AT_ONCE: usize = 16;

/// One core works for so long.
const CORE_RUNS: Duration = Duration::from_secs(1);

/// Written to each disk, or as much as it takes in so much time.
const DISK_BYTES: u64 = 64 << 20;
const DISK_RUNS: Duration = Duration::from_millis(2500);
const BLOCK: usize = 1 << 20;

/// The peer's disk is waited for so long: its kernel may have much to write before.
const DISK_PATIENCE: Duration = Duration::from_secs(20);

/// Disks are measured one at a time: two at once measure each other.
static DISK: Semaphore = Semaphore::const_new(1);

impl Engine {
    /// Measures each part of the way to a peer, in some ten seconds.
    ///
    /// # Errors
    /// Nobody of that name, nobody who is paired, no answer; a disk that cannot be written.
    pub async fn bench(&self, target: &str) -> Result<Bench, ErrorBody> {
        let id = self.find_peer(target)?;
        if !self.is_paired(id) {
            return Err(self.not_paired(id));
        }
        let session = self.session_within(id, Duration::from_secs(5)).await?;
        let network = line(&session).await?;
        let crypto = off_thread(|| Ok(core(CORE_RUNS))).await?;
        let inbox_dir = self.config().inbox_dir.clone();
        let our_disk = measure_disk(inbox_dir).await?;
        let (reply, _) = measure(&session, Measure { down: 0, disk: true }).await?;
        let Some(reply::Kind::Measured(Measured { rate: their_disk })) = reply.kind else {
            return Err(ErrorBody::new(ErrorCode::Integrity, "the peer answered something else than it was asked"));
        };
        Ok(Bench { network, crypto, our_disk, their_disk })
    }

    /// A peer measures: noise for the line, or our disk.
    pub(crate) async fn measured(&self, session: &Session, asked: Measure) -> Answer {
        if !self.is_paired(session.peer()) {
            return Answer::no(Status::NotAuthorised, "only paired devices may measure");
        }
        if asked.disk {
            return match measure_disk(self.config().inbox_dir.clone()).await {
                Ok(rate) => Answer::ok(Some(reply::Kind::Measured(Measured { rate }))),
                Err(e) => Answer::no(Status::Failed, e.message),
            };
        }
        let noise = noise().slice(..(asked.down as usize).min(BLOCK));
        Answer::with_body(reply::Kind::Measured(Measured { rate: 0 }), noise)
    }
}

/// Bytes a second through the session, from memory to memory.
async fn line(session: &Session) -> Result<u64, ErrorBody> {
    let mut asking = JoinSet::new();
    let (began, mut bytes) = (Instant::now(), 0u64);
    loop {
        while asking.len() < AT_ONCE && began.elapsed() < LINE_RUNS {
            let session = session.clone();
            asking.spawn(async move { measure(&session, Measure { down: PART, disk: false }).await });
        }
        // until the last came, as those under way share the line and end together: a cut in between would count in lumps
        let Some(done) = asking.join_next().await else { break };
        let (_, count) = done.map_err(|_| ErrorBody::new(ErrorCode::Unexpected, "the measurement was interrupted"))??;
        bytes += count;
    }
    Ok((bytes as f64 / began.elapsed().as_secs_f64()) as u64)
}

/// Asks; returns the reply and how many bytes followed it.
async fn measure(session: &Session, asked: Measure) -> Result<(Reply, u64), ErrorBody> {
    let lost = |e: crate::net::SessionError| ErrorBody::new(ErrorCode::Offline, format!("the measurement broke off: {e}"));
    let ask = crate::net::Ask::new(Request { kind: Some(request::Kind::Measure(asked)) }).patience(DISK_PATIENCE);
    let (reply, mut body) = session.request(ask).await.map_err(lost)?;
    match reply.status() {
        Status::Ok => {}
        Status::Unsupported => return Err(ErrorBody::new(ErrorCode::Unavailable, "the peer's version cannot measure")),
        status => return Err(ErrorBody::new(ErrorCode::NotTrusted, format!("the peer does not want to be measured ({status:?})"))),
    }
    let mut bytes = Vec::with_capacity(body.len()); // at most PAGE_MAX
    body.read_exact_into(&mut bytes).await.map_err(lost)?;
    Ok((reply, bytes.len() as u64))
}

/// Bytes a second that one core hashes and encrypts, as a transfer does.
fn core(runs: Duration) -> u64 {
    let key = aead::UnboundKey::new(&aead::AES_128_GCM, &[7; 16]).map(aead::LessSafeKey::new);
    let mut block = noise().to_vec();
    let (began, mut bytes) = (Instant::now(), 0u64);
    while began.elapsed() < runs {
        std::hint::black_box(blake3::hash(&block));
        if let Ok(key) = &key {
            let nonce = aead::Nonce::assume_unique_for_key([0; 12]); // nothing secret, nothing sent
            let sealed = key.seal_in_place_separate_tag(nonce, aead::Aad::empty(), &mut block);
            let _ = std::hint::black_box(sealed); // only its time counts
        }
        bytes += block.len() as u64;
    }
    (bytes as f64 / began.elapsed().as_secs_f64()) as u64
}

async fn measure_disk(dir: PathBuf) -> Result<u64, ErrorBody> {
    let _turn = DISK.acquire().await;
    off_thread(move || disk(&dir)).await
}

/// Bytes a second that are durable, in a file that has no name where that can be had.
fn disk(dir: &Path) -> io::Result<u64> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join(format!(".sharekaro-{}", uuid::Uuid::now_v7().as_simple()));
    let mut file = std::fs::File::create_new(&path)?;
    std::fs::remove_file(&path)?; // the kernel keeps it until it is closed, and nothing is left after a crash
    let (began, mut bytes) = (Instant::now(), 0u64);
    while bytes < DISK_BYTES && began.elapsed() < DISK_RUNS {
        file.write_all(&noise())?;
        bytes += BLOCK as u64;
    }
    file.sync_all()?;
    Ok((bytes as f64 / began.elapsed().as_secs_f64()) as u64)
}

/// A MiB that nothing compresses.
fn noise() -> Bytes {
    static NOISE: OnceLock<Bytes> = OnceLock::new();
    let make = || {
        let mut bytes = vec![0; BLOCK];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
        bytes.into()
    };
    NOISE.get_or_init(make).clone()
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, ErrorBody> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(e)) => Err(ErrorBody::new(ErrorCode::LocalFile, format!("cannot measure the disk: {e}")).hint("is there room?")),
        Err(_) => Err(ErrorBody::new(ErrorCode::Unexpected, "the measurement was interrupted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_and_a_disk_have_a_speed_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();

        assert!(core(Duration::from_millis(20)) > 0);
        assert!(disk(dir.path()).unwrap() > 0);

        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
