//! The holes of a sparse file: no piece that lies wholly in one is asked for.

use std::{ops::Range, sync::Arc};

use sharekaro_proto::wire::{ExtentsPage, ExtentsRequest, PIECE_SIZE, Request, reply, request};

use super::{
    fetch::Fetch,
    stop::{Stop, blocking, granted, kind_of, odd},
};
use crate::{files::piece_count, net::Ask};

/// So many pieces are noted before they are counted and somebody may end it.
const AT_ONCE: u64 = 256;

impl Fetch {
    /// Asks where a file has holes and notes the pieces in them. A sender that cannot tell is asked for each piece.
    ///
    /// # Errors
    /// The session, the disk of the cage.
    pub async fn claim_holes(&self, no: u32, size: u64) -> Result<(), Stop> {
        let mut holes = Holes { size, at: 0 };
        let mut from = 0;
        loop {
            let asked = ExtentsRequest { key: self.key.0.to_vec(), file: no, from };
            let (reply, _) = self.source()?.request(Ask::new(Request { kind: Some(request::Kind::Extents(asked)) })).await?;
            let reply = match granted(reply) {
                Err(Stop::Wait(_)) => return Ok(()), // whoever asks for a piece hears why
                granted => granted?,
            };
            let page = kind_of(reply, |kind| if let reply::Kind::Extents(page) = kind { Some(page) } else { None })?;
            for pieces in holes.take(&page).ok_or_else(odd)? {
                self.claim_pieces(no, pieces).await?;
            }
            if page.next == 0 {
                return Ok(());
            }
            from = page.next;
        }
    }

    async fn claim_pieces(&self, no: u32, mut pieces: Range<u64>) -> Result<(), Stop> {
        while !pieces.is_empty() {
            let some = pieces.start..pieces.end.min(pieces.start + AT_ONCE);
            pieces.start = some.end;
            let staging = Arc::clone(&self.staging);
            self.count(blocking(move || Ok(staging.claim_holes(no, some)?)).await?);
        }
        Ok(())
    }
}

/// What lies between the stretches of data that a sender tells.
struct Holes {
    size: u64,
    /// All before it is known.
    at: u64,
}

impl Holes {
    /// The pieces that lie wholly in the holes of one page; `None` where the page cannot be true.
    fn take(&mut self, page: &ExtentsPage) -> Option<Vec<Range<u64>>> {
        let (pairs, odd) = page.extents.as_chunks::<2>();
        if !odd.is_empty() {
            return None;
        }
        let mut holes = Vec::new();
        for [offset, len] in pairs {
            let end = offset.checked_add(*len).filter(|end| *offset >= self.at && *end <= self.size)?;
            holes.push(self.at..*offset);
            self.at = end;
        }
        match page.next {
            0 => holes.push(self.at..self.size),
            next if next < self.at || next > self.size || pairs.is_empty() => return None,
            _ => {}
        }
        holes.iter_mut().for_each(|hole| *hole = within(hole, self.size));
        holes.retain(|pieces| !pieces.is_empty());
        Some(holes)
    }
}

/// The pieces that lie wholly in a stretch of a file of this size.
fn within(hole: &Range<u64>, size: u64) -> Range<u64> {
    let end = if hole.end == size { piece_count(size) } else { hole.end / PIECE_SIZE };
    hole.start.div_ceil(PIECE_SIZE)..end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = PIECE_SIZE;

    fn page(extents: &[u64], next: u64) -> ExtentsPage {
        ExtentsPage { extents: extents.to_vec(), next }
    }

    #[test]
    fn only_pieces_that_lie_wholly_in_a_hole_are_not_asked_for() {
        let mut holes = Holes { size: 20 * MIB + 5, at: 0 };

        assert_eq!(holes.take(&page(&[MIB * 3 + 1, 10, MIB * 5, MIB], MIB * 6)), Some(vec![0..3, 4..5]));
        assert_eq!(holes.take(&page(&[MIB * 8 - 1, 2], 0)), Some(vec![6..7, 9..21]));
    }

    #[test]
    fn a_file_without_data_is_one_hole_and_one_without_holes_has_none() {
        assert_eq!(Holes { size: 3 * MIB, at: 0 }.take(&page(&[], 0)), Some(std::iter::once(0..3).collect()));
        assert_eq!(Holes { size: 3 * MIB, at: 0 }.take(&page(&[0, 3 * MIB], 0)), Some(Vec::new()));
    }

    #[test]
    fn stretches_that_cannot_be_are_refused() {
        for (extents, next) in
            [(&[5][..], 0), (&[0, 4 * MIB], 0), (&[9, 1, 8, 1], 0), (&[u64::MAX, 2], 0), (&[0, 9], 5), (&[], 7), (&[0, 9], u64::MAX)]
        {
            assert_eq!(Holes { size: 3 * MIB, at: 0 }.take(&page(extents, next)), None, "{extents:?} {next}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_peer_tells_the_pieces_are_those_of_the_file(extents in proptest::collection::vec(0u64..40 << 20, 0..20), next in 0u64..50 << 20) {
            let size = 33 * MIB + 9;
            for pieces in (Holes { size, at: 0 }).take(&page(&extents, next)).unwrap_or_default() {
                prop_assert!(pieces.end <= piece_count(size));
            }
        }
    }
}
