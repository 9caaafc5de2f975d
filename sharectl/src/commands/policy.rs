//! `policy VERB`: the rules that say what becomes of offers.

use std::ffi::OsString;

use clap::{Args, Subcommand};
use jiff::{Timestamp, tz::TimeZone};
use sharekaro_proto::{
    ErrorBody,
    client::Client,
    control::{
        event::Fact,
        policy::{Action, AddRule, Decision, Decisions, ListedRule, Rule, RuleSource, Rules, TestOffer, Verdict},
        routes,
    },
    nouns::{
        amount::Amount,
        hours::{Hours, TimeOfDay},
        text::{Shown, lossless},
        transfer::Conflict,
        trust::Trust,
    },
};

use super::told::Told;
use crate::{
    cli::one_of,
    ending::End,
    print::{
        Screen,
        quantity::{moment, rate, size, when},
        table,
    },
};

#[derive(Subcommand, Debug)]
pub(crate) enum PolicyVerb {
    /// All rules in the order in which they are asked; those of the configuration file come first
    List,
    /// Add a rule behind the others; the first rule that fits an offer decides
    Add(Box<AddVerb>),
    /// Remove a rule that was added
    Remove {
        /// What it is called
        name: String,
    },
    /// What would become of an offer, and why
    Test(TestVerb),
    /// What was decided, by rules and by people
    Log {
        /// The last so many [default: 100, with --watch 10]
        #[arg(short = 'n', value_name = "N")]
        count: Option<u64>,
        /// Go on: a decision a line, as it is made
        #[arg(long)]
        watch: bool,
    },
}

/// Limits are inclusive and mean the whole offer; what is not named fits always.
#[derive(Args, Debug)]
pub(crate) struct AddVerb {
    /// What it is called
    #[arg(long)]
    name: String,
    /// accept needs every file to fit names and types; ask, decline and quarantine one file
    #[arg(long, value_parser = one_of(Action::ALL, Action::word))]
    action: Action,
    /// Who offers: alias, name, key, @group or all
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "PEER")]
    from: Vec<String>,
    /// What we hold of who offers
    #[arg(long, num_args = 1.., value_delimiter = ',', value_parser = one_of(Trust::ALL, Trust::word))]
    trust: Vec<Trust>,
    /// Patterns of file names, as '*.exe'
    #[arg(long, num_args = 1.., value_name = "PATTERN")]
    names: Vec<String>,
    /// Media types, as 'image/*'
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "TYPE")]
    types: Vec<String>,
    /// At least so many bytes; K, M, G are powers of 1024
    #[arg(long, value_name = "BYTES")]
    min_size: Option<Amount>,
    /// At most so many bytes
    #[arg(long, value_name = "BYTES")]
    max_size: Option<Amount>,
    /// At least so many files
    #[arg(long, value_name = "N")]
    min_files: Option<u64>,
    /// At most so many files
    #[arg(long, value_name = "N")]
    max_files: Option<u64>,
    /// At least so many bytes are free where it would go
    #[arg(long, value_name = "BYTES")]
    min_free: Option<Amount>,
    /// At most so many bytes are free there
    #[arg(long, value_name = "BYTES")]
    max_free: Option<Amount>,
    /// At least so many bytes from this peer since midnight, the offer included
    #[arg(long, value_name = "BYTES")]
    min_today: Option<Amount>,
    /// At most so many bytes from this peer since midnight, the offer included
    #[arg(long, value_name = "BYTES")]
    max_today: Option<Amount>,
    /// Part of the day, as 22:00-06:00
    #[arg(long)]
    hours: Option<Hours>,
    /// Networks that we are on: ssid:NAME of a Wi-Fi, interface, subnet, or the gateway's address or hardware address
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "NETWORK")]
    networks: Vec<String>,
    /// Where it goes
    #[arg(long)]
    dir: Option<String>,
    /// What happens where a name is taken
    #[arg(long, value_parser = one_of(Conflict::ALL, Conflict::word))]
    conflict: Option<Conflict>,
    /// Bytes a second
    #[arg(long, value_name = "BYTES")]
    rate: Option<Amount>,
    /// A program and its arguments, run when all is stored, with the paths behind them; stands last
    #[arg(long, num_args = 1.., allow_hyphen_values = true, value_name = "PROGRAM")]
    run: Vec<String>,
    /// Ask it before this rule that was added
    #[arg(long, value_name = "RULE")]
    before: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct TestVerb {
    /// Who would offer
    #[arg(long, value_name = "PEER")]
    from: String,
    /// Bytes in all
    #[arg(long, default_value = "0", value_name = "BYTES")]
    size: Amount,
    /// Files in all, where these are more than are named
    #[arg(long, value_name = "N")]
    files: Option<u64>,
    /// The time of the day, as 09:30, instead of now
    #[arg(long, value_name = "HH:MM")]
    at: Option<TimeOfDay>,
    /// Networks, instead of those that we are on
    #[arg(long, value_delimiter = ',', value_name = "NETWORK")]
    networks: Option<Vec<String>>,
    /// Names of files
    #[arg(required = true, value_name = "NAME")]
    names: Vec<OsString>,
}

