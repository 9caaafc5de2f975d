//! Rules as a person changes and tries them.

use sharekaro_proto::{
    ErrorBody,
    control::policy::{Action, AddRule, Rules, TestOffer, Verdict as VerdictBody},
    nouns::{amount::Amount, text::lossless, transfer::Conflict},
};

use super::{
    facts::{Facts, Folders, Names},
    judge::{Judgement, Verdict, judge},
    network::Networks,
    table::RuleTable,
};
use crate::{
    engine::Engine,
    store::{self, Durability},
};

impl Engine {
    /// All rules.
    pub fn rules(&self) -> Rules {
        self.look(|state| Rules { rules: state.policy.views() })
    }

    /// Adds a rule, last or before another one that was added.
    ///
    /// # Errors
    /// A rule that makes no sense, a name that is taken.
    pub async fn add_rule(&self, add: AddRule) -> Result<Rules, ErrorBody> {
        self.change_rules(|table| table.with(add.rule.clone(), add.before.as_deref())).await
    }

    /// Removes a rule that was added.
    ///
    /// # Errors
    /// There is none of that name, or it stands in the configuration.
    pub async fn remove_rule(&self, name: &str) -> Result<Rules, ErrorBody> {
        self.change_rules(|table| table.without(name)).await
    }

    /// One change at a time: kept, then in force.
    async fn change_rules(&self, change: impl Fn(&RuleTable) -> Result<RuleTable, ErrorBody>) -> Result<Rules, ErrorBody> {
        let _one_at_a_time = self.inner.policy.changes.acquire().await;
        let kept = self.store().read(store::policy::load).await?;
        let table = self.look(|state| change(&state.policy))?;
        let rows = table.rows(&kept);
        self.store().write(Durability::Durable, move |t| store::policy::save(t, &rows)).await?;
        // the configuration may have been read again meanwhile
        self.update(|state| change(&state.policy).map(|table| state.policy = table))?;
        self.warn_of_unreadable_rules();
        Ok(self.rules())
    }

    pub(crate) fn warn_of_unreadable_rules(&self) {
        let names = self.look(|state| state.policy.unreadable().map(|name| format!("{name:?}")).collect::<Vec<_>>());
        if names.is_empty() {
            return self.unwarn("policy_unreadable");
        }
        let message = format!("of the rules that were added, {} cannot be read; all that reaches it waits for a person", names.join(", "));
        self.warn("policy_unreadable", message, "`sharectl policy list` tells why; `sharectl policy remove NAME` ends it");
    }

    /// What would become of such an offer?
    ///
    /// # Errors
    /// Nobody of that name, or several.
    pub async fn test_policy(&self, offer: TestOffer) -> Result<VerdictBody, ErrorBody> {
        let peer = self.find_peer(&offer.from)?;
        let rules = self.look(|state| state.policy.all());
        let names = offer.names.iter().map(|name| name.rsplit('/').next().unwrap_or(name).as_bytes());
        let files = offer.files.unwrap_or(offer.names.len() as u64);
        let seen = Names::see(&rules, names);
        let mut facts = Facts { names: seen, ..self.facts(&rules, peer, offer.size.0, files).await? };
        if let Some(at) = offer.at {
            facts.time = at;
        }
        if let Some(networks) = &offer.networks {
            facts.networks = Networks::named(networks);
        }
        match judge(&rules, &facts) {
            Judgement::Verdict(verdict) => Ok(body(verdict, &self.folders())),
            Judgement::NamesNeeded => Err(ErrorBody::new(sharekaro_proto::ErrorCode::Unexpected, "the names were not looked at")),
        }
    }
}

fn body(verdict: Verdict, folders: &Folders) -> VerdictBody {
    let dir = (verdict.action != Action::Decline).then(|| folders.of(verdict.dir.as_ref(), verdict.action));
    VerdictBody {
        rule: verdict.rule,
        action: verdict.action,
        dir: dir.map(|dir| lossless(dir.as_os_str().as_encoded_bytes())),
        conflict: verdict.conflict.unwrap_or(Conflict::Rename),
        rate: verdict.rate.map(Amount),
        run: verdict.run,
        why: verdict.why,
        passed: verdict.passed,
    }
}
