//! Workloads, each beside its reference in the same run: raw quinn memory to memory, and plain TCP.
//!
//! Two hosts in network namespaces, MTU 1500. What is measured is what a person gets: whole commands, between daemons
//! that are connected. The references run as processes of their own (`raw-receive`, `tcp-send`, ...), in turn with
//! ours, as a machine is never the same from one minute to the next.

mod drops;
mod figures;
mod lines;
mod live;
mod messages;
mod others;
mod packets;
mod reference;
mod table;
mod traffic;

use std::env;

use anyhow::{Result, bail};

use crate::{
    figures::{Part, Sizes},
    reference::Reference,
};

const USAGE: &str = "usage: sharekaro-bench [--smoke] [plain | monitor | people | others | lines]
  plain     two hosts on a plain line, beside raw quinn and plain TCP
  monitor   packets of files and of a full line, false alarms, rest
  people    messages, the drop folder
  others    beside iperf3, socat over TLS, scp and rsync, where these are installed
  lines     jumbo frames, a gigabit, loss, changed files, a class, kills, memory
  --smoke   small sizes, once: shows that the bench works, its figures mean nothing";

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        [] => figures::run(&Sizes::FULL, Part::All),
        ["--smoke"] => figures::run(&Sizes::SMOKE, Part::All),
        ["--smoke", part] => figures::run(&Sizes::SMOKE, Part::named(part)?),
        [part @ ("plain" | "monitor" | "people" | "others" | "lines")] => figures::run(&Sizes::FULL, Part::named(part)?),
        ["receive", which] => Reference::named(which)?.receive(),
        ["send", which, address, bytes] => Reference::named(which)?.send(address.parse()?, bytes.parse()?),
        ["--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!(USAGE),
    }
}