impl PolicyVerb {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let rules: Rules = match self {
            Self::List => client.get(routes::POLICY).await?,
            Self::Add(verb) => client.post_with(routes::POLICY, &verb.body()).await?,
            Self::Remove { name } => client.delete(&routes::fill(routes::POLICY_RULE, &name)).await?,
            Self::Test(verb) => {
                let verdict: Verdict = client.post_with(routes::POLICY_TEST, &verb.body()).await?;
                return screen.say(&verdict, || shown(&verdict));
            }
            Self::Log { count, watch: true } => return watch(count.unwrap_or(10), client, screen).await,
            Self::Log { count, watch: false } => {
                let decisions = part(&[("limit", count.unwrap_or(100))], client).await?;
                return screen.say(&decisions, || log(&decisions.decisions, Timestamp::now()));
            }
        };
        screen.say(&rules, || list(&rules.rules))
    }
}

impl AddVerb {
    fn body(self) -> AddRule {
        let rule = Rule {
            name: self.name,
            from: self.from,
            trust: self.trust,
            names: self.names.iter().flat_map(|text| split(text)).collect(),
            types: self.types,
            min_size: self.min_size,
            max_size: self.max_size,
            min_files: self.min_files,
            max_files: self.max_files,
            min_free: self.min_free,
            max_free: self.max_free,
            min_today: self.min_today,
            max_today: self.max_today,
            hours: self.hours,
            networks: self.networks,
            action: self.action,
            dir: self.dir,
            conflict: self.conflict,
            rate: self.rate,
            run: self.run,
        };
        AddRule { rule, before: self.before }
    }
}

impl TestVerb {
    fn body(self) -> TestOffer {
        TestOffer {
            from: self.from,
            size: self.size,
            files: self.files,
            at: self.at,
            networks: self.networks,
            names: self.names.iter().map(|name| lossless(name.as_encoded_bytes())).collect(),
        }
    }
}

/// Several patterns in one argument: a comma separates them, but not within braces, where it separates alternatives.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0_u32);
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

fn list(rules: &[ListedRule]) -> String {
    if rules.is_empty() {
        return "No rules: files of paired and trusted devices come in, others ask. `sharectl policy add --help` tells how to add one."
            .to_owned();
    }
    let row = |(place, it): (usize, &ListedRule)| {
        let source = if it.source == RuleSource::Config { "config" } else { "added" };
        let what = it.error.as_ref().map_or_else(|| what_becomes(&it.rule), |why| format!("ask: it cannot be read ({why})"));
        [(place + 1).to_string(), it.rule.name.clone(), conditions(&it.rule), what, source.to_owned()]
    };
    let rows = rules.iter().enumerate().map(row);
    let rows =
        rows.chain([[String::new(), "default".into(), "no rule fits".into(), "as the peer is trusted; else ask".into(), String::new()]]);
    table::table(["", "RULE", "WHEN", "THEN", "FROM"], rows)
}

fn conditions(rule: &Rule) -> String {
    let mut parts = Vec::new();
    let lists = [("from", &rule.from), ("names", &rule.names), ("types", &rule.types), ("on", &rule.networks)];
    parts.extend(lists.iter().filter(|(_, list)| !list.is_empty()).map(|(word, list)| format!("{word} {}", list.join(" "))));
    if !rule.trust.is_empty() {
        parts.push(format!("trust {}", rule.trust.iter().map(|it| it.word()).collect::<Vec<_>>().join(" ")));
    }
    let bytes = |amount: &Option<Amount>| amount.map(|Amount(bytes)| size(bytes));
    let limits = [
        ("at least", bytes(&rule.min_size), ""),
        ("at most", bytes(&rule.max_size), ""),
        ("at least", rule.min_files.map(|it| it.to_string()), " files"),
        ("at most", rule.max_files.map(|it| it.to_string()), " files"),
        ("at least", bytes(&rule.min_free), " free"),
        ("at most", bytes(&rule.max_free), " free"),
        ("at least", bytes(&rule.min_today), " today"),
        ("at most", bytes(&rule.max_today), " today"),
    ];
    parts.extend(limits.into_iter().filter_map(|(word, limit, of)| limit.map(|limit| format!("{word} {limit}{of}"))));
    parts.extend(rule.hours.map(|hours| hours.to_string()));
    if parts.is_empty() { "always".to_owned() } else { parts.join(", ") }
}

