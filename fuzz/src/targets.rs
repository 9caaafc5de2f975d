//! What is under fire: everything that turns bytes of others into values of ours.
//!
//! Each target checks more than that nothing panics: what was taken must also hold what the type promises.

use std::{collections::HashSet, ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use prost::Message;
use serde_json::Value;
use sharekaro_proto::{
    DeviceId, TransferId,
    control::{
        inbox::{Accept, Decline},
        pairing::{JoinInvitation, StartPairing},
        peer::{AddPeer, Rename, SetTrust},
        transfer::Send,
    },
    nouns::text::{Shown, ShownLines, is_obeyed},
    wire::{self, FRAME_MAX, FRAME_MAX_STRANGER, decode_frame, encode_frame, frame_length},
};
use sharekarod::files::{FileName, NAME_BYTES_MAX};

use crate::Verdict;

/// A length and then what a peer says: greetings, notes, requests, replies.
///
/// # Errors
/// A promise is broken.
pub fn wire_frame(bytes: &[u8]) -> Verdict {
    let body = match frame_length(bytes, FRAME_MAX_STRANGER) {
        Ok(Some((length, at))) if length > FRAME_MAX_STRANGER || at > 10 || at > bytes.len() => {
            return Err(format!("a length of {length} after {at} bytes was taken"));
        }
        Ok(Some((length, at))) => &bytes[at..bytes.len().min(at + length)],
        Ok(None) if bytes.len() >= 10 => return Err("ten bytes are not enough for a length".to_owned()),
        Ok(None) | Err(_) => bytes,
    };
    same_again::<wire::Hello>(body)?;
    same_again::<wire::Note>(body)?;
    same_again::<wire::Request>(body)?;
    same_again::<wire::Reply>(body)?;
    same_again::<wire::ManifestPage>(body)?;
    same_again::<wire::Offer>(body)
}

/// What can be read can be written, and is then read as the same.
fn same_again<M: Message + Default + PartialEq>(body: &[u8]) -> Verdict {
    let Ok(message) = decode_frame::<M>(body.to_vec()) else { return Ok(()) };
    let written = encode_frame(&message);
    let Ok(Some((length, at))) = frame_length(&written, FRAME_MAX) else { return Err("what was written has no length".to_owned()) };
    let again = decode_frame::<M>(written[at..at + length].to_vec()).map_err(|e| format!("what was written cannot be read: {e}"))?;
    // NaN differs from itself, so the bytes are compared too.
    (again == message || encode_frame(&again) == written).then_some(()).ok_or_else(|| "it reads differently the second time".to_owned())
}

/// The body of a request to the control API, whichever.
///
/// # Errors
/// A promise is broken.
pub fn control_request(bytes: &[u8]) -> Verdict {
    if let Ok(send) = serde_json::from_slice::<Send>(bytes) {
        let written = serde_json::to_vec(&send).map_err(|e| format!("a request cannot be written: {e}"))?;
        let again: Send = serde_json::from_slice(&written).map_err(|e| format!("a written request cannot be read: {e}"))?;
        if again.paths != send.paths || again.target != send.target || again.exclude != send.exclude {
            return Err("a request reads differently the second time".to_owned());
        }
    }
    let _ = serde_json::from_slice::<AddPeer>(bytes);
    let _ = serde_json::from_slice::<Rename>(bytes);
    let _ = serde_json::from_slice::<SetTrust>(bytes);
    let _ = serde_json::from_slice::<StartPairing>(bytes);
    let _ = serde_json::from_slice::<JoinInvitation>(bytes);
    let _ = serde_json::from_slice::<Accept>(bytes);
    let _ = serde_json::from_slice::<Decline>(bytes);
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::String(text)) => ids(&text),
        _ => std::str::from_utf8(bytes).map_or(Ok(()), ids),
    }
}

/// Ids that a client may write into a path of the API.
fn ids(text: &str) -> Verdict {
    if let Ok(id) = text.parse::<DeviceId>() {
        for written in [id.to_string(), id.grouped()] {
            (written.parse() == Ok(id)).then_some(()).ok_or_else(|| format!("{written} is another device"))?;
        }
    }
    if let Ok(id) = text.parse::<TransferId>() {
        (id.to_string().parse() == Ok(id)).then_some(()).ok_or_else(|| format!("{id} is another transfer"))?;
    }
    Ok(())
}

/// The name of a file as a peer wrote it, and how it is shown.
///
/// # Errors
/// A promise is broken.
pub fn file_name(bytes: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(bytes);
    if Shown(&text).to_string().chars().any(is_obeyed) || ShownLines(&text).to_string().chars().any(|c| is_obeyed(c) && !"\n\t".contains(c))
    {
        return Err("a screen would obey it".to_owned());
    }
    let Ok(name) = FileName::parse(bytes) else { return Ok(()) };
    one_component(bytes, &name)?;
    one_component(bytes, &name.portable())?;
    let numbered: Vec<FileName> = [2, 10, 1000, u32::MAX].map(|number| name.numbered(number)).into();
    numbered.iter().try_for_each(|name| one_component(bytes, name))?;
    if numbered.iter().collect::<HashSet<_>>().len() != numbered.len() {
        return Err("two numbers make the same name".to_owned());
    }
    if name.to_string().chars().any(is_obeyed) {
        return Err("a screen would obey the name".to_owned());
    }
    Ok(())
}

/// The one promise that everything else rests on: joined to a folder, it names something directly inside.
fn one_component(from: &[u8], name: &FileName) -> Verdict {
    let bytes = name.as_bytes();
    let inbox = Path::new("/inbox");
    let joined = inbox.join(OsStr::from_bytes(bytes));
    let inside = joined.parent() == Some(inbox) && joined.file_name().map(OsStr::as_bytes) == Some(bytes);
    if !inside || bytes.contains(&0) || bytes.is_empty() || bytes.len() > NAME_BYTES_MAX {
        return Err(format!("b\"{}\" became b\"{}\", which is not one component", from.escape_ascii(), bytes.escape_ascii()));
    }
    Ok(())
}
