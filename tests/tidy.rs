//! Holds the arrows of ARCHITECTURE.md: reads the paths in the sources and names each forbidden one, and why it is.
//!
//! It reads text, not syntax: comments, strings and the tests at the bottom of a file are cut off first, then every
//! path that begins with a room or a crate counts, wherever it stands.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// A room of `sharekarod/src`, what it may use, and why not more.
const ROOMS: [(&str, &[&str], &str); 17] = [
    ("config", &[], "what the daemon was told knows nothing of what is done with it"),
    ("crash", &[], "a point at which a test ends the process needs nothing"),
    ("lie", &[], "what a test makes a device say untruly needs nothing"),
    ("words", &[], "words are a plain function of bytes"),
    ("kernel", &[], "a call into the kernel knows nothing of why it is made"),
    ("memory", &["kernel"], "what a program at rest can give back has nothing to do with what it does"),
    ("interfaces", &[], "what the kernel says of our links is the same whoever asks"),
    ("lock", &[], "a lock does not know what it guards"),
    ("service", &["engine", "lock"], "what a service manager asks, the engine does"),
    ("identity", &["words"], "a key knows nothing of what is signed with it"),
    ("store", &["files"], "what remembers does not decide, and calls nobody back; of files/ it knows the hashes"),
    ("files", &["crash"], "what does the work on files does not decide, and calls nobody back"),
    ("net", &["identity", "config"], "a session carries what it is given: no policy in net/"),
    (
        "engine",
        &["net", "files", "store", "identity", "interfaces", "config", "words", "crash", "lie"],
        "the engine decides; who asks or notices calls it, never the other way",
    ),
    ("monitor", &["engine", "store", "interfaces", "config", "kernel"], "the monitor measures and judges; who shows it asks it"),
    ("watchers", &["engine", "interfaces", "config"], "watchers notice and call the engine, as any frontend"),
    ("frontends", &["engine", "monitor", "config", "lock", "words"], "frontends translate: what they need, the engine tells them"),
];

/// A crate, the only places that may name it, and why.
const CRATES: [(&[&str], &[&str], &str); 7] = [
    (
        &["quinn", "quinn_proto", "rustls", "rcgen"],
        &["sharekarod/src/net/", "sharekarod/src/identity.rs"],
        "the transport can be replaced only while nobody else knows it",
    ),
    (
        &["zbus"],
        &["sharekarod/src/frontends/dbus/", "sharectl/src/commands/agent/"],
        "D-Bus is one door of four; the agent asks the desktop over it, the daemon never",
    ),
    (
        &["interprocess"],
        &["sharekarod/src/frontends/socket.rs", "sharekaro-proto/src/client.rs", "sharekaro-proto/src/client/"],
        "one place listens on the control socket, one connects to it",
    ),
    (&["mdns_sd"], &["sharekarod/src/watchers/discovery"], "how peers are found is the affair of one watcher"),
    (&["notify"], &["sharekarod/src/watchers/"], "how folders are watched is the affair of one watcher"),
    (
        &["rusqlite", "rusqlite_migration"],
        &["sharekarod/src/store/", "sharekarod/src/monitor/history.rs"],
        "how things are remembered is the affair of the store; measurements have a database of their own, which may be lost",
    ),
    (&["sysinfo"], &["sharekarod/src/monitor/"], "what is measured comes from one source"),
];

/// The folder that may hold `unsafe`: what the kernel offers, and no library without it.
const UNSAFE: &str = "sharekarod/src/kernel/";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository is there")
}

