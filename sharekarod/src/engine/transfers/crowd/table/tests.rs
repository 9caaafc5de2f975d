use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use super::*;

fn id(n: u8) -> DeviceId {
    DeviceId::from_bytes([n; 32])
}

fn bits(count: u64, pieces: impl IntoIterator<Item = u64>) -> Bits {
    let mut bits = Bits::none(count);
    for piece in pieces {
        bits.set(piece);
    }
    bits
}

fn all_asked(table: &mut Table) -> Vec<Ask> {
    let mut rng = StdRng::seed_from_u64(7);
    std::iter::from_fn(|| table.next(&mut rng)).take(100).collect()
}

#[test]
fn without_helpers_the_source_is_asked_as_in_a_transfer_to_one() {
    let mut table = Table::new(Bits::none(50), false);
    table.source_is(Some(false));

    assert_eq!(all_asked(&mut table).len(), SOURCE_DEPTH);
}

#[test]
fn in_company_each_asks_less_of_the_source() {
    let asked = |others| {
        let mut table = Table::new(Bits::none(50), false);
        table.source_is(Some(false));
        table.in_company_of(others);
        all_asked(&mut table).len()
    };

    assert_eq!([1, 3, 7, 60].map(asked), [4, 2, 1, 1]);
}

#[test]
fn the_source_gives_what_no_helper_has() {
    let mut table = Table::new(Bits::none(20), false);
    table.source_is(Some(false));
    table.holds(id(1), false, &bits(20, 0..10));

    for ask in all_asked(&mut table) {
        match ask {
            Ask::Any(known) => assert!((0..10).all(|piece| known.has(piece)) && known.zeroes() > 0, "{known:?}"),
            Ask::Piece(giver, piece) => assert!(giver == Giver::Helper(id(1)) && piece < 10, "{giver:?} {piece}"),
        }
    }
}

#[test]
fn the_rarest_piece_is_asked_for_first() {
    let mut table = Table::new(Bits::none(20), false);
    table.holds(id(1), false, &bits(20, 0..20));
    table.holds(id(2), false, &bits(20, (0..20).filter(|piece| *piece != 13)));

    let asked = all_asked(&mut table);

    assert!(asked.contains(&Ask::Piece(Giver::Helper(id(1)), 13)), "{asked:?}");
}

#[test]
fn a_piece_does_not_cross_the_air_twice_while_a_wired_holder_has_it() {
    let mut table = Table::new(Bits::none(20), true);
    table.holds(id(1), true, &bits(20, 0..20));
    table.holds(id(2), false, &bits(20, 0..10));

    let of_radio: Vec<u64> = all_asked(&mut table)
        .into_iter()
        .filter_map(|ask| if let Ask::Piece(Giver::Helper(who), piece) = ask { (who == id(1)).then_some(piece) } else { None })
        .collect();

    assert!(!of_radio.is_empty() && of_radio.iter().all(|piece| *piece >= 10), "{of_radio:?}");

    let mut table = Table::new(Bits::none(20), true);
    table.source_is(Some(false));
    table.holds(id(1), true, &bits(20, 0..20));
    assert!(all_asked(&mut table).iter().all(|ask| matches!(ask, Ask::Any(_))));
}

#[test]
fn not_more_than_so_many_helpers_are_asked_at_once() {
    let mut table = Table::new(Bits::none(200), false);
    (1..=20).for_each(|n| table.holds(id(n), false, &bits(200, 0..200)));

    let asked = all_asked(&mut table);

    let helpers: BTreeSet<Giver> =
        asked.iter().filter_map(|ask| if let Ask::Piece(giver, _) = ask { Some(*giver) } else { None }).collect();
    assert_eq!((helpers.len(), asked.len()), (HELPERS_MAX, HELPERS_MAX * DEPTH));
}

#[test]
fn the_last_pieces_are_asked_of_two() {
    let mut table = Table::new(bits(20, 0..19), false);
    table.holds(id(1), false, &bits(20, 0..20));
    table.holds(id(2), false, &bits(20, 0..20));

    assert_eq!(all_asked(&mut table).len(), 2);
}

