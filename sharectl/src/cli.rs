//! The grammar: `sharectl VERB` or `sharectl NOUN VERB`, with a few flags that stand everywhere.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use sharekaro_proto::{TransferId, nouns::amount::Amount};

use crate::commands::{
    agent::Agent,
    bench::Bench,
    chat::Chat,
    clip::ClipVerb,
    completions::Completions,
    daemon::DaemonVerb,
    demo::Demo,
    doctor::Doctor,
    drop::DropVerb,
    events::Events,
    group::GroupVerb,
    inbox::Inbox,
    manual::Manual,
    message::Message,
    messages::Messages,
    net::Net,
    pair::Pair,
    peer::PeerVerb,
    peers::Peers,
    policy::PolicyVerb,
    presence::Presence,
    receipt::ReceiptVerb,
    receive::Receive,
    send::Send,
    status::{Config, Identity, Status},
    transfer::TransferVerb,
    transfers::Transfers,
    trust::SetTrust,
};

/// Moves files between the machines of a LAN
#[derive(Parser, Debug)]
#[command(name = "sharectl", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that stand before or after any verb.
#[derive(Args, Debug)]
pub(crate) struct Globals {
    /// Print JSON for programs: one document, or one object a line where it goes on
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress and no notes
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Control socket of the daemon [default: $XDG_RUNTIME_DIR/sharekaro/control.sock]
    #[arg(long, global = true, env = "SHAREKARO_SOCKET", hide_env = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// How the daemon is: addresses, peers, transfers, warnings
    Status(Status),
    /// Who this device is, to be compared by people
    Identity(Identity),
    /// Every setting in force
    Config(Config),
    /// The other devices
    Peers(Peers),
    /// One other device: show, add, rename, block, unblock, forget, ping
    #[command(subcommand)]
    Peer(PeerVerb),
    /// What the line, a core and both disks can do on the way to a peer: ten seconds
    Bench(Bench),
    /// Make a device trusted: compare words with its person, or pass on a code
    Pair(Pair),
    /// What a paired device may do unasked
    Trust(SetTrust),
    /// Send files and folders
    Send(Send),
    /// Take what a code was made for, or the next that a peer sends
    Receive(Receive),
    /// All transfers
    Transfers(Transfers),
    /// One transfer: show, explain, pause, resume, cancel, limit, prio, retry
    #[command(subcommand)]
    Transfer(TransferVerb),
    /// Proof of what was received: show, verify
    #[command(subcommand)]
    Receipt(ReceiptVerb),
    /// What waits for an answer and what came: list, accept, decline, open, undo
    Inbox(Inbox),
    /// Rules that say what becomes of offers: list, add, remove, test, log
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// The drop folder, whose content is sent: status, retry
    #[command(subcommand)]
    Drop(DropVerb),
    /// Say something to one peer, several, a group or all
    Message(Message),
    /// What was said: list, search, watch, export
    Messages(Messages),
    /// Talk with a peer: a line is a message, until `quit`
    Chat(Chat),
    /// Peers under one name: add, remove, list
    #[command(subcommand)]
    Group(GroupVerb),
    /// What paired peers see of you: available or away, and a line of text
    Presence(Presence),
    /// The network: interfaces, history, anomalies, packets, captures
    Net(Net),
    /// Everything that happens, as it happens
    Events(Events),
    /// Notifications in this desktop session, with buttons that answer; runs until it is ended
    Agent(Agent),
    /// The clipboard: push to a peer, pull what a peer wrote last; off unless the configuration says `clipboard = true`
    #[command(subcommand)]
    Clip(ClipVerb),
    /// What is wrong with this machine, the network or the way to a peer, and what mends it
    Doctor(Doctor),
    /// Two daemons on this machine find each other, pair and exchange a file
    Demo(Demo),
    /// The daemon as a unit of your systemd: install, uninstall, start, stop, restart, reload, status, logs
    #[command(subcommand)]
    Daemon(DaemonVerb),
    /// Completions for a shell
    Completions(Completions),
    /// The man pages, into a folder
    #[command(hide = true)]
    Manual(Manual),
}

/// The arguments with a final `--json` behind `--` moved to the front, where no file has that name: scripts add it at
/// the end of whatever they call, and mean the flag. A file of that name is reached as `./--json`.
pub(crate) fn arguments(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.collect();
    let behind_dashes = args.iter().position(|arg| arg == "--").is_some_and(|at| at + 1 < args.len());
    if behind_dashes && args.last().is_some_and(|last| last == "--json") && !std::path::Path::new("--json").exists() {
        args.pop();
        args.insert(1, "--json".into());
    }
    args
}

