//! Progress for people, on standard error: a bar for each receiver on a terminal, a line now and then elsewhere.

use std::{
    collections::HashMap,
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use sharekaro_proto::{TransferId, control::transfer::Transfer, nouns::transfer::TransferState};

use super::{Screen, transfer};

/// Without a terminal, a transfer is spoken of so often at most.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// More bars than fit on a small terminal are no help.
const BARS_MAX: usize = 12;

/// Shows how transfers move.
pub(crate) enum Progress {
    /// Nothing is shown.
    None,
    /// A bar for each.
    Bars(MultiProgress, HashMap<TransferId, ProgressBar>),
    /// A line now and then.
    Lines(HashMap<TransferId, (Instant, TransferState)>),
}

impl Progress {
    pub(crate) fn new(screen: &Screen, count: usize) -> Self {
        if screen.is_json() || screen.is_quiet() {
            return Self::None;
        }
        if std::io::stderr().is_terminal() && count <= BARS_MAX {
            return Self::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()), HashMap::new());
        }
        Self::Lines(HashMap::new())
    }

    /// It stands so now.
    pub(crate) fn show(&mut self, screen: &Screen, transfer: &Transfer) {
        match self {
            Self::None => {}
            Self::Bars(all, bars) => {
                let bar = bars.entry(transfer.id).or_insert_with(|| all.add(new_bar()));
                draw(bar, transfer);
            }
            Self::Lines(said) => {
                let now = Instant::now();
                let last = said.get(&transfer.id);
                if last.is_none_or(|(at, state)| *state != transfer.state || now.duration_since(*at) >= LINE_EVERY) {
                    said.insert(transfer.id, (now, transfer.state));
                    screen.note(&transfer::line(transfer));
                }
            }
        }
    }

    /// Takes the bars away: what follows is said in lines.
    pub(crate) fn end(&mut self) {
        if let Self::Bars(all, bars) = self {
            for bar in bars.values() {
                bar.finish_and_clear();
            }
            let _ = all.clear(); // a terminal that is gone needs no clearing
        }
    }
}

fn new_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {bar:24} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

fn draw(bar: &ProgressBar, transfer: &Transfer) {
    bar.set_length(transfer.bytes_total.max(1));
    bar.set_position(transfer.bytes_confirmed);
    bar.set_prefix(transfer::way(transfer));
    let message = if transfer.state == TransferState::Active { transfer::progress(transfer) } else { transfer::standing(transfer) };
    bar.set_message(message);
}