#[test]
fn a_liar_is_not_listened_to_again() {
    let mut table = Table::new(Bits::none(3), false);
    table.holds(id(1), false, &bits(3, 0..3));
    table.lied(id(1));

    table.holds(id(1), false, &bits(3, 0..3));

    assert!(table.helpers().is_empty() && table.is_stuck() && all_asked(&mut table).is_empty());
}

/// What a helper does when it is asked.
#[derive(Clone, Debug)]
struct Behaviour {
    has: Vec<bool>,
    wireless: bool,
    lies: bool,
    /// Every so many answers get lost; 0: none.
    loses: u8,
    /// It leaves after so many answers.
    leaves_after: Option<u8>,
}

fn behaviour(count: usize) -> impl Strategy<Value = Behaviour> {
    (proptest::collection::vec(any::<bool>(), count), any::<bool>(), proptest::bool::weighted(0.2), 0u8..4, proptest::option::of(0u8..20))
        .prop_map(|(has, wireless, lies, loses, leaves_after)| Behaviour {
            has,
            wireless,
            lies,
            loses: if loses == 1 { 2 } else { loses },
            leaves_after,
        })
}

proptest! {
    #[test]
    fn any_set_of_holders_losses_and_lies_ends_complete_or_says_why(
        helpers in proptest::collection::vec(behaviour(23), 0..12),
        source_stays in proptest::option::of(0usize..40),
        wireless in any::<bool>(), seed in any::<u64>(),
    ) {
        let (count, mut rng) = (23u64, StdRng::seed_from_u64(seed));
        let mut table = Table::new(Bits::none(count), wireless);
        let mut source_left = source_stays;
        let mut answers = vec![0u8; helpers.len()];
        table.source_is(source_left.map(|_| false));
        for (n, helper) in (1..).zip(&helpers) {
            table.holds(id(n), helper.wireless, &bits(count, (0..count).filter(|piece| helper.has[*piece as usize])));
        }
        let mut flying: Vec<Ask> = Vec::new();
        let mut steps = 0;

        loop {
            while let Some(ask) = table.next(&mut rng) {
                flying.push(ask);
                prop_assert!(flying.len() <= HELPERS_MAX * DEPTH + SOURCE_DEPTH);
            }
            if table.is_whole() || flying.is_empty() {
                break;
            }
            steps += 1;
            prop_assert!(steps < 5_000, "it goes in circles");
            let ask = flying.swap_remove(rng.random_range(0..flying.len()));
            table.answered(&ask);
            match &ask {
                Ask::Any(known) => if let Some(left) = &mut source_left {
                    match known.missing().next() {
                        Some(piece) => drop(table.came(piece)),
                        None => table.nothing_to_choose(),
                    }
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        source_left = None;
                        table.source_is(None);
                    }
                },
                Ask::Piece(Giver::Source, piece) => if source_left.is_some() { table.came(*piece); },
                Ask::Piece(Giver::Helper(who), piece) => {
                    let n = usize::from(who.as_bytes()[0]) - 1;
                    let helper = &helpers[n];
                    answers[n] = answers[n].saturating_add(1);
                    prop_assert!(helper.has[*piece as usize], "asked for what it never had");
                    if helper.leaves_after.is_some_and(|after| answers[n] > after) {
                        table.left(who);
                    } else if helper.loses > 0 && answers[n] % helper.loses == 0 {
                        // asked again, of the same or another
                    } else if helper.lies {
                        table.lied(*who);
                    } else {
                        table.came(*piece);
                    }
                }
            }
        }

        prop_assert!(table.is_whole() || table.is_stuck(), "{} pieces missing and nothing asked", table.have().zeroes());
        let honest = |piece: usize| helpers.iter().any(|helper| helper.has[piece] && !helper.lies && helper.leaves_after.is_none());
        prop_assert!(table.is_whole() || (0..23).any(|piece| !honest(piece)), "somebody honest had each piece");
    }
}
