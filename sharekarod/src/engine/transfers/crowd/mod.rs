//! One to many: the receivers of one `send` help each other, vouched for by its sender, for this content only.
//!
//! The sender names in each offer the other receivers and a pass. Whoever shows the pass, and is named, gets pieces of
//! this content from whoever has them. Every piece is verified against the values that the sender gave.

mod alone;
mod bits;
mod gather;
mod reach;
mod serve;
mod share;
mod source;
mod table;

use std::net::SocketAddr;

use sharekaro_proto::{
    DeviceId, TransferKey,
    nouns::transfer::{Direction, TransferState},
    wire,
};

pub use self::{
    alone::without_source,
    gather::gather,
    share::{Share, Shares},
    source::Shared,
};
use super::{plan::SMALL_MAX, record::Record};
pub use crate::store::crowd::{Crowd, Given, Member, Pass};
use crate::{engine::Engine, files::Item};

/// The most members that are told of; more receivers make several crowds.
const MEMBERS_MAX: usize = 64;

/// Devices of a crowd with its sender: so many give something at most.
pub const HOLDERS_MAX: usize = MEMBERS_MAX + 1;

/// Addresses told of each member: cable and radio, IPv4 and IPv6.
const ADDRESSES_MAX: usize = 8;

/// Less than this is quicker sent to each than shared.
const WORTH_SHARING: u64 = 4 << 20;

impl Crowd {
    /// The crowd of a new set of transfers.
    pub fn fresh() -> Self {
        Self { pass: rand::random(), wireless: false, members: Vec::new() }
    }

    /// What an offer says, where it makes sense. We are no member for ourselves.
    pub fn from_offer(offered: wire::Crowd, own: DeviceId) -> Option<Self> {
        let pass = Pass::try_from(offered.pass).ok()?;
        let members = offered.members.into_iter().take(MEMBERS_MAX).filter_map(Member::from_hint);
        let members: Vec<Member> = members.filter(|member| member.id != own).collect();
        (!members.is_empty()).then_some(Self { pass, wireless: offered.wireless, members })
    }

    /// Whether the sender vouched for this device.
    pub fn names(&self, id: &DeviceId) -> bool {
        self.members.iter().any(|member| member.id == *id)
    }
}

impl Member {
    fn from_hint(hint: wire::Hint) -> Option<Self> {
        let id = DeviceId::from_bytes(hint.device.try_into().ok()?);
        let addresses = hint.addresses.iter().take(ADDRESSES_MAX).filter_map(|text| text.parse().ok()).filter(is_told).collect();
        Some(Self { id, addresses })
    }
}

/// A link-local address means something else on each machine, and a loopback one the machine itself.
fn is_told(address: &SocketAddr) -> bool {
    match address {
        SocketAddr::V4(v4) => !v4.ip().is_link_local() && !v4.ip().is_loopback() && !v4.ip().is_unspecified(),
        SocketAddr::V6(v6) => !v6.ip().is_unicast_link_local() && !v6.ip().is_loopback() && !v6.ip().is_unspecified(),
    }
}

/// Whether so many bytes are quicker shared than sent to each.
pub fn is_worth_sharing(bytes: u64) -> bool {
    bytes > WORTH_SHARING
}

/// Whether a file is fetched from whoever has it: it has pieces, and its content is known.
pub fn is_shared(item: &Item) -> bool {
    item.is_file() && item.size > SMALL_MAX && item.content.is_some()
}

impl Engine {
    /// Whom an offer names as helpers; nobody where it is not worth it.
    pub(crate) fn crowd_of(&self, record: &Record) -> Option<wire::Crowd> {
        let crowd = record.crowd.as_ref().filter(|_| is_worth_sharing(record.bytes_total))?;
        let members: Vec<wire::Hint> = self
            .others_of_set(record.set, record.peer)
            .into_iter()
            .map(|id| wire::Hint { device: id.as_bytes().to_vec(), addresses: self.told_addresses(&id) })
            .collect();
        (!members.is_empty()).then(|| wire::Crowd { members, wireless: self.hello().wireless, pass: crowd.pass.to_vec() })
    }

    /// The other receivers of a set, in groups of which everybody knows everybody.
    fn others_of_set(&self, set: TransferKey, own: DeviceId) -> Vec<DeviceId> {
        let takes_it = |state: TransferState| !state.ended() || state == TransferState::Done;
        let all: Vec<(DeviceId, bool)> = self.look(|state| {
            let of_set = state.transfers.iter().map(|row| &row.record).filter(|it| it.direction == Direction::Out && it.set == set);
            of_set.map(|it| (it.peer, takes_it(it.state))).collect()
        });
        let group = all.chunks(MEMBERS_MAX + 1).find(|group| group.iter().any(|(id, _)| *id == own)).unwrap_or_default();
        group.iter().filter(|(id, takes)| *id != own && *takes).map(|(id, _)| *id).collect()
    }

    fn told_addresses(&self, id: &DeviceId) -> Vec<String> {
        self.look(|state| {
            let Some(known) = state.peers.get(id) else { return Vec::new() };
            let here = known.open_session().map(crate::net::Session::remote_address);
            let listed = known.addresses.iter().map(|row| row.address).filter(|address| Some(*address) != here);
            here.into_iter().chain(listed).filter(is_told).take(ADDRESSES_MAX).map(|address| address.to_string()).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(n: u8, addresses: &[&str]) -> wire::Hint {
        wire::Hint { device: vec![n; 32], addresses: addresses.iter().map(|it| (*it).to_owned()).collect() }
    }

    #[test]
    fn a_crowd_of_an_offer_is_taken_only_where_it_makes_sense() {
        let own = DeviceId::from_bytes([1; 32]);
        let offered = wire::Crowd {
            members: vec![hint(1, &[]), hint(2, &["192.0.2.1:47810", "169.254.1.1:5", "[fe80::1]:5", "x"])],
            wireless: true,
            pass: vec![7; 16],
        };

        let crowd = Crowd::from_offer(offered.clone(), own).unwrap();

        assert_eq!(crowd.members, [Member { id: DeviceId::from_bytes([2; 32]), addresses: vec!["192.0.2.1:47810".parse().unwrap()] }]);
        assert!(crowd.names(&DeviceId::from_bytes([2; 32])) && !crowd.names(&own));
        assert_eq!(Crowd::from_offer(wire::Crowd { pass: vec![7; 15], ..offered.clone() }, own), None);
        assert_eq!(Crowd::from_offer(wire::Crowd { members: vec![hint(1, &[])], ..offered.clone() }, own), None);
        let many = wire::Crowd { members: (0..=255).map(|n| hint(n, &[])).collect(), ..offered };
        assert!(Crowd::from_offer(many, own).is_some_and(|crowd| crowd.members.len() <= MEMBERS_MAX));
    }
}