/// Every file below a folder of the repository with this ending, by its path in the repository.
fn files(below: &str, ending: &str) -> Result<Vec<String>> {
    let (root, mut folders, mut found) = (root(), vec![root().join(below)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // What others keep beside the sources is hidden: a history, a registry of crates.
            if name == "target" || (name.starts_with('.') && name != ".ci") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() && name.ends_with(ending) {
                found.push(path.strip_prefix(&root)?.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// The code of a file without comments, strings and the tests at its bottom.
fn code(text: &str) -> String {
    let tests =
        text.match_indices("#[cfg(test)]\nmod ").find(|(at, _)| text[*at..].lines().nth(1).is_some_and(|line| !line.ends_with(';')));
    let text = tests.map_or(text, |(at, _)| &text[..at]);
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['"', '/']) {
        out.push_str(&rest[..at]);
        let tail = &rest[at..];
        let skipped = if tail.starts_with("//") {
            tail.find('\n').unwrap_or(tail.len())
        } else if tail.starts_with('"') && !out.ends_with('\'') {
            end_of_string(tail)
        } else {
            out.push_str(&tail[..1]);
            1
        };
        rest = &tail[skipped..];
    }
    out + rest
}

/// Bytes of the string literal at the front, quotes included.
fn end_of_string(tail: &str) -> usize {
    let mut escaped = false;
    for (i, c) in tail.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return i + 1,
            _ => {}
        }
    }
    tail.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The first word of every path that stands in the code: `quinn` of `quinn::Endpoint` and of `use quinn;`.
fn first_words(code: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for (at, _) in code.match_indices("::") {
        let before = &code[..at];
        let word = &before[before.rfind(|c| !is_word(c)).map_or(0, |i| i + before[i..].chars().next().map_or(1, char::len_utf8))..];
        if !word.is_empty() && !before[..before.len() - word.len()].ends_with("::") {
            words.insert(word.to_owned());
        }
    }
    for line in code.lines() {
        let line = line.trim_start().trim_start_matches("pub ");
        if let Some(rest) = line.strip_prefix("use ") {
            words.insert(rest.trim_end_matches(';').split([':', ' ']).next().unwrap_or_default().to_owned());
        }
    }
    words
}

/// The rooms that the code of a file in `room` names, through `crate::` or, from the room's own root, `super::`.
fn rooms_named(code: &str, is_room_root: bool) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let mut after = |prefix: &str| {
        for (at, _) in code.match_indices(prefix) {
            let boundary = code[..at].chars().next_back().is_none_or(|c| !is_word(c) && c != ':');
            let rest = &code[at + prefix.len()..];
            if boundary && rest.starts_with('{') {
                named.extend(heads_of_group(rest));
            } else if boundary {
                named.insert(rest.chars().take_while(|c| is_word(*c)).collect());
            }
        }
    };
    after("crate::");
    if is_room_root {
        after("super::");
    }
    named
}

/// The first words of the members of `{a::{b, c}, d}`: `a` and `d`.
fn heads_of_group(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut expect) = (0, Vec::new(), false);
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' => {}
            c if expect && depth == 1 && is_word(c) => heads.push(group[i..].chars().take_while(|c| is_word(*c)).collect()),
            _ => {}
        }
        if depth == 0 {
            break;
        }
        expect = depth == 1 && (matches!(c, '{' | ',') || (expect && c.is_whitespace()));
    }
    heads
}

/// The room of a file in `sharekarod/src`: its folder, or the file itself; `None` for `lib.rs`, `main.rs`, and what only
/// tests have.
fn room_of(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("sharekarod/src/")?;
    let room = inner.split('/').next()?.trim_end_matches(".rs");
    (!["lib", "main", "testing"].contains(&room)).then_some(room)
}

#[test]
fn the_arrows_between_the_rooms_run_one_way() -> Result<()> {
    let all: BTreeSet<&str> =
        files("sharekarod/src", ".rs")?.iter().filter_map(|path| room_of(path).map(|room| &*room.to_owned().leak())).collect();
    let mut forbidden = Vec::new();
    for path in files("sharekarod/src", ".rs")? {
        if path.contains("/tests/") {
            continue; // the tests of a room, where they fill files of their own, build what it stands on
        }
        let Some(room) = room_of(&path) else { continue };
        let Some((_, allowed, why)) = ROOMS.iter().find(|(name, ..)| *name == room) else {
            forbidden.push(format!("{path}: the room {room} has no place in ROOMS of tests/tidy.rs and in ARCHITECTURE.md"));
            continue;
        };
        let is_root = path.ends_with(&format!("src/{room}/mod.rs")) || path.ends_with(&format!("src/{room}.rs"));
        for named in rooms_named(&code(&read(&path)?), is_root) {
            if all.contains(&*named) && named != room && !allowed.contains(&&*named) {
                forbidden.push(format!("{path}: {room} -> {named} is no arrow of ARCHITECTURE.md: {why}"));
            }
        }
    }
    ensure!(forbidden.is_empty(), "\n{}", forbidden.join("\n"));
    Ok(())
}

