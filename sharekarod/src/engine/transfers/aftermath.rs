//! What a person does with something that came: lets it out of quarantine, or takes it back.

use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferId,
    control::{
        inbox::{Accept, Undone},
        policy::Action,
        transfer::{RawPath, Transfer},
    },
    nouns::{
        text::lossless,
        transfer::{Conflict, Direction, TransferState},
    },
};

use super::{
    ending,
    inbox::{by_person, usable_dir},
    record::Record,
    sources::with_causes,
    table::not_found,
};
use crate::{
    engine::Engine,
    files::{self, cage},
    store::{self, Durability},
};

impl Engine {
    /// Moves what lies in quarantine to where a person wants it, else into the inbox.
    pub(super) async fn release(&self, id: TransferId, accept: Accept) -> Result<Transfer, ErrorBody> {
        let _alone = self.inner.policy.aftermath.acquire().await;
        let Some(record) = self.record(id).filter(Record::lies_apart) else { return self.transfer(id) }; // somebody was faster
        let RawPath(to) = accept.dir.unwrap_or_else(|| RawPath(self.config().inbox_dir.clone()));
        let (held, state_dir, listing) = (self.destination(&record), self.config().state_dir.clone(), ending::listing_path(self, &record));
        let (destination, key, conflict) = (to.clone(), record.key, record.conflict.unwrap_or(Conflict::Rename));
        let placed = on_disk(move || {
            usable_dir(&destination)?;
            cage::release(&held, &destination, &state_dir, key, conflict, &listing).map_err(|e| local(&e, "it is still in quarantine"))
        })
        .await?;
        let placed: Vec<RawPath> = placed.into_iter().map(RawPath).collect();
        self.quarantined(id).await?; // listed, so that it can be changed, whatever came meanwhile
        self.change_transfer(id, Durability::Durable, |row| {
            row.record.quarantined = false;
            row.record.placed.clone_from(&placed);
            row.record.destination = Some(RawPath(to.clone()));
        })
        .await?;
        self.note_decision(by_person(&record, Action::Accept, "out of quarantine"));
        self.remember_contents(ending::listing_path(self, &record), to).await;
        self.transfer(id)
    }

    /// Takes back what one receive wrote, as one step: older things that lost their names have them again, and what was
    /// edited since stays.
    ///
    /// # Errors
    /// Nothing of that number came, or it was taken back already; the disk.
    pub async fn undo(&self, id: TransferId) -> Result<Undone, ErrorBody> {
        let _alone = self.inner.policy.aftermath.acquire().await;
        let here = self.record(id);
        let is_shown = here.is_some();
        let record = match here {
            Some(record) => record,
            None => self.store().read(move |c| store::transfers::find(c, id)).await?.ok_or_else(|| not_found(id))?,
        };
        can_be_undone(&record)?;
        let (destination, listing) = (self.destination(&record), ending::listing_path(self, &record));
        let undone =
            on_disk(move || cage::undo(&destination, &listing).map_err(|e| local(&e, "what is left can be taken back again"))).await?;
        if is_shown {
            self.change_transfer(id, Durability::Durable, |row| taken_back(&mut row.record)).await?;
        } else {
            let mut record = record.clone();
            taken_back(&mut record);
            self.store().write(Durability::Durable, move |t| store::transfers::save(t, &record)).await?;
        }
        tracing::info!(%id, removed = undone.removed, restored = undone.restored, spared = undone.spared.len(), "taken back");
        let shown = |path: &std::path::PathBuf| lossless(path.as_os_str().as_encoded_bytes());
        Ok(Undone { id, removed: undone.removed, restored: undone.restored, spared: undone.spared.iter().map(shown).collect() })
    }
}

fn can_be_undone(record: &Record) -> Result<(), ErrorBody> {
    let id = record.id;
    let why = match record.state {
        _ if record.direction == Direction::Out => format!("{id} was sent, not received"),
        TransferState::Done if record.undone => format!("{id} was taken back already"),
        TransferState::Done => return Ok(()),
        state => format!("nothing of {id} was received: it is {state}"),
    };
    Err(ErrorBody::new(ErrorCode::WrongState, why).hint("`sharectl inbox` lists what came"))
}

fn taken_back(record: &mut Record) {
    record.undone = true;
    record.placed.clear();
    record.run.clear();
}

async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T, ErrorBody> + Send + 'static) -> Result<T, ErrorBody> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(ErrorBody::new(ErrorCode::Unexpected, "the disk work was interrupted").hint("try again")))
}

fn local(error: &files::Error, hint: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::LocalFile, with_causes(error)).hint(hint)
}
