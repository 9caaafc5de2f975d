//! What goes on which stream: data on standard output, progress and notes on standard error.
//!
//! For people text, with `--json` one object a line. What others wrote is shown, never obeyed, in both: in JSON the
//! characters that a terminal would act on are written as escapes, which programs read back unchanged.

pub(crate) mod anomaly;
pub(crate) mod message;
pub(crate) mod post;
pub(crate) mod progress;
pub(crate) mod quantity;
pub(crate) mod sparkline;
pub(crate) mod table;
pub(crate) mod transfer;

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{IsTerminal, Write},
};

use serde::Serialize;
use sharekaro_proto::{
    ErrorBody,
    nouns::text::{Shown, is_obeyed},
};

use crate::ending::End;

/// For whom standard output is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reader {
    Person,
    Program,
}

/// Where everything is said.
#[derive(Debug)]
pub(crate) struct Screen {
    reader: Reader,
    quiet: bool,
}

impl Screen {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { reader: if json { Reader::Program } else { Reader::Person }, quiet }
    }

    /// Whether a program reads standard output.
    pub(crate) fn is_json(&self) -> bool {
        self.reader == Reader::Program
    }

    /// Whether there is somebody who could be asked.
    pub(crate) fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Whether progress and notes are unwanted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Says a piece of data: the object, or what people read instead. It is out when this returns.
    pub(crate) fn say<T: Serialize>(&self, data: &T, people: impl FnOnce() -> String) -> Result<(), End> {
        match self.reader {
            Reader::Program => {
                let json = serde_json::to_string(data).map_err(|error| End::unexpected("write JSON", &error))?;
                self.say_json(&json)
            }
            Reader::Person => print_line(&people()),
        }
    }

    /// Says an object that is JSON already.
    pub(crate) fn say_json(&self, json: &str) -> Result<(), End> {
        print_line(&harmless(json))
    }

    /// Says something to a person that is no data.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            say_aside(text);
        }
    }

    /// Says what went wrong and what to do about it.
    pub(crate) fn failure(&self, error: &ErrorBody) {
        say_aside(&format!("sharectl: {}", Shown(&error.message)));
        if !error.hint.is_empty() {
            say_aside(&format!("hint: {}", Shown(&error.hint)));
        }
    }
}

fn say_aside(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}"); // nobody left to tell it to
}

fn print_line(text: &str) -> Result<(), End> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| End::no_output(&error))
}

/// JSON of the same meaning without any character that a terminal would act on. Outside of strings there is none.
fn harmless(json: &str) -> Cow<'_, str> {
    if !json.chars().any(is_obeyed) {
        return json.into();
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_obeyed(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}"); // a String takes everything
            }
        } else {
            out.push(c);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_the_same_and_moves_no_cursor() {
        let hostile = "\u{1b}[2J\u{9b}31m\u{202e}gnp\u{e0041}\u{7f} ñ";

        let json = serde_json::to_string(hostile).unwrap();
        let shown = harmless(&json);

        assert!(!shown.chars().any(is_obeyed), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), hostile);
    }
}
