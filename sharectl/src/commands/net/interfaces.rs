//! `net`: every interface, with the last minute as a row of bars.

use jiff::{SignedDuration, Timestamp};
use sharekaro_proto::{
    client::Client,
    control::{
        net::{History, HistorySample, Interface, Interfaces},
        routes,
    },
    nouns::text::Shown,
};

use crate::{
    ending::End,
    print::{
        Screen,
        quantity::{rate, size, span},
        sparkline::sparkline,
        table,
    },
};

/// What the bars show.
const MINUTE: SignedDuration = SignedDuration::from_secs(60);
/// Bars of two seconds each.
const BARS: usize = 30;

pub(super) async fn run(client: &Client, screen: &Screen) -> Result<(), End> {
    let interfaces: Interfaces = client.get(routes::NET).await?;
    if screen.is_json() {
        return screen.say(&interfaces, String::new);
    }
    let mut rows = Vec::new();
    for interface in &interfaces.interfaces {
        rows.push(row(interface, &last_minute(interface, client).await));
    }
    let table = table::table(["INTERFACE", "", "SENT", "RECEIVED", "NOW SENT", "NOW RECEIVED", "LAST MINUTE"], rows);
    screen.say(&interfaces, || format!("{table}{}", watched(&interfaces.interfaces)))
}

/// Nothing where it cannot be told: the totals stand without it.
async fn last_minute(interface: &Interface, client: &Client) -> Vec<HistorySample> {
    let since = Timestamp::now().saturating_sub(MINUTE).unwrap_or(Timestamp::UNIX_EPOCH);
    let query = [("interface", interface.name.clone()), ("since", since.to_string())];
    client.get::<History>(&routes::with_query(routes::NET_HISTORY, &query)).await.map(|history| history.samples).unwrap_or_default()
}

fn row(interface: &Interface, minute: &[HistorySample]) -> [String; 7] {
    let state = match (interface.watched, interface.up) {
        (true, true) => "watched",
        (true, false) => "watched, down",
        (false, true) => "",
        (false, false) => "down",
    };
    let now = |amount: fn(&HistorySample) -> u64| minute.last().map_or_else(String::new, |last| rate(a_second(amount(last), last)));
    let both: Vec<u64> = minute.iter().map(|sample| sample.bytes_sent.saturating_add(sample.bytes_received)).collect();
    [
        interface.name.clone(),
        state.to_owned(),
        size(interface.counters.bytes_sent),
        size(interface.counters.bytes_received),
        now(|sample| sample.bytes_sent),
        now(|sample| sample.bytes_received),
        sparkline(&both, BARS),
    ]
}

/// Bytes of a step as bytes a second.
pub(super) fn a_second(bytes: u64, sample: &HistorySample) -> u64 {
    // Seconds are at least some milliseconds, and amounts far below 2^53.
    (bytes as f64 / sample.seconds.max(0.001)) as u64
}

/// From which rates on the watched interface's traffic is an anomaly.
fn watched(interfaces: &[Interface]) -> String {
    let Some((interface, threshold)) = interfaces.iter().find_map(|it| Some((it, it.threshold?))) else { return String::new() };
    let (sent, received) = (rate(threshold.bytes_sent), rate(threshold.bytes_received));
    format!(
        "\n\n{} is watched for {}; from {sent} sent or {received} received on, over 10 s, it is an anomaly.",
        Shown(&interface.name),
        span(threshold.watched_seconds)
    )
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::control::net::{Counters, Threshold};

    use super::*;

    #[test]
    fn an_interface_is_a_row_with_its_rate_and_its_bars() {
        let sample = |bytes_sent, seconds| HistorySample {
            at: Timestamp::UNIX_EPOCH,
            seconds,
            bytes_sent,
            bytes_received: 0,
            packets_sent: 1,
            packets_received: 0,
            gap: false,
        };
        let interface = Interface {
            name: "eth0".into(),
            up: true,
            watched: true,
            counters: Counters { bytes_sent: 4096, ..Counters::default() },
            threshold: Some(Threshold { bytes_sent: 2048, bytes_received: 1024, watched_seconds: 90 }),
        };

        let row = row(&interface, &[sample(0, 1.0), sample(4096, 2.0)]);

        assert_eq!(row, ["eth0", "watched", "4.0 KiB", "0 B", "2.0 KiB/s", "0 B/s", "▁█"]);
        assert!(watched(&[interface]).contains("1 min 30 s; from 2.0 KiB/s sent"));
    }
}