fn what_becomes(rule: &Rule) -> String {
    let mut parts = vec![rule.action.word().to_owned()];
    parts.extend(rule.dir.as_ref().map(|dir| format!("into {dir}")));
    parts.extend(rule.conflict.map(|conflict| format!("{conflict} where a name is taken")));
    parts.extend(rule.rate.map(|Amount(bytes)| format!("at {}", rate(bytes))));
    if !rule.run.is_empty() {
        parts.push(format!("then run {}", rule.run.join(" ")));
    }
    parts.join(", ")
}

fn shown(verdict: &Verdict) -> String {
    let mut lines = vec![format!("{} by rule {:?}: {}", verdict.action, Shown(&verdict.rule).to_string(), Shown(&verdict.why))];
    if let Some(dir) = &verdict.dir {
        lines.push(format!("into {}, {} where a name is taken", Shown(dir), verdict.conflict));
    }
    lines.extend(verdict.rate.map(|Amount(bytes)| format!("at {}", rate(bytes))));
    if !verdict.run.is_empty() {
        lines.push(format!("then run {}", Shown(&verdict.run.join(" "))));
    }
    lines.extend(verdict.passed.iter().map(|it| format!("not {:?}: {}", Shown(&it.rule).to_string(), Shown(&it.why))));
    lines.join("\n")
}

async fn part(query: &[(&str, u64)], client: &Client) -> Result<Decisions, ErrorBody> {
    let query: Vec<(&str, String)> = query.iter().map(|(key, value)| (*key, value.to_string())).collect();
    client.get(&routes::with_query(routes::POLICY_LOG, &query)).await
}

/// The last ones, and those that follow, a line each.
async fn watch(count: u64, client: &Client, screen: &Screen) -> Result<(), End> {
    let say = |decision: &Decision| screen.say(decision, || line(decision));
    let before = part(&[("limit", count.max(1))], client).await?.decisions;
    let unwanted = if count == 0 { before.len() } else { 0 };
    before.iter().skip(unwanted).try_for_each(say)?;
    let mut told = Told::until(before.last().map_or(0, |decision| decision.no));
    let mut events = client.events().await?;
    while let Some(event) = events.next().await? {
        let news = match event.fact {
            Fact::DecisionRecorded(decision) => vec![*decision],
            // it is the first event, or we fell behind
            Fact::Snapshot(_) => after(told.gapless(), client).await?,
            _ => continue,
        };
        news.iter().filter(|decision| told.take(decision.no)).try_for_each(say)?;
    }
    screen.note("the daemon ended");
    Ok(())
}

/// All that follow this number, oldest first.
async fn after(mut no: u64, client: &Client) -> Result<Vec<Decision>, ErrorBody> {
    let mut all = Vec::new();
    loop {
        let next = part(&[("limit", 1_000), ("after", no)], client).await?.decisions;
        let Some(last) = next.last() else { return Ok(all) };
        no = last.no;
        all.extend(next);
    }
}

/// `2026-11-21 14:05:09 bob (k:abcdefgh): decline by programs, t8 setup.exe`.
pub(super) fn line(it: &Decision) -> String {
    let at = moment(it.at, &TimeZone::system());
    let transfer = it.transfer.map(|id| format!(", {id}")).unwrap_or_default();
    let note = if it.note.is_empty() { String::new() } else { format!(": {}", Shown(&it.note)) };
    format!("{at} {} (k:{}): {} by {}{transfer}{note}", Shown(&it.peer), Shown(&it.key), Shown(&it.action), Shown(&it.rule))
}

fn log(decisions: &[Decision], now: Timestamp) -> String {
    if decisions.is_empty() {
        return "Nothing was decided yet.".to_owned();
    }
    let row = |it: &Decision| {
        let peer = format!("{} (k:{})", it.peer, it.key);
        let transfer = it.transfer.map(|id| id.to_string()).unwrap_or_default();
        [when(it.at, now), peer, it.action.clone(), it.rule.clone(), transfer, it.note.clone()]
    };
    table::table(["WHEN", "PEER", "WHAT", "RULE", "ID", "NOTE"], decisions.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_separates_patterns_but_not_alternatives() {
        assert_eq!(split("*.exe"), ["*.exe"]);
        assert_eq!(split("*.exe,*.sh"), ["*.exe", "*.sh"]);
        assert_eq!(split("*.{jpg,png},a{b{c,d},e},x"), ["*.{jpg,png}", "a{b{c,d},e}", "x"]);
    }

    #[test]
    fn a_rule_is_told_in_words() {
        let rule: Rule = serde_json::from_str(
            r#"{"name":"x","from":["bob"],"types":["image/*"],"max_size":1024,"hours":"22:00-06:00","action":"accept","dir":"~/in","run":["scan","-v"]}"#,
        )
        .unwrap();

        assert_eq!(conditions(&rule), "from bob, types image/*, at most 1.0 KiB, 22:00-06:00");
        assert_eq!(what_becomes(&rule), "accept, into ~/in, then run scan -v");
    }
}