#[test]
fn each_outside_crate_stays_in_its_place() -> Result<()> {
    let mut forbidden = Vec::new();
    for folder in ["sharekarod/src", "sharectl/src", "sharekaro-proto/src"] {
        for path in files(folder, ".rs")? {
            let words = first_words(&code(&read(&path)?));
            for (crates, places, why) in CRATES {
                for name in crates.iter().filter(|name| words.contains(**name) && !places.iter().any(|place| path.starts_with(place))) {
                    forbidden.push(format!("{path}: {name} belongs in {places:?} only: {why}"));
                }
            }
        }
    }
    ensure!(forbidden.is_empty(), "\n{}", forbidden.join("\n"));
    Ok(())
}

#[test]
fn only_the_state_publishes_events() -> Result<()> {
    let mut elsewhere = Vec::new();
    for path in files("sharekarod/src", ".rs")? {
        if path != "sharekarod/src/engine/state.rs" && code(&read(&path)?).contains("broadcast::") {
            elsewhere.push(path);
        }
    }
    ensure!(elsewhere.is_empty(), "{elsewhere:?}: events are published by Engine::update alone, or their order means nothing");
    Ok(())
}

#[test]
fn nothing_is_unsafe() -> Result<()> {
    let mut found = Vec::new();
    for path in files("", ".rs")? {
        let code = code(&read(&path)?);
        let unsafe_word =
            code.match_indices("unsafe").any(|(at, word)| !code[..at].ends_with(is_word) && !code[at + word.len()..].starts_with(is_word));
        if (unsafe_word || code.contains("allow(unsafe_code")) && !path.starts_with(UNSAFE) {
            found.push(path);
        }
    }
    ensure!(found.is_empty(), "unsafe in {found:?}: what it would win, a library of others has won already");
    Ok(())
}

#[test]
fn the_architecture_names_every_room_and_only_tests_that_exist() -> Result<()> {
    let text = read("ARCHITECTURE.md")?;
    let mut missing = Vec::new();
    for folder in ["", "sharekarod/src"] {
        for entry in fs::read_dir(root().join(folder))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() && !name.starts_with('.') && name != "target" && !text.contains(&format!("`{name}/`")) {
                missing.push(format!("the folder {folder}/{name}/"));
            }
        }
    }
    let sources = files("", ".rs")?.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?.concat();
    missing.extend(cited(&text).filter(|it| !sources.contains(&format!("fn {it}("))).map(|it| format!("the test {it}, which it cites")));
    ensure!(missing.is_empty(), "ARCHITECTURE.md and the repository differ:\n{}", missing.join("\n"));
    Ok(())
}

/// The tests that a document names.
fn cited(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|it| it.matches('_').count() >= 2 && it.chars().all(is_word))
}

#[test]
fn every_fault_in_the_table_has_its_test() -> Result<()> {
    let text = read("tests/FAULTS.md")?;
    let sources = files("", ".rs")?.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?.concat();
    let missing: Vec<_> = cited(&text).filter(|it| !sources.contains(&format!("fn {it}("))).collect();
    ensure!(missing.is_empty(), "tests/FAULTS.md names tests that are not there: {missing:#?}");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault "));
    let bare: Vec<_> = rows.filter(|row| cited(row).next().is_none()).collect();
    ensure!(bare.is_empty(), "faults without a test: {bare:#?}");
    Ok(())
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() -> Result<()> {
    // Written apart, or this file would name them itself.
    let places = [["/wo", "rk/"], ["/ro", "ot/"], ["/home/", "user/"]].map(|halves| halves.concat());
    let mut found = Vec::new();
    for path in files("", "")? {
        // Corpora are bytes, not text.
        let Ok(text) = read(&path) else { continue };
        found.extend(places.iter().filter(|place| text.contains(&***place)).map(|place| format!("{path} names {place}")));
    }
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}

#[test]
fn this_test_sees_what_it_looks_for() {
    let text = "use std::{fs, io};\nuse crate::{net::{Session, x}, store::Store};\n// crate::frontends::no\nlet a = \"crate::watchers::no\"; crate::files::walk(quinn::x)\n#[cfg(test)]\nmod tests { use crate::engine; }";
    let code = code(text);

    assert_eq!(rooms_named(&code, false), ["files", "net", "store"].map(str::to_owned).into());
    assert!(first_words(&code).contains("quinn") && first_words("use zbus;").contains("zbus"));
    assert!(rooms_named("use super::net;", true).contains("net") && !rooms_named("use super::net;", false).contains("net"));
    assert_eq!(heads_of_group("{a::{b, c::d}, e, f as g}"), ["a", "e", "f"]);
}
