//! What is known of an offer when it is judged.

use std::{path::PathBuf, sync::Arc};

use sharekaro_proto::{
    control::policy::{Action, Rule},
    nouns::{hours::TimeOfDay, trust::Trust},
};

use super::{kind, network::Networks, rule::ParsedRule};

/// So many characters of a key name a paired peer; a stranger is let in by the whole key alone.
const KEY_PREFIX_MIN: usize = 4;

/// Who offers.
#[derive(Clone, Debug)]
pub struct Sender {
    /// What it is called on a screen.
    pub label: String,
    /// Its key, whole.
    pub key: String,
    /// What it may do.
    pub trust: Trust,
    /// What means this peer and no other, as a person confirmed its key.
    pub called: Vec<String>,
    /// What it calls itself, which anybody can.
    pub claims: Vec<String>,
    /// Groups that it is in.
    pub groups: Vec<String>,
    /// Rooms that it meets us in.
    pub rooms: Vec<String>,
}

/// An offer, as far as rules look at it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who offers.
    pub sender: Sender,
    /// Bytes in all.
    pub bytes: u64,
    /// Files in all.
    pub files: u64,
    /// The time of the day, local.
    pub time: TimeOfDay,
    /// Networks that we are on.
    pub networks: Networks,
    /// Bytes that came from this peer since midnight, without this offer.
    pub today: u64,
    /// What is free where each rule puts files, in the order of the rules; `None` where nobody knows.
    pub free: Vec<Option<u64>>,
    /// The names of the files.
    pub names: Names,
}

/// What is known of the names of the files.
#[derive(Clone, Debug)]
pub enum Names {
    /// Nothing yet; they can be asked for.
    Unknown,
    /// Nothing, and they will not be asked for: it would cost too much for somebody whom nobody let in.
    Withheld,
    /// How they fit each rule, in the order of the rules.
    Seen(Vec<Fit>),
}

/// How the names of an offer fit the patterns and types of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// The first that fits.
    pub fits: Option<String>,
    /// The first that does not.
    pub differs: Option<String>,
}

impl Sender {
    /// Whether this entry of `from` means it. A name proves nothing: who is not paired gets nothing by it, and avoids
    /// nothing by another.
    pub(super) fn is_meant(&self, entry: &str, action: Action) -> bool {
        let entry = entry.trim().to_lowercase();
        let is = |names: &[String], wanted: &str| names.iter().any(|name| name.to_lowercase() == wanted);
        if let Some(group) = entry.strip_prefix('@') {
            return (self.trust.paired() || !lets_in(action)) && is(&self.groups, group);
        }
        if let Some(room) = entry.strip_prefix('#') {
            return is(&self.rooms, room);
        }
        if entry == "all" {
            return self.trust.paired();
        }
        let key = entry.strip_prefix("k:").unwrap_or(&entry).replace('-', "");
        let by_key = key.len() >= KEY_PREFIX_MIN && self.key.starts_with(&key) && (self.trust.paired() || key.len() == self.key.len());
        by_key || is(&self.called, &entry) || !lets_in(action) && is(&self.claims, &entry)
    }
}

impl Names {
    /// Looks at names, one after the other: a million of them need no more memory than one.
    pub fn see<'a>(rules: &[Arc<ParsedRule>], names: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut seen = Seeing::new(rules);
        names.for_each(|name| seen.see(name));
        seen.done()
    }
}

/// Names as they are looked at.
pub struct Seeing<'a> {
    rules: &'a [Arc<ParsedRule>],
    fits: Vec<Fit>,
}

impl<'a> Seeing<'a> {
    /// None yet.
    pub fn new(rules: &'a [Arc<ParsedRule>]) -> Self {
        Self { rules, fits: vec![Fit::default(); rules.len()] }
    }

    /// Another file, by the last part of its path.
    pub fn see(&mut self, name: &[u8]) {
        let shown = String::from_utf8_lossy(name);
        let folded = shown.to_lowercase();
        for (rule, fit) in self.rules.iter().zip(&mut self.fits).filter(|(rule, _)| rule.wants_names()) {
            let place = if fits(rule, &folded) { &mut fit.fits } else { &mut fit.differs };
            place.get_or_insert_with(|| shown.clone().into_owned());
        }
    }

    /// That were all.
    pub fn done(self) -> Names {
        Names::Seen(self.fits)
    }
}

fn fits(rule: &ParsedRule, folded: &str) -> bool {
    rule.names.as_ref().is_none_or(|names| names.is_match(folded)) && (rule.types.is_empty() || kind::is_one_of(&rule.types, folded))
}

/// Whether files come onto this machine by it without a person.
pub(super) fn lets_in(action: Action) -> bool {
    matches!(action, Action::Accept | Action::Quarantine)
}

/// Whether a rule has to know what is free.
pub fn wants_free(rule: &Rule) -> bool {
    rule.min_free.is_some() || rule.max_free.is_some()
}

/// Whether a rule has to know what came today.
pub fn wants_today(rule: &Rule) -> bool {
    rule.min_today.is_some() || rule.max_today.is_some()
}

/// Where files go that no rule sends elsewhere.
#[derive(Clone, Debug)]
pub struct Folders {
    /// What is let in.
    pub inbox: PathBuf,
    /// What lies apart.
    pub quarantine: PathBuf,
}

impl Folders {
    /// Where a rule puts files.
    pub fn of(&self, dir: Option<&PathBuf>, action: Action) -> PathBuf {
        dir.cloned().unwrap_or_else(|| if action == Action::Quarantine { self.quarantine.clone() } else { self.inbox.clone() })
    }
}
