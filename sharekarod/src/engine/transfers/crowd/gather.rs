//! Gathering one file from the sender and whoever else has pieces of it: asks as the table says, verifies each piece
//! against the sender's values, tells the others what is new here.

use std::{
    sync::{Arc, PoisonError, RwLock, atomic::Ordering},
    time::Duration,
};

use sharekaro_proto::{
    DeviceId,
    nouns::transfer::SkipReason,
    wire::{PieceRequest, Request, Status, reply, request},
};
use tokio::{task::JoinSet, time::Instant};

use super::{
    bits::Bits,
    share::{Held, Share},
    table::{Ask, Giver, Table},
};
use crate::{
    engine::transfers::{
        fetch::{self, Fetch},
        pull::{read_piece, zeroes},
        stop::{Stop, blocking, granted, kind_of},
    },
    files::{Error, Item, Value, piece_count, piece_len},
    net::{self, Session},
};

/// What is new is told together with what comes within this.
const TOLD_WITHIN: Duration = Duration::from_millis(100);

/// So often it is looked who is there.
const LOOK: Duration = Duration::from_millis(500);

/// For so long who is there is taken for somebody who gathers too; then only who says so.
const AT_FIRST: Duration = Duration::from_secs(3);

/// A member that cannot be reached is dialled again after this.
const DIAL_AGAIN: Duration = Duration::from_secs(15);

/// A helper that says nothing for so long is asked for something else.
const PATIENCE: Duration = Duration::from_secs(15);

/// The sender may hold a limit.
const SOURCE_PATIENCE: Duration = Duration::from_secs(900);

/// A helper that failed rests for so long.
const REST: Duration = Duration::from_secs(3);

/// A longer choice does not fit into a frame: then we choose.
const CHOICE_MAX: u64 = 512 << 10;

/// How an answer came out.
enum Outcome {
    /// This piece is here now.
    Came(u64),
    /// The giver does not have it, or nothing to choose.
    Lacks,
    /// These are not the bytes of that piece.
    Lied,
    /// No answer.
    Failed,
    /// The file at the source is gone, or no longer what was offered.
    Lost(SkipReason),
}

/// One file on its way.
struct Gather {
    fetch: Fetch,
    share: Arc<Share>,
    no: u32,
    size: u64,
    content: Value,
    layer: Arc<Vec<Value>>,
    table: Table,
    /// What is new since it was last told.
    fresh: Bits,
    told_at: Instant,
    began: Instant,
    resting: Vec<(DeviceId, Instant)>,
    /// The source has it no more; since then the others are all there is.
    lost: Option<SkipReason>,
    /// Since when nobody who is there has anything that is missing.
    stuck: Option<Instant>,
    /// Whether pieces may still be written: what was asked of two may come when the file is whole already.
    open: Arc<RwLock<bool>>,
}

/// Gathers what is missing of a file until it is whole. Without a session to the sender, only helpers are asked.
///
/// # Errors
/// The session to the sender, the disk.
pub async fn gather(fetch: &Fetch, share: &Arc<Share>, no: u32, item: &Item) -> Result<(), Stop> {
    let Some(content) = item.content else { return Ok(()) };
    let _turn = share.gathering.acquire().await;
    let have = here(fetch, no, item.size).await?;
    share.put(content, item.size, Held::Arriving(Arc::clone(&fetch.staging), no), have.clone());
    fetch.engine.tell_have(share, content, &have.ranges());
    if have.zeroes() > 0 {
        let layer = match layer(fetch, share, no, item.size, &content).await? {
            Ok(layer) => layer,
            Err(reason) => return fetch::skip(fetch, no, reason).await,
        };
        let wireless = fetch.engine.hello().wireless;
        let fresh = Bits::none(have.count());
        let table = Table::new(have, wireless);
        let (fetch, share) = (fetch.clone(), Arc::clone(share));
        let (told_at, began, resting, open) = (Instant::now(), Instant::now(), Vec::new(), Arc::new(RwLock::new(true)));
        let gather = Gather {
            fetch,
            share,
            no,
            size: item.size,
            content,
            layer,
            table,
            fresh,
            told_at,
            began,
            resting,
            lost: None,
            stuck: None,
            open,
        };
        if !gather.run().await? {
            return Ok(()); // it was given up, and said so
        }
    }
    fetch::finish(fetch, no).await
}

