//! What a file is, as far as the ending of its name tells: a media type (RFC 6838), from the table of `mime_guess`.

/// What a rule names: a type, or all of a kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MediaRange {
    main: String,
    /// `None`: any.
    sub: Option<String>,
}

impl MediaRange {
    /// `image/png`, `image/*` or `*/*`; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let (main, sub) = text.split_once('/')?;
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
        match (main, sub) {
            ("*", "*") => Some(Self { main: "*".to_owned(), sub: None }),
            (main, "*") if is_token(main) => Some(Self { main: main.to_owned(), sub: None }),
            (main, sub) if is_token(main) && is_token(sub) => Some(Self { main: main.to_owned(), sub: Some(sub.to_owned()) }),
            _ => None,
        }
    }

    fn covers(&self, essence: &str) -> bool {
        let (main, sub) = essence.split_once('/').unwrap_or_default();
        (self.main == "*" || self.main == main) && self.sub.as_deref().is_none_or(|wanted| wanted == sub)
    }
}

/// Whether a file of this name is one of these. Where an ending stands for several types, any of them counts; a name
/// that tells nothing is `application/octet-stream`.
pub(super) fn is_one_of(ranges: &[MediaRange], name: &str) -> bool {
    let mut types = mime_guess::from_path(name).into_iter().peekable();
    if types.peek().is_none() {
        return ranges.iter().any(|range| range.covers("application/octet-stream"));
    }
    types.any(|found| ranges.iter().any(|range| range.covers(found.essence_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(types: &[&str], name: &str) -> bool {
        let ranges: Vec<MediaRange> = types.iter().map(|text| MediaRange::parse(text).unwrap()).collect();
        is_one_of(&ranges, name)
    }

    #[test]
    fn the_ending_of_a_name_tells_the_type() {
        for (range, name) in [
            ("image/*", "a.jpg"),
            ("image/*", "A.JPEG"),
            ("image/webp", "x.webp"),
            ("IMAGE/PNG", "x.png"),
            ("video/*", "film.mkv"),
            ("audio/*", "song.flac"),
            ("text/plain", "notes.txt"),
            ("application/pdf", "a.b.pdf"),
            ("application/octet-stream", "README"),
            ("*/*", "README"),
        ] {
            assert!(is(&[range], name), "{name} is {range}");
        }
        for (range, name) in
            [("image/*", "jpg"), ("image/*", "a.jpg.exe"), ("text/plain", "a.png"), ("image/png", "a.jpg"), ("image/*", "")]
        {
            assert!(!is(&[range], name), "{name} is not {range}");
        }
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for bad in ["", "image", "/png", "image/", "*/png", "image/p ng", "ima*e/png", "image/png;q=1", "ü/x"] {
            assert_eq!(MediaRange::parse(bad), None, "{bad}");
        }
    }
}
