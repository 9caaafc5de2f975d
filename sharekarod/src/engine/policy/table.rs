//! The rules in their order: those of the configuration first, then those that were added while the daemon ran.

use std::{path::PathBuf, sync::Arc};

use sharekaro_proto::{
    ErrorBody, ErrorCode,
    control::policy::{ListedRule, Rule, RuleSource},
    nouns::shell::ShellWord,
};

use super::rule::{ParsedRule, RuleError};
use crate::store::policy::RuleRow;

/// More rules are a program that runs away.
const RULES_MAX: usize = 500;

/// All rules in their order, as they are right now; a cheap copy.
pub type AllRules = Arc<[Arc<ParsedRule>]>;

/// All rules.
#[derive(Debug)]
pub struct RuleTable {
    home_dir: PathBuf,
    rules: AllRules,
    /// So many of them stand in the configuration.
    configured: usize,
}

impl RuleTable {
    /// The rules of the configuration and those that were kept, for somebody whose home this is.
    ///
    /// # Errors
    /// A rule of the configuration that makes no sense, or two of one name. A kept one that makes no sense any more
    /// stays in its place, and lets nothing pass but by a person.
    pub fn new(configured: &[Rule], kept: Vec<RuleRow>, home_dir: PathBuf) -> Result<Self, RuleError> {
        let mut rules: Vec<Arc<ParsedRule>> = Vec::with_capacity(configured.len() + kept.len());
        for rule in configured {
            let parsed = ParsedRule::parse(rule.clone(), &home_dir)?;
            if rules.iter().any(|other| other.rule.name == rule.name) {
                let value = format!("{:?}", rule.name);
                return Err(RuleError { rule: rule.name.clone(), key: "name", value, why: "another rule is called so".to_owned() });
            }
            rules.push(Arc::new(parsed));
        }
        let configured = rules.len();
        rules.extend(kept.into_iter().map(|row| Arc::new(read(row, &home_dir))));
        Ok(Self { home_dir, rules: rules.into(), configured })
    }

    /// As it would be with other rules in the configuration.
    ///
    /// # Errors
    /// As `new`.
    pub fn reconfigured(&self, configured: &[Rule]) -> Result<Self, RuleError> {
        let new = Self::new(configured, Vec::new(), self.home_dir.clone())?;
        let rules = new.rules.iter().chain(self.rules.iter().skip(self.configured)).cloned().collect();
        Ok(Self { rules, ..new })
    }

    /// All of them.
    pub fn all(&self) -> AllRules {
        Arc::clone(&self.rules)
    }

    /// All of them as every door shows them.
    pub fn views(&self) -> Vec<ListedRule> {
        let source = |place: usize| if place < self.configured { RuleSource::Config } else { RuleSource::Added };
        let view = |(place, it): (usize, &Arc<ParsedRule>)| ListedRule {
            rule: it.rule.clone(),
            source: source(place),
            error: it.unreadable.clone(),
        };
        self.rules.iter().enumerate().map(view).collect()
    }

    /// Those that cannot be read any more.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter(|it| it.unreadable.is_some()).map(|it| it.rule.name.as_str())
    }

    /// As it would be with another rule, last or before one that was added.
    ///
    /// # Errors
    /// A rule that makes no sense, a name that is taken, nothing of that name to come before, too many.
    pub fn with(&self, rule: Rule, before: Option<&str>) -> Result<Self, ErrorBody> {
        let parsed = ParsedRule::parse(rule, &self.home_dir)
            .map_err(|e| ErrorBody::new(ErrorCode::Usage, e.to_string()).hint("`sharectl policy add --help` explains each key"))?;
        let name = &parsed.rule.name;
        if self.rules.iter().any(|it| it.rule.name == *name) {
            return Err(ErrorBody::new(ErrorCode::WrongState, format!("there is a rule {name:?} already"))
                .hint(format!("`sharectl policy remove {}` first, or choose another name", ShellWord(name))));
        }
        if self.rules.len() >= RULES_MAX {
            return Err(ErrorBody::new(ErrorCode::Busy, format!("there are {RULES_MAX} rules already")).hint("remove some"));
        }
        let place = match before {
            None => self.rules.len(),
            Some(other) => self.added(other)?,
        };
        let mut rules = self.rules.to_vec();
        rules.insert(place, Arc::new(parsed));
        Ok(Self { home_dir: self.home_dir.clone(), rules: rules.into(), configured: self.configured })
    }

    /// As it would be without a rule that was added.
    ///
    /// # Errors
    /// There is none of that name, or it stands in the configuration.
    pub fn without(&self, name: &str) -> Result<Self, ErrorBody> {
        let place = self.added(name)?;
        let mut rules = self.rules.to_vec();
        rules.remove(place);
        Ok(Self { home_dir: self.home_dir.clone(), rules: rules.into(), configured: self.configured })
    }

    /// What is kept of the rules that were added; one that cannot be read is kept as it is.
    pub fn rows(&self, kept: &[RuleRow]) -> Vec<RuleRow> {
        let added = self.rules.iter().skip(self.configured);
        let row = |it: &Arc<ParsedRule>| {
            let name = it.rule.name.clone();
            let as_kept = kept.iter().find(|row| it.unreadable.is_some() && row.name == name).map(|row| row.json.clone());
            let json = as_kept.unwrap_or_else(|| serde_json::to_string(&it.rule).unwrap_or_default()); // our own types: they are JSON
            RuleRow { name, json }
        };
        added.map(row).collect()
    }

    /// The place of a rule that was added.
    fn added(&self, name: &str) -> Result<usize, ErrorBody> {
        match self.rules.iter().rposition(|it| it.rule.name == name) {
            Some(place) if place >= self.configured => Ok(place),
            Some(_) => Err(ErrorBody::new(ErrorCode::WrongState, format!("the rule {name:?} stands in the configuration file"))
                .hint("change the file, then start the daemon again")),
            None => {
                Err(ErrorBody::new(ErrorCode::NotFound, format!("there is no rule {name:?}")).hint("`sharectl policy list` shows them"))
            }
        }
    }
}

