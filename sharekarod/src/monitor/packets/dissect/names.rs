//! Names that packets tell: whom a machine asks for (DNS), whom it greets (TLS), which host it wants (HTTP).
//!
//! They are an attacker's words: whatever a terminal or a table would obey is escaped, and none is longer than
//! `NAME_BYTES_MAX`.

use std::fmt::Write;

use sharekaro_proto::nouns::text::is_obeyed;

/// The longest name of the domain name system (RFC 1035) with room for escapes.
const NAME_BYTES_MAX: usize = 255;

/// Where a name is told, not yet read: most packets' names are never asked for.
#[derive(Clone, Copy, Debug)]
pub enum NameSource<'p> {
    /// A message of the domain name system.
    Dns(&'p [u8]),
    /// A segment of TLS.
    Tls(&'p [u8]),
    /// A segment of HTTP.
    Http(&'p [u8]),
}

impl NameSource<'_> {
    /// The name, fit for a screen; `None` where there is none after all.
    pub fn read(self) -> Option<String> {
        let name = match self {
            Self::Dns(message) => question(message)?,
            Self::Tls(segment) => shown(server_name(segment)?),
            Self::Http(segment) => shown(host(segment)?),
        };
        (!name.is_empty()).then_some(name)
    }
}

/// Text fit for a screen: bytes that are no text become `\xNN`, characters that would be obeyed `\u{..}`.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.get(..NAME_BYTES_MAX).unwrap_or(bytes).utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_obeyed(c) {
                let _ = write!(text, "\\u{{{:x}}}", u32::from(c));
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The first question of a message, or where it has none (mDNS announcements), its first record's name.
fn question(message: &[u8]) -> Option<String> {
    let counts = message.get(4..12)?;
    let some = counts.chunks_exact(2).any(|count| count != [0, 0]);
    let mut rest = message.get(12..).filter(|_| some)?;
    let mut name = Vec::new();
    loop {
        let (length, tail) = rest.split_first()?;
        // A length above 63 is a pointer back: a first name has nothing to point at.
        match usize::from(*length) {
            0 => break,
            length @ 1..=63 => {
                let (label, tail) = tail.split_at_checked(length)?;
                if !name.is_empty() {
                    name.push(b'.');
                }
                name.extend_from_slice(label);
                rest = tail;
            }
            _ => return None,
        }
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
    }
    Some(shown(&name))
}

/// The server name in a ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3), as far as this segment has it.
fn server_name(segment: &[u8]) -> Option<&[u8]> {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    let (record, hello) = segment.split_at_checked(9)?;
    if *record.first()? != HANDSHAKE || *record.get(5)? != CLIENT_HELLO {
        return None;
    }
    let rest = hello.get(34..)?;
    let rest = past_u8(rest)?;
    let rest = past_u16(rest)?;
    let rest = past_u8(rest)?;
    let mut extensions = rest.get(2..)?;
    loop {
        let ([a, b, c, d], rest) = extensions.split_first_chunk::<4>()?;
        let (kind, length) = (u16::from_be_bytes([*a, *b]), usize::from(u16::from_be_bytes([*c, *d])));
        if kind == 0 {
            return host_name(rest);
        }
        extensions = rest.get(length..)?;
    }
}

/// The first entry of the list, which is a host name where its kind is zero.
fn host_name(list: &[u8]) -> Option<&[u8]> {
    let ([_, _, 0, a, b], rest) = list.split_first_chunk::<5>()? else { return None };
    rest.get(..usize::from(u16::from_be_bytes([*a, *b])))
}

fn past_u8(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first()?;
    rest.get(usize::from(*length)..)
}

fn past_u16(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.get(usize::from(u16::from_be_bytes(*length))..)
}

/// The `Host` of a request, if this segment has it within its first lines.
fn host(segment: &[u8]) -> Option<&[u8]> {
    const LINES_MAX: usize = 32;
    const REQUESTS: [&[u8]; 9] = [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"NOTIFY "];
    if !REQUESTS.iter().any(|method| segment.starts_with(method)) {
        return None;
    }
    let mut lines = segment.split(|byte| *byte == b'\n').take(LINES_MAX);
    let value = lines.find_map(|line| line.split_at_checked(5).filter(|(key, _)| key.eq_ignore_ascii_case(b"host:")))?.1;
    Some(value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(labels: &[&[u8]]) -> Vec<u8> {
        let mut message = vec![0, 77, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in labels {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend_from_slice(label);
        }
        [message, vec![0, 0, 1, 0, 1]].concat()
    }

    fn hello(name: &[u8]) -> Vec<u8> {
        let size = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let entry = [&[0][..], &size(name), name].concat();
        let list = [&size(&entry)[..], &entry].concat();
        let extensions = [&[0, 10, 0, 2, 9, 9, 0, 0][..], &size(&list), &list].concat();
        let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &size(&extensions), &extensions].concat();
        let length = size(&body);
        [&[22, 3, 1, 0, 0, 1, 0][..], &length, &body].concat()
    }

    #[test]
    fn questions_greetings_and_requests_tell_their_names() {
        let asked = query(&[b"www", b"example", b"org"]);

        assert_eq!(NameSource::Dns(&asked).read().unwrap(), "www.example.org");
        assert_eq!(NameSource::Tls(&hello(b"video.example.net")).read().unwrap(), "video.example.net");
        assert_eq!(NameSource::Http(b"GET / HTTP/1.1\r\nhost:  a.example \r\n\r\n").read().unwrap(), "a.example");
        assert_eq!(NameSource::Http(b"HTTP/1.1 200 OK\r\nHost: a\r\n").read(), None);
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let evil = query(&[b"\x1b]0;x\x07", "b\u{fc}ro\u{202e}".as_bytes(), b"\xff"]);

        assert_eq!(NameSource::Dns(&evil).read().unwrap(), "\\u{1b}]0;x\\u{7}.b\u{fc}ro\\u{202e}.\\xff");
    }

    proptest! {
        #[test]
        fn damaged_messages_never_panic(cut in 0_usize..200, at in 0_usize..120, value: u8) {
            for whole in [query(&[b"www", b"example", b"org"]), hello(b"video.example.net"), b"GET / HTTP/1.1\nHost: a".to_vec()] {
                let mut bytes = whole.get(..cut).unwrap_or(&whole).to_vec();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
                for source in [NameSource::Dns(&bytes), NameSource::Tls(&bytes), NameSource::Http(&bytes)] {
                    let name = source.read().unwrap_or_default();
                    prop_assert!(!name.chars().any(is_obeyed));
                }
            }
        }
    }
}
