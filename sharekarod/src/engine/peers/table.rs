//! The table of peers and the rules on it. Who is who is decided by keys alone; names and addresses are labels.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::Instant,
};

use sharekaro_proto::{
    DeviceId,
    control::{
        event::{Fact, IdentityAlarm, PeerForgotten},
        peer::{Peer, PresenceBody, PresenceState},
    },
    nouns::trust::Trust,
    wire,
};

use crate::{
    engine::clock,
    net::{Admission, Ended, Session},
    store::peers::{AddressRow, PeerRow},
};

/// Addresses kept for a peer. More than a laptop with cable, Wi-Fi and VPN on IPv4 and IPv6 has.
const ADDRESSES_MAX: usize = 12;

/// Of these, so many that were only announced stay where others worked.
const ANNOUNCED_MAX: usize = 6;

/// Devices that are not paired and yet listed: the ones a person might look for, not what a flood announces.
const STRANGERS_MAX: usize = 256;

/// Replaced starts of a peer's daemon that are remembered: two copies of a key alternate, so few are enough.
const STARTS_KEPT: usize = 4;

/// A device that we know.
pub struct Known {
    /// Its key.
    pub id: DeviceId,
    /// What it calls itself.
    pub name: String,
    /// What we call it, where a person said so.
    pub alias: Option<String>,
    /// What it may do.
    pub trust: Trust,
    /// What it may do again once it is no longer blocked.
    pub blocked_from: Option<Trust>,
    /// Where it may be reached.
    pub addresses: Vec<AddressRow>,
    /// mDNS shows it right now.
    pub announced: bool,
    /// A person dealt with it: it is kept in the store.
    pub kept: bool,
    /// When it was last reached, milliseconds since 1970.
    pub last_seen_ms: Option<i64>,
    /// Version of its program.
    pub version: String,
    /// What its person says.
    pub presence: PresenceBody,
    /// The words of a pairing that waits for our person.
    pub words: Option<String>,
    /// The way to it.
    pub session: Option<Session>,
    /// Its last session broke without a word: it may run and be cut off.
    pub lost: bool,
    /// Two machines use its key.
    pub copies: Option<Copies>,
    /// Starts of its daemon whose sessions a later start has replaced.
    replaced: VecDeque<u64>,
}

/// Two machines that use one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copies {
    /// Where they were seen.
    pub addresses: [SocketAddr; 2],
    /// When that was proven last.
    pub seen_at: Instant,
}

impl Known {
    fn new(id: DeviceId, name: String) -> Self {
        Self {
            id,
            name,
            alias: None,
            trust: Trust::Unknown,
            blocked_from: None,
            addresses: Vec::new(),
            announced: false,
            kept: false,
            last_seen_ms: None,
            version: String::new(),
            presence: PresenceBody::default(),
            words: None,
            session: None,
            lost: false,
            copies: None,
            replaced: VecDeque::new(),
        }
    }

    /// As it was kept.
    pub fn from_row(row: PeerRow) -> Self {
        Self {
            alias: row.alias,
            trust: row.trust,
            blocked_from: row.blocked_from,
            addresses: row.addresses,
            kept: true,
            last_seen_ms: row.last_seen_ms,
            version: row.version,
            ..Self::new(row.id, row.name)
        }
    }

    /// What to call it on a screen.
    pub fn label(&self) -> &str {
        self.alias.as_deref().unwrap_or(if self.name.is_empty() { "unnamed" } else { &self.name })
    }

    /// Its session, if it can be reached right now.
    pub fn open_session(&self) -> Option<&Session> {
        self.session.as_ref().filter(|session| session.is_open())
    }