/// Which pieces are here.
async fn here(fetch: &Fetch, no: u32, size: u64) -> Result<Bits, Stop> {
    let staging = Arc::clone(&fetch.staging);
    let missing = blocking(move || Ok(staging.missing(no)?)).await?;
    let mut have = Bits::all(piece_count(size));
    for piece in missing.into_iter().flatten() {
        have.clear(piece);
    }
    Ok(have)
}

/// The values of the pieces, asked of the sender once; or why the file that they are of will never come.
async fn layer(fetch: &Fetch, share: &Share, no: u32, size: u64, content: &Value) -> Result<Result<Arc<Vec<Value>>, SkipReason>, Stop> {
    if let Some(layer) = share.file(content, |file| file.layer.clone()).flatten() {
        return Ok(Ok(layer));
    }
    let layer = match fetch.layer(no, size).await? {
        Ok(layer) => Arc::new(layer),
        Err(reason) => return Ok(Err(reason)),
    };
    if crate::files::root(&layer, size) != Some(*content) {
        return Ok(Err(SkipReason::Changed)); // another file than it was when it was hashed
    }
    share.file(content, |file| file.layer = Some(Arc::clone(&layer)));
    Ok(Ok(layer))
}

impl Gather {
    /// Whether the file is whole; otherwise it was given up.
    async fn run(mut self) -> Result<bool, Stop> {
        let mut news = self.share.news();
        let mut running: JoinSet<(Ask, Result<Outcome, Stop>)> = JoinSet::new();
        let mut looks = tokio::time::interval(LOOK);
        self.look();
        while !self.table.is_whole() {
            while let Some(ask) = self.table.next(&mut rand::rng()) {
                let question = self.question(ask);
                running.spawn(question);
            }
            if self.table.is_stuck() != self.stuck.is_some() {
                self.stuck = self.table.is_stuck().then(Instant::now);
                let (missing, stuck) = (self.table.have().zeroes(), self.stuck.is_some());
                tracing::info!(entry = self.no, missing, stuck, "whether nobody who is there has what is missing");
            }
            if let (Some(reason), Some(since)) = (self.lost, self.stuck)
                && since.elapsed() >= AT_FIRST
            {
                return self.give_up(reason).await;
            }
            tokio::select! {
                Some(done) = running.join_next() => match done {
                    Ok((ask, outcome)) => if !self.take(&ask, outcome).await? { return Ok(false) },
                    Err(_) => return Err(Stop::Lost),
                },
                _ = news.changed() => self.listen(),
                _ = looks.tick() => self.look(),
            }
            self.tell();
        }
        self.told_at -= TOLD_WITHIN;
        self.tell();
        self.close().await?;
        Ok(true)
    }

    /// Nothing is written from here on.
    async fn close(&self) -> Result<(), Stop> {
        let open = Arc::clone(&self.open);
        blocking(move || {
            *open.write().unwrap_or_else(PoisonError::into_inner) = false;
            Ok(())
        })
        .await
    }

    /// Who is there: strangers among them are dialled, those who are new are asked what they have.
    fn look(&mut self) {
        let engine = self.fetch.engine.clone();
        let alive = self.fetch.session.as_ref().filter(|session| session.is_open());
        self.table.source_is(alive.filter(|_| self.lost.is_none()).map(|_| self.share.crowd().wireless));
        for member in &self.share.crowd().members {
            match engine.open_session(&member.id) {
                Some(session) if self.share.members(|it| it.greeted.insert((self.content, session.number()))) => {
                    session.trust(); // its share of the line is that of a peer; what it may do stays as it is
                    session.notify(super::serve::note(self.content, Vec::new()));
                }
                None if !member.addresses.is_empty() => {
                    let due = self.share.members(|it| {
                        let last = it.dialled.insert(member.id, Instant::now());
                        let due = last.is_none_or(|at| at.elapsed() >= DIAL_AGAIN);
                        if let Some(at) = last.filter(|_| !due) {
                            it.dialled.insert(member.id, at);
                        }
                        due
                    });
                    if due {
                        engine.dial_member(member.clone());
                    }
                }
                Some(_) | None => {}
            }
        }
        self.listen();
    }