fn read(row: RuleRow, home_dir: &std::path::Path) -> ParsedRule {
    let parsed = serde_json::from_str::<Rule>(&row.json).map_err(|e| e.to_string());
    let parsed = parsed.and_then(|rule| ParsedRule::parse(rule, home_dir).map_err(|e| e.to_string()));
    parsed.unwrap_or_else(|why| ParsedRule::unreadable(row.name, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str) -> Rule {
        serde_json::from_str(&format!(r#"{{"name":"{name}","action":"ask"}}"#)).unwrap()
    }

    fn names(table: &RuleTable) -> Vec<String> {
        table.views().into_iter().map(|it| it.rule.name).collect()
    }

    #[test]
    fn configured_rules_come_first_and_stay() {
        let table = RuleTable::new(&[rule("a"), rule("b")], Vec::new(), "/home/me".into()).unwrap();

        let table = table.with(rule("d"), None).unwrap().with(rule("c"), Some("d")).unwrap();

        assert_eq!(names(&table), ["a", "b", "c", "d"]);
        assert_eq!(names(&table.without("c").unwrap()), ["a", "b", "d"]);
        assert_eq!(names(&table.reconfigured(&[rule("e")]).unwrap()), ["e", "c", "d"]);
        let code = |refused: Result<RuleTable, ErrorBody>| refused.map(drop).map_err(|e| e.code);
        assert_eq!(code(table.without("a")), Err(ErrorCode::WrongState));
        assert_eq!(code(table.without("x")), Err(ErrorCode::NotFound));
        assert_eq!(code(table.with(rule("a"), None)), Err(ErrorCode::WrongState));
        assert_eq!(code(table.with(rule("e"), Some("a"))), Err(ErrorCode::WrongState));
        assert_eq!(code(table.with(rule("default"), None)), Err(ErrorCode::Usage));
    }

    #[test]
    fn two_configured_rules_of_one_name_are_refused() {
        let error = RuleTable::new(&[rule("a"), rule("a")], Vec::new(), "/home/me".into()).unwrap_err();

        assert_eq!((error.rule.as_str(), error.key), ("a", "name"));
    }

    #[test]
    fn a_kept_rule_that_cannot_be_read_keeps_its_place_and_its_text() {
        let kept = [("a", r#"{"name":"a","action":"ask"}"#), ("b", r#"{"name":"b","action":"perhaps"}"#), ("c", "?")];
        let kept: Vec<RuleRow> = kept.map(|(name, json)| RuleRow { name: name.into(), json: json.into() }).to_vec();

        let table = RuleTable::new(&[], kept.clone(), "/home/me".into()).unwrap();

        assert_eq!(names(&table), ["a", "b", "c"]);
        assert_eq!(table.unreadable().collect::<Vec<_>>(), ["b", "c"]);
        let with = table.with(rule("d"), None).unwrap();
        assert_eq!(with.rows(&kept)[1..3], kept[1..3]);
        assert_eq!(with.without("b").unwrap().rows(&kept).len(), 3);
    }
}
