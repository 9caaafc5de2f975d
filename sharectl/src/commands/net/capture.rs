//! `net capture IFACE`: packets as they come.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use sharekaro_proto::{
    client::Client,
    control::{
        packets::{BeginCapture, Capture as CaptureBody},
        routes,
    },
    nouns::text::Shown,
};
use tokio::time::sleep;

use super::{absolute_of, packets};
use crate::{
    cli::time,
    commands::signals::Signals,
    ending::End,
    print::{
        Screen,
        quantity::{count, size},
    },
};

/// How often is told what came so far.
const EVERY: Duration = Duration::from_secs(1);
/// How long after its end the daemon may still write.
const GRACE: Duration = Duration::from_millis(100);

#[derive(Args, Debug)]
pub(crate) struct Capture {
    /// On which interface
    interface: String,
    /// Only those packets, in the words of pcap-filter: udp and port 53
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// For so long: 8s, 5m [default: until Ctrl-C]
    #[arg(long, value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// The length of each list; 0 counts only, and is faster [default: 20]
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Write the packets there: NAME.pcapng, NAME.csv or NAME.json
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl Capture {
    /// With --json an object a second, the last of them whole.
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let mut interrupts = Signals::interrupts()?;
        let wanted = BeginCapture {
            interface: self.interface,
            filter: self.filter,
            duration_ms: self.duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
            top: self.top,
            write: absolute_of(self.write.as_ref())?,
        };
        let begun: CaptureBody = client.post_with(routes::NET_CAPTURES, &wanted).await?;
        let path = routes::fill(routes::NET_CAPTURE, &begun.id.to_string());
        if self.duration.is_none() {
            screen.note("capturing until Ctrl-C");
        }
        let left = self.duration.unwrap_or(Duration::MAX);
        tokio::select! {
            over = follow(&path, left, client, screen) => over?,
            _ = interrupts.next() => {}
        }
        let whole: CaptureBody = client.delete(&path).await?;
        screen.say(&whole, || shown(&whole))?;
        whole.error.map_or(Ok(()), |error| Err(End::Failed(error)))
    }
}

/// Tells what came so far until it has ended by itself.
async fn follow(path: &str, mut left: Duration, client: &Client, screen: &Screen) -> Result<(), End> {
    loop {
        sleep(left.saturating_add(GRACE).min(EVERY)).await;
        left = left.saturating_sub(EVERY);
        let so_far: CaptureBody = client.get(path).await?;
        if !so_far.running {
            return Ok(());
        }
        if screen.is_json() {
            screen.say(&so_far, String::new)?;
        }
    }
}

fn shown(it: &CaptureBody) -> String {
    let (captured, dropped) = (&it.captured, it.captured.dropped);
    let lost = if dropped == 0 { "none dropped".to_owned() } else { format!("{dropped} dropped: they came too fast") };
    let file = captured.file.as_ref().map_or_else(String::new, |file| format!(", written to {}", Shown(file)));
    let head = format!("{}, {}, {lost}{file}", count(captured.packets, "packet"), size(captured.bytes));
    match &it.report {
        Some(report) if report.packets > 0 => format!("{head}\n\n{}", packets::shown(report)),
        _ => head,
    }
}