    /// A session of it came. Each start of a daemon has a number of its own, and a daemon that was started anew never
    /// comes back as the one it was: where a replaced number does, another machine has a copy of its key.
    fn note_start(&mut self, session: &Session) {
        let start = session.hello().instance;
        let Some(old) = self.open_session().filter(|old| old.hello().instance != start).cloned() else { return };
        if self.replaced.contains(&start) {
            self.copies = Some(Copies { addresses: [old.remote_address(), session.remote_address()], seen_at: Instant::now() });
            tracing::warn!(peer = %self.id.short(), first = %old.remote_address(), second = %session.remote_address(), "two machines use one key");
        }
        self.replaced.retain(|replaced| *replaced != old.hello().instance);
        self.replaced.push_back(old.hello().instance);
        if self.replaced.len() > STARTS_KEPT {
            self.replaced.pop_front();
        }
    }

    /// The row that is kept of it.
    pub fn row(&self) -> PeerRow {
        PeerRow {
            id: self.id,
            name: self.name.clone(),
            alias: self.alias.clone(),
            trust: if self.trust == Trust::Pending { Trust::Unknown } else { self.trust },
            blocked_from: self.blocked_from,
            last_seen_ms: self.last_seen_ms,
            version: self.version.clone(),
            addresses: self.addresses.clone(),
        }
    }

    /// Puts an address in front, or notes that it worked again. One that was only announced goes behind those that worked
    /// and those that a person named, and takes the place of none of them while there are few: anybody can announce.
    pub fn note_address(&mut self, address: SocketAddr, worked: bool, fixed: bool) {
        let known = self.addresses.iter().position(|row| row.address == address).map(|at| self.addresses.remove(at));
        let mut row = known.unwrap_or(AddressRow { address, fixed, ok_ms: 0 });
        row.fixed |= fixed;
        if worked {
            row.ok_ms = clock::now_ms();
        }
        let proven = |row: &AddressRow| row.fixed || row.ok_ms > 0;
        let at = if proven(&row) { 0 } else { self.addresses.iter().position(|row| !proven(row)).unwrap_or(self.addresses.len()) };
        self.addresses.insert(at, row);
        while self.addresses.len() > ADDRESSES_MAX {
            let announced = self.addresses.iter().filter(|row| !proven(row)).count();
            let last = |is: &dyn Fn(&AddressRow) -> bool| self.addresses.iter().rposition(is);
            let worked = last(&|row| row.ok_ms > 0 && !row.fixed).filter(|_| announced <= ANNOUNCED_MAX);
            let oldest = worked.or_else(|| last(&|row| !proven(row))).or_else(|| last(&|row| !row.fixed));
            self.addresses.remove(oldest.unwrap_or(self.addresses.len() - 1));
        }
    }
}

/// All devices that we know.
pub struct PeerTable {
    own: DeviceId,
    peers: BTreeMap<DeviceId, Known>,
    touched: BTreeSet<DeviceId>,
    facts: Vec<Fact>,
}

/// What a new session means for the one that was there.
pub enum Welcome {
    /// It is the way to the peer from now on, instead of the one that was.
    Kept(Option<Session>),
    /// The other one stays; this one is closed.
    Superfluous,
}

impl PeerTable {
    /// The peers that were kept.
    pub fn new(own: DeviceId, rows: Vec<PeerRow>) -> Self {
        let peers = rows.into_iter().map(|row| (row.id, Known::from_row(row))).collect();
        Self { own, peers, touched: BTreeSet::new(), facts: Vec::new() }
    }

    /// One of them.
    pub fn get(&self, id: &DeviceId) -> Option<&Known> {
        self.peers.get(id)
    }

    /// One of them, to change it: whoever asks is about to, so listeners are told.
    pub fn edit(&mut self, id: &DeviceId) -> Option<&mut Known> {
        let known = self.peers.get_mut(id)?;
        self.touched.insert(*id);
        Some(known)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.peers.values()
    }

    /// How many can be reached now.
    pub fn online(&self) -> usize {
        self.peers.values().filter(|known| known.open_session().is_some()).count()
    }

    /// What the network may do with this key.
    pub fn admission(&self, id: &DeviceId) -> Admission {
        match self.peers.get(id).map(|known| known.trust) {
            Some(Trust::Blocked) => Admission::Blocked,
            Some(trust) if trust.paired() => Admission::Trusted,
            _ => Admission::Stranger,
        }
    }

