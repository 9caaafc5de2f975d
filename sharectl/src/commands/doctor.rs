//! `doctor [--peer NAME]`: what is wrong, what shows it and what mends it.

use clap::Args;
use sharekaro_proto::{
    client::Client,
    control::{
        doctor::{Diagnosis, Severity, Verdict},
        routes,
    },
    nouns::text::{Shown, ShownLines},
};

use crate::{ending::End, print::Screen};

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// Look at the way to this peer; without it, at this machine and the ways to all paired ones
    #[arg(long, value_name = "NAME")]
    peer: Option<String>,
}

impl Doctor {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        if !screen.is_json() {
            screen.note("looking; a silent peer takes some twenty seconds");
        }
        let path = match self.peer {
            Some(peer) => routes::with_query(routes::DOCTOR, &[("peer", peer)]),
            None => routes::DOCTOR.to_owned(),
        };
        let diagnosis: Diagnosis = client.get(&path).await?;
        screen.say(&diagnosis, || shown(&diagnosis))
    }
}

fn shown(diagnosis: &Diagnosis) -> String {
    let healthy = diagnosis.verdicts.iter().all(|verdict| verdict.severity == Severity::Note);
    let mut paragraphs: Vec<String> = diagnosis.verdicts.iter().map(paragraph).collect();
    if healthy {
        paragraphs.insert(0, "Nothing is wrong, as far as can be seen from here.".to_owned());
    }
    paragraphs.join("\n\n")
}

fn paragraph(verdict: &Verdict) -> String {
    format!("{}: {}\n  {}\n  fix: {}", verdict.severity, verdict.code, Shown(&verdict.evidence), ShownLines(&verdict.fix))
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::control::doctor::VerdictCode;

    use super::*;

    fn verdict(severity: Severity) -> Verdict {
        Verdict { code: VerdictCode::ClockOff, severity, evidence: "the clock of \x1b[2Jbob".into(), fix: "set it".into() }
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_fix_and_health_is_said() {
        let ill = shown(&Diagnosis { verdicts: vec![verdict(Severity::Warning)] });
        let noted = shown(&Diagnosis { verdicts: vec![verdict(Severity::Note)] });

        assert!(ill.starts_with("warning: clock_off\n") && ill.contains("fix: set it") && !ill.contains('\x1b'), "{ill}");
        assert!(noted.starts_with("Nothing is wrong") && noted.contains("note: clock_off"), "{noted}");
    }
}
