//! `file:` URIs, as file managers hand them over, become paths of this machine.

use std::{ffi::OsString, io, os::unix::ffi::OsStringExt, path::PathBuf};

use sharekaro_proto::{ErrorBody, ErrorCode, control::transfer::RawPath};

use super::refusal::Refusal;

/// The paths of these URIs, each of which is there right now.
pub(super) async fn existing(uris: Vec<String>) -> Result<Vec<RawPath>, Refusal> {
    let look = move || uris.iter().map(|uri| path_of(uri).and_then(|path| there(uri, path))).collect();
    let looked = tokio::task::spawn_blocking(look).await;
    looked.unwrap_or_else(|_| Err(ErrorBody::new(ErrorCode::Unexpected, "looking at the paths was interrupted").into()))
}

/// A path that is missing is said to be so by name; whether one that is there can be read, the engine says.
fn there(uri: &str, path: PathBuf) -> Result<RawPath, Refusal> {
    match path.symlink_metadata() {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(ErrorBody::new(ErrorCode::NotFound, format!("there is no {uri}")).hint("check the path").into())
        }
        _ => Ok(RawPath(path)),
    }
}

/// The path in a `file:` URI (RFC 8089) of this machine.
fn path_of(uri: &str) -> Result<PathBuf, Refusal> {
    let refuse = |why: &str| Refusal::invalid(format!("{uri:?} {why}"), "files and folders are named as file:///home/me/a%20b.pdf");
    let scheme = uri.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("file:")).ok_or_else(|| refuse("is no file: URI"))?;
    let rest = uri.get(scheme.len()..).unwrap_or_default();
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => rest.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(rest),
    };
    if !path.starts_with('/') {
        return Err(refuse("names no path of this machine"));
    }
    let bytes = percent_decoded(path).ok_or_else(|| refuse("is not well formed"))?;
    Ok(OsString::from_vec(bytes).into())
}

/// `None` for a stray percent sign, a query, a fragment, or a NUL.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'?' | b'#' => return None,
            byte => byte,
        });
    }
    (!out.contains(&0)).then_some(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn what_file_managers_write_is_read_to_the_byte() {
        for (uri, path) in [
            ("file:///a%20b/%C3%9C.pdf", "/a b/Ü.pdf".as_bytes()),
            ("file://localhost/x", b"/x"),
            ("FILE:/x", b"/x"),
            ("file:///%ff%23", b"/\xff#"),
            ("file:///localhost/ü", "/localhost/ü".as_bytes()),
        ] {
            assert_eq!(path_of(uri).unwrap().as_os_str().as_bytes(), path, "{uri}");
        }
    }

    #[test]
    fn what_is_no_path_of_this_machine_is_refused() {
        for uri in [
            "",
            "file",
            "fil",
            "/x",
            "http://example.org/x",
            "file://other/x",
            "file:x",
            "file://",
            "file:///%",
            "file:///%4",
            "file:///%00",
            "file:///%+1",
            "file:///a?b",
            "file:///a#b",
            "नमस्ते",
        ] {
            assert!(path_of(uri).is_err(), "{uri}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_not_found() {
        use zbus::DBusError;

        let missing = existing(vec!["file:///no/such/file".into()]).await.unwrap_err();

        assert_eq!(missing.name().as_str(), "org.sharekaro.Error.NotFound");
        assert_eq!(existing(vec!["file:///dev/null".into()]).await.unwrap().len(), 1);
    }
}