    /// The one with this key, made where it is new. `None` for ourselves and where too many strangers are listed.
    pub fn meet(&mut self, id: DeviceId, name: &str) -> Option<&mut Known> {
        if id == self.own {
            return None;
        }
        if !self.peers.contains_key(&id) {
            if self.peers.values().filter(|known| !known.kept).count() >= STRANGERS_MAX {
                return None;
            }
            self.peers.insert(id, Known::new(id, name.to_owned()));
        }
        self.edit(&id)
    }

    /// Somebody proved its key: where the list is full, a stranger of whom there are announcements and nothing else gives
    /// way. Anybody can announce as many as he likes.
    fn make_room_for(&mut self, id: &DeviceId) {
        let strangers = || self.peers.values().filter(|known| !known.kept);
        if self.peers.contains_key(id) || strangers().count() < STRANGERS_MAX {
            return;
        }
        let only_announced =
            |known: &&Known| known.session.is_none() && known.last_seen_ms.is_none() && known.addresses.iter().all(|row| row.ok_ms == 0);
        if let Some(gone) = strangers().find(only_announced).map(|known| known.id) {
            self.remove(&gone);
        }
    }

    fn remove(&mut self, id: &DeviceId) {
        self.peers.remove(id);
        self.touched.remove(id);
        self.facts.push(Fact::PeerForgotten(PeerForgotten { id: *id }));
    }

    /// mDNS shows a device. A hint where to connect, nothing more; the name of a known one stays what its session said.
    pub fn sighted(&mut self, id: DeviceId, name: &str, addresses: &[SocketAddr]) -> bool {
        let Some(known) = self.meet(id, name) else { return false };
        known.announced = true;
        if known.name.is_empty() {
            known.name = name.to_owned();
        }
        for address in addresses {
            if !known.addresses.iter().any(|row| row.address == *address) {
                known.note_address(*address, false, false);
            }
        }
        true
    }

    /// mDNS shows it no longer. A session that stands is not touched, and who `is_wanted`, as for a transfer, stays listed.
    pub fn vanished(&mut self, id: &DeviceId, is_wanted: bool) {
        if let Some(known) = self.edit(id) {
            known.announced = false;
        }
        if !is_wanted {
            self.drop_if_nothing_is_left(id);
        }
    }

    /// Another session with this peer. Of two that were dialled at once, the one that the lower id dialled stays on
    /// both sides; a session with another start of the daemon, or a much younger one, takes the place of the old.
    pub fn welcome(&mut self, session: &Session) -> Welcome {
        let own = self.own;
        let hello = session.hello();
        self.make_room_for(&session.peer());
        let Some(known) = self.meet(session.peer(), &hello.name) else { return Welcome::Superfluous };
        if known.trust == Trust::Blocked {
            return Welcome::Superfluous; // since it was let in
        }
        if let Some(old) = known.open_session() {
            let same_start = old.hello().instance == hello.instance;
            let at_once = session.opened_at().saturating_duration_since(old.opened_at()) < AT_ONCE;
            let dialled_by_lower = session.dialed_by_us() == (own < session.peer());
            let same_dialler = old.dialed_by_us() == session.dialed_by_us();
            if same_start && at_once && !same_dialler && !dialled_by_lower {
                return Welcome::Superfluous;
            }
        }
        known.note_start(session);
        known.lost = false;
        known.name.clone_from(&hello.name);
        known.version = hello.version.chars().take(32).collect();
        known.last_seen_ms = Some(clock::now_ms());
        known.presence = presence(hello.presence.as_ref());
        known.note_address(session.remote_address(), true, false);
        let old = known.session.replace(session.clone());
        self.raise_alarm_if_name_is_taken(session.peer());
        Welcome::Kept(old)
    }

