//! Policy: ordered rules that say what becomes of an offer, and the log of what was decided.
//!
//! A rule is the same in `[[policy]]` of the configuration, in the API and on a screen. What it does not name fits
//! always. The first rule that fits decides; where none does, paired and trusted peers get in and others ask.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    TransferId,
    nouns::{
        amount::Amount,
        hours::{Hours, TimeOfDay},
        transfer::{Conflict, words},
        trust::Trust,
    },
};

words! {
    /// What becomes of an offer.
    Action {
        /// It comes in.
        Accept = "accept",
        /// It waits for a person.
        Ask = "ask",
        /// It does not come in.
        Decline = "decline",
        /// It comes into a folder apart, without the right to be executed, until a person lets it out.
        Quarantine = "quarantine",
    }
}

/// A rule. Limits are inclusive and mean the whole offer; letters in names, types and networks are the same in either
/// case. `accept` needs every file to fit `names` and `types`, any other action one file that does.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What it is called, once among all rules.
    pub name: String,
    /// Who offers: alias, name, key, `@group`, `#room` or `all` (who is paired).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// What we hold of who offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust: Vec<Trust>,
    /// Patterns of the last part of a file's path: `*.exe`, `scan-[0-9]?.{jpg,png}`; `?` and `[...]` stand for ASCII alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Media types, as the ending of a file's name tells: `image/*`, `text/plain`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// At least so many bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub min_size: Option<Amount>,
    /// At most so many bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub max_size: Option<Amount>,
    /// At least so many files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_files: Option<u64>,
    /// At most so many files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_files: Option<u64>,
    /// At least so many bytes are free where the files would go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub min_free: Option<Amount>,
    /// At most so many bytes are free there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub max_free: Option<Amount>,
    /// At least so many bytes from this peer since midnight, this offer among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub min_today: Option<Amount>,
    /// At most so many bytes from this peer since midnight, this offer among them: a daily quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub max_today: Option<Amount>,
    /// At this time of the day, local: `22:00-06:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub hours: Option<Hours>,
    /// Networks that we are on: a Wi-Fi by its name (`ssid:Home`, letters as they are written; anybody can give a network any
    /// name), an interface (`wlan0`), a subnet (`192.168.1.0/24`), the gateway's address or its hardware address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// What becomes of the offer.
    pub action: Action,
    /// Where it goes, absolute or behind `~/`; else the inbox, or the folder for quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// What happens where a name is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Conflict>,
    /// Bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub rate: Option<Amount>,
    /// A program and its arguments, run without a shell when all is stored; the paths follow as further arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<String>,
}

words! {
    /// Where a rule stands.
    RuleSource {
        /// In the configuration file; these come first.
        Config = "config",
        /// It was added while the daemon ran, and is kept.
        Added = "added",
    }
}

/// A rule in its place.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListedRule {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// Where it stands.
    pub source: RuleSource,
    /// Why it cannot be read any more; until it is removed, all that reaches it waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// All rules.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rules {
    /// In the order in which they are asked.
    pub rules: Vec<ListedRule>,
}

/// Another rule, behind those that there are.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddRule {
    /// The rule.
    pub rule: Rule,
    /// The added rule that it is to come before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// What would become of such an offer?
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestOffer {
    /// Who would offer: a target that names one peer.
    pub from: String,
    /// Bytes in all.
    #[serde(default)]
    #[schema(value_type = u64)]
    pub size: Amount,
    /// Files in all; else as many as there are names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// When, local; else now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub at: Option<TimeOfDay>,
    /// Networks that we would be on; else those that we are on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    /// Names or paths of files.
    pub names: Vec<String>,
}

/// What becomes of an offer, and why.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = PolicyVerdict)] // the doctor has verdicts too
pub struct Verdict {
    /// The rule that decided; `default` where none fits.
    pub rule: String,
    /// What becomes of it.
    pub action: Action,
    /// Where it goes; nothing where it is declined.
    pub dir: Option<String>,
    /// What happens where a name is taken, unless the sender wished otherwise.
    pub conflict: Conflict,
    /// Bytes a second.
    #[schema(value_type = Option<u64>)]
    pub rate: Option<Amount>,
    /// What is run when all is stored.
    pub run: Vec<String>,
    /// Why this rule, in a sentence.
    pub why: String,
    /// The rules before it, and why each does not fit.
    pub passed: Vec<PassedRule>,
}

/// A rule that does not fit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PassedRule {
    /// Which.
    pub rule: String,
    /// Why not.
    pub why: String,
}

/// What was decided.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Decisions {
    /// Oldest first.
    pub decisions: Vec<Decision>,
}

/// Something that was decided about a peer, by a rule or a person.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// Its place in the log: later ones have higher numbers.
    pub no: u64,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// About whom: our name for the peer then.
    pub peer: String,
    /// The first characters of its key.
    pub key: String,
    /// Which rule; `person` where it was one, `default` where no rule fits.
    pub rule: String,
    /// What: an `Action`, or `pair`, `block` and the like.
    pub action: String,
    /// The transfer that it is about.
    #[schema(value_type = Option<String>)]
    pub transfer: Option<TransferId>,
    /// The rest, for people.
    pub note: String,
}

/// Which part of the log.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// The last so many; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Or the first so many after this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_back_as_it_was_written() {
        let text = r#"{"name":"night","from":["@office"],"trust":["unknown"],"names":["*.pdf"],"max_size":"50G","hours":"22:00-06:00",
            "action":"quarantine","conflict":"newer","rate":1024,"run":["scan","-v"]}"#;
        let rule: Rule = serde_json::from_str(text).unwrap();

        assert_eq!(rule.max_size, Some(Amount(50 << 30)));
        assert_eq!(serde_json::from_str::<Rule>(&serde_json::to_string(&rule).unwrap()).unwrap(), rule);
        let listed = ListedRule { rule, source: RuleSource::Added, error: None };
        assert_eq!(serde_json::from_str::<ListedRule>(&serde_json::to_string(&listed).unwrap()).unwrap(), listed);
    }

    #[test]
    fn a_key_that_nobody_knows_is_refused() {
        let read = |text: &str| serde_json::from_str::<Rule>(text).map_err(|e| e.to_string());

        assert!(read(r#"{"name":"x","action":"ask","sice":5}"#).is_err_and(|why| why.contains("sice")));
        assert!(read(r#"{"name":"x","action":"perhaps"}"#).is_err_and(|why| why.contains("perhaps")));
        assert!(read(r#"{"name":"x"}"#).is_err_and(|why| why.contains("action")));
    }
}
