//! `net history [IFACE] --since 1h`: what passed.

use std::time::Duration;

use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use sharekaro_proto::{
    client::Client,
    control::{
        net::{History as HistoryBody, HistorySample},
        routes,
    },
    nouns::text::Shown,
};

use super::interfaces::a_second;
use crate::{
    cli::time,
    ending::End,
    print::{
        Screen,
        quantity::{moment, rate, size, span},
        sparkline::sparkline,
        table,
    },
};

/// A screen has room for so many rows; with --json there is everything.
const ROWS: usize = 30;

#[derive(Args, Debug)]
pub(crate) struct History {
    /// This interface [default: the watched one]
    interface: Option<String>,
    /// From so long ago on: 90s, 15m, 24h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    since: Duration,
}

impl History {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let since = Timestamp::now().saturating_sub(self.since).unwrap_or(Timestamp::MIN);
        let mut query = vec![("since", since.to_string())];
        query.extend(self.interface.map(|interface| ("interface", interface)));
        let history: HistoryBody = client.get(&routes::with_query(routes::NET_HISTORY, &query)).await?;
        screen.say(&history, || shown(&history, &TimeZone::system()))
    }
}

fn shown(history: &HistoryBody, zone: &TimeZone) -> String {
    let name = Shown(&history.interface);
    let (Some(first), Some(last)) = (history.samples.first(), history.samples.last()) else {
        return format!("Nothing was measured on {name} in that time.");
    };
    let total = |of: fn(&HistorySample) -> u64| history.samples.iter().map(of).fold(0, u64::saturating_add);
    let (sent, received) = (total(|it| it.bytes_sent), total(|it| it.bytes_received));
    let both: Vec<u64> = history.samples.iter().map(|it| it.bytes_sent.saturating_add(it.bytes_received)).collect();
    let time = span(last.at.duration_since(first.at).as_secs().unsigned_abs());
    let each = history.samples.len().div_ceil(ROWS);
    let rows = history.samples.chunks(each).map(|chunk| row(chunk, zone));
    format!(
        "{name}: {} sent, {} received in {time}\n{}\n\n{}",
        size(sent),
        size(received),
        sparkline(&both, 80),
        table::table(["UNTIL", "SENT", "RECEIVED", "PACKETS", ""], rows)
    )
}

/// Some steps as one.
fn row(steps: &[HistorySample], zone: &TimeZone) -> [String; 5] {
    let sum = |of: fn(&HistorySample) -> u64| steps.iter().map(of).fold(0, u64::saturating_add);
    let seconds: f64 = steps.iter().map(|step| step.seconds).sum();
    let whole = |bytes_sent| HistorySample {
        at: Timestamp::UNIX_EPOCH,
        seconds,
        bytes_sent,
        bytes_received: 0,
        packets_sent: 0,
        packets_received: 0,
        gap: false,
    };
    let each = |bytes: u64| rate(a_second(bytes, &whole(bytes)));
    let until = moment(steps.last().map_or(Timestamp::UNIX_EPOCH, |step| step.at), zone);
    let gap = if steps.iter().any(|step| step.gap) { "with a gap" } else { "" };
    let (sent, received) = (sum(|step| step.bytes_sent), sum(|step| step.bytes_received));
    let packets = sum(|step| step.packets_sent.saturating_add(step.packets_received));
    [until, each(sent), each(received), packets.to_string(), gap.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_seconds_fits_on_a_screen() {
        let sample = |second| HistorySample {
            at: Timestamp::from_second(second).unwrap(),
            seconds: 1.0,
            bytes_sent: 1024,
            bytes_received: 0,
            packets_sent: 2,
            packets_received: 0,
            gap: second == 70,
        };
        let history = HistoryBody { interface: "eth0\u{1b}[2J".into(), samples: (0..86_400).map(sample).collect() };

        let text = shown(&history, &TimeZone::UTC);

        assert!(text.lines().count() < 40 && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("84.4 MiB sent") && text.contains("1.0 KiB/s") && text.contains("with a gap"), "{text}");
        assert!(shown(&HistoryBody { samples: Vec::new(), ..history }, &TimeZone::UTC).contains("Nothing was measured"));
    }
}
