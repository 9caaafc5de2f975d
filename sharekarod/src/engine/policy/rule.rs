//! A rule as it is asked: its patterns compiled, its folder and networks understood. What makes no sense is refused, with
//! the rule and the key that it is in.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use sharekaro_proto::{
    control::policy::{Action, Rule},
    nouns::{amount::Amount, text::is_obeyed, transfer::Conflict},
};

use super::{kind::MediaRange, network::Network};

/// The longest name of a rule, in bytes: as that of a group.
const NAME_MAX: usize = 63;

/// Entries of a list in a rule, and bytes of each: more than a person writes, and little enough to look at all of them.
const ENTRIES_MAX: usize = 1_000;
const ENTRY_MAX: usize = 4_096;

/// Rules may not be called what the log says where no rule decided.
pub const DEFAULT: &str = "default";
/// A person decided.
pub const PERSON: &str = "person";

/// A rule that makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the policy rule {rule:?} makes no sense: {key} = {value}: {why}")]
pub struct RuleError {
    /// Its name, as far as it has one.
    pub rule: String,
    /// The key.
    pub key: &'static str,
    /// What it was set to.
    pub value: String,
    /// Why it cannot be that.
    pub why: String,
}

/// A rule that can be asked.
#[derive(Debug)]
pub struct ParsedRule {
    /// As it was written.
    pub rule: Rule,
    /// Where it puts files, if it says so.
    pub dir: Option<PathBuf>,
    /// Why it cannot be read; then all that reaches it waits for a person.
    pub unreadable: Option<String>,
    pub(super) names: Option<GlobSet>,
    pub(super) types: Vec<MediaRange>,
    pub(super) networks: Vec<Network>,
}

impl ParsedRule {
    /// The rule, for somebody whose home this is.
    ///
    /// # Errors
    /// What in it makes no sense.
    pub fn parse(rule: Rule, home_dir: &Path) -> Result<Self, RuleError> {
        let wrong = Wrong(&rule.name);
        wrong.check_name()?;
        check_lists(&rule, &wrong)?;
        check_limits(&rule, &wrong)?;
        if rule.conflict == Some(Conflict::Ask) {
            return Err(wrong.about("conflict", "\"ask\"", "write rename, skip, overwrite or newer"));
        }
        Ok(Self {
            dir: rule.dir.as_deref().map(|dir| absolute(dir, home_dir, &wrong)).transpose()?,
            names: patterns(&rule.names, &wrong)?,
            types: rule
                .types
                .iter()
                .map(|text| {
                    MediaRange::parse(text).ok_or_else(|| wrong.about("types", quoted(text), "write a media type as image/* or text/plain"))
                })
                .collect::<Result<_, _>>()?,
            networks: rule.networks.iter().map(|text| Network::parse(text)).collect(),
            unreadable: None,
            rule,
        })
    }

    /// What stands for a rule that was kept and cannot be read any more. Nothing passes it unseen.
    pub fn unreadable(name: String, why: String) -> Self {
        let rule = Rule {
            name,
            from: Vec::new(),
            trust: Vec::new(),
            names: Vec::new(),
            types: Vec::new(),
            min_size: None,
            max_size: None,
            min_files: None,
            max_files: None,
            min_free: None,
            max_free: None,
            min_today: None,
            max_today: None,
            hours: None,
            networks: Vec::new(),
            action: Action::Ask,
            dir: None,
            conflict: None,
            rate: None,
            run: Vec::new(),
        };
        Self { rule, dir: None, unreadable: Some(why), names: None, types: Vec::new(), networks: Vec::new() }
    }

    /// Whether it looks at the names of files.
    pub(super) fn wants_names(&self) -> bool {
        self.names.is_some() || !self.types.is_empty()
    }
}

/// Says which rule is wrong.
struct Wrong<'a>(&'a str);

