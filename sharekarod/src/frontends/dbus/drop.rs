//! `Drop1`: a drop folder, at `.../drops/d1`: what is put there is sent.

use std::path::PathBuf;

use sharekaro_proto::{
    control::drop::{DropItem, DropState},
    nouns::text::lossless,
};
use zbus::interface;

use super::{cell::Cell, refusal::Refusal, text::bus_text};
use crate::engine::Engine;

/// What a drop folder shows of what lies in it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Contents {
    settling: u32,
    waiting: u32,
    sending: u32,
    failed: u32,
}

impl Contents {
    /// Of these things, those that lie below this folder.
    pub(super) fn of<'a>(folder: &str, items: impl Iterator<Item = &'a DropItem>) -> Self {
        let mut contents = Self::default();
        for item in items.filter(|item| item.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))) {
            match item.state {
                DropState::Settling => contents.settling += 1,
                DropState::Waiting => contents.waiting += 1,
                DropState::Sending => contents.sending += 1,
                DropState::Failed => contents.failed += 1,
                DropState::Sent => {}
            }
        }
        contents
    }

    /// One word for all of it: what moves before what rests.
    fn word(self) -> &'static str {
        match self {
            Self { sending: 1.., .. } => DropState::Sending.word(),
            Self { settling: 1.., .. } => DropState::Settling.word(),
            Self { waiting: 1.., .. } => DropState::Waiting.word(),
            Self { failed: 1.., .. } => DropState::Failed.word(),
            _ => "idle",
        }
    }
}

/// A drop folder on the bus.
#[derive(Clone)]
pub(super) struct Drop1 {
    engine: Engine,
    dir: PathBuf,
    contents: Cell<Contents>,
}

impl Drop1 {
    /// The object of a drop folder.
    pub(super) fn new(engine: Engine, dir: PathBuf) -> Self {
        Self { engine, dir, contents: Cell::new(Contents::default()) }
    }

    /// What it shows of what lies in it.
    pub(super) fn cell(&self) -> &Cell<Contents> {
        &self.contents
    }

    /// Where it is, as the things in it name it.
    pub(super) fn folder(&self) -> String {
        lossless(self.dir.as_os_str().as_encoded_bytes())
    }
}

/// A drop folder: what is put there, or into a folder of it that is called as a peer, is sent once it is whole.
#[interface(name = "org.sharekaro.ShareKaro1.Drop1")]
impl Drop1 {
    /// Tries again what failed, and at once what waits. path: only this, and what is in it; empty for all of the folder.
    async fn retry(&self, path: String) -> Result<(), Refusal> {
        let path = if path.is_empty() { self.dir.clone() } else { PathBuf::from(path) };
        self.engine.retry_drops(Some(path)).await?;
        Ok(())
    }

    /// What lies in it and is not sent yet: path, target, state (settling, waiting, sending, failed), and the reason
    /// where there is one.
    #[zbus(out_args("items"))]
    async fn list(&self) -> Vec<(String, String, String, String)> {
        let folder = self.folder();
        let items = self.engine.dropped();
        let here = items.iter().filter(|item| item.path.strip_prefix(&folder).is_some_and(|rest| rest.starts_with('/')));
        here.map(|it| {
            (bus_text(&it.path), bus_text(&it.target), it.state.word().to_owned(), bus_text(it.reason.as_deref().unwrap_or_default()))
        })
        .collect()
    }

    /// Where it is.
    #[zbus(property(emits_changed_signal = "const"))]
    fn path(&self) -> String {
        bus_text(&self.folder())
    }

    /// What it does: `sending`, `settling` (something may still be written), `waiting`, `failed`, or `idle`.
    #[zbus(property)]
    fn state(&self) -> String {
        self.contents.now().word().to_owned()
    }

    /// Things that are not sent yet, those that failed not among them.
    #[zbus(property)]
    fn pending(&self) -> u32 {
        let contents = self.contents.now();
        contents.settling.saturating_add(contents.waiting).saturating_add(contents.sending)
    }

    /// Things that will not go by themselves; List says why.
    #[zbus(property)]
    fn failed(&self) -> u32 {
        self.contents.now().failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_shows_what_lies_in_it_and_not_beside_it() {
        let item = |path: &str, state| DropItem { path: path.into(), target: "bob".into(), state, reason: None };
        let items = [
            item("/d/bob/a", DropState::Waiting),
            item("/d/b", DropState::Settling),
            item("/d/c", DropState::Failed),
            item("/drop/e", DropState::Sending),
        ];

        let contents = Contents::of("/d", items.iter());

        assert_eq!(contents, Contents { settling: 1, waiting: 1, sending: 0, failed: 1 });
        assert_eq!(
            (contents.word(), Contents::of("/drop", items.iter()).word(), Contents::default().word()),
            ("settling", "sending", "idle")
        );
    }
}
