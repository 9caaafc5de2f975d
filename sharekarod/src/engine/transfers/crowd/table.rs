//! Whom to ask for which piece of one file: a table of holders and the rules on it. No I/O.
//!
//! The source chooses among what nobody else here can give (it knows what it gave away least often); a helper is asked
//! for a certain piece, the rarest that it has. A piece crosses the air twice only where nobody has it on a wire.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, RngExt};
use sharekaro_proto::DeviceId;

use super::bits::Bits;

/// Pieces asked of a helper at once: one on the line, one behind it.
const DEPTH: usize = 2;

/// Helpers asked at once.
const HELPERS_MAX: usize = 8;

/// Pieces asked of the source at once by all receivers together: enough to fill a line. What waits behind these is
/// late for everybody, as nobody can pass it on yet.
const SOURCE_DEPTH: usize = 8;

/// The last so many pieces are asked of a second holder too.
const ENDGAME: u64 = 8;

/// Suitable pieces looked at before one is chosen; more make it slow and not better.
const CANDIDATES: usize = 512;

/// Who gives a piece.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Giver {
    /// The sender of the transfer.
    Source,
    /// Another receiver.
    Helper(DeviceId),
}

/// What is to be asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Any piece whose bit is not set.
    Any(Bits),
    /// This piece.
    Piece(Giver, u64),
}

/// A helper.
struct Holder {
    has: Bits,
    wireless: bool,
}

/// One file, its holders, and what was asked of them.
pub struct Table {
    have: Bits,
    wireless: bool,
    /// Whether the source is on a radio; `None` while it is away.
    source: Option<bool>,
    /// Others that ask the source at the same time.
    company: usize,
    /// Questions that the source chooses the piece of.
    any: usize,
    /// It had nothing to choose; it is asked for certain pieces from now on.
    any_is_over: bool,
    holders: BTreeMap<DeviceId, Holder>,
    liars: BTreeSet<DeviceId>,
    asked: BTreeSet<(u64, Giver)>,
}

impl Table {
    /// A file with these pieces here; whether our own way to the LAN is a radio.
    pub fn new(have: Bits, wireless: bool) -> Self {
        Self {
            have,
            wireless,
            source: None,
            company: 0,
            any: 0,
            any_is_over: false,
            holders: BTreeMap::new(),
            liars: BTreeSet::new(),
            asked: BTreeSet::new(),
        }
    }

    /// The source is there, or away; whether it is on a radio.
    pub fn source_is(&mut self, wireless: Option<bool>) {
        self.source = wireless;
    }

    /// So many others ask the source at the same time.
    pub fn in_company_of(&mut self, others: usize) {
        self.company = others;
    }

    /// A helper has these pieces too. A liar is not listened to any more.
    pub fn holds(&mut self, id: DeviceId, wireless: bool, has: &Bits) {
        if !self.liars.contains(&id) && has.count() == self.have.count() {
            self.holders.insert(id, Holder { has: has.clone(), wireless });
        }
    }

    /// Nothing comes from this helper now.
    pub fn left(&mut self, id: &DeviceId) {
        self.holders.remove(id);
    }

    /// This helper gave what is not the piece.
    pub fn lied(&mut self, id: DeviceId) {
        self.left(&id);
        self.liars.insert(id);
    }

    /// Who is listed.
    pub fn helpers(&self) -> Vec<DeviceId> {
        self.holders.keys().copied().collect()
    }

    /// The question is answered, well or not.
    pub fn answered(&mut self, ask: &Ask) {
        match ask {
            Ask::Any(_) => self.any = self.any.saturating_sub(1),
            Ask::Piece(giver, piece) => {
                self.asked.remove(&(*piece, *giver));
            }
        }
    }

    /// The source knows nothing to choose.
    pub fn nothing_to_choose(&mut self) {
        self.any_is_over = true;
    }

    /// The piece is here and verified; says whether that is news.
    pub fn came(&mut self, piece: u64) -> bool {
        self.have.set(piece)
    }

    /// The helper does not have this piece after all.
    pub fn lacks(&mut self, id: &DeviceId, piece: u64) {
        if let Some(holder) = self.holders.get_mut(id) {
            holder.has.clear(piece);
        }
    }

    /// Whether all is here.
    pub fn is_whole(&self) -> bool {
        self.have.zeroes() == 0
    }

    /// What is here.
    pub fn have(&self) -> &Bits {
        &self.have
    }

    /// Whether nobody who is there has any piece that is missing.
    pub fn is_stuck(&self) -> bool {
        let held = |piece| self.holders.values().any(|holder| holder.has.has(piece));
        !self.is_whole() && self.source.is_none() && !self.have.missing().any(held)
    }

    /// The next question; `None` where enough is on its way.
    pub fn next(&mut self, rng: &mut impl Rng) -> Option<Ask> {
        let ask = self.next_of_helpers(rng).or_else(|| self.next_of_source(rng)).or_else(|| self.next_twice(rng))?;
        match &ask {
            Ask::Any(_) => self.any += 1,
            Ask::Piece(giver, piece) => {
                self.asked.insert((*piece, *giver));
            }
        }
        Some(ask)
    }

