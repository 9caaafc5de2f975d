//! The sender's part: each big file is hashed once for all receivers, and each piece goes first to whoever lacks what
//! was given away least often.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use sharekaro_proto::wire::PieceRequest;

use super::bits::Bits;
use crate::{
    engine::{
        Engine,
        transfers::{plan::SMALL_MAX, sources::Source},
    },
    files::{HashKey, SourceError, SourceTree, Value, piece_count},
    store::{Durability, contents},
};

/// Values kept in memory: those of 256 GiB, in 8 MiB.
const VALUES_KEPT: usize = 256 << 10;

/// What was given over older sessions may be forgotten; then some of it is given twice.
const SESSIONS_KEPT: usize = 256;

/// A hash with the values of the pieces that it is made of.
pub type Layer = Arc<(Value, Vec<Value>)>;

/// What all transfers of a set share at the source.
#[derive(Default)]
pub struct Shared {
    layers: Mutex<HashMap<u32, Layer>>,
    /// The contents of files whose hashes are not kept beyond this walk, see [`HashKey::is_unique`].
    contents: Mutex<HashMap<u32, Value>>,
    served: Mutex<HashMap<u32, Served>>,
}

/// How often each piece of a file was given away, and to whom.
struct Served {
    counts: Vec<u32>,
    /// By session.
    given: HashMap<u64, Bits>,
}

impl Shared {
    /// The values of a file, read once.
    ///
    /// # Errors
    /// Where the file is not what it was.
    pub fn layer(&self, tree: &SourceTree, no: u32) -> Result<Layer, SourceError> {
        if let Some(layer) = self.layers.lock().unwrap_or_else(PoisonError::into_inner).get(&no) {
            return Ok(Arc::clone(layer));
        }
        let layer = Arc::new(tree.layer(no, &AtomicBool::new(false))?);
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if layers.values().map(|kept| kept.1.len()).sum::<usize>() + layer.1.len() > VALUES_KEPT {
            layers.clear();
        }
        layers.insert(no, Arc::clone(&layer));
        Ok(layer)
    }

    /// Whether any content is known in this walk alone.
    pub fn knows_contents(&self) -> bool {
        !self.contents.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The content of a file that was hashed for this walk alone.
    pub fn content(&self, no: u32) -> Option<Value> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner).get(&no).copied()
    }

    /// Which piece the receiver behind this session gets: the least served of those that it lacks and was not given over this session;
    /// of those that it was given, where there is no other. `None` where it lacks none.
    pub fn choose(&self, session: u64, asked: &PieceRequest, size: u64) -> Option<u64> {
        let count = piece_count(size);
        let mut all = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let served = all.entry(asked.file).or_insert_with(|| Served { counts: vec![0; count as usize], given: HashMap::new() });
        let have = Bits::from_wire(&asked.have, count);
        if served.given.len() > SESSIONS_KEPT {
            served.given.clear();
        }
        let given = served.given.entry(session).or_insert_with(|| Bits::none(count));
        let least = |pieces: &mut dyn Iterator<Item = u64>| {
            let fresh = pieces.filter_map(|piece| Some((*served.counts.get(piece as usize)?, rand::random::<u32>(), piece)));
            fresh.min().map(|(_, _, piece)| piece)
        };
        let piece = least(&mut have.missing().filter(|piece| !given.has(*piece))).or_else(|| least(&mut have.missing()))?;
        given.set(piece);
        if let Some(times) = served.counts.get_mut(piece as usize) {
            *times = times.saturating_add(1);
        }
        Some(piece)
    }
}

impl Engine {
    /// Hashes each big file that is to be shared and was not hashed before, so that its content names it in the manifest.
    /// What cannot be read now is told when it is asked for.
    pub(crate) async fn hash_for_crowd(&self, source: Arc<Source>) {
        let (engine, us) = (self.clone(), self.id());
        let hashed = tokio::task::spawn_blocking(move || {
            let known = |key: &HashKey| engine.store().now(|c| contents::hash_of(c, key, &[us])).ok().flatten().is_some();
            let files =
                source.tree.manifest().iter_from(1).filter_map(Result::ok).filter(|(_, item)| item.is_file() && item.size > SMALL_MAX);
            let keys = files.filter_map(|(no, _)| Some((no, source.tree.key(no).ok()?))).filter(|(_, key)| !known(key));
            let keys = keys.filter(|(no, _)| source.tree.doubted(*no).is_none());
            let mut lasting = Vec::new();
            for (no, key) in keys {
                let Ok(layer) = source.shared.layer(&source.tree, no) else { continue };
                if key.is_unique() {
                    lasting.push((key, layer.0));
                } else {
                    source.shared.contents.lock().unwrap_or_else(PoisonError::into_inner).insert(no, layer.0);
                }
            }
            lasting
        });
        let hashed = hashed.await.unwrap_or_default();
        let written =
            self.store().write(Durability::Soon, move |t| hashed.iter().try_for_each(|(key, hash)| contents::set_hash(t, key, hash, us)));
        if let Err(e) = written.await {
            tracing::warn!("cannot keep the hashes of what is sent: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn two_receivers_are_given_different_pieces_first() {
        let (shared, size) = (Shared::default(), 10 << 20);
        let asked = PieceRequest { file: 3, have: vec![0], ..PieceRequest::default() };

        let given: BTreeSet<u64> = (0..5).flat_map(|_| [1, 2].map(|to| shared.choose(to, &asked, size).unwrap())).collect();

        assert_eq!(given.len(), 10);
    }

    #[test]
    fn a_piece_that_is_still_lacked_is_given_again_where_there_is_no_other() {
        let (shared, size) = (Shared::default(), 2 << 20);
        let asked = PieceRequest { file: 3, have: vec![0b01], ..PieceRequest::default() };

        assert_eq!([(); 3].map(|()| shared.choose(1, &asked, size)), [Some(1); 3]);
        assert_eq!(shared.choose(1, &PieceRequest { have: vec![0b11], ..asked }, size), None);
    }
}
