//! `Manager1`: what is asked of the daemon as a whole, at the root. Work that lasts returns its object at once.

use std::{collections::HashMap, sync::Arc};

use sharekaro_proto::{
    ErrorBody,
    control::{
        doctor::{DoctorQuery, Verdict},
        message::WriteMessage,
        pairing::{JoinInvitation, StartPairing},
        peer::{AddPeer, Peer},
        status::Warning,
        transfer::{Send, Transfer},
    },
    nouns::transfer::{Conflict, Priority},
};
use zbus::{OwnedFd, OwnedObjectPath, OwnedVariant, Variant, interface, object_server::SignalEmitter};

use super::{
    cell::Cell,
    options::Options,
    paths::{peer_path, transfer_path},
    refusal::Refusal,
    spool::Spool,
    text::bus_text,
    uris,
    wishes::{Wish, Wishes},
};
use crate::engine::Engine;

/// Grows with each method, property or option that is added to this version of the API.
const API_LEVEL: u32 = 2;

/// What the manager shows of the whole.
#[derive(Clone, PartialEq, Default)]
pub(super) struct Overview {
    /// Transfers that have not ended.
    pub(super) active_transfers: u32,
    /// Offers that wait for an answer.
    pub(super) inbox_pending: u32,
    /// Peers that can be reached now.
    pub(super) peers_online: u32,
    /// What does not work as it should.
    pub(super) warnings: Vec<Warning>,
}

/// The daemon on the bus.
#[derive(Clone)]
pub(super) struct Manager1 {
    engine: Engine,
    wishes: Wishes,
    spool: Arc<Spool>,
    overview: Cell<Overview>,
}

impl Manager1 {
    /// The object of the daemon.
    pub(super) fn new(engine: Engine, wishes: Wishes, spool: Arc<Spool>) -> Self {
        Self { engine, wishes, spool, overview: Cell::new(Overview::default()) }
    }

    /// What it shows of the whole.
    pub(super) fn overview_cell(&self) -> &Cell<Overview> {
        &self.overview
    }

    async fn shown_peer(&self, peer: Peer) -> OwnedObjectPath {
        let path = peer_path(&peer.id);
        self.wishes.stand(Wish::Peer(Box::new(peer))).await;
        path
    }

    async fn shown_transfers(&self, transfers: Vec<Transfer>) -> Vec<OwnedObjectPath> {
        let paths = transfers.iter().map(|transfer| transfer_path(transfer.id)).collect();
        self.wishes.stand(Wish::Transfers(transfers)).await;
        paths
    }
}

/// The daemon as a whole.
#[interface(name = "org.sharekaro.ShareKaro1.Manager1")]
impl Manager1 {
    /// Sends files and folders, each named by a file: URI, to each of the targets: an alias, a name, the beginning of a
    /// key (k:abcd), HOST:PORT, or all. Returns a transfer for each target at once; the work follows. Options:
    /// note (s), exclude (as, glob patterns), conflict (s: rename, skip, overwrite, newer, ask), limit (t, bytes a
    /// second), priority (s: low, normal, high), ignore_files (b, obey .gitignore and .ignore), xattrs (b), apart (b,
    /// receivers do not learn of each other).
    #[zbus(out_args("transfers"))]
    async fn send(
        &self,
        uris: Vec<String>,
        targets: Vec<String>,
        options: HashMap<String, OwnedVariant>,
    ) -> Result<Vec<OwnedObjectPath>, Refusal> {
        let send = send_of(targets, options)?;
        let paths = uris::existing(uris).await?;
        let sent = self.engine.send(Send { paths, ..send }).await?;
        Ok(self.shown_transfers(sent.transfers).await)
    }

    /// As Send, for a program that has a file but no path to it that we could open, as in a sandbox: each file is a
    /// name and an open descriptor of a regular, readable file. What cannot be linked or cloned is copied before the
    /// call returns.
    #[zbus(out_args("transfers"))]
    async fn send_fds(
        &self,
        files: Vec<(String, OwnedFd)>,
        targets: Vec<String>,
        options: HashMap<String, OwnedVariant>,
    ) -> Result<Vec<OwnedObjectPath>, Refusal> {
        let send = send_of(targets, options)?;
        let filled = self.spool.fill(files.into_iter().map(|(name, fd)| (name, fd.into())).collect()).await?;
        let sent = self.engine.send(Send { paths: filled.paths().to_vec(), ..send }).await?;
        filled.keep(); // from here on it goes when its transfers end
        Ok(self.shown_transfers(sent.transfers).await)
    }

