//! How fast offers of strangers come in: each leaves a trace on the disk even where it is taken back at once, and a new
//! key costs nothing.

use std::collections::VecDeque;

use sharekaro_proto::DeviceId;

/// Over so many milliseconds offers are counted: ten minutes.
const WINDOW_MS: i64 = 10 * 60 * 1_000;

/// So many of one stranger: one every ten seconds, more than a person ever answers.
const OF_ONE: usize = 60;

/// And so many of all of them together: a class that hands in its work has as many.
const OF_ALL: usize = 300;

/// The offers of strangers that were let in of late, oldest first.
#[derive(Default)]
pub struct Pace {
    came: VecDeque<(i64, DeviceId)>,
}

impl Pace {
    /// Whether another offer of this stranger is let in now, in milliseconds of the wall clock; it is counted then.
    pub fn admits(&mut self, peer: DeviceId, now_ms: i64) -> bool {
        // a clock that was set back keeps nobody out for long
        self.came.retain(|(at, _)| (0..WINDOW_MS).contains(&(now_ms - at)));
        let of_one = self.came.iter().filter(|(_, other)| *other == peer).count();
        let admits = of_one < OF_ONE && self.came.len() < OF_ALL;
        if admits {
            self.came.push_back((now_ms, peer));
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_and_not_all_together_come_faster_than_that() {
        let (mut pace, id) = (Pace::default(), |n: u8| DeviceId::from_bytes([n; 32]));

        let let_in = |pace: &mut Pace, n, now| (0..1_000).filter(|_| pace.admits(id(n), now)).count();

        assert_eq!(let_in(&mut pace, 1, 0), OF_ONE);
        assert_eq!((2..100).map(|n| let_in(&mut pace, n, 1)).sum::<usize>(), OF_ALL - OF_ONE);
        assert_eq!(let_in(&mut pace, 1, WINDOW_MS), OF_ONE, "later they come again");
        assert_eq!(let_in(&mut pace, 1, -WINDOW_MS), OF_ONE, "the clock was set");
    }
}
