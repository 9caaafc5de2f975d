//! What the folder of a peer is called, and whose folder a name is.
//!
//! A name is given to a key and stays its own: whoever calls himself so later gets another folder, and what lies in
//! the old one never goes to him. Only our person gives it another one: what a peer says of itself later moves nothing,
//! and a folder of that name which was there before is never taken for its own.

use std::collections::{BTreeMap, BTreeSet};

use sharekaro_proto::{DeviceId, nouns::text::is_obeyed};

use crate::files::{
    FileName,
    dropped::{FAILED, SENT, WAITING, is_hidden, unfinished},
};

/// The folder for everybody who is paired.
pub const ALL: &str = "all";

/// In front of the key of a peer whose own name is no name for a folder.
const KEY: &str = "key-";

/// The longest name of a peer's folder, in bytes: with it and a file's own name in `Sent`, paths stay short.
const NAME_MAX: usize = 100;

/// The peer that each folder was made for.
#[derive(Clone, Default)]
pub struct Names {
    owners: BTreeMap<String, DeviceId>,
    /// Names under which something of our person lies, as it was looked up last.
    taken: BTreeSet<String>,
}

impl Names {
    /// As they were kept.
    pub fn new(kept: impl IntoIterator<Item = (String, DeviceId)>) -> Self {
        Self { owners: kept.into_iter().collect(), taken: BTreeSet::new() }
    }

    /// Whose folder it is.
    pub fn owner(&self, name: &str) -> Option<DeviceId> {
        self.owners.get(name).copied()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, DeviceId)> {
        self.owners.iter().map(|(name, peer)| (name.as_str(), *peer))
    }

    /// The name that the folder of this peer should have: what our person calls it; else the one that it has; else what
    /// it calls itself. Where that is no safe name, or somebody else's, it is one made from its key.
    pub fn wish(&self, peer: DeviceId, alias: Option<&str>, said: &str) -> String {
        let held = || self.iter().find(|(_, owner)| *owner == peer).map(|(name, _)| name.to_owned());
        match alias {
            Some(alias) => self.fit(peer, alias),
            None if self.owner(said.trim()) == Some(peer) => said.trim().to_owned(),
            None => held().unwrap_or_else(|| self.fit(peer, said)),
        }
    }

    fn fit(&self, peer: DeviceId, wanted: &str) -> String {
        let free = |name: &str| self.owner(name).map_or_else(|| !self.taken.contains(name), |owner| owner == peer);
        let short = format!("{KEY}{}", peer.short());
        match wanted.trim() {
            wanted if is_safe(wanted) && free(wanted) => wanted.to_owned(),
            _ if free(&short) => short,
            _ => format!("{KEY}{peer}"),
        }
    }

    /// Nobody is given one of these, until the next call.
    pub fn bar(&mut self, taken: BTreeSet<String>) {
        self.taken = taken;
    }

    /// This folder is this peer's from now on.
    pub fn give(&mut self, name: String, peer: DeviceId) {
        self.owners.insert(name, peer);
    }

    /// This folder is nobody's from now on.
    pub fn take(&mut self, name: &str) {
        self.owners.remove(name);
    }
}

/// Whether what is in a folder of this name at the top goes to somebody whom the name tells.
pub fn is_target(names: &Names, name: &str) -> bool {
    name == ALL || name.starts_with(['@', '#']) || names.owner(name).is_some()
}

fn is_safe(label: &str) -> bool {
    let reserved = [SENT, FAILED, WAITING, ALL].iter().any(|it| it.eq_ignore_ascii_case(label));
    let file_name = FileName::parse(label.as_bytes());
    !reserved
        && label.len() <= NAME_MAX
        && !label.starts_with(['@', '#', '-'])
        && !label.starts_with(KEY)
        && !label.contains(is_obeyed)
        && file_name.is_ok_and(|name| !is_hidden(&name) && unfinished(&name).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    #[test]
    fn a_name_that_is_no_folder_gets_one_made_from_the_key() {
        let names = Names::default();

        for good in ["bob", "Anna's laptop", "बॉब", "a.b", "x-1"] {
            assert_eq!(names.wish(id(1), None, good), good);
        }
        for bad in [
            "Sent",
            "sent",
            "Failed",
            "all",
            "ALL",
            "..",
            ".",
            ".x",
            "a/b",
            "",
            "  ",
            "@team",
            "#room",
            "a\nb",
            "a\u{202e}b",
            "x.part",
            "key-abc",
            "Waiting.txt",
            &"n".repeat(101),
        ] {
            assert_eq!(names.wish(id(1), None, bad), format!("key-{}", id(1).short()), "{bad:?}");
        }
    }

    #[test]
    fn a_folder_stays_with_its_key_whoever_takes_the_name() {
        let mut names = Names::default();
        names.give(names.wish(id(1), None, "bob"), id(1));

        let other = names.wish(id(2), None, "bob");

        assert_ne!(other, "bob");
        names.give(other.clone(), id(2));
        assert_eq!((names.owner("bob"), names.owner(&other)), (Some(id(1)), Some(id(2))));
        assert_eq!(names.wish(id(1), None, "bob"), "bob");
        // a hostile peer cannot sit in front of another's key either
        names.give(format!("key-{}", id(3).short()), id(2));
        assert_eq!(names.wish(id(3), None, "Sent"), format!("key-{}", id(3)));
    }

    #[test]
    fn only_our_person_gives_a_peer_another_folder() {
        let mut names = Names::new([("bob".to_owned(), id(1))]);

        assert_eq!(names.wish(id(1), None, "taxes"), "bob");
        assert_eq!(names.wish(id(1), Some("desk"), "taxes"), "desk");
        names.bar(["desk".to_owned(), "carol".to_owned()].into());
        for (peer, alias, said) in [(id(1), Some("desk"), "bob"), (id(2), None, "carol")] {
            assert_eq!(names.wish(peer, alias, said), format!("key-{}", peer.short()), "{said}");
        }
        // what is its own already stays so
        names.bar(["bob".to_owned()].into());
        assert_eq!(names.wish(id(1), None, "bob"), "bob");
    }

    #[test]
    fn groups_rooms_and_all_are_targets_by_their_names() {
        let names = Names::new([("bob".to_owned(), id(1))]);

        for target in ["bob", "all", "@team", "#class"] {
            assert!(is_target(&names, target), "{target}");
        }
        for other in ["carol", "photos", "Sent"] {
            assert!(!is_target(&names, other), "{other}");
        }
    }
}