    /// The rarest piece of a helper that has room for a question.
    fn next_of_helpers(&self, rng: &mut impl Rng) -> Option<Ask> {
        let mut free = self.free_helpers();
        while !free.is_empty() {
            let id = free.swap_remove(rng.random_range(0..free.len()));
            if let Some(piece) = self.rarest_of(id, rng) {
                return Some(Ask::Piece(Giver::Helper(id), piece));
            }
        }
        None
    }

    /// Helpers of whom more may be asked.
    fn free_helpers(&self) -> Vec<DeviceId> {
        let mut busy: BTreeMap<DeviceId, usize> = BTreeMap::new();
        for (_, giver) in &self.asked {
            if let Giver::Helper(id) = giver {
                *busy.entry(*id).or_default() += 1;
            }
        }
        let room = busy.len() < HELPERS_MAX;
        self.holders.keys().filter(|id| busy.get(id).map_or(room, |count| *count < DEPTH)).copied().collect()
    }

    fn rarest_of(&self, id: DeviceId, rng: &mut impl Rng) -> Option<u64> {
        let holder = self.holders.get(&id)?;
        let start = rng.random_range(0..self.have.count().max(1));
        let around = (start..self.have.count()).chain(0..start);
        let fits = |piece: &u64| holder.has.has(*piece) && self.is_open(*piece) && self.may_cross(holder, *piece);
        around.filter(fits).take(CANDIDATES).min_by_key(|piece| self.holders.values().filter(|it| it.has.has(*piece)).count())
    }

    /// Missing, and asked of nobody.
    fn is_open(&self, piece: u64) -> bool {
        !self.have.has(piece) && !self.is_asked(piece)
    }

    fn is_asked(&self, piece: u64) -> bool {
        self.asked.range((piece, Giver::Source)..).next().is_some_and(|(first, _)| *first == piece)
    }

    /// From radio to radio the same bytes cross the air twice: only where nobody has the piece on a wire.
    fn may_cross(&self, holder: &Holder, piece: u64) -> bool {
        let wired = || self.source == Some(false) || self.holders.values().any(|it| !it.wireless && it.has.has(piece));
        !(self.wireless && holder.wireless && wired())
    }

    /// Whether some helper may give it.
    fn is_helped(&self, piece: u64) -> bool {
        self.holders.values().any(|holder| holder.has.has(piece) && self.may_cross(holder, piece))
    }

    /// What only the source has; where there is no such piece and it idles, anything.
    fn next_of_source(&self, rng: &mut impl Rng) -> Option<Ask> {
        self.source?;
        let asked = self.any + self.asked.iter().filter(|(_, giver)| *giver == Giver::Source).count();
        if asked >= (SOURCE_DEPTH / (self.company + 1)).max(1) {
            return None;
        }
        let mut taken = self.have.clone();
        for (piece, _) in &self.asked {
            taken.set(*piece);
        }
        let mut known = taken.clone();
        for piece in taken.missing().filter(|piece| self.is_helped(*piece)) {
            known.set(piece);
        }
        let choice = if known.zeroes() > self.any as u64 { known } else { taken };
        if choice.zeroes() <= self.any as u64 {
            return None;
        }
        if self.any_is_over {
            let piece = one_of(&choice, rng)?;
            return Some(Ask::Piece(Giver::Source, piece));
        }
        Some(Ask::Any(choice))
    }

    /// Near the end, what is slow to come is asked of somebody else too.
    fn next_twice(&self, rng: &mut impl Rng) -> Option<Ask> {
        if self.have.zeroes() >= ENDGAME {
            return None;
        }
        let once = |piece: &u64| self.asked.range((*piece, Giver::Source)..).take_while(|(it, _)| it == piece).count() < 2;
        let free = self.free_helpers();
        let fits = |id: &DeviceId, piece: u64| {
            let holder = self.holders.get(id).filter(|holder| holder.has.has(piece) && self.may_cross(holder, piece));
            holder.is_some() && !self.asked.contains(&(piece, Giver::Helper(*id)))
        };
        let mut missing: Vec<u64> = self.have.missing().filter(once).collect();
        while !missing.is_empty() {
            let piece = missing.swap_remove(rng.random_range(0..missing.len()));
            if let Some(id) = free.iter().find(|id| fits(id, piece)) {
                return Some(Ask::Piece(Giver::Helper(*id), piece));
            }
        }
        None
    }
}

/// Any piece that is not set.
fn one_of(bits: &Bits, rng: &mut impl Rng) -> Option<u64> {
    let nth = rng.random_range(0..bits.zeroes().max(1));
    bits.missing().nth(nth as usize) // at most 4 Mi pieces
}

#[cfg(test)]
mod tests;
