//! Groups: peers under one name, for targets such as `@team`. Ours alone: no peer learns of them.

use std::collections::BTreeSet;

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode,
    control::message::{Group, GroupPeers, Groups as GroupsBody},
    nouns::{shell::ShellWord, text::is_obeyed},
};

use crate::{
    engine::{Engine, State},
    store::{self, Durability, groups::Groups},
};

/// The longest name of a group, in bytes: as that of an alias.
const NAME_MAX: usize = 63;

/// Groups that there may be, and peers in one: more than a person keeps apart.
const GROUPS_MAX: usize = 256;

impl Engine {
    /// All groups.
    pub fn groups(&self) -> GroupsBody {
        self.look(|state| GroupsBody { groups: state.groups.keys().map(|name| view(state, name)).collect() })
    }

    /// Puts peers into a group, which is made where it is missing.
    ///
    /// # Errors
    /// A name that cannot be a target, nobody of that name, too many.
    pub async fn add_to_group(&self, name: &str, add: &GroupPeers) -> Result<Group, ErrorBody> {
        let name = name.strip_prefix('@').unwrap_or(name).trim();
        if !is_group_name(name) {
            return Err(ErrorBody::new(ErrorCode::Usage, format!("{name:?} cannot be the name of a group"))
                .hint("1 to 63 bytes, no comma, slash, dot or colon"));
        }
        let ids = self.all_of(&add.peers)?;
        if ids.is_empty() {
            return Err(
                ErrorBody::new(ErrorCode::Usage, "a group needs peers").hint(format!("sharectl group add {} PEER...", ShellWord(name)))
            );
        }
        let _changes = self.one_change().await;
        let mut peers = self.look(|state| state.groups.get(name).cloned()).unwrap_or_default();
        peers.extend(ids);
        let too_many = self.look(|state| !state.groups.contains_key(name) && state.groups.len() >= GROUPS_MAX);
        if too_many || peers.len() > GROUPS_MAX {
            return Err(ErrorBody::new(ErrorCode::Busy, format!("at most {GROUPS_MAX} groups of at most {GROUPS_MAX} peers")));
        }
        self.keep_group(name, peers).await
    }

    /// Takes peers out of a group; without peers, the group itself is gone.
    ///
    /// # Errors
    /// No such group, nobody of that name.
    pub async fn remove_from_group(&self, name: &str, remove: &GroupPeers) -> Result<Group, ErrorBody> {
        let name = name.strip_prefix('@').unwrap_or(name).trim();
        let leaving = self.all_of(&remove.peers);
        let _changes = self.one_change().await;
        let mut peers = self.look(|state| state.groups.get(name).cloned().ok_or_else(|| no_group(name, &state.groups)))?;
        let leaving = leaving?;
        peers.retain(|peer| !leaving.is_empty() && !leaving.contains(peer));
        self.keep_group(name, peers).await
    }

    /// All who are in a group, whatever they may do now; or `all`.
    ///
    /// # Errors
    /// No such group, nobody is paired.
    pub(crate) fn members(&self, audience: &str) -> Result<Vec<DeviceId>, ErrorBody> {
        let Some(name) = audience.strip_prefix('@') else { return self.resolve(audience) };
        self.look(|state| match state.groups.get(name) {
            Some(peers) => Ok(peers.iter().copied().collect()),
            None => Err(no_group(name, &state.groups)),
        })
    }

    fn all_of(&self, targets: &[String]) -> Result<BTreeSet<DeviceId>, ErrorBody> {
        let mut ids = BTreeSet::new();
        for target in targets {
            ids.extend(self.resolve(target)?);
        }
        Ok(ids)
    }

    async fn keep_group(&self, name: &str, peers: BTreeSet<DeviceId>) -> Result<Group, ErrorBody> {
        let (kept_name, kept) = (name.to_owned(), peers.clone());
        self.store().write(Durability::Durable, move |t| store::groups::save(t, &kept_name, &kept)).await?;
        let group = self.update(|state| {
            if peers.is_empty() {
                state.groups.remove(name);
            } else {
                state.groups.insert(name.to_owned(), peers);
            }
            view(state, name)
        });
        self.drop_targets_changed();
        Ok(group)
    }
}

fn view(state: &State, name: &str) -> Group {
    let ids: Vec<DeviceId> = state.groups.get(name).into_iter().flatten().copied().collect();
    Group { name: name.to_owned(), peers: ids.iter().map(|id| state.peers.label(id)).collect(), ids }
}

/// There is no such group.
pub(super) fn no_group(name: &str, groups: &Groups) -> ErrorBody {
    let names: Vec<String> = groups.keys().take(10).map(|name| format!("@{name}")).collect();
    let hint = if names.is_empty() {
        "`sharectl group add NAME PEER...` makes one".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    };
    ErrorBody::new(ErrorCode::NotFound, format!("there is no group {name:?}")).hint(hint)
}

fn is_group_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_MAX
        && !name.starts_with(['-', '@', '#'])
        && !name.chars().any(|c| matches!(c, ',' | '/' | '.' | ':') || c.is_whitespace() || is_obeyed(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::quiet;

    #[tokio::test]
    async fn of_two_who_are_added_at_once_none_is_lost() {
        let (engine, _dir) = quiet();
        let ids = [DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32])];
        engine.update(|state| ids.map(|id| state.peers.meet(id, &id.short()).map(drop)));
        let add = |id: DeviceId| GroupPeers { peers: vec![format!("k:{id}")] };

        let (one, other) = (add(ids[0]), add(ids[1]));
        let (one, other) = tokio::join!(engine.add_to_group("team", &one), engine.add_to_group("team", &other));

        one.and(other).unwrap();
        let kept = engine.store().read(store::groups::load).await.unwrap();
        assert_eq!(kept["team"], BTreeSet::from(ids));
        assert_eq!(engine.groups().groups[0].ids, ids);
    }

    #[test]
    fn a_group_can_be_typed_as_a_target() {
        for good in ["team", "büro-2", "कक्षा"] {
            assert!(is_group_name(good), "{good}");
        }
        for bad in ["", "-x", "@a", "a,b", "a b", "a/b", "host.lan", "h:1", "a\u{202e}b", &"x".repeat(64)] {
            assert!(!is_group_name(bad), "{bad}");
        }
    }
}
