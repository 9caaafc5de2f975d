//! The folders of the drop folder: made for everybody who is paired and every group, and who is meant by each.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use sharekaro_proto::{DeviceId, ErrorBody, ErrorCode, nouns::trust::Trust};

use super::{
    desk::Desk,
    names::{ALL, Names},
};
use crate::{
    engine::peers::table::Known,
    files::{
        FileName,
        dropped::{DropDir, Trouble},
    },
    store::{self, Durability},
};

/// Who is meant by a folder.
pub(super) enum Whose {
    /// These, at least one.
    Peers(Vec<DeviceId>),
    /// Nobody right now, and this is why.
    Nobody(String),
}

/// What should stand in each drop folder.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    names: BTreeSet<String>,
    obsolete: BTreeSet<String>,
}

impl Wanted {
    /// Whether a place lies in a folder that is nobody's any more.
    pub(super) fn is_obsolete(&self, place: &Path) -> bool {
        place.iter().next().and_then(|name| name.to_str()).is_some_and(|name| self.obsolete.contains(name))
    }
}

impl Desk {
    /// Who is meant by what lies in this folder of a drop folder; at the top without one.
    pub(super) fn whose(&self, root: usize, folder: Option<&str>) -> Whose {
        let peers = match folder {
            None => match self.target_at_the_top(root) {
                Some(target) => self.engine.resolve(&target),
                None => {
                    return Whose::Nobody(
                        "nobody is named for what lies here: move it into the folder of a peer or a group, or set `drop_target`".to_owned(),
                    );
                }
            },
            Some(name) if name.starts_with('#') => {
                return Whose::Nobody("there are no rooms yet in this version: move it into the folder of a peer or a group".to_owned());
            }
            Some(name) => self.names.owner(name).map_or_else(|| self.engine.resolve(name), |peer| Ok(vec![peer])),
        };
        let checked = peers.and_then(|peers| {
            peers.iter().try_for_each(|peer| self.refuse_strangers(*peer).and_then(|()| self.engine.refuse_impostors(*peer)))?;
            Ok(peers)
        });
        match checked {
            Ok(peers) => Whose::Peers(peers),
            Err(e) if e.hint.is_empty() => Whose::Nobody(e.message),
            Err(e) => Whose::Nobody(format!("{}: {}", e.message, e.hint)),
        }
    }

    /// Nothing goes by itself to a device that nobody confirmed, whatever it calls itself and whichever group it is in.
    fn refuse_strangers(&self, peer: DeviceId) -> Result<(), ErrorBody> {
        let (trust, label) = self.engine.look(|state| (state.peers.get(&peer).map(|known| known.trust), state.peers.label(&peer)));
        let refused = |message: String, hint: &str| Err(ErrorBody::new(ErrorCode::NotTrusted, message).hint(hint));
        match trust {
            Some(trust) if trust.paired() => Ok(()),
            Some(Trust::Blocked) => refused(format!("{label} is blocked"), "`sharectl peer unblock` lets it go on"),
            _ => refused(
                format!("a device that this is meant for is not paired, or no longer ({label}, k:{})", peer.short()),
                "pair it, take it out of the group, or move this into the folder of somebody else",
            ),
        }
    }