    /// Its person says something else. That of a stranger is kept until it is paired, and shown to nobody: it could write
    /// there what it likes, as often as it likes.
    pub fn said(&mut self, id: &DeviceId, said: &wire::Presence) {
        let Some(known) = self.peers.get_mut(id) else { return };
        let before = std::mem::replace(&mut known.presence, presence(Some(said)));
        if known.trust.paired() && known.presence != before {
            self.touched.insert(*id);
        }
    }

    /// The session ended so; another one with the same peer may stand already. Who `is_wanted` stays listed.
    pub fn parted(&mut self, session: &Session, ended: &Ended, is_wanted: bool) -> bool {
        let id = session.peer();
        let current = self.peers.get(&id).and_then(|known| known.session.as_ref()).is_some_and(|it| it.number() == session.number());
        if !current {
            return false;
        }
        if let Some(known) = self.edit(&id) {
            known.session = None;
            known.lost = *ended == Ended::Vanished;
            known.last_seen_ms = Some(clock::now_ms());
        }
        if !is_wanted {
            self.drop_if_nothing_is_left(&id);
        }
        true
    }

    /// Its pairing is over.
    pub fn hide_words(&mut self, id: &DeviceId) {
        if let Some(known) = self.peers.get_mut(id).filter(|known| known.words.is_some()) {
            known.words = None;
            self.touched.insert(*id);
        }
    }

    /// Forgets what a person said of it. It stays listed while it can be seen.
    pub fn forget(&mut self, id: &DeviceId) {
        if let Some(known) = self.edit(id) {
            known.kept = false;
            known.trust = Trust::Unknown;
            known.blocked_from = None;
            known.alias = None;
            known.words = None;
            known.addresses.retain(|row| !row.fixed);
        }
        self.drop_if_nothing_is_left(id);
    }

    /// Nobody asks for it any more: a stranger that cannot be seen is not listed.
    pub fn drop_if_nothing_is_left(&mut self, id: &DeviceId) {
        let nothing = self.peers.get(id).is_some_and(|known| !known.kept && !known.announced && known.session.is_none());
        if nothing {
            self.remove(id);
        }
    }

    fn raise_alarm_if_name_is_taken(&mut self, seen: DeviceId) {
        let Some(name) = self.peers.get(&seen).filter(|known| !known.trust.paired()).map(|known| known.name.clone()) else { return };
        let namesake = |known: &&Known| known.id != seen && known.trust.paired() && known.name == name;
        let Some(trusted) = self.peers.values().find(namesake).map(|known| known.id) else { return };
        if let Some(known) = self.peers.get_mut(&seen).filter(|known| known.trust == Trust::Unknown) {
            known.trust = Trust::Changed;
            tracing::error!(name = %sharekaro_proto::nouns::text::Shown(&name), %trusted, %seen, "another key uses the name of a paired device");
            self.facts.push(Fact::IdentityAlarm(IdentityAlarm { name, trusted, seen }));
        }
    }

    /// What changed since the last call.
    pub fn drain(&mut self) -> Vec<Fact> {
        let mut facts = std::mem::take(&mut self.facts);
        for id in std::mem::take(&mut self.touched) {
            facts.extend(self.view(&id).map(|peer| Fact::PeerChanged(Box::new(peer))));
        }
        facts
    }

    /// Those online first, then by name.
    pub fn views(&self) -> Vec<Peer> {
        let mut views: Vec<Peer> = self.peers.keys().filter_map(|id| self.view(id)).collect();
        views.sort_by(|a, b| b.online.cmp(&a.online).then_with(|| a.alias.cmp(&b.alias)).then_with(|| a.id.cmp(&b.id)));
        views
    }