    /// Takes in what the others have.
    fn listen(&mut self) {
        let told = self.share.file(&self.content, |file| file.told.clone()).unwrap_or_default();
        self.resting.retain(|(_, until)| *until > Instant::now());
        for id in self.table.helpers() {
            self.table.left(&id);
        }
        for (id, has) in told {
            let rests = self.resting.iter().any(|(it, _)| *it == id);
            match self.fetch.engine.open_session(&id) {
                Some(session) if !rests && !self.share.is_liar(&id) => self.table.holds(id, session.hello().wireless, &has),
                _ => {}
            }
        }
        let there = |id: &DeviceId| self.fetch.engine.open_session(id).is_some();
        let others = self.share.crowd().members.iter().filter(|member| there(&member.id)).count();
        self.table.in_company_of(if self.began.elapsed() < AT_FIRST { others } else { self.table.helpers().len() });
    }

    /// Tells the others what is new here, a few pieces at a time.
    fn tell(&mut self) {
        if self.fresh.ones() > 0 && self.told_at.elapsed() >= TOLD_WITHIN {
            self.fetch.engine.tell_have(&self.share, self.content, &self.fresh.ranges());
            self.fresh = Bits::none(self.fresh.count());
            self.told_at = Instant::now();
        }
    }

    /// The answer to a question, as a future of its own.
    fn question(&self, ask: Ask) -> impl Future<Output = (Ask, Result<Outcome, Stop>)> + Send + use<> {
        let fetch = self.fetch.clone();
        let file = File { no: self.no, size: self.size, layer: Arc::clone(&self.layer), open: Arc::clone(&self.open) };
        let (session, request) = match &ask {
            Ask::Piece(Giver::Helper(id), piece) => {
                let request = PieceRequest {
                    piece: *piece as u32, // at most 4 Mi pieces
                    content: self.content.to_vec(),
                    pass: self.share.crowd().pass.to_vec(),
                    ..PieceRequest::default()
                };
                (fetch.engine.open_session(id), request)
            }
            Ask::Piece(Giver::Source, piece) => (fetch.session.clone(), self.of_source(*piece, Vec::new())),
            Ask::Any(choice) if choice.count() > CHOICE_MAX => {
                (fetch.session.clone(), self.of_source(choice.missing().next().unwrap_or(0), Vec::new()))
            }
            Ask::Any(choice) => (fetch.session.clone(), self.of_source(0, choice.to_wire())),
        };
        async move {
            let outcome = match session {
                Some(session) => one(&fetch, &session, file, &ask, request).await,
                None => Ok(Outcome::Failed),
            };
            (ask, outcome)
        }
    }

    fn of_source(&self, piece: u64, have: Vec<u8>) -> PieceRequest {
        PieceRequest { key: self.fetch.key.0.to_vec(), file: self.no, piece: piece as u32, have, ..PieceRequest::default() }
    }

    /// What an answer means. Says whether the file can still become whole.
    async fn take(&mut self, ask: &Ask, outcome: Result<Outcome, Stop>) -> Result<bool, Stop> {
        self.table.answered(ask);
        let helper = if let Ask::Piece(Giver::Helper(id), piece) = ask { Some((*id, *piece)) } else { None };
        match (outcome?, helper) {
            (Outcome::Came(piece), _) => {
                if self.table.came(piece) {
                    let bytes = piece_len(piece, self.size).unwrap_or(0) as u64;
                    self.fresh.set(piece);
                    self.share.file(&self.content, |file| file.have.set(piece));
                    self.share.came_from(helper.map(|(id, _)| id), bytes);
                    self.fetch.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
                }
            }
            (Outcome::Lost(reason), _) => self.source_lost(reason),
            (Outcome::Lied, Some((id, piece))) => self.name_liar(id, piece).await,
            // the source's file is another one than it was when it was hashed
            (Outcome::Lied, None) => self.source_lost(SkipReason::Changed),
            (Outcome::Lacks, Some((id, piece))) => {
                self.table.lacks(&id, piece);
                self.share.file(&self.content, |file| file.told.get_mut(&id).map(|has| has.clear(piece)));
            }
            (Outcome::Failed, Some((id, _))) => {
                self.table.left(&id);
                self.resting.push((id, Instant::now() + REST));
            }
            (Outcome::Lacks, None) => self.table.nothing_to_choose(),
            (Outcome::Failed, None) => self.table.source_is(None), // until the next look
        }
        Ok(true)
    }

