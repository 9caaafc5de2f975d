//! Does the gateway answer, and how fast? Only one that has answered before can fail to.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use sharekaro_proto::control::net::{AnomalyKind, Severity};

use super::{
    event::{Answer, Event},
    finding,
};
use crate::monitor::detect::finding::Finding;

/// Answers remembered: five minutes of one a second.
const MEMORY: usize = 300;
const KNOWN: usize = 10;
/// So many of so many latest probes lost.
const LOST: (usize, usize) = (3, 10);
/// So many in a row late: five times the median, and by so much.
const LATE: usize = 5;
const TIMES: u32 = 5;
const MARGIN: Duration = Duration::from_millis(30);

#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    /// The newest first.
    answers: VecDeque<Answer>,
}

impl Probes {
    pub(super) fn push(&mut self, event: &Event, now: Timestamp) -> Vec<Finding> {
        match event {
            Event::Probe(answer) if *answer != Answer::None || !self.answers.is_empty() => {
                self.answers.push_front(*answer);
                self.answers.truncate(MEMORY);
                [self.lost(now), self.late(now)].into_iter().flatten().collect()
            }
            Event::Gateway(_) | Event::Disconnected | Event::Connected(_) | Event::LinkUp => {
                self.answers.clear();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn lost(&self, now: Timestamp) -> Option<Finding> {
        let lost = self.answers.iter().take(LOST.1).filter(|answer| **answer == Answer::None).count();
        let answered = self.answers.iter().filter(|answer| **answer != Answer::None).count();
        // Where most were lost before, too, this is how it always is: nothing happened.
        let before = self.answers.iter().skip(LOST.1).filter(|answer| **answer == Answer::None).count();
        let usual = before * LOST.1 >= LOST.0 * self.answers.len().saturating_sub(LOST.1) && self.answers.len() > 2 * LOST.1;
        (lost >= LOST.0 && answered >= LOST.0 && !usual).then(|| {
            let all = self.answers.len().min(LOST.1);
            let severity = if lost == LOST.1 { Severity::High } else { Severity::Medium };
            let explanation = format!("the gateway left {lost} of the last {all} probes unanswered; it had answered {answered} before");
            finding(now, AnomalyKind::GatewayLoss, severity, "", explanation).weighing(lost as f64)
        })
    }

    fn late(&self, now: Timestamp) -> Option<Finding> {
        let mut usual: Vec<Duration> = self.answers.iter().skip(LATE).filter_map(Answer::after).collect();
        usual.sort_unstable();
        let median = *usual.get(usual.len() / 2).filter(|_| usual.len() >= KNOWN)?;
        let bound = (median * TIMES).max(median + MARGIN);
        let fastest =
            self.answers.iter().take(LATE).try_fold(Duration::MAX, |fastest, answer| answer.after().map(|answer| fastest.min(answer)))?;
        (fastest > bound).then(|| {
            let (fastest, median) = (fastest.as_secs_f64() * 1e3, median.as_secs_f64() * 1e3);
            let explanation =
                format!("the gateway answers after {fastest:.0} ms or more; the median of the last minutes was {median:.1} ms");
            finding(now, AnomalyKind::GatewayDelay, Severity::Low, "", explanation).weighing(fastest)
        })
    }
}

impl Answer {
    const fn after(&self) -> Option<Duration> {
        if let Self::After(time) = self { Some(*time) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, testing::*};
    use super::*;

    fn answer(millis: u64) -> Event {
        Event::Probe(Answer::After(Duration::from_millis(millis)))
    }

    fn after(calm: i64, odd: &[Event]) -> Vec<(AnomalyKind, Severity)> {
        let mut rules = Rules::default();
        assert_eq!(kinds(&mut rules, (0..calm).map(|second| (second * 1000, answer(2 + second as u64 % 3)))), []);
        kinds(&mut rules, odd.iter().enumerate().map(|(number, event)| ((calm + number as i64) * 1000, event.clone())))
    }

    #[test]
    fn three_lost_answers_in_a_row_are_told() {
        let found = after(15, &[Event::Probe(Answer::None), Event::Probe(Answer::None), Event::Probe(Answer::None)]);

        assert_eq!(found, [(AnomalyKind::GatewayLoss, Severity::Medium)]);
        assert_eq!(after(15, &[Event::Probe(Answer::None), answer(2), Event::Probe(Answer::None), answer(2)]), []);
    }

    #[test]
    fn a_gateway_that_never_answers_is_not_told() {
        assert_eq!(after(0, &[const { Event::Probe(Answer::None) }; 30]), []);
    }

    #[test]
    fn answers_that_come_late_again_and_again_are_told() {
        let late = [const { Event::Probe(Answer::After(Duration::from_millis(60))) }; 5];

        assert_eq!(after(15, &late), [(AnomalyKind::GatewayDelay, Severity::Low)]);
        assert_eq!(after(15, &late[..4]), []);
    }
}