    /// Writes a text of 1 to 65,536 bytes to each of the targets: an alias, a name, the beginning of a key (k:abcd),
    /// @GROUP, or all. Returns the ids of the messages when they are recorded; the rest follows, also after days.
    /// Options: id (s, a UUID: the same again is the same message, so a retry writes nothing twice).
    #[zbus(out_args("message_ids"))]
    async fn send_message(
        &self,
        text: String,
        targets: Vec<String>,
        options: HashMap<String, OwnedVariant>,
    ) -> Result<Vec<String>, Refusal> {
        let target = joined(targets)?;
        let mut options = Options::new(options);
        let id = options
            .text("id")?
            .map(|id| id.parse().map_err(|_| Refusal::invalid(format!("{id:?} is no UUID"), "leave id out, or give a UUID")));
        options.finish()?;
        let written = self.engine.write_message(WriteMessage { target, text, id: id.transpose()? }).await?;
        Ok(written.messages.iter().map(|message| message.id.to_string()).collect())
    }

    /// The peer that a target names.
    #[zbus(out_args("peer"))]
    async fn find_peer(&self, target: String) -> Result<OwnedObjectPath, Refusal> {
        Ok(self.shown_peer(self.engine.peer(&target)?).await)
    }

    /// Reaches a device that announcements do not show, and remembers where. address: HOST or HOST:PORT. alias: what we
    /// call it; may be empty.
    #[zbus(out_args("peer"))]
    async fn add_peer(&self, address: String, alias: String) -> Result<OwnedObjectPath, Refusal> {
        let add = AddPeer { address, alias: (!alias.is_empty()).then_some(alias) };
        Ok(self.shown_peer(self.engine.add_peer(add).await?).await)
    }

    /// Begins to pair with a peer, or joins the pairing that it began. The same words stand on both screens; the person
    /// compares them and answers with ConfirmPairing of the peer.
    #[zbus(out_args("peer", "words"))]
    async fn pair(&self, target: String) -> Result<(OwnedObjectPath, String), Refusal> {
        let pairing = self.engine.start_pairing(StartPairing { peer: target }).await?;
        let words = bus_text(&pairing.words);
        Ok((self.shown_peer(pairing.peer).await, words))
    }

    /// Makes a code that pairs whoever uses it with Join: once, and for a short time. There are no options yet.
    #[zbus(out_args("code"))]
    async fn invite(&self, options: HashMap<String, OwnedVariant>) -> Result<String, Refusal> {
        Options::new(options).finish()?;
        Ok(self.engine.invite().await?.code)
    }

    /// Uses a code of Invite. target: whose it is; empty for whoever on the LAN holds it.
    #[zbus(out_args("peer"))]
    async fn join(&self, code: String, target: String) -> Result<OwnedObjectPath, Refusal> {
        let join = JoinInvitation { code, peer: (!target.is_empty()).then_some(target) };
        Ok(self.shown_peer(self.engine.join(join).await?).await)
    }

    /// What is wrong with this machine, the network and the ways to peers. target: a peer and the way to it; empty for
    /// this machine and all paired peers. Takes up to some twenty seconds where something is silent. Returns the verdicts,
    /// the worst first: code (as firewall_in), severity (error, warning, note), what shows it, and what mends it.
    #[zbus(out_args("verdicts"))]
    async fn diagnose(&self, target: String) -> Result<Vec<(String, String, String, String)>, Refusal> {
        let found = self.engine.diagnose(DoctorQuery { peer: Some(target) }).await?;
        let row = |it: Verdict| (it.code.word().to_owned(), it.severity.word().to_owned(), bus_text(&it.evidence), bus_text(&it.fix));
        Ok(found.verdicts.into_iter().map(row).collect())
    }

    /// Version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    /// Grows with each method, property or option that is added.
    #[zbus(property(emits_changed_signal = "const"))]
    fn api_level(&self) -> u32 {
        API_LEVEL
    }

