//! Judging an offer: the first rule that fits decides. Pure: the same facts are always judged in the same way.

use std::{path::PathBuf, sync::Arc};

use sharekaro_proto::{
    control::policy::{Action, PassedRule, Rule},
    nouns::{amount::Amount, transfer::Conflict, trust::Trust},
};

use super::{
    facts::{Facts, Fit, Names, lets_in},
    rule::{DEFAULT, ParsedRule},
};

/// What becomes of an offer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Which rule decided.
    pub rule: String,
    /// What becomes of it.
    pub action: Action,
    /// Where the rule puts it.
    pub dir: Option<PathBuf>,
    /// What happens where a name is taken.
    pub conflict: Option<Conflict>,
    /// Bytes a second.
    pub rate: Option<u64>,
    /// What is run afterwards.
    pub run: Vec<String>,
    /// Why.
    pub why: String,
    /// The rules before it.
    pub passed: Vec<PassedRule>,
}

/// What can be said now.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// This.
    Verdict(Verdict),
    /// Nothing, before the names of the files are known.
    NamesNeeded,
}

/// How a rule stands to an offer.
enum Answer {
    Fits(String),
    Passes(String),
    /// It would fit, but nobody knows the names, nor will.
    CannotTell(String),
    NamesNeeded,
}

/// Asks the rules in their order; then paired and trusted peers get in, and others ask.
pub fn judge(rules: &[Arc<ParsedRule>], facts: &Facts) -> Judgement {
    let mut passed = Vec::new();
    for (place, rule) in rules.iter().enumerate() {
        if facts.sender.trust == Trust::Blocked {
            break; // it may not even connect
        }
        match ask(rule, facts, place) {
            Answer::Fits(why) => return Judgement::Verdict(by_rule(rule, rule.rule.action, why, passed)),
            Answer::CannotTell(why) => return Judgement::Verdict(by_rule(rule, Action::Ask, why, passed)),
            Answer::NamesNeeded => return Judgement::NamesNeeded,
            Answer::Passes(why) => passed.push(PassedRule { rule: rule.rule.name.clone(), why }),
        }
    }
    Judgement::Verdict(by_trust(facts, passed))
}

fn by_rule(rule: &ParsedRule, action: Action, why: String, passed: Vec<PassedRule>) -> Verdict {
    let Rule { name, conflict, rate, run, .. } = &rule.rule;
    Verdict {
        rule: name.clone(),
        action,
        dir: rule.dir.clone(),
        conflict: *conflict,
        rate: rate.map(|rate| rate.0),
        run: run.clone(),
        why,
        passed,
    }
}

fn by_trust(facts: &Facts, passed: Vec<PassedRule>) -> Verdict {
    let label = &facts.sender.label;
    let (action, why) = match facts.sender.trust {
        Trust::Accept => (Action::Accept, format!("no rule fits, and {label} is paired and trusted")),
        Trust::Ask => (Action::Ask, format!("no rule fits, and {label} is to ask")),
        Trust::Decline => (Action::Decline, format!("no rule fits, and what {label} offers is declined")),
        Trust::Blocked => (Action::Decline, format!("{label} is blocked")),
        Trust::Changed => {
            (Action::Ask, format!("no rule fits, and {label} has another key than the device that is paired under this name"))
        }
        Trust::Unknown | Trust::Pending => (Action::Ask, format!("no rule fits, and {label} is not paired")),
    };
    Verdict { rule: DEFAULT.to_owned(), action, dir: None, conflict: None, rate: None, run: Vec::new(), why, passed }
}

fn ask(rule: &ParsedRule, facts: &Facts, place: usize) -> Answer {
    if let Some(why) = &rule.unreadable {
        return Answer::Fits(format!("this rule cannot be read, so a person decides: {why}"));
    }
    let mut reasons = Vec::new();
    for check in [who, what_we_hold_of_it, how_large, how_many, when, where_we_are, what_came_today] {
        match check(rule, facts) {
            Ok(reason) => reasons.extend(reason),
            Err(why) => return Answer::Passes(why),
        }
    }
    match what_is_free(&rule.rule, facts.free.get(place).copied().flatten()) {
        Ok(reason) => reasons.extend(reason),
        Err(why) => return Answer::Passes(why),
    }
    if rule.wants_names() {
        let fit = match &facts.names {
            Names::Unknown => return Answer::NamesNeeded,
            Names::Withheld => return Answer::CannotTell("the list of files is too long to be asked for, so a person decides".to_owned()),
            Names::Seen(fits) => fits.get(place).cloned().unwrap_or_default(),
        };
        match which_files(&rule.rule, &fit) {
            Ok(reason) => reasons.push(reason),
            Err(why) => return Answer::Passes(why),
        }
    }
    let why = if reasons.is_empty() { "it fits every offer".to_owned() } else { reasons.join(", ") };
    Answer::Fits(why)
}

