//! Who is meant: a target as a person types it becomes device ids.

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode,
    nouns::{device::DeviceIdError, trust::Trust},
};

use super::table::{Known, PeerTable};
use crate::engine::Engine;

/// So many characters of a key are enough to name a device.
const PREFIX_MIN: usize = 4;

impl PeerTable {
    /// The one peer that `text` names: alias, name or the first characters of its key.
    ///
    /// Whatever begins with `k:`, and a whole key, is a key and nothing else: a device may call itself by another's key.
    /// A paired peer is meant before any other, and whom a person dealt with before a stranger, by whichever of the three:
    /// a stranger can take no name from them, nor make one ambiguous.
    ///
    /// # Errors
    /// Nobody, or several: then they are listed.
    pub fn find(&self, text: &str) -> Result<&Known, ErrorBody> {
        let text = text.trim();
        let as_key = text.strip_prefix("k:");
        match as_key.unwrap_or(text).parse::<DeviceId>() {
            Ok(id) => return self.get(&id).ok_or_else(|| self.nobody(text)),
            Err(e @ DeviceIdError::Check) => return Err(ErrorBody::new(ErrorCode::NotFound, e.to_string()).hint("copy it whole")),
            Err(DeviceIdError::Form) => {}
        }
        let found = match as_key {
            Some(start) => first_circle(|is_in| self.those(is_in, |known| has_key(known, start))),
            None => first_circle(|is_in| {
                let ways: [&dyn Fn(&Known) -> bool; 3] =
                    [&|known| is_called(known, |name| name == text), &|known| is_called(known, |name| same_folded(name, text)), &|known| {
                        has_key(known, text)
                    }];
                ways.iter().map(|way| self.those(is_in, way)).find(|found| !found.is_empty()).unwrap_or_default()
            }),
        };
        match found.as_slice() {
            [] => Err(self.nobody(text)),
            [one] => Ok(one),
            several => Err(ambiguous(text, several)),
        }
    }

    fn those(&self, is_in: fn(&Known) -> bool, way: impl Fn(&Known) -> bool) -> Vec<&Known> {
        self.iter().filter(|known| is_in(known) && way(known)).collect()
    }

    fn nobody(&self, text: &str) -> ErrorBody {
        ErrorBody::new(ErrorCode::NotFound, format!("no peer is called {text:?}")).hint(self.whom_there_is())
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

/// Who is meant first: paired peers, others that a person dealt with, strangers.
const CIRCLES: [fn(&Known) -> bool; 3] =
    [|known| known.trust.paired(), |known| known.kept && !known.trust.paired(), |known| !known.kept && !known.trust.paired()];

/// What is found in the first circle where anything is.
fn first_circle<'a>(look: impl Fn(fn(&Known) -> bool) -> Vec<&'a Known>) -> Vec<&'a Known> {
    CIRCLES.into_iter().map(look).find(|found| !found.is_empty()).unwrap_or_default()
}

fn is_called(known: &Known, same: impl Fn(&str) -> bool) -> bool {
    known.alias.as_deref().is_some_and(&same) || same(&known.name)
}

fn same_folded(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn has_key(known: &Known, start: &str) -> bool {
    let start = start.replace('-', "").to_lowercase();
    start.len() >= PREFIX_MIN && known.id.to_string().starts_with(&start)
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
    /// The peers that a target names, each once: `all`, `@group`, or aliases, names and key prefixes joined by commas. Of a
    /// group, those that are paired: who was blocked is in it, gets nothing, and keeps nothing from the others.
    ///
    /// # Errors
    /// Nobody, or several where one is meant.
    pub(crate) fn resolve(&self, target: &str) -> Result<Vec<DeviceId>, ErrorBody> {
        self.look(|state| {
            let mut ids = Vec::new();
            for part in target.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                if let Some(name) = part.strip_prefix('@') {
                    let group = state.groups.get(name).ok_or_else(|| super::groups::no_group(name, &state.groups))?;
                    ids.extend(group.iter().filter(|id| state.peers.get(id).is_some_and(|known| known.trust.paired())));
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
    fn a_stranger_takes_no_name_and_no_key_from_a_paired_peer() {
        let (paired, id) = (|n: u8| DeviceId::from_bytes([n; 32]), DeviceId::from_bytes([1; 32]));
        let (short, whole) = (format!("k:{}", id.short()), id.to_string());

        for claim in ["Bob", "BOB", &short, &short[2..], &whole, &id.grouped(), &format!("k:{whole}")] {
            let mut table = table();
            table.meet(paired(9), claim).unwrap();
            assert_eq!(table.find(claim).map(|known| known.id), Ok(id), "{claim}");
        }
    }

    #[test]
    fn a_whole_key_is_read_with_its_check_and_names_nobody_else() {
        let (table, id) = (table(), DeviceId::from_bytes([3; 32]));
        let grouped = id.grouped();
        let (most, last) = grouped.split_at(grouped.len() - 1);
        let misread = format!("{most}{}", if last == "a" { "b" } else { "a" });

        assert_eq!(table.find(&id.grouped()).map(|known| known.id), Ok(id));
        assert_eq!(table.find(&misread).err().unwrap().code, ErrorCode::NotFound);
        assert_eq!(table.find("k:bob").err().unwrap().code, ErrorCode::NotFound);
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
