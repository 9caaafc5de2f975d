//! polkit: whether a client of another user may call us on the system bus.
//!
//! The administrator decides, by the actions of `packaging/polkit` and rules about them. Without polkit nobody else may.
//! The interface: <https://www.freedesktop.org/software/polkit/docs/latest/eggdbus-interface-org.freedesktop.PolicyKit1.Authority.html>.

use std::{collections::HashMap, time::Duration};

use zbus::{
    Connection, Variant, fdo,
    message::{Flags, Header},
};

use super::gate::Deed;

const POLKIT: &str = "org.freedesktop.PolicyKit1";
const AUTHORITY: &str = "/org/freedesktop/PolicyKit1/Authority";
const INTERFACE: &str = "org.freedesktop.PolicyKit1.Authority";

/// `AllowUserInteraction` of `CheckAuthorizationFlags`.
const ALLOW_USER_INTERACTION: u32 = 1;

/// polkit answers within this where it asks nobody; it may have to be started.
const ANSWERS_WITHIN: Duration = Duration::from_secs(25);

/// A person types a password within this, or the call is over and so is the question.
const PERSON_ANSWERS_WITHIN: Duration = Duration::from_secs(120);

/// The action that stands for a deed in polkit's rules.
fn action(deed: Deed) -> &'static str {
    match deed {
        Deed::Look => "org.sharekaro.read",
        Deed::Act => "org.sharekaro.manage",
    }
}

/// Says yes by returning. A person is asked only where the caller allowed it (`ALLOW_INTERACTIVE_AUTHORIZATION`).
///
/// # Errors
/// `AccessDenied` with the reason; `InteractiveAuthorizationRequired` where a person could say yes and may not be asked.
pub(super) async fn allows(asker: &Connection, call: &Header<'_>, deed: Deed) -> fdo::Result<()> {
    let sender = call.sender().ok_or_else(|| denied("the bus does not say who calls"))?.as_str();
    let interactive = call.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let (flags, within) = if interactive { (ALLOW_USER_INTERACTION, PERSON_ANSWERS_WITHIN) } else { (0, ANSWERS_WITHIN) };
    let cancel = format!("{sender} {}", call.primary().serial_num());
    let subject = ("system-bus-name", HashMap::from([("name", Variant::from(sender))]));
    let question = (subject, action(deed), HashMap::<&str, &str>::new(), flags, cancel.as_str());
    let asked = asker.call_method(Some(POLKIT), AUTHORITY, Some(INTERFACE), "CheckAuthorization", &question);
    let answer = match tokio::time::timeout(within, asked).await {
        Ok(Ok(reply)) => reply.body().deserialize::<((bool, bool, HashMap<String, String>),)>(),
        Ok(Err(e)) => return Err(unanswered(&e)),
        Err(_) => {
            let _ = asker.call_method(Some(POLKIT), AUTHORITY, Some(INTERFACE), "CancelCheckAuthorization", &cancel.as_str()).await;
            return Err(denied(&format!("nobody allowed {} in time", action(deed))));
        }
    };
    match answer {
        Ok(((true, _, _),)) => Ok(()),
        Ok(((false, true, _),)) if !interactive => {
            Err(fdo::Error::InteractiveAuthorizationRequired(format!("somebody has to allow {}: let polkit ask for it", action(deed))))
        }
        Ok(_) => Err(denied(&format!("this is another user's daemon, and polkit does not allow {}", action(deed)))),
        Err(e) => Err(denied(&format!("polkit's answer cannot be read: {e}"))),
    }
}

/// No polkit, or one that does not answer us: it tells of other users only to root and to the owners of an action.
fn unanswered(error: &zbus::Error) -> fdo::Error {
    tracing::info!("polkit does not answer: {error}");
    if let zbus::Error::MethodError(name, _, _) = error
        && name.as_str().starts_with(POLKIT)
    {
        return denied("only the user whose daemon this is may call it; its unit sharekarod@ lets it ask polkit about others");
    }
    denied("only the user whose daemon this is may call it; polkit, which could allow others, is not here")
}

fn denied(why: &str) -> fdo::Error {
    fdo::Error::AccessDenied(why.to_owned())
}