    /// One of them as every door shows it.
    pub fn view(&self, id: &DeviceId) -> Option<Peer> {
        let known = self.peers.get(id)?;
        let session = known.open_session();
        let mut addresses: Vec<String> = session.map(|session| session.remote_address().to_string()).into_iter().collect();
        addresses.extend(
            known.addresses.iter().map(|row| row.address.to_string()).filter(|text| Some(text) != addresses.first()).collect::<Vec<_>>(),
        );
        Some(Peer {
            id: known.id,
            name: known.name.clone(),
            alias: known.label().to_owned(),
            online: session.is_some(),
            trust: if known.words.is_some() && !known.trust.paired() { Trust::Pending } else { known.trust },
            addresses,
            last_seen: if session.is_some() { Some(jiff::Timestamp::now()) } else { known.last_seen_ms.map(clock::timestamp) },
            presence: if known.trust.paired() { known.presence.clone() } else { PresenceBody::default() },
            rtt_ms: session.map(|session| session.stats().rtt.as_secs_f64() * 1e3),
            words: known.words.clone(),
            version: known.version.clone(),
        })
    }

    /// Our name for it, also where it is no longer known.
    pub fn label(&self, id: &DeviceId) -> String {
        self.peers.get(id).map_or_else(|| id.short(), |known| known.label().to_owned())
    }
}

/// Sessions opened this shortly after each other were dialled before either side knew of the other.
const AT_ONCE: std::time::Duration = std::time::Duration::from_secs(3);

/// The longest line of presence, in characters.
pub(super) const PRESENCE_MAX: usize = 200;

