//! Files for whoever types a code: one transfer between two devices that need not know each other.
//!
//! The code proves who asked and who holds the files; it grants exactly one transfer and makes nobody trusted. The
//! holder names the transfer's key in its proof, so the receiver takes that one offer and no other.

use std::time::Duration;

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode, TransferId, TransferKey,
    control::{
        pairing::Invitation,
        transfer::{ReceiveCode, Send, SendCode, Transfer},
    },
    nouns::transfer::Direction,
    wire::CodePurpose,
};

use super::send::{check_paths, check_patterns};
use crate::engine::{Engine, only};

/// The offer follows the proof at once; a holder that has to walk a large tree first still makes it within this.
const OFFER_WITHIN: Duration = Duration::from_secs(30);

impl Engine {
    /// A code that lets whoever types it have these files, once.
    ///
    /// # Errors
    /// A path that cannot be read; too many codes are open.
    pub async fn offer_by_code(&self, wanted: SendCode) -> Result<Invitation, ErrorBody> {
        check_paths(wanted.paths.clone()).await?;
        check_patterns(&wanted.exclude)?;
        let SendCode { paths, note, exclude, conflict, limit, priority, ignore_files, xattrs } = wanted;
        let parcel = Send { paths, note, exclude, conflict, limit, priority, ignore_files, xattrs, ..Send::default() };
        self.new_code(CodePurpose::Receive, Some(parcel))
    }

    /// Somebody proved that he knows the code of a parcel: it becomes an ordinary transfer to him.
    pub(crate) async fn send_by_code(&self, number: u32, parcel: Send, to: DeviceId) -> Result<TransferKey, ErrorBody> {
        let sent = async {
            let sources = check_paths(parcel.paths.clone()).await?; // they may have gone since
            let transfer = only(self.send_to(&parcel, &[to], &sources).await?.transfers);
            transfer.and_then(|it| self.record(it.id)).ok_or_else(|| ErrorBody::new(ErrorCode::Unexpected, "the transfer was not recorded"))
        };
        let sent = sent.await;
        self.update(|state| match &sent {
            Ok(record) => state.pairings.became(number, to, Some(record.id)),
            Err(_) => state.pairings.became(number, to, None),
        });
        match sent {
            Ok(record) => {
                tracing::info!(id = %record.id, peer = %self.label(to), "the code was used");
                Ok(record.key)
            }
            Err(e) => {
                tracing::warn!(peer = %self.label(to), "the code was used, but nothing can be sent: {}", e.message);
                Err(e)
            }
        }
    }

    /// Uses a code: takes the one transfer that it grants.
    ///
    /// # Errors
    /// Nobody here made such a code; it is wrong, used up or expired; its holder offers nothing.
    pub async fn receive_by_code(&self, wanted: ReceiveCode) -> Result<Transfer, ErrorBody> {
        let (session, granted) = self.try_code(&wanted.code, wanted.from.as_deref(), CodePurpose::Receive).await?;
        let nothing = || ErrorBody::new(ErrorCode::Integrity, "the code is right, but its holder names no transfer");
        let key = granted.ok_or_else(nothing)?;
        session.trust(); // the line only; see `code_proven`
        let peer = session.peer();
        match tokio::time::timeout(OFFER_WITHIN, self.take_granted(peer, key)).await {
            Ok(transfer) => transfer,
            Err(_) => {
                Err(ErrorBody::new(ErrorCode::TimedOut, format!("{} made no offer in time", self.label(peer))).hint("ask for another code"))
            }
        }
    }

    /// Waits for the one offer and takes it.
    async fn take_granted(&self, peer: DeviceId, key: TransferKey) -> Result<Transfer, ErrorBody> {
        let mut events = self.subscribe();
        loop {
            let found = self.look(|state| {
                state.transfers.by_key(Direction::In, peer, key).map(|record| (record.id, record.accepted || record.state.ended()))
            });
            match found {
                Some((id, true)) => return self.transfer(id),
                Some((id, false)) => return self.take_offer(id).await,
                None => {}
            }
            if events.next().await.is_none() {
                return Err(ErrorBody::new(ErrorCode::NoDaemon, "the daemon ends"));
            }
        }
    }

    async fn take_offer(&self, id: TransferId) -> Result<Transfer, ErrorBody> {
        match self.accept(id, Default::default()).await {
            Err(e) if e.code == ErrorCode::WrongState => self.transfer(id), // somebody else answered meanwhile
            accepted => accepted,
        }
    }
}