    /// Our public key: 52 base32 characters.
    #[zbus(property(emits_changed_signal = "const"))]
    fn device_id(&self) -> String {
        self.engine.id().to_string()
    }

    /// What this device calls itself.
    #[zbus(property(emits_changed_signal = "const"))]
    fn device_name(&self) -> String {
        bus_text(&self.engine.config().name)
    }

    /// Our key as six words, to be compared by voice.
    #[zbus(property(emits_changed_signal = "const"))]
    fn words(&self) -> String {
        self.engine.identity().words
    }

    /// Addresses at which we can be reached.
    #[zbus(property(emits_changed_signal = "false"))]
    fn addresses(&self) -> Vec<String> {
        self.engine.status().addresses
    }

    /// Our UDP port; 0 where there is no network.
    #[zbus(property(emits_changed_signal = "false"))]
    fn port(&self) -> u16 {
        self.engine.status().port
    }

    /// Transfers that have not ended.
    #[zbus(property)]
    fn active_transfers(&self) -> u32 {
        self.overview.now().active_transfers
    }

    /// Offers that wait for an answer: the transfers with Direction `in` and State `offered`.
    #[zbus(property)]
    fn inbox_pending(&self) -> u32 {
        self.overview.now().inbox_pending
    }

    /// Peers that can be reached now.
    #[zbus(property)]
    fn peers_online(&self) -> u32 {
        self.overview.now().peers_online
    }

    /// What does not work as it should, while everything else does: code, message and hint.
    #[zbus(property)]
    fn warnings(&self) -> Vec<(String, String, String)> {
        self.overview.now().warnings.iter().map(|it| (bus_text(&it.code), bus_text(&it.message), bus_text(&it.hint))).collect()
    }

    /// An offer waits for an answer: Accept or Decline of the transfer. summary: what it is, for people.
    #[zbus(signal)]
    pub(super) async fn incoming_offer(
        emitter: &SignalEmitter<'_>,
        transfer: OwnedObjectPath,
        peer: OwnedObjectPath,
        summary: &str,
        bytes: u64,
        files: u32,
    ) -> zbus::Result<()>;

    /// A transfer ended; its properties say so already. info: peer (o), title (s), bytes (t), files (u), paths (as, at
    /// most 100), and where it did not succeed error_code, error_message and error_hint (s).
    #[zbus(signal)]
    pub(super) async fn transfer_finished(
        emitter: &SignalEmitter<'_>,
        transfer: OwnedObjectPath,
        state: &str,
        info: HashMap<&str, Variant<'_>>,
    ) -> zbus::Result<()>;

    /// Something does not work as it should from now on; see Warnings.
    #[zbus(signal)]
    pub(super) async fn error(emitter: &SignalEmitter<'_>, code: &str, message: &str, hint: &str) -> zbus::Result<()>;
}

/// All targets as one.
fn joined(targets: Vec<String>) -> Result<String, Refusal> {
    if targets.is_empty() || targets.iter().any(|target| target.trim().is_empty()) {
        return Err(Refusal::invalid("nobody to send to", "name at least one target, and none that is empty"));
    }
    Ok(targets.join(","))
}

/// What is asked for, without the paths.
fn send_of(targets: Vec<String>, options: HashMap<String, OwnedVariant>) -> Result<Send, Refusal> {
    let target = joined(targets)?;
    let mut options = Options::new(options);
    let send = Send {
        target,
        paths: Vec::new(),
        note: options.text("note")?.unwrap_or_default(),
        exclude: options.texts("exclude")?.unwrap_or_default(),
        conflict: options.word("conflict", Conflict::from_word)?,
        limit: options.number("limit")?.filter(|rate| *rate > 0),
        priority: options.word("priority", Priority::from_word)?,
        ignore_files: options.flag("ignore_files")?.unwrap_or(false),
        xattrs: options.flag("xattrs")?.unwrap_or(false),
        apart: options.flag("apart")?.unwrap_or(false),
    };
    options.finish()?;
    Ok(send)
}

impl From<crate::frontends::dbus::spool::SpoolError> for Refusal {
    fn from(error: crate::frontends::dbus::spool::SpoolError) -> Self {
        ErrorBody::from(error).into()
    }
}
