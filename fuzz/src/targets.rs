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
use sharekarod::{
    files::{FileName, NAME_BYTES_MAX},
    monitor::{
        detect::{
            replay::Recording,
            rules::{Rules, event::Event},
        },
        frames,
        packets::{
            captures::{Capture, Packet},
            dissect::Dissection,
            export::{Export, Format},
            filter::Filter,
        },
    },
};

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

/// A capture file: read to its end or its fault, dissected, written again, and read as the same.
///
/// # Errors
/// A promise is broken.
pub fn capture_file(bytes: &[u8]) -> Verdict {
    let Ok(mut capture) = Capture::open(bytes) else { return Ok(()) };
    let mut export = Export::new(Vec::new(), Format::Pcapng).map_err(|e| e.to_string())?;
    let mut table = Export::new(Vec::new(), Format::Csv).map_err(|e| e.to_string())?;
    let mut count = 0;
    while let Ok(Some(packet)) = capture.next_packet() {
        if packet.data.len() > bytes.len() {
            return Err("a packet is longer than its file".to_owned());
        }
        let dissection = Dissection::of(&packet);
        table.add(&packet, &dissection).map_err(|e| e.to_string())?;
        // pcap has 28 bits for a link type, pcapng has 16.
        match export.add(&packet, &dissection) {
            Ok(()) if packet.link > u32::from(u16::MAX) => return Err(format!("link type {} was written", packet.link)),
            Err(error) if packet.link <= u32::from(u16::MAX) => return Err(error.to_string()),
            Ok(()) => count += 1,
            Err(_) => {}
        }
    }
    let written = export.finish().map_err(|e| e.to_string())?;
    let mut again = Capture::open(&written[..]).map_err(|e| format!("what was written is no capture: {e}"))?;
    for number in 0..count {
        if !matches!(again.next_packet(), Ok(Some(_))) {
            return Err(format!("of {count} packets {number} can be read again"));
        }
    }
    let text = String::from_utf8(table.finish().map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    let live = |cell: &String| cell.starts_with(['=', '+', '-', '@']) && cell.parse::<f64>().is_err();
    cells(&text).iter().find(|cell| live(cell)).map_or(Ok(()), |cell| Err(format!("a spreadsheet would run {cell:?}")))
}

/// The cells of a CSV (RFC 4180), row after row.
fn cells(text: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    for char in text.chars() {
        match char {
            '"' => quoted = !quoted,
            ',' | '\n' if !quoted => cells.push(String::new()),
            char => cells.last_mut().into_iter().for_each(|cell| cell.push(char)),
        }
    }
    cells
}

/// A frame of a LAN: dissected under every link type that it may have, heard as an event, and judged.
///
/// # Errors
/// A promise is broken.
pub fn lan_frame(bytes: &[u8]) -> Verdict {
    for link in [0, 1, 101, 105, 113, 127, 276] {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let dissection = Dissection::of(&Packet { time: 0, link, big_endian: false, length, data: bytes });
        if dissection.payload > length {
            return Err(format!("{} bytes of content in {length}", dissection.payload));
        }
    }
    let heard = frames::event(bytes, |_| true);
    if let Some(Event::Claim(address, mac)) = &heard
        && (address.is_unspecified() || !mac.is_single())
    {
        return Err(format!("{mac} claims {address}"));
    }
    let mut rules = Rules::default();
    for finding in heard.iter().flat_map(|event| rules.push(event, Default::default())) {
        if finding.explanation.chars().any(is_obeyed) {
            return Err("a screen would obey an explanation".to_owned());
        }
    }
    Ok(())
}

/// A filter's text, and a program for the kernel that jumps only forwards and ends.
///
/// # Errors
/// A promise is broken.
pub fn packet_filter(bytes: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(bytes);
    let filter = match Filter::parse(&text) {
        Ok(filter) => filter,
        Err(error) if error.place == 0 || error.place > text.len() + 1 => return Err(format!("no such place: {}", error.place)),
        Err(_) => return Ok(()),
    };
    let Some(program) = filter.for_kernel(64) else { return Ok(()) };
    let steps = program.0.len();
    let beyond = |(at, step): (usize, &sharekarod::monitor::packets::filter::Instruction)| {
        step.code & 7 == 5 && at + 1 + usize::from(step.then.max(step.otherwise)) >= steps
    };
    if steps > 4096 || program.0.last().is_none_or(|step| step.code != 6) || program.0.iter().enumerate().any(beyond) {
        return Err("the kernel would refuse the program".to_owned());
    }
    Ok(())
}

/// A CSV that is to be judged: each row has a score from 0 to 1, or the file is refused.
///
/// # Errors
/// A promise is broken.
pub fn recording(bytes: &[u8]) -> Verdict {
    let Ok(recording) = Recording::parse(&String::from_utf8_lossy(bytes)) else { return Ok(()) };
    if let Ok(scores) = recording.scores(|| true)
        && scores.iter().any(|score| !(0.0..=1.0).contains(score))
    {
        return Err("a score is outside of 0 and 1".to_owned());
    }
    Ok(())
}
