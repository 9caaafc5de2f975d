//! `bench PEER`: what each part of the way to a peer can do.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sharekaro_proto::{
    client::Client,
    control::{routes, transfer::Bench as BenchBody},
    nouns::text::Shown,
};

use crate::{
    cli::PEER_HELP,
    ending::End,
    print::{Screen, quantity::rate, table},
};

/// How often the wheel turns.
const TURN: Duration = Duration::from_millis(120);

#[derive(Args, Debug)]
pub(crate) struct Bench {
    #[arg(help = PEER_HELP)]
    peer: String,
}

impl Bench {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let wheel = wheel(&self.peer, screen);
        let measured = client.post(&routes::fill(routes::PEER_BENCH, &self.peer)).await;
        wheel.finish_and_clear();
        let bench: BenchBody = measured?;
        screen.say(&bench, || shown(&bench))
    }
}

/// Turns on a terminal's standard error while the daemon measures.
fn wheel(peer: &str, screen: &Screen) -> ProgressBar {
    if screen.is_quiet() || screen.is_json() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let wheel = ProgressBar::new_spinner().with_style(style);
    wheel.set_message(format!("measuring the line to {}, a core, our disk and theirs: some ten seconds", Shown(peer)));
    wheel.enable_steady_tick(TURN);
    wheel
}

fn shown(bench: &BenchBody) -> String {
    let parts = [("network", bench.network), ("crypto", bench.crypto), ("our disk", bench.our_disk), ("their disk", bench.their_disk)];
    let slowest = parts.iter().min_by_key(|(_, speed)| *speed).map_or("", |(name, _)| name);
    let rows = parts.map(|(name, speed)| (name, rate(speed)));
    format!("{}\n\nNo transfer is faster than the slowest of them: {slowest}.", table::pairs(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_part_is_named() {
        let text = shown(&BenchBody { network: 6 << 20, crypto: 1 << 30, our_disk: 100 << 20, their_disk: 90 << 20 });

        assert!(text.contains("6.0 MiB/s") && text.ends_with("network."), "{text}");
    }
}