    /// The others may still have what is missing.
    fn source_lost(&mut self, reason: SkipReason) {
        self.lost = Some(reason);
        self.table.source_is(None);
    }

    async fn give_up(&self, reason: SkipReason) -> Result<bool, Stop> {
        self.close().await?;
        fetch::skip(&self.fetch, self.no, reason).await.map(|()| false)
    }

    async fn name_liar(&mut self, id: DeviceId, piece: u64) {
        self.table.lied(id);
        self.share.lied(id);
        let given = self.share.given();
        self.fetch.engine.note_transfer(self.share.transfer, |row| row.record.given.clone_from(&given)).await; // also over a restart
        let name = self.fetch.engine.label(id);
        let message = format!("{name} (k:{}) gave a wrong piece {piece} of entry {} of a shared transfer", id.short(), self.no);
        self.fetch.engine.warn("wrong_piece", message, "the piece came from elsewhere; that device is not asked again for this transfer");
    }
}

/// What a question is about.
struct File {
    no: u32,
    size: u64,
    layer: Arc<Vec<Value>>,
    open: Arc<RwLock<bool>>,
}

/// Asks one giver one question and writes what comes.
async fn one(fetch: &Fetch, session: &Session, file: File, ask: &Ask, asked: PieceRequest) -> Result<Outcome, Stop> {
    let File { no, size, layer, open } = file;
    let of_source = !matches!(ask, Ask::Piece(Giver::Helper(_), _));
    let _room = fetch.engine.inner.jobs.in_flight.acquire().await; // for its bytes in memory
    let gauge = &fetch.counters.gauge;
    let held = gauge.visit(|gauge| &gauge.held);
    fetch.engine.inner.jobs.download.pass(crate::files::PIECE_BYTES).await;
    drop(held);
    let asked_for = gauge.visit(|gauge| &gauge.asked);
    let patience = if of_source { SOURCE_PATIENCE } else { PATIENCE };
    let request = net::Ask::new(Request { kind: Some(request::Kind::Piece(asked)) }).patience(patience);
    let (reply, mut body) = match session.request(request).await {
        Ok(answered) => answered,
        Err(_) => return Ok(Outcome::Failed),
    };
    match reply.status() {
        Status::Ok => {}
        status if of_source => match fetch::lost(status) {
            Some(reason) => return Ok(Outcome::Lost(reason)),
            None if matches!(ask, Ask::Any(_)) && status == Status::NotFound => return Ok(Outcome::Lacks),
            None => return granted(reply).map(|_| Outcome::Failed),
        },
        Status::NotFound => return Ok(Outcome::Lacks),
        _ => return Ok(Outcome::Failed),
    }
    let body_len = reply.body_len as usize; // at most PAGE_MAX
    let Ok(head) = kind_of(reply, |kind| if let reply::Kind::Piece(head) = kind { Some(head) } else { None }) else {
        return Ok(Outcome::Lied);
    };
    let piece = u64::from(head.piece);
    let wanted = match ask {
        Ask::Piece(_, wanted) => piece == *wanted,
        Ask::Any(known) => piece < known.count(),
    };
    let (Some(len), Some(value)) = (piece_len(piece, size).filter(|_| wanted), layer.get(piece as usize).copied()) else {
        return Ok(Outcome::Lied);
    };
    if head.value != value || body_len != if head.zero { 0 } else { len } {
        return Ok(Outcome::Lied);
    }
    let bytes = if head.zero {
        zeroes(&fetch.engine, len)
    } else {
        match read_piece(&fetch.engine, &mut body).await {
            Ok(bytes) => bytes,
            Err(_) => return Ok(Outcome::Failed),
        }
    };
    drop(asked_for);
    let (staging, _writing) = (Arc::clone(&fetch.staging), gauge.visit(|gauge| &gauge.writing));
    blocking(move || {
        let open = open.read().unwrap_or_else(PoisonError::into_inner);
        match open.then(|| staging.write_piece(no, piece, &bytes, &value)) {
            Some(Ok(())) => Ok(Outcome::Came(piece)),
            Some(Err(Error::Integrity { .. })) => Ok(Outcome::Lied),
            Some(Err(e)) => Err(e.into()),
            None => Ok(Outcome::Failed), // whole already
        }
    })
    .await
}
