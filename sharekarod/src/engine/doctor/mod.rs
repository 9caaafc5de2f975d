//! What is wrong, named: facts are measured here and at peers, and judged by plain rules.

mod facts;
mod judge;
mod machine;
mod way;

use std::net::{Ipv4Addr, SocketAddr};

use futures_util::future::join_all;
use sharekaro_proto::{
    DeviceId, ErrorBody,
    control::doctor::{Diagnosis, DoctorQuery},
};

use self::{
    facts::{Facts, Presence},
    judge::judge,
};
use super::Engine;
use crate::interfaces;

/// Ways that are tried where no peer is named: those in use, and some that were.
const WAYS: usize = 8;

/// A port that a gateway is likely to have an opinion on: DNS.
const GATEWAY_PORT: u16 = 53;

impl Engine {
    /// Looks at this machine and the ways to peers; up to some twenty seconds where something is silent.
    ///
    /// # Errors
    /// Nobody of that name, or several.
    pub async fn diagnose(&self, query: DoctorQuery) -> Result<Diagnosis, ErrorBody> {
        let asked_for = query.peer.as_deref().filter(|name| !name.is_empty()).map(|name| self.find_peer(name)).transpose()?;
        let (config, port) = (self.config().clone(), self.status().port);
        let machine = tokio::task::spawn_blocking(move || machine::look(&config, port));
        let ids = self.whose_ways(asked_for);
        let ways = join_all(ids.into_iter().map(|id| self.try_way(id, asked_for == Some(id))));
        let (machine, ways, gateway) = tokio::join!(machine, ways, find_gateway());
        let machine =
            machine.map_err(|e| ErrorBody::new(sharekaro_proto::ErrorCode::Unexpected, format!("looking at this machine failed: {e}")))?;
        Ok(Diagnosis { verdicts: judge(&Facts { machine, gateway, ways }) })
    }

    /// The one that is asked for, those whose key two machines use, and paired ones: those connected first. Of the
    /// others, what they say helps to tell a peer that is off from a network that lets nobody through.
    fn whose_ways(&self, asked_for: Option<DeviceId>) -> Vec<DeviceId> {
        self.look(|state| {
            let mut known: Vec<_> =
                state.peers.iter().filter(|known| known.trust.paired() || known.copies.is_some() || Some(known.id) == asked_for).collect();
            known.sort_by_key(|known| (Some(known.id) != asked_for, known.copies.is_none(), known.open_session().is_none(), !known.lost));
            known.into_iter().map(|known| known.id).take(WAYS).collect()
        })
    }
}

/// The gateway, and whether it answers on our link.
async fn find_gateway() -> Option<(Ipv4Addr, bool)> {
    let gateway = interfaces::gateway()?;
    let address = SocketAddr::from((gateway, GATEWAY_PORT));
    let found = way::find_machine(address).await;
    Some((gateway, found == Presence::There || way::hardware_address_known(address) == Some(true)))
}
