//! Anomalies as people read them.

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use sharekaro_proto::{control::net::Anomaly, nouns::text::Shown};

use super::{
    quantity::{moment, when},
    table,
};

/// One, in a line.
pub(crate) fn line(anomaly: &Anomaly) -> String {
    let normal = if anomaly.acknowledged { " (acknowledged)" } else { "" };
    let (id, kind, severity) = (Shown(&anomaly.id), word(&anomaly.kind), word(&anomaly.severity));
    format!("anomaly {id} on {}: {kind}, {severity}{normal}: {}", Shown(&anomaly.interface), Shown(&anomaly.explanation))
}

/// Many, oldest first.
pub(crate) fn list(anomalies: &[Anomaly], now: Timestamp) -> String {
    if anomalies.is_empty() {
        return "Nothing out of the ordinary was seen.".to_owned();
    }
    let row = |it: &Anomaly| {
        let kind = if it.acknowledged { format!("{} (normal)", word(&it.kind)) } else { word(&it.kind) };
        [it.id.clone(), when(it.at, now), it.interface.clone(), word(&it.severity), kind, it.explanation.clone()]
    };
    table::table(["ID", "SINCE", "INTERFACE", "SEVERITY", "KIND", "WHAT"], anomalies.iter().map(row))
}

/// Everything about one.
pub(crate) fn card(anomaly: &Anomaly) -> String {
    let clock = |time| moment(time, &TimeZone::system());
    let rows = [
        ("id", anomaly.id.clone()),
        ("kind", word(&anomaly.kind)),
        ("severity", word(&anomaly.severity)),
        ("interface", anomaly.interface.clone()),
        ("began", clock(anomaly.at)),
        ("last seen", clock(anomaly.until)),
        ("normal", if anomaly.acknowledged { "yes, somebody said so" } else { "no" }.to_owned()),
        ("what", anomaly.explanation.clone()),
    ];
    let hint = "Is this how it should be? sharectl net anomaly ack --normal";
    let asked = if anomaly.acknowledged { String::new() } else { format!("\n\n{hint} {}", Shown(&anomaly.id)) };
    table::pairs(rows) + &asked
}

/// A word of the contract, as JSON has it.
pub(crate) fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::{
        control::net::{AnomalyKind, Severity},
        nouns::text::is_obeyed,
    };

    use super::*;

    #[test]
    fn a_name_from_the_air_cannot_draw_on_the_screen() {
        let hostile = "\u{1b}[2J\r\n9  now  wlan0".to_owned();
        let anomaly = Anomaly {
            id: "7".into(),
            at: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            interface: hostile.clone(),
            kind: AnomalyKind::EvilTwin,
            severity: Severity::High,
            explanation: hostile,
            acknowledged: false,
        };

        for text in [line(&anomaly), list(std::slice::from_ref(&anomaly), Timestamp::UNIX_EPOCH), card(&anomaly)] {
            assert!(text.contains("evil_twin") && text.contains("high"), "{text}");
            assert!(text.lines().all(|line| !line.chars().any(is_obeyed) && !line.starts_with('9')), "{text:?}");
        }
    }
}
