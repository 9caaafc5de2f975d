//! Who is meant: a target as a person types it becomes device ids.

use sharekaro_proto::{DeviceId, ErrorBody, ErrorCode, nouns::trust::Trust};

use super::table::{Known, PeerTable};
use crate::engine::Engine;

/// So many characters of a key are enough to name a device.
const PREFIX_MIN: usize = 4;

impl PeerTable {
    /// The one peer that `text` names: alias, name or the first characters of its key (also behind `k:`).
    ///
    /// A paired peer is meant before a stranger of the same name: a stranger cannot make a name ambiguous.
    ///
    /// # Errors
    /// Nobody, or several: then they are listed.
    pub fn find(&self, text: &str) -> Result<&Known, ErrorBody> {
        let text = text.trim();
        let by_label = |exact: bool| {
            let same = move |name: &str| if exact { name == text } else { name.to_lowercase() == text.to_lowercase() };
            self.iter().filter(|known| known.alias.as_deref().is_some_and(same) || same(&known.name)).collect::<Vec<_>>()
        };
        let key = text.strip_prefix("k:").unwrap_or(text).replace('-', "").to_lowercase();
        let by_key = || self.iter().filter(|known| key.len() >= PREFIX_MIN && known.id.to_string().starts_with(&key)).collect::<Vec<_>>();
        for found in [by_label(true), by_label(false), by_key()] {
            match prefer_paired(found).as_slice() {
                [] => {}
                [one] => return Ok(one),
                several => return Err(ambiguous(text, several)),
            }
        }
        Err(ErrorBody::new(ErrorCode::NotFound, format!("no peer is called {text:?}")).hint(self.whom_there_is()))
    }

    fn whom_there_is(&self) -> String {
        let names: Vec<&str> = self.iter().map(Known::label).take(10).collect();
        if names.is_empty() {
            return "nobody was seen on this network yet; `sharectl peer add HOST` reaches who does not announce itself".to_owned();
        }
        format!("known are: {}; `sharectl peers` shows all", names.join(", "))
    }

    /// Whether somebody else uses the name of this peer right now, with another key.
    pub fn impostor(&self, of: &Known) -> Option<&Known> {
        self.iter().find(|known| known.trust == Trust::Changed && known.name == of.name && known.open_session().is_some())
    }
}

fn prefer_paired(found: Vec<&Known>) -> Vec<&Known> {
    let paired: Vec<&Known> = found.iter().copied().filter(|known| known.trust.paired()).collect();
    if paired.is_empty() { found } else { paired }
}

fn ambiguous(text: &str, several: &[&Known]) -> ErrorBody {
    let list: Vec<String> = several.iter().map(|known| format!("{} (k:{})", known.label(), known.id.short())).collect();
    ErrorBody::new(ErrorCode::Ambiguous, format!("{text:?} could be {}", list.join(" or ")))
        .hint("name it by the first characters of its key, as k:abcd")
}

/// The group or `all` that a target is, where it is nothing else beside: many who are written to together, whoever they
/// are at the time.
pub(crate) fn audience(target: &str) -> Option<&str> {
    let target = target.trim();
    let is_group = target.len() > 1 && target.starts_with('@') && !target.contains(',');
    (is_group || target == "all").then_some(target)
}

impl Engine {
    /// The peers that a target names, each once: `all`, `@group`, or aliases, names and key prefixes joined by commas.
    ///
    /// # Errors
    /// Nobody, or several where one is meant.
    pub(crate) fn resolve(&self, target: &str) -> Result<Vec<DeviceId>, ErrorBody> {
        self.look(|state| {
            let mut ids = Vec::new();
            for part in target.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                if let Some(name) = part.strip_prefix('@') {
                    let group = state.groups.get(name).ok_or_else(|| super::groups::no_group(name, &state.groups))?;
                    ids.extend(group);
                } else if part == "all" {
                    ids.extend(state.peers.iter().filter(|known| known.trust.paired()).map(|known| known.id));
                } else {
                    ids.push(state.peers.find(part)?.id);
                }
            }
            let mut seen = std::collections::BTreeSet::new();
            ids.retain(|id| seen.insert(*id));
            if ids.is_empty() {
                return Err(ErrorBody::new(ErrorCode::NotFound, format!("{target:?} is nobody")).hint("pair first: `sharectl pair PEER`"));
            }
            Ok(ids)
        })
    }

    /// The one peer that a target names.
    ///
    /// # Errors
    /// Nobody, or several.
    pub(crate) fn find_peer(&self, target: &str) -> Result<DeviceId, ErrorBody> {
        self.look(|state| state.peers.find(target).map(|known| known.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::peers::PeerRow;

    fn table() -> PeerTable {
        let row = |n: u8, name: &str, alias: Option<&str>, trust| PeerRow {
            id: DeviceId::from_bytes([n; 32]),
            name: name.into(),
            alias: alias.map(Into::into),
            trust,
            blocked_from: None,
            last_seen_ms: None,
            version: String::new(),
            addresses: Vec::new(),
        };
        PeerTable::new(
            DeviceId::from_bytes([0; 32]),
            vec![
                row(1, "bob", None, Trust::Accept),
                row(2, "bob", None, Trust::Changed),
                row(3, "Laptop", Some("work"), Trust::Unknown),
                row(4, "twin", None, Trust::Unknown),
                row(5, "twin", None, Trust::Unknown),
            ],
        )
    }

    #[test]
    fn a_paired_peer_is_meant_before_a_stranger_of_its_name() {
        assert_eq!(table().find("bob").unwrap().id, DeviceId::from_bytes([1; 32]));
    }

    #[test]
    fn alias_name_and_key_are_all_ways_to_name_a_peer() {
        let (table, id) = (table(), DeviceId::from_bytes([3; 32]));

        for text in ["work", "Laptop", "laptop", &id.short(), &format!("k:{}", id.short()), &id.to_string(), &id.grouped()[..9]] {
            assert_eq!(table.find(text).map(|known| known.id), Ok(id), "{text}");
        }
    }

    #[test]
    fn only_a_group_or_all_is_an_audience() {
        for (target, is) in [("@team", true), (" all ", true), ("@", false), ("bob", false), ("@team,bob", false), ("all,bob", false)] {
            assert_eq!(audience(target), is.then_some(target.trim()), "{target}");
        }
    }

    #[test]
    fn an_ambiguous_name_lists_who_could_be_meant() {
        let (table, error) = (table(), table().find("twin").err().unwrap());

        assert_eq!(error.code, ErrorCode::Ambiguous);
        assert!(
            error.message.contains(&DeviceId::from_bytes([4; 32]).short())
                && error.message.contains(&DeviceId::from_bytes([5; 32]).short())
        );
        assert_eq!(table.find("nobody").err().unwrap().code, ErrorCode::NotFound);
        assert_eq!(table.find("").err().unwrap().code, ErrorCode::NotFound);
    }
}
