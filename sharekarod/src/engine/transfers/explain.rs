//! Why a transfer is not faster: one of its stations holds most of the requests, and that one is named with figures.

use sharekaro_proto::{
    ErrorBody, TransferId,
    control::transfer::{Bottleneck, Explanation},
    nouns::transfer::{Direction, Phase, TransferState},
    wire::Figures,
};

use crate::engine::Engine;

/// From so many thousandths of one core on, the processor is what is slow: one connection is the work of one core.
const CPU_BUSY: u32 = 900;

/// From so many thousandths of lost packets on, loss slows the line down.
const LOSS_HIGH: u32 = 10;

/// A full line's queue makes the round trip so many times longer than an idle one's; where it does not, loss is the cause.
const QUEUE_GROWS: u32 = 2;

/// Less than a fiftieth of a request on its way on average is nothing (in thousandths).
const IDLE: u32 = 20;

/// What is known of a transfer, as its sender and its receiver measured it.
struct Case {
    sender: Figures,
    receiver: Figures,
    direction: Direction,
    wireless: bool,
    rate: u64,
    limit: Option<u64>,
}

impl Engine {
    /// Why a transfer is not faster.
    ///
    /// # Errors
    /// There is none of that number.
    pub fn explain(&self, id: TransferId) -> Result<Explanation, ErrorBody> {
        let transfer = self.transfer(id)?;
        if transfer.state == TransferState::Active && transfer.phase == Phase::Storing {
            return Ok(storing(transfer.direction));
        }
        let moving = transfer.state == TransferState::Active && matches!(transfer.phase, Phase::Transferring | Phase::Stalled);
        let session = self.open_session(&transfer.peer_id);
        let (true, Some(session)) = (moving, session) else {
            let why = transfer.error.map(|e| format!(": {}", e.message)).unwrap_or_default();
            let explanation = match transfer.state {
                ended if ended.ended() => format!("it has ended: it is {ended}{why}"),
                state => format!("it does not move right now: it is {state}, {}{why}", transfer.phase),
            };
            return Ok(Explanation { bottleneck: Bottleneck::None, explanation });
        };
        let gauge = self.inner.jobs.of(id).gauge.clone();
        let ours = gauge.figures(session.stats(), self.inner.jobs.cpu.permille());
        let theirs = gauge.theirs();
        let (sender, receiver) = if transfer.direction == Direction::Out { (ours, theirs) } else { (theirs, ours) };
        let jobs = &self.inner.jobs;
        let general = if transfer.direction == Direction::Out { jobs.upload.rate() } else { jobs.download.rate() };
        Ok(judge(&Case {
            sender,
            receiver,
            direction: transfer.direction,
            wireless: session.hello().wireless || self.hello().wireless,
            rate: transfer.rate,
            limit: transfer.limit.into_iter().chain(general).min(),
        }))
    }
}

/// All of it came, and the receiver waits for its disk.
fn storing(direction: Direction) -> Explanation {
    let (bottleneck, whose) = if direction == Direction::In { (Bottleneck::OurDisk, "our") } else { (Bottleneck::TheirDisk, "their") };
    let explanation = format!("all of it came and is being made durable: it waits for {whose} disk");
    Explanation { bottleneck, explanation }
}

fn judge(case: &Case) -> Explanation {
    let Case { sender, receiver, .. } = case;
    let limited = sender.held + receiver.held;
    let on_line = receiver.asked.saturating_sub(sender.held).saturating_sub(sender.reading);
    let most = limited.max(on_line).max(sender.reading).max(receiver.writing);
    let bottleneck = if most < IDLE {
        Bottleneck::None
    } else if most == limited {
        Bottleneck::Limit
    } else if most == sender.reading {
        case.sender_side(if sender.cpu >= CPU_BUSY { Bottleneck::OurCpu } else { Bottleneck::OurDisk })
    } else if most == receiver.writing {
        case.receiver_side(if receiver.cpu >= CPU_BUSY { Bottleneck::OurCpu } else { Bottleneck::OurDisk })
    } else {
        case.line()
    };
    Explanation { bottleneck, explanation: format!("{}: {}", case.what(bottleneck), case.figures(limited, on_line)) }
}

impl Case {
    /// What holds the line back: a processor that cannot fill it, the air, lost packets, or that it is full.
    fn line(&self) -> Bottleneck {
        let Self { sender, receiver, .. } = self;
        if sender.cpu >= CPU_BUSY && sender.cpu >= receiver.cpu {
            return self.sender_side(Bottleneck::OurCpu);
        }
        if receiver.cpu >= CPU_BUSY {
            return self.receiver_side(Bottleneck::OurCpu);
        }
        if self.wireless {
            return Bottleneck::Wifi;
        }
        let queues = sender.rtt_us > sender.rtt_min_us.saturating_mul(QUEUE_GROWS);
        if sender.lost >= LOSS_HIGH && !queues { Bottleneck::Loss } else { Bottleneck::Link }
    }