/// Whether JSON is wanted, of arguments that make no sense otherwise.
pub(crate) fn wants_json(args: &[OsString]) -> bool {
    args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json")
}

/// Reads one of a list of words.
pub(crate) fn one_of<T: Copy + Clone + std::marker::Send + Sync + 'static>(
    all: &'static [T],
    word: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let read = move |text: String| all.iter().copied().find(|it| word(*it) == text).ok_or("no such word");
    PossibleValuesParser::new(all.iter().map(move |it| word(*it))).try_map(read)
}

/// Reads the number of a transfer.
pub(crate) fn transfer_id(text: &str) -> Result<TransferId, String> {
    text.parse().map_err(|error: sharekaro_proto::nouns::transfer::TransferIdError| error.to_string())
}

/// Reads bytes a second: `500000`, `20M`, `1G`; K, M and G are powers of 1024.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let rate = text.parse::<Amount>().ok().map(|Amount(rate)| rate);
    rate.filter(|rate| *rate > 0).ok_or_else(|| "write bytes a second as 500000, 20M or 1G".to_owned())
}

/// What names a peer.
pub(crate) const PEER_HELP: &str = "Alias, name or key prefix";

/// What names several.
pub(crate) const PEERS_HELP: &str = "Aliases, names or key prefixes";

/// What names a transfer.
pub(crate) const ID_HELP: &str = "As t8; `sharectl transfers` and `sharectl inbox` list them";

