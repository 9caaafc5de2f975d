//! What lies in drop folders and is not sent yet, as every door shows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use sharekaro_proto::control::{
    drop::{DropItem, DropState},
    event::{DropForgotten, Fact},
};

/// The number of a drop folder, and the way from there on to something in it.
pub type Place = (usize, PathBuf);

/// What is shown, by where it lies.
#[derive(Default)]
pub struct DropTable {
    items: BTreeMap<Place, DropItem>,
    touched: BTreeSet<Place>,
    gone: Vec<Fact>,
}

impl DropTable {
    /// It stands so from now on. What was sent is told once more and then no longer kept here: the store has it.
    pub fn show(&mut self, place: Place, item: DropItem) {
        if item.state == DropState::Sent {
            self.items.remove(&place);
            self.touched.remove(&place);
            self.gone.push(Fact::DropChanged(Box::new(item)));
        } else if self.items.get(&place) != Some(&item) {
            self.items.insert(place.clone(), item);
            self.touched.insert(place);
        }
    }

    /// It is no longer there.
    pub fn hide(&mut self, place: &Place) {
        self.touched.remove(place);
        if let Some(item) = self.items.remove(place) {
            self.gone.push(Fact::DropForgotten(DropForgotten { path: item.path }));
        }
    }

    /// All of them, by drop folder and name.
    pub fn views(&self) -> Vec<DropItem> {
        self.items.values().cloned().collect()
    }

    /// Those of them that wait.
    pub fn waiting(&self) -> impl Iterator<Item = &DropItem> {
        self.items.values().filter(|item| item.state == DropState::Waiting)
    }

    /// What changed since the last call.
    pub fn drain(&mut self) -> Vec<Fact> {
        let mut facts = std::mem::take(&mut self.gone);
        let touched = std::mem::take(&mut self.touched);
        facts.extend(touched.iter().filter_map(|place| self.items.get(place)).map(|item| Fact::DropChanged(Box::new(item.clone()))));
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(state: DropState, reason: Option<&str>) -> DropItem {
        DropItem { path: "/d/bob/x".into(), target: "bob".into(), state, reason: reason.map(Into::into) }
    }

    #[test]
    fn what_was_sent_is_told_and_not_kept() {
        let (mut table, place) = (DropTable::default(), (0, PathBuf::from("bob/x")));
        table.show(place.clone(), item(DropState::Sending, None));
        assert_eq!(table.drain().len(), 1);

        table.show(place.clone(), item(DropState::Sending, None));
        assert!(table.drain().is_empty(), "nothing changed");
        table.show(place.clone(), item(DropState::Sent, None));
        assert!(matches!(table.drain().as_slice(), [Fact::DropChanged(item)] if item.state == DropState::Sent));
        assert!(table.views().is_empty());

        table.hide(&place);
        assert!(table.drain().is_empty(), "nobody is told twice of an end");
        table.show(place.clone(), item(DropState::Waiting, Some("why")));
        table.hide(&place);
        assert!(matches!(table.drain().as_slice(), [Fact::DropForgotten(_)]));
    }
}
