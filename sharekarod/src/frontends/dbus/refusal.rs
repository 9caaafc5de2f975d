//! Errors as the bus tells them: a name for programs, a message and a hint for people.
//!
//! The names come from the one table of errors. The reply carries one string, as GDBus shows nothing of a reply with
//! more: the message and, on a line of its own, the hint.

use sharekaro_proto::{ErrorBody, ErrorCode};
use zbus::{DBusError, Message, message::Header, names::ErrorName};

use super::text::bus_text;

/// An error of a method or of a property's setter.
#[derive(Debug)]
pub(super) struct Refusal {
    name: String,
    text: String,
}

impl Refusal {
    /// The request makes no sense.
    pub(super) fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Self {
        ErrorBody::new(ErrorCode::Usage, message).hint(hint).into()
    }
}

impl From<ErrorBody> for Refusal {
    fn from(error: ErrorBody) -> Self {
        let hint = if error.hint.is_empty() { String::new() } else { format!("\n{}", error.hint) };
        Self { name: format!("org.sharekaro.Error.{}", error.code.dbus_name()), text: bus_text(&(error.message + &hint)) }
    }
}

impl DBusError for Refusal {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name()).build(&self.text)
    }

    fn name(&self) -> ErrorName<'_> {
        // the table's names are identifiers; were one not, the client still gets an error
        ErrorName::try_from(self.name.as_str()).unwrap_or_else(|_| ErrorName::from_static_str_unchecked("org.sharekaro.Error.Unexpected"))
    }

    fn description(&self) -> Option<&str> {
        Some(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_name_that_the_bus_takes() {
        for code in ErrorCode::ALL {
            let refusal = Refusal::from(ErrorBody::new(*code, "x"));

            assert_eq!(refusal.name().as_str(), format!("org.sharekaro.Error.{}", code.dbus_name()), "{code}");
        }
    }
}