/// Reads a time: `90s`, `15m`, `24h`, `7d`, or seconds without a letter.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = digits.parse::<u64>().ok().zip(factor).and_then(|(count, factor)| count.checked_mul(factor));
    let seconds = seconds.filter(|seconds| (1..=100 * 366 * 86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "write a number with s, m, h or d, as 90s or 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(arguments(line.split(' ').map(OsString::from)))
    }

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_and_every_argument_says_what_it_is() {
        let (mut commands, mut silent) = (vec![Cli::command()], Vec::new());
        while let Some(command) = commands.pop() {
            let unsaid = command.get_arguments().filter(|arg| arg.get_help().is_none()).map(|arg| arg.get_id().as_str());
            silent.extend(unsaid.map(|arg| format!("{} {arg}", command.get_name())));
            silent.extend(command.get_about().is_none().then(|| command.get_name().to_owned()));
            commands.extend(command.get_subcommands().cloned());
        }
        assert!(silent.is_empty(), "{silent:?}");
    }

    #[test]
    fn every_promised_line_is_understood() {
        for line in [
            "sharectl status --json",
            "sharectl --json identity",
            "sharectl config",
            "sharectl peers --watch",
            "sharectl peer show bob --json",
            "sharectl peer add [fe80::1%eth0]:47810 --alias vps",
            "sharectl peer rename k:7f3a laptop",
            "sharectl peer block bob",
            "sharectl peer unblock bob",
            "sharectl peer forget bob",
            "sharectl peer ping bob",
            "sharectl pair bob --yes --json",
            "sharectl pair --invite",
            "sharectl pair --join 7-oak-tin bob",
            "sharectl pair --join 7-oak-tin",
            "sharectl trust bob ask",
            "sharectl send bob a b --exclude target --exclude *.o --limit 8000000 --conflict newer --prio high",
            "sharectl send bob,carol a --detach --json",
            "sharectl send bob a --wait 5 --note hi --apart --ignore-files --xattrs",
            "sharectl send bob -- -dash --also-a-name",
            "sharectl send --code a b --exclude *.o",
            "sharectl send --ask",
            "sharectl send --ask -- a -dash",
            "sharectl send bob - --name dump.sql",
            "sharectl receive 42-oak-tin-piano",
            "sharectl receive --from alice",
            "sharectl receive --from alice --stdout --force",
            "sharectl receive 42 oak tin piano --from bob --json",
            "sharectl transfers",
            "sharectl transfer show t8",
            "sharectl transfer explain t8",
            "sharectl bench bob --json",
            "sharectl transfer pause 8",
            "sharectl transfer resume t8",
            "sharectl transfer cancel t8",
            "sharectl transfer retry t8",
            "sharectl transfer limit t8 2000000",
            "sharectl transfer limit t8 none",
            "sharectl transfer prio t8 high",
            "sharectl receipt show t8",
            "sharectl receipt verify receipt.json",
            "sharectl inbox",
            "sharectl inbox list",
            "sharectl inbox accept t8 --to Movies",
            "sharectl inbox decline t8 --reason no",
            "sharectl inbox open t8",
            "sharectl inbox undo t8",
            "sharectl policy list",
            "sharectl policy add --name x --action accept --from bob,carol @team --names *.a *.b --types image/* --max-size 2G --dir ~/x",
            "sharectl policy add --name x --action accept --hours 22:00-06:00 --rate 2M --run scan -v --quick",
            "sharectl policy remove x",
            "sharectl policy test --from bob --size 2G --files 3 --at 09:30 -- film.mkv -x.exe",
            "sharectl policy log -n 5",
            "sharectl drop status",
            "sharectl drop status --watch --json",
            "sharectl drop retry",
            "sharectl drop retry ShareDrop/Failed/bob/x",
            "sharectl message bob hello",
            "sharectl message bob,@team -- -dash --json",
            "sharectl message bob - --id 8f14e45f-ceea-467f-a8e2-6d1d9a3c7b10",
            "sharectl messages",
            "sharectl messages bob -n 5",
            "sharectl messages --search=-x",
            "sharectl messages --watch --json",
            "sharectl messages export",
            "sharectl messages export bob --json",
            "sharectl chat bob",
            "sharectl group add team bob carol",
            "sharectl group remove team",
            "sharectl group list",
            "sharectl presence",
            "sharectl presence away lunch",
            "sharectl events --json --socket /tmp/x",
            "sharectl completions zsh",
            "sharectl net",
            "sharectl net watch --json",
            "sharectl net history eth0 --since 90s",
            "sharectl net csv Network.csv --append",
            "sharectl net csv --stop",
            "sharectl net anomalies",
            "sharectl net anomaly explain 7",
            "sharectl net anomaly ack --normal 7",
            "sharectl net networks",
            "sharectl net forget 3",
            "sharectl net replay a.csv --scores",
            "sharectl net packets a.pcap --filter udp --top 5 -w b.csv --json",
            "sharectl net capture eth0 --filter icmp --duration 8s -w b.pcapng",
            "sharectl demo -q",
            "sharectl doctor --json",
            "sharectl agent",
            "sharectl agent --once --json",
            "sharectl clip push bob",
            "sharectl clip pull",
            "sharectl clip pull --from bob",
            "sharectl doctor --peer bob",
            "sharectl daemon install --no-enable",
            "sharectl daemon uninstall",
            "sharectl daemon status --json",
            "sharectl daemon logs -f -n 5",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_mistake_of_the_caller() {
        for line in [
            "sharectl",
            "sharectl no-such-verb",
            "sharectl send bob",
            "sharectl send --code",
            "sharectl send --code a --detach",
            "sharectl send --ask --code a",
            "sharectl send --ask --name x",
            "sharectl daemon",
            "sharectl receive",
            "sharectl receive --stdout",
            "sharectl receive 42-oak-tin --from bob --stdout",
            "sharectl send bob a --limit 5X",
            "sharectl send bob a --limit 0",
            "sharectl send bob a --conflict maybe",
            "sharectl send bob a --wait -1",
            "sharectl transfer show nonsense",
            "sharectl trust bob blocked",
            "sharectl pair",
            "sharectl pair bob --invite",
            "sharectl pair --join code --yes",
            "sharectl pair --invite --join code",
            "sharectl inbox accept",
            "sharectl net csv",
            "sharectl net csv a --stop",
            "sharectl net anomaly ack 7",
            "sharectl net history --since 0s",
            "sharectl net capture eth0 --duration soon",
            "sharectl net packets",
            "sharectl inbox open nonsense",
            "sharectl policy",
            "sharectl policy test --from bob --size banana x",
            "sharectl policy test --from bob",
            "sharectl policy test --from bob --at 25:00 x",
            "sharectl policy add --name x --action perhaps",
            "sharectl policy add --action ask",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn json_at_the_very_end_is_the_flag_even_behind_dashes() {
        let cli = parse("sharectl send bob -- -dash --json").unwrap();

        assert!(cli.globals.json);
        assert!(matches!(cli.command, Command::Send(send) if send.paths == [PathBuf::from("-dash")]));
        assert!(!parse("sharectl send bob -- --json x").unwrap().globals.json);
        assert!(wants_json(&["sharectl".into(), "nonsense".into(), "--json".into()]));
    }

    #[test]
    fn times_are_numbers_with_a_unit() {
        assert_eq!(time("90"), Ok(Duration::from_secs(90)));
        assert_eq!(time("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "s", "-1s", "0", "1w", "1.5h", "9999999999999999999d"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_powers_of_1024() {
        assert_eq!(rate("8000000"), Ok(8_000_000));
        assert_eq!(rate("20M"), Ok(20 << 20));
        for bad in ["", "M", "-1", "1.5M", "99999999999G", "5ü", "ü"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
