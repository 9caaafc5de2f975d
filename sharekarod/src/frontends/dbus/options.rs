//! The `a{sv}` at the end of a method: each key is taken once with its type, and what is left over is refused.
//!
//! A misspelt option that did nothing would be worse than an error.

use std::collections::HashMap;

use zbus::{OwnedVariant, Variant};

use super::refusal::Refusal;

/// Options as a client sent them.
pub(super) struct Options(HashMap<String, OwnedVariant>);

impl Options {
    /// All of them, none taken yet.
    pub(super) fn new(options: HashMap<String, OwnedVariant>) -> Self {
        Self(options)
    }

    /// A string.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, Refusal> {
        self.take(key, "a string", |value| match value {
            Variant::Str(text) => Some(text.as_str().to_owned()),
            _ => None,
        })
    }

    /// A word of a closed list.
    pub(super) fn word<T>(&mut self, key: &str, from_word: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
        match self.text(key)? {
            None => Ok(None),
            Some(word) => match from_word(&word) {
                Some(value) => Ok(Some(value)),
                None => Err(Refusal::invalid(format!("the option {key} cannot be {word:?}"), "the introspection names its words")),
            },
        }
    }

    /// Strings.
    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, Refusal> {
        self.take(key, "an array of strings", |value| match value {
            Variant::Array(array) => {
                array.iter().map(|it| if let Variant::Str(text) = it { Some(text.as_str().to_owned()) } else { None }).collect()
            }
            _ => None,
        })
    }

    /// A boolean.
    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, Refusal> {
        self.take(key, "a boolean", |value| if let Variant::Bool(flag) = value { Some(*flag) } else { None })
    }

    /// A number, of any unsigned type.
    pub(super) fn number(&mut self, key: &str) -> Result<Option<u64>, Refusal> {
        self.take(key, "an unsigned number", |value| match value {
            Variant::U64(number) => Some(*number),
            Variant::U32(number) => Some((*number).into()),
            Variant::U16(number) => Some((*number).into()),
            Variant::U8(number) => Some((*number).into()),
            _ => None,
        })
    }

    /// Nothing is left over.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        match self.0.keys().min() {
            None => Ok(()),
            Some(key) => Err(Refusal::invalid(format!("there is no option {key:?} here"), "the introspection names those that there are")),
        }
    }

    fn take<T>(&mut self, key: &str, wanted: &str, read: impl Fn(&Variant<'_>) -> Option<T>) -> Result<Option<T>, Refusal> {
        let Some(value) = self.0.remove(key) else { return Ok(None) };
        match read(&value) {
            Some(value) => Ok(Some(value)),
            None => Err(Refusal::invalid(format!("the option {key} has to be {wanted}"), "the introspection names its type")),
        }
    }
}

#[cfg(test)]
mod tests {
    use zbus::DBusError;

    use super::*;

    fn options(pairs: Vec<(&str, Variant<'static>)>) -> Options {
        Options::new(pairs.into_iter().map(|(key, value)| (key.to_owned(), OwnedVariant::try_from(value).unwrap())).collect())
    }

    #[test]
    fn what_is_known_is_read_and_what_is_not_is_refused() {
        let mut given = options(vec![("note", Variant::from("x")), ("limit", Variant::from(5_u32)), ("nonsense", Variant::from(true))]);

        assert_eq!(given.text("note").unwrap(), Some("x".to_owned()));
        assert_eq!(given.number("limit").unwrap(), Some(5));
        assert_eq!(given.flag("xattrs").unwrap(), None);
        let left = given.finish().unwrap_err();
        assert!(left.description().unwrap().contains("nonsense") && left.name().as_str().ends_with(".Invalid"));
    }

    #[test]
    fn a_wrong_type_is_refused_with_the_right_one() {
        let mut given =
            options(vec![("note", Variant::from(1_u8)), ("limit", Variant::from(-1_i32)), ("exclude", Variant::from(vec![1_u8]))]);

        for refused in [given.text("note").err(), given.number("limit").err(), given.texts("exclude").err()] {
            assert!(refused.unwrap().description().unwrap().contains("has to be"));
        }
    }
}