/// Why a condition holds, if there is one; or why it does not.
type Held = Result<Option<String>, String>;

fn who(rule: &ParsedRule, facts: &Facts) -> Held {
    let (Rule { from, action, .. }, sender) = (&rule.rule, &facts.sender);
    if from.is_empty() {
        return Ok(None);
    }
    match from.iter().find(|entry| sender.is_meant(entry, *action)) {
        Some(entry) => Ok(Some(format!("{} is {entry}", sender.label))),
        None if !sender.trust.paired() && from.iter().any(|entry| sender.is_meant(entry, Action::Ask)) => {
            Err(format!("{} only says that it has this name, and is not paired", sender.label))
        }
        None => Err(format!("{} is not {}", sender.label, from.join(" or "))),
    }
}

fn what_we_hold_of_it(rule: &ParsedRule, facts: &Facts) -> Held {
    let (trust, sender) = (facts.sender.trust, &facts.sender.label);
    if rule.rule.trust.contains(&trust) {
        return Ok(Some(format!("{sender} is {trust}")));
    }
    // a rule that says nothing of trust does not overrule a person's no, nor an alarm
    let is_no = matches!(trust, Trust::Decline | Trust::Changed);
    if !rule.rule.trust.is_empty() || is_no && rule.rule.action != Action::Decline {
        return Err(format!("{sender} is {trust}, and the rule does not name that"));
    }
    Ok(None)
}

fn how_large(rule: &ParsedRule, facts: &Facts) -> Held {
    within(facts.bytes, bytes(rule.rule.min_size), bytes(rule.rule.max_size), "bytes")
}

fn how_many(rule: &ParsedRule, facts: &Facts) -> Held {
    within(facts.files, rule.rule.min_files, rule.rule.max_files, "files")
}

fn when(rule: &ParsedRule, facts: &Facts) -> Held {
    match rule.rule.hours {
        None => Ok(None),
        Some(hours) if hours.contains(facts.time) => Ok(Some(format!("{} lies in {hours}", facts.time))),
        Some(hours) => Err(format!("{} lies outside {hours}", facts.time)),
    }
}

fn where_we_are(rule: &ParsedRule, facts: &Facts) -> Held {
    let named = rule.rule.networks.iter();
    match rule.networks.iter().zip(named).find(|(network, _)| facts.networks.is_on(network)) {
        _ if rule.networks.is_empty() => Ok(None),
        Some((_, name)) => Ok(Some(format!("we are on {name}"))),
        None => Err(format!("we are not on {}", rule.rule.networks.join(" or "))),
    }
}

fn what_came_today(rule: &ParsedRule, facts: &Facts) -> Held {
    within(facts.today.saturating_add(facts.bytes), bytes(rule.rule.min_today), bytes(rule.rule.max_today), "bytes today")
}

fn what_is_free(rule: &Rule, free: Option<u64>) -> Held {
    let (least, most) = (bytes(rule.min_free), bytes(rule.max_free));
    match free {
        _ if least.is_none() && most.is_none() => Ok(None),
        Some(free) => within(free, least, most, "bytes free"),
        None if lets_in(rule.action) => Err("nobody knows what is free there".to_owned()),
        None => Ok(Some("nobody knows what is free there".to_owned())),
    }
}

fn which_files(rule: &Rule, fit: &Fit) -> Result<String, String> {
    let wanted = rule.names.iter().chain(&rule.types).map(String::as_str).collect::<Vec<_>>().join(", ");
    match (rule.action, &fit.fits, &fit.differs) {
        (_, None, _) => Err(format!("no file is {wanted}")),
        (Action::Accept, _, Some(other)) => Err(format!("{other} is not {wanted}, and all have to be")),
        (Action::Accept, Some(_), None) => Ok(format!("every file is {wanted}")),
        (_, Some(one), _) => Ok(format!("{one} is {wanted}")),
    }
}

fn bytes(amount: Option<Amount>) -> Option<u64> {
    amount.map(|Amount(bytes)| bytes)
}

fn within(count: u64, least: Option<u64>, most: Option<u64>, of_what: &str) -> Held {
    match (least, most) {
        (Some(least), _) if count < least => Err(format!("{count} {of_what} are fewer than {least}")),
        (_, Some(most)) if count > most => Err(format!("{count} {of_what} are more than {most}")),
        (None, None) => Ok(None),
        _ => Ok(Some(format!("{count} {of_what}"))),
    }
}

#[cfg(test)]
mod tests;
