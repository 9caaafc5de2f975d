//! `net replay FILE`: a file judged as if it happened now.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use jiff::tz::TimeZone;
use sharekaro_proto::{
    client::Client,
    control::{
        net::{Finding, Findings, ReadRecording, Scores},
        routes,
    },
};

use super::{absolute, ask_patiently};
use crate::{
    ending::End,
    print::{Screen, anomaly::word, quantity::moment, table},
};

#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// A Network.csv, a CSV with the columns timestamp and value, or a capture
    file: PathBuf,
    /// One number from 0 to 1 for each row of a CSV: how unlike the rows before it it is
    #[arg(long)]
    scores: bool,
}

impl Replay {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let wanted = ReadRecording { path: absolute(&self.file)? };
        if self.scores {
            let scores: Scores = ask_patiently(client, routes::NET_SCORES, &wanted).await?;
            return screen.say(&scores, || a_row_each(&scores.scores));
        }
        let found: Findings = ask_patiently(client, routes::NET_REPLAY, &wanted).await?;
        screen.say(&found, || shown(&found.findings))?;
        let Some(error) = found.error else { return Ok(()) };
        screen.failure(&error);
        Err(End::Told(error.code.exit_code()))
    }
}

fn a_row_each(scores: &[f64]) -> String {
    let mut text = String::with_capacity(scores.len() * 8);
    for score in scores {
        let _ = writeln!(text, "{score}"); // a String takes everything
    }
    text.truncate(text.trim_end().len());
    text
}

fn shown(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "Nothing out of the ordinary.".to_owned();
    }
    let zone = TimeZone::system();
    let row = |it: &Finding| {
        let (at, until) = (moment(it.at, &zone), moment(it.until, &zone));
        [at, until, word(&it.severity), word(&it.kind), it.explanation.clone()]
    };
    table::table(["FROM", "UNTIL", "SEVERITY", "KIND", "WHAT"], findings.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_a_number_a_line_and_nothing_else() {
        assert_eq!(a_row_each(&[0.0, 0.25, 1.0]), "0\n0.25\n1");
    }
}
