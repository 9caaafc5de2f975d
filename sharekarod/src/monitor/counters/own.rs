//! What this daemon itself carried over an interface is in the kernel's counters with everything else. It is no anomaly: a file
//! that somebody sends is what the daemon is for. Taken out of what is judged, and left in what is kept and shown.

use sharekaro_proto::control::net::Counters;

/// Turns totals of our own traffic into its part of each step.
#[derive(Clone, Debug, Default)]
pub struct Own {
    last: Counters,
    /// Carried, and not yet counted by the kernel: what waits in a queue of the card's comes in a later step. Half of it is
    /// forgotten with each step, as what never comes (a card that cuts packets itself counts fewer) must not hide others.
    owed: Counters,
}

impl Own {
    /// From these totals on: they are those of other addresses than before.
    pub fn since(totals: &Counters) -> Self {
        Self { last: *totals, owed: Counters::default() }
    }

    /// Our part of a step with these amounts, of the totals that we carried until its end.
    pub fn part(&mut self, totals: &Counters, amounts: &Counters) -> Counters {
        let last = std::mem::replace(&mut self.last, *totals);
        let fields: [fn(&mut Counters) -> &mut u64; 4] =
            [|it| &mut it.bytes_sent, |it| &mut it.bytes_received, |it| &mut it.packets_sent, |it| &mut it.packets_received];
        let (mut part, mut totals, mut last, mut amounts) = (Counters::default(), *totals, last, *amounts);
        for field in fields {
            let carried = field(&mut totals).saturating_sub(*field(&mut last));
            // The kernel has a little more than we know of: longer headers, packets that it answers for us.
            let due = *field(&mut self.owed) + carried + carried / 32;
            let taken = due.min(*field(&mut amounts));
            *field(&mut part) = taken;
            *field(&mut self.owed) = (due - taken) / 2;
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(bytes: u64) -> Counters {
        Counters { bytes_sent: bytes, ..Counters::default() }
    }

    #[test]
    fn our_part_is_what_we_carried_and_never_more_than_there_was() {
        let mut own = Own::default();

        assert_eq!(own.part(&sent(0), &sent(500)), sent(0));
        assert_eq!(own.part(&sent(3200), &sent(10_000)), sent(3300));
        assert_eq!(own.part(&sent(3200), &sent(10_000)), sent(0));
        assert_eq!(own.part(&sent(6400), &sent(1000)), sent(1000));
    }

    #[test]
    fn what_was_carried_before_is_no_part_of_what_comes() {
        let mut own = Own::since(&sent(1 << 40));

        assert_eq!(own.part(&sent(1 << 40), &sent(500)), sent(0));
        assert_eq!(own.part(&sent((1 << 40) + 3200), &sent(10_000)), sent(3300));
    }

    #[test]
    fn what_waits_in_a_queue_is_ours_a_step_later_and_what_never_comes_is_forgotten() {
        let mut own = Own::default();

        own.part(&sent(32_000), &sent(13_000));
        assert_eq!(own.part(&sent(32_000), &sent(20_000)), sent(10_000));

        own.part(&sent(64_000), &sent(0));
        for _ in 0..20 {
            own.part(&sent(64_000), &sent(0));
        }
        assert_eq!(own.part(&sent(64_000), &sent(50_000)), sent(0));
    }
}
