//! `net watch`: what passes each second, and anomalies as they are seen.

use std::time::Duration;

use clap::Args;
use jiff::{Timestamp, Zoned};
use sharekaro_proto::{
    client::{Client, EventStream},
    control::{
        event::Fact,
        net::{Interface, Interfaces},
        routes,
    },
    nouns::text::Shown,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    ending::End,
    print::{Screen, anomaly, quantity::rate},
};

/// The daemon measures so often.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// This interface [default: the watched one]
    interface: Option<String>,
}

impl Watch {
    /// With --json an object a line: all interfaces each second, and each anomaly.
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let (mut events, mut ticks) = (client.events().await?, interval(EVERY));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = None;
        loop {
            tokio::select! {
                over = anomalies(&mut events, screen) => return over,
                _ = ticks.tick() => {
                    let interfaces: Interfaces = client.get(routes::NET).await?;
                    let now = (Timestamp::now(), chosen(&interfaces, self.interface.as_deref()).cloned());
                    screen.say(&interfaces, || shown(before.as_ref(), &now))?;
                    before = Some(now);
                }
            }
        }
    }
}

/// Says each anomaly until the daemon ends. Safe to cancel: an event that was begun to be read is read on.
async fn anomalies(events: &mut EventStream, screen: &Screen) -> Result<(), End> {
    while let Some(event) = events.next().await? {
        if let Fact::AnomalyRecorded(it) = &event.fact {
            screen.say(it, || anomaly::line(it))?;
        }
    }
    screen.note("the daemon ended");
    Ok(())
}

fn chosen<'a>(interfaces: &'a Interfaces, name: Option<&str>) -> Option<&'a Interface> {
    interfaces.interfaces.iter().find(|interface| name.map_or(interface.watched, |name| interface.name == name))
}

type Moment = (Timestamp, Option<Interface>);

/// A line for a second; the first has nothing to compare with.
fn shown(before: Option<&Moment>, now: &Moment) -> String {
    let ((then, Some(old)), (at, Some(new))) = (before.unwrap_or(&(Timestamp::UNIX_EPOCH, None)), now) else {
        return if now.1.is_none() { "no such interface now".to_owned() } else { String::new() };
    };
    let seconds = at.duration_since(*then).as_secs_f64().max(0.001);
    let each = |of: fn(&Interface) -> u64| (of(new).saturating_sub(of(old)) as f64 / seconds) as u64;
    let (sent, received) = (each(|it| it.counters.bytes_sent), each(|it| it.counters.bytes_received));
    let (out, came) = (each(|it| it.counters.packets_sent), each(|it| it.counters.packets_received));
    let clock = Zoned::now().strftime("%H:%M:%S").to_string();
    let name = Shown(&new.name);
    format!("{clock}  {name}  sent {:>12} {out:>7} packets   received {:>12} {came:>7} packets", rate(sent), rate(received))
}