/// What a peer says of its person, cut to size.
pub fn presence(said: Option<&wire::Presence>) -> PresenceBody {
    let Some(said) = said else { return PresenceBody::default() };
    let state = if said.away { PresenceState::Away } else { PresenceState::Available };
    PresenceBody { state, text: said.text.chars().take(PRESENCE_MAX).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn row(n: u8, name: &str, trust: Trust) -> PeerRow {
        PeerRow {
            id: id(n),
            name: name.into(),
            alias: None,
            trust,
            blocked_from: None,
            last_seen_ms: None,
            version: String::new(),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn a_flood_of_announcements_fills_no_memory_and_hides_no_paired_peer() {
        let mut table = PeerTable::new(id(0), vec![row(1, "bob", Trust::Accept)]);

        for n in 0..5_000u32 {
            let mut key = [9; 32];
            key[..4].copy_from_slice(&n.to_le_bytes());
            table.sighted(DeviceId::from_bytes(key), "flood", &["10.0.0.9:47810".parse().unwrap()]);
        }
        table.sighted(id(1), "bob", &["10.0.0.1:47810".parse().unwrap()]);

        assert_eq!(table.iter().count(), 1 + STRANGERS_MAX);
        assert_eq!(table.get(&id(1)).unwrap().addresses.len(), 1);
    }

    #[test]
    fn who_proves_its_key_takes_the_place_of_one_that_was_only_announced() {
        let mut table = PeerTable::new(id(0), vec![row(1, "bob", Trust::Accept)]);
        let stranger = |n: u32| {
            let mut key = [9; 32];
            key[..4].copy_from_slice(&n.to_le_bytes());
            DeviceId::from_bytes(key)
        };
        (0..STRANGERS_MAX as u32).for_each(|n| _ = table.sighted(stranger(n), "flood", &["10.0.0.9:47810".parse().unwrap()]));
        table.edit(&stranger(0)).unwrap().last_seen_ms = Some(1);
        table.edit(&stranger(1)).unwrap().note_address("10.0.0.8:47810".parse().unwrap(), true, false);
        table.drain();

        table.make_room_for(&stranger(5));
        assert_eq!(table.iter().count(), 1 + STRANGERS_MAX);
        table.make_room_for(&id(7));

        assert!(table.meet(id(7), "carol").is_some() && table.iter().count() == 1 + STRANGERS_MAX);
        assert!(table.get(&stranger(0)).is_some() && table.get(&stranger(1)).is_some());
        assert!(table.drain().iter().any(|fact| matches!(fact, Fact::PeerForgotten(_))));
    }

    #[test]
    fn our_own_announcement_is_nobody() {
        let mut table = PeerTable::new(id(0), Vec::new());

        assert!(!table.sighted(id(0), "me", &[]));
        assert_eq!(table.views(), []);
    }

    #[test]
    fn a_stranger_that_left_is_forgotten_and_a_paired_peer_is_not() {
        let mut table = PeerTable::new(id(0), vec![row(1, "bob", Trust::Accept)]);
        table.sighted(id(2), "carol", &[]);
        table.drain();

        table.vanished(&id(2), false);
        table.vanished(&id(1), false);

        assert!(table.get(&id(2)).is_none() && table.get(&id(1)).is_some());
        assert!(matches!(table.drain().as_slice(), [Fact::PeerForgotten(gone), Fact::PeerChanged(_)] if gone.id == id(2)));
    }

    #[test]
    fn what_a_stranger_says_of_itself_is_seen_once_it_is_paired() {
        let mut table = PeerTable::new(id(0), vec![row(1, "bob", Trust::Accept)]);
        table.sighted(id(2), "carol", &[]);
        table.drain();
        let lunch = wire::Presence { away: true, text: "lunch".into() };

        table.said(&id(2), &lunch);
        assert!(table.drain().is_empty() && table.view(&id(2)).unwrap().presence == PresenceBody::default());
        table.said(&id(1), &lunch);
        assert_eq!(table.drain().len(), 1);
        table.said(&id(1), &lunch);
        assert!(table.drain().is_empty());

        table.edit(&id(2)).unwrap().trust = Trust::Accept;
        assert_eq!(table.view(&id(2)).unwrap().presence.text, "lunch");
    }

    #[test]
    fn another_key_under_a_paired_name_is_an_alarm() {
        let mut table = PeerTable::new(id(0), vec![row(1, "bob", Trust::Accept)]);
        table.sighted(id(2), "bob", &[]);

        table.raise_alarm_if_name_is_taken(id(2));

        assert_eq!(table.get(&id(2)).unwrap().trust, Trust::Changed);
        assert_eq!(table.get(&id(1)).unwrap().trust, Trust::Accept);
        assert!(table.drain().iter().any(|fact| matches!(fact, Fact::IdentityAlarm(alarm) if alarm.seen == id(2))));
    }

    #[test]
    fn addresses_are_bounded_and_those_a_person_added_stay() {
        let mut known = Known::new(id(1), "bob".into());
        known.note_address("192.0.2.1:1024".parse().unwrap(), false, true);

        for n in 0..50 {
            known.note_address(format!("10.0.0.{n}:47810").parse().unwrap(), false, false);
        }

        assert_eq!(known.addresses.len(), ADDRESSES_MAX);
        assert!(known.addresses.iter().any(|row| row.fixed));
        assert_eq!(known.addresses[1].address, "10.0.0.49:47810".parse().unwrap());
    }

    #[test]
    fn what_anybody_announces_takes_no_place_of_an_address_that_worked() {
        let mut table = PeerTable::new(id(0), vec![row(1, "bob", Trust::Accept)]);
        let address = |n: u8| -> SocketAddr { format!("10.0.0.{n}:47810").parse().unwrap() };
        table.edit(&id(1)).unwrap().note_address(address(1), true, false);
        table.edit(&id(1)).unwrap().note_address(address(2), false, true);

        table.sighted(id(1), "bob", &(10..40).map(address).collect::<Vec<_>>());

        let shown = |table: &PeerTable| table.get(&id(1)).unwrap().addresses.iter().map(|row| row.address).collect::<Vec<_>>();
        assert_eq!(shown(&table)[..3], [address(2), address(1), address(39)]);
        assert_eq!(shown(&table).len(), ADDRESSES_MAX);

        for n in 50..90 {
            table.edit(&id(1)).unwrap().note_address(address(n), true, false);
        }
        table.sighted(id(1), "bob", &[address(99)]);
        let rows = shown(&table);
        assert!(rows[0] == address(89) && rows.contains(&address(2)) && rows.contains(&address(99)), "{rows:?}");
    }
}