    /// What should stand in each drop folder now.
    pub(super) fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        wanted.names.insert(ALL.to_owned());
        self.engine.look(|state| {
            wanted.names.extend(state.groups.keys().map(|name| format!("@{name}")));
            for known in state.peers.iter().filter(|known| known.trust.paired()) {
                wanted.names.insert(self.names.wish(known.id, known.alias.as_deref(), &known.name));
            }
        });
        wanted.obsolete.extend(self.names.iter().map(|(name, _)| name.to_owned()).filter(|name| !wanted.names.contains(name)));
        wanted
    }

    /// Makes what is missing, removes what is empty and nobody's any more.
    pub(super) async fn keep_folders(&mut self) {
        self.name_new_peers().await;
        let wanted = self.wanted();
        self.kept = wanted.clone();
        let roots = self.roots.clone();
        let made = tokio::task::spawn_blocking(move || {
            let mut left = BTreeSet::new();
            roots.iter().for_each(|root| keep(root, &wanted, &mut left));
            wanted.obsolete.difference(&left).cloned().collect::<Vec<_>>()
        });
        let Ok(gone) = made.await else { return };
        self.forget_names(gone).await;
        self.engine.inner.drops.rewatch.notify_one();
    }

    async fn name_new_peers(&mut self) {
        self.names.bar(BTreeSet::new());
        let asked: BTreeSet<String> = self.new_names().into_iter().map(|(name, _)| name).collect();
        if asked.is_empty() {
            return;
        }
        let roots = self.roots.clone();
        let Ok(taken) = tokio::task::spawn_blocking(move || taken(&roots, asked)).await else { return };
        self.names.bar(taken);
        // one after the other: of two of the same name, the second is wished another one
        while let Some((name, peer)) = self.new_names().into_iter().next() {
            let kept = name.clone();
            match self.engine.store().write(Durability::Durable, move |t| store::drops::name(t, &kept, peer)).await {
                Ok(()) => self.names.give(name, peer),
                Err(e) => return tracing::warn!("cannot keep whose folder this is: {e}"),
            }
        }
    }

    /// The names that are nobody's yet and should be somebody's.
    fn new_names(&self) -> Vec<(String, DeviceId)> {
        let wish = |known: &Known| (self.names.wish(known.id, known.alias.as_deref(), &known.name), known.id);
        self.engine.look(|state| {
            let paired = state.peers.iter().filter(|known| known.trust.paired());
            paired.map(wish).filter(|(name, _)| self.names.owner(name).is_none()).collect()
        })
    }

    /// Names of folders that no longer exist, of peers that are no longer paired or are called otherwise.
    async fn forget_names(&mut self, gone: Vec<String>) {
        for name in gone {
            let kept = name.clone();
            match self.engine.store().write(Durability::Soon, move |t| store::drops::unname(t, &kept)).await {
                Ok(()) => self.names.take(&name),
                Err(e) => tracing::warn!("cannot forget whose folder this was: {e}"),
            }
        }
    }

    /// Says which folders are not used, and why.
    pub(super) fn tell_troubles(&self, troubles: &[(PathBuf, Trouble)]) {
        let unsafe_ones: Vec<String> =
            troubles.iter().filter(|(_, it)| it.is_unsafe()).map(|(path, it)| format!("{}: {it}", path.display())).collect();
        let missing: Vec<String> =
            troubles.iter().filter(|(_, it)| !it.is_unsafe()).map(|(path, it)| format!("{}: {it}", path.display())).collect();
        let tell = |code: &str, list: Vec<String>, what: &str, hint: &str| match list.as_slice() {
            [] => self.engine.unwarn(code),
            list => self.engine.warn(code, format!("{what}: {}", list.join("; ")), hint),
        };
        tell(
            "drop_folder_unsafe",
            unsafe_ones,
            "nothing is sent from a drop folder that is not safe",
            "chmod go-w takes the right to write from others; a link has to be replaced by a folder of your own",
        );
        tell(
            "drop_folder_missing",
            missing,
            "a drop folder cannot be used",
            "mount its medium, or make the folder above it; it is used as soon as it is there",
        );
    }
}

/// Those of these names under which something lies in a drop folder already: what a person put there is for whom he put
/// it there, and never for a peer that comes and calls itself so. An empty folder is only a name.
fn taken(roots: &[PathBuf], mut names: BTreeSet<String>) -> BTreeSet<String> {
    let dirs: Vec<DropDir> = roots.iter().filter_map(|root| DropDir::open(root).ok()).collect();
    names.retain(|text| {
        let Ok(name) = FileName::parse(text.as_bytes()) else { return false };
        dirs.iter().any(|dir| dir.holds(&name) && !dir.is_empty(&name))
    });
    names
}

/// Keeps one drop folder; the obsolete folders that something is still in are added to `left`. What cannot be made or
/// used, the next survey says.
fn keep(root: &Path, wanted: &Wanted, left: &mut BTreeSet<String>) {
    let Ok(dir) = DropDir::open_or_make(root) else {
        left.extend(wanted.obsolete.iter().cloned()); // nobody knows what is in it
        return;
    };
    let parsed = |text: &String| FileName::parse(text.as_bytes()).ok();
    for folder in wanted.names.iter().filter_map(parsed) {
        if let Err(e) = dir.make_folder(&folder) {
            tracing::debug!(root = %root.display(), "cannot make {folder}: {e}");
        }
    }
    let at_the_top = dir.list(None).unwrap_or_default();
    let old_groups =
        at_the_top.into_iter().map(|(name, _)| name.to_string()).filter(|it| it.starts_with('@') && !wanted.names.contains(it));
    for text in wanted.obsolete.iter().cloned().chain(old_groups) {
        let Some(folder) = parsed(&text) else { continue };
        dir.remove_if_empty(&folder);
        if dir.holds(&folder) {
            left.insert(text);
        }
    }
}

/// The name of a folder that names somebody, of a place in a drop folder; `None` where it lies at the top.
pub(super) fn folder_of<'p>(names: &Names, place: &'p Path) -> Option<&'p str> {
    let mut parts = place.iter();
    let (first, below) = (parts.next()?.to_str()?, parts.next());
    (below.is_some() && super::names::is_target(names, first)).then_some(first)
}