    /// As seen from here: the sender's disk is ours where we send.
    fn sender_side(&self, of_sender: Bottleneck) -> Bottleneck {
        if self.direction == Direction::Out { of_sender } else { across(of_sender) }
    }

    fn receiver_side(&self, of_receiver: Bottleneck) -> Bottleneck {
        if self.direction == Direction::In { of_receiver } else { across(of_receiver) }
    }

    fn what(&self, bottleneck: Bottleneck) -> String {
        match bottleneck {
            Bottleneck::Link => format!("the line is full at {}", rate(self.rate)),
            Bottleneck::Loss => format!("packets get lost ({} %)", percent(self.sender.lost)),
            Bottleneck::Wifi => format!("the radio gives no more than {}", rate(self.rate)),
            Bottleneck::OurDisk => "our disk is slow".to_owned(),
            Bottleneck::TheirDisk => "their disk is slow".to_owned(),
            Bottleneck::OurCpu => "our processor is busy".to_owned(),
            Bottleneck::TheirCpu => "their processor is busy".to_owned(),
            Bottleneck::Limit => match self.limit {
                Some(limit) => format!("a limit of {} holds it back", rate(limit)),
                None => "a limit holds it back".to_owned(),
            },
            Bottleneck::None => format!("nothing holds it back at {}", rate(self.rate)),
        }
    }

    fn figures(&self, limited: u32, on_line: u32) -> String {
        let Self { sender, receiver, .. } = self;
        let count = |thousandths: u32| format!("{:.1}", f64::from(thousandths) / 1e3);
        format!(
            "of the requests under way {} wait for the line, {} for a limit, {} are being read, {} written; round trip {:.1} ms \
             (at best {:.1}), {} % of the packets lost; the sender uses {} % of a core, the receiver {} %",
            count(on_line),
            count(limited),
            count(sender.reading),
            count(receiver.writing),
            f64::from(sender.rtt_us) / 1e3,
            f64::from(sender.rtt_min_us) / 1e3,
            percent(sender.lost),
            sender.cpu / 10,
            receiver.cpu / 10,
        )
    }
}

fn across(ours: Bottleneck) -> Bottleneck {
    if ours == Bottleneck::OurCpu { Bottleneck::TheirCpu } else { Bottleneck::TheirDisk }
}

fn percent(thousandths: u32) -> String {
    format!("{:.1}", f64::from(thousandths) / 10.0)
}

fn rate(bytes_a_second: u64) -> String {
    format!("{:.1} MB/s", bytes_a_second as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(sender: Figures, receiver: Figures) -> Case {
        Case { sender, receiver, direction: Direction::Out, wireless: false, rate: 6_000_000, limit: Some(500_000) }
    }

    #[test]
    fn the_station_that_holds_most_is_named() {
        let full = Figures { asked: 12_000, ..Figures::default() };
        let queue = Figures { rtt_us: 30_000, rtt_min_us: 300, lost: 20, ..Figures::default() };
        let lossy = Figures { rtt_us: 320, rtt_min_us: 300, lost: 20, ..Figures::default() };
        for (sender, receiver, named) in [
            (Figures::default(), Figures::default(), Bottleneck::None),
            (queue, full, Bottleneck::Link),
            (lossy, full, Bottleneck::Loss),
            (Figures { held: 11_000, ..queue }, full, Bottleneck::Limit),
            (Figures { reading: 11_000, ..queue }, full, Bottleneck::OurDisk),
            (Figures { reading: 11_000, cpu: 950, ..queue }, full, Bottleneck::OurCpu),
            (queue, Figures { asked: 1_000, writing: 9_000, ..full }, Bottleneck::TheirDisk),
            (queue, Figures { cpu: 990, ..full }, Bottleneck::TheirCpu),
        ] {
            assert_eq!(judge(&case(sender, receiver)).bottleneck, named, "{sender:?} {receiver:?}");
        }
    }

    #[test]
    fn the_other_side_of_the_same_transfer_says_the_same_of_itself() {
        let full = Figures { asked: 12_000, ..Figures::default() };
        let mut here = case(Figures { reading: 11_000, ..Figures::default() }, full);
        here.direction = Direction::In;

        assert_eq!(judge(&here).bottleneck, Bottleneck::TheirDisk);
        here.wireless = true;
        here.sender.reading = 0;
        assert_eq!(judge(&here).bottleneck, Bottleneck::Wifi);
    }
}
