//! The words of a filter, each with its place.

use super::FilterError;

/// A word or a sign.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Its first character, counted from 1.
    pub(super) place: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Word(String),
    And,
    Or,
    Not,
    Open,
    Close,
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().zip(1..).peekable();
    while let Some((c, place)) = chars.next() {
        let mut doubled = || chars.next_if(|(next, _)| *next == c).is_some();
        let kind = match c {
            ' ' | '\t' | '\n' => continue,
            '(' => Kind::Open,
            ')' => Kind::Close,
            '!' => Kind::Not,
            '&' if doubled() => Kind::And,
            '|' if doubled() => Kind::Or,
            c if in_word(c) => {
                let mut word = String::from(c);
                while let Some((next, _)) = chars.next_if(|(next, _)| in_word(*next)) {
                    word.push(next);
                }
                named(word)
            }
            c => return Err(FilterError { place, what: format!("{c:?} has no meaning here") }),
        };
        tokens.push(Token { kind, place });
    }
    Ok(tokens)
}

fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '/' | '-' | '_' | '\\')
}

fn named(word: String) -> Kind {
    match word.as_str() {
        "and" => Kind::And,
        "or" => Kind::Or,
        "not" => Kind::Not,
        _ => Kind::Word(word),
    }
}