impl Wrong<'_> {
    fn about(&self, key: &'static str, value: impl Into<String>, why: impl Into<String>) -> RuleError {
        RuleError { rule: self.0.to_owned(), key, value: value.into(), why: why.into() }
    }

    fn check_name(&self) -> Result<(), RuleError> {
        let name = self.0;
        let why = match name {
            DEFAULT | PERSON => "this is what the log says where no rule decided",
            _ if name.trim().is_empty() || name.trim() != name => "a rule needs a name, without space around it",
            _ if name.len() > NAME_MAX => "a name has at most 63 bytes",
            _ if name.contains(is_obeyed) => "a name has no control characters",
            _ => return Ok(()),
        };
        Err(self.about("name", quoted(name), why))
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn check_lists(rule: &Rule, wrong: &Wrong<'_>) -> Result<(), RuleError> {
    let lists = [("from", &rule.from), ("names", &rule.names), ("types", &rule.types), ("networks", &rule.networks), ("run", &rule.run)];
    for (key, list) in lists {
        if list.len() > ENTRIES_MAX {
            return Err(wrong.about(key, format!("{} entries", list.len()), format!("at most {ENTRIES_MAX}")));
        }
        // a program may have empty arguments
        let odd = |text: &&String| text.len() > ENTRY_MAX || text.contains('\0') || text.trim().is_empty() && key != "run";
        if let Some(odd) = list.iter().find(odd) {
            return Err(wrong.about(key, quoted(odd), "an entry is neither empty nor longer than 4,096 bytes"));
        }
    }
    if let Some(several) = rule.from.iter().find(|text| text.contains(',')) {
        return Err(wrong.about("from", quoted(several), "each peer is an entry of its own, without a comma"));
    }
    match rule.run.first() {
        Some(program) if program.trim().is_empty() => Err(wrong.about("run", quoted(program), "the first entry is a program")),
        _ => Ok(()),
    }
}

fn check_limits(rule: &Rule, wrong: &Wrong<'_>) -> Result<(), RuleError> {
    let bytes = |amount: Option<Amount>| amount.map(|Amount(bytes)| bytes);
    let limits = [
        ("max_size", bytes(rule.min_size), bytes(rule.max_size)),
        ("max_files", rule.min_files, rule.max_files),
        ("max_free", bytes(rule.min_free), bytes(rule.max_free)),
        ("max_today", bytes(rule.min_today), bytes(rule.max_today)),
    ];
    for (key, least, most) in limits {
        if let (Some(least), Some(most)) = (least, most)
            && least > most
        {
            return Err(wrong.about(key, most.to_string(), format!("it is less than {}, so nothing fits", key.replace("max", "min"))));
        }
    }
    match rule.rate {
        Some(rate) if rate.0 == 0 => Err(wrong.about("rate", "0", "write bytes a second, as 500000 or 20M")),
        _ => Ok(()),
    }
}

fn absolute(dir: &str, home_dir: &Path, wrong: &Wrong<'_>) -> Result<PathBuf, RuleError> {
    let path = match dir.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => home_dir.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(dir),
    };
    if !path.is_absolute() || dir.contains('\0') || path.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(wrong.about("dir", quoted(dir), "write a folder as /srv/films or ~/Films"));
    }
    Ok(path)
}

/// Patterns of base names. Both sides are folded, as the patterns themselves know the case of ASCII only.
fn patterns(texts: &[String], wrong: &Wrong<'_>) -> Result<Option<GlobSet>, RuleError> {
    if texts.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for text in texts {
        if text.contains('/') {
            return Err(wrong.about("names", quoted(text), "a pattern is compared with the last part of a path, which has no slash"));
        }
        let glob = GlobBuilder::new(&text.to_lowercase()).build();
        set.add(glob.map_err(|e| wrong.about("names", quoted(text), e.kind().to_string()))?);
    }
    set.build().map(Some).map_err(|e| wrong.about("names", format!("{} patterns", texts.len()), e.kind().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<ParsedRule, RuleError> {
        ParsedRule::parse(serde_json::from_str(json).unwrap(), Path::new("/home/me"))
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_rule_and_key() {
        let cases = [
            (r#"{"name":"","action":"ask"}"#, "name"),
            (r#"{"name":"default","action":"ask"}"#, "name"),
            (r#"{"name":"a\u001b[2J","action":"ask"}"#, "name"),
            (r#"{"name":"x","action":"ask","names":["a["]}"#, "names"),
            (r#"{"name":"x","action":"ask","names":["a/*.exe"]}"#, "names"),
            (r#"{"name":"x","action":"ask","types":["imagejpeg"]}"#, "types"),
            (r#"{"name":"x","action":"ask","from":["bob,carol"]}"#, "from"),
            (r#"{"name":"x","action":"ask","from":[" "]}"#, "from"),
            (r#"{"name":"x","action":"ask","min_size":"2G","max_size":"1G"}"#, "max_size"),
            (r#"{"name":"x","action":"ask","min_files":2,"max_files":1}"#, "max_files"),
            (r#"{"name":"x","action":"accept","dir":"Films"}"#, "dir"),
            (r#"{"name":"x","action":"accept","dir":"~bob/Films"}"#, "dir"),
            (r#"{"name":"x","action":"accept","dir":"/a/../b"}"#, "dir"),
            (r#"{"name":"x","action":"accept","conflict":"ask"}"#, "conflict"),
            (r#"{"name":"x","action":"accept","rate":0}"#, "rate"),
            (r#"{"name":"x","action":"accept","run":[""]}"#, "run"),
        ];
        for (json, key) in cases {
            let error = parse(json).unwrap_err();

            assert_eq!(error.key, key, "{json}");
            assert!(error.to_string().contains(key), "{error}");
        }
    }

    #[test]
    fn a_folder_may_lie_in_the_home() {
        let dir = |text: &str| parse(&format!(r#"{{"name":"x","action":"accept","dir":"{text}"}}"#)).unwrap().dir.unwrap();

        assert_eq!(dir("~/Pictures/in"), Path::new("/home/me/Pictures/in"));
        assert_eq!(dir("~"), Path::new("/home/me"));
        assert_eq!(dir("/srv/in"), Path::new("/srv/in"));
    }
}
