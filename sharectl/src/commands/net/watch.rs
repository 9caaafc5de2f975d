//! `net watch`: what passes each second, and anomalies as they are seen.

use std::{collections::HashMap, time::Duration};

use clap::Args;
use jiff::{Timestamp, Zoned};
use sharekaro_proto::{
    ErrorBody,
    client::Client,
    control::{
        event::Fact,
        net::{Anomalies, Anomaly, Interface, Interfaces, Severity},
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
        let (mut before, mut told) = (None, None);
        loop {
            tokio::select! {
                event = events.next() => {
                    let Some(event) = event? else { break };
                    for it in news(&mut told, event.fact, client).await? {
                        screen.say(&it, || anomaly::line(&it))?;
                    }
                }
                _ = ticks.tick() => {
                    let interfaces: Interfaces = client.get(routes::NET).await?;
                    let now = (Timestamp::now(), chosen(&interfaces, self.interface.as_deref()).cloned());
                    screen.say(&interfaces, || shown(before.as_ref(), &now))?;
                    before = Some(now);
                }
            }
        }
        screen.note("the daemon ended");
        Ok(())
    }
}

/// How bad each anomaly was when it was told; none before the first event.
type Told = Option<HashMap<String, Severity>>;

/// The anomalies that are told at this event: also those of which we did not hear as we fell behind.
async fn news(told: &mut Told, fact: Fact, client: &Client) -> Result<Vec<Anomaly>, ErrorBody> {
    match fact {
        Fact::AnomalyRecorded(it) => {
            told.get_or_insert_default().insert(it.id.clone(), it.severity);
            Ok(vec![*it])
        }
        Fact::Snapshot(_) => {
            let all: Anomalies = client.get(routes::NET_ANOMALIES).await?;
            Ok(missed(told, all.anomalies))
        }
        _ => Ok(Vec::new()),
    }
}

/// Those that are new or worse than they were told. What was there at first is no news.
fn missed(told: &mut Told, all: Vec<Anomaly>) -> Vec<Anomaly> {
    let now = all.iter().map(|it| (it.id.clone(), it.severity)).collect();
    match told.replace(now) {
        None => Vec::new(),
        Some(before) => all.into_iter().filter(|it| before.get(&it.id).is_none_or(|told| it.severity > *told)).collect(),
    }
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

#[cfg(test)]
mod tests {
    use sharekaro_proto::control::net::AnomalyKind;

    use super::*;

    #[test]
    fn who_falls_behind_is_told_what_is_new_or_worse_and_at_first_nothing() {
        let anomaly = |id: &str, severity| Anomaly {
            id: id.into(),
            at: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            interface: "eth0".into(),
            kind: AnomalyKind::Traffic,
            severity,
            explanation: "much".into(),
            acknowledged: false,
        };
        let (low, high) = (Severity::Low, Severity::High);
        let mut told = None;
        let mut ids = |all| missed(&mut told, all).into_iter().map(|it| it.id).collect::<Vec<_>>();

        assert!(ids(vec![anomaly("1", low), anomaly("2", low)]).is_empty());
        assert_eq!(ids(vec![anomaly("1", low), anomaly("2", high), anomaly("3", low)]), ["2", "3"]);
        assert!(ids(vec![anomaly("2", low), anomaly("3", low)]).is_empty());
    }
}
