//! `sharectl` as a program: what stands on which stream, the exit codes, the signals.

mod daemon;

use std::{fs, os::unix::fs::PermissionsExt};

use rustix::process::Signal;
use serde_json::{Value, json};

use self::daemon::{Daemon, Running, SILENT};

fn peer(name: &str, online: bool) -> Value {
    json!({
        "id": "a".repeat(52), "name": name, "alias": name, "online": online, "trust": "accept", "addresses": ["10.0.0.7:47810"],
        "last_seen": null, "presence": { "state": "available", "text": "" }, "rtt_ms": null, "words": null, "version": "0.1.0",
    })
}

fn transfer(id: &str, state: &str, with: Value) -> Value {
    let mut transfer = json!({
        "id": id, "direction": "out", "peer": "bob", "peer_id": "a".repeat(52), "title": "f", "state": state, "phase": "resting",
        "bytes_total": 1000, "bytes_confirmed": 0, "bytes_reused": 0, "files_total": 1, "files_done": 0, "rate": 0, "eta_seconds": null,
        "error": null, "paths": ["/f"], "paths_count": 1, "quarantined": false, "skipped": [], "skipped_count": 0, "holders": [], "limit": null, "priority": "normal", "note": "",
        "created_at": "2026-01-01T00:00:00Z", "changed_at": "2026-01-01T00:00:01Z", "expires_at": null,
    });
    for (key, value) in with.as_object().into_iter().flatten() {
        transfer[key] = value.clone();
    }
    transfer
}

fn snapshot(peers: Vec<Value>) -> Value {
    json!({ "type": "snapshot", "data": { "peers": peers, "transfers": [], "pairings": [], "warnings": [] } })
}

fn changed(transfer: Value) -> Value {
    json!({ "type": "transfer_changed", "data": transfer })
}

fn sends(transfers: Vec<Value>, facts: Vec<Value>) -> Daemon {
    let facts = [snapshot(vec![peer("bob", true)])].into_iter().chain(facts).collect();
    Daemon::new(vec![("POST /v1/transfers", 200, json!({ "transfers": transfers }))], facts)
}

#[test]
fn without_a_daemon_both_streams_say_how_to_start_one() {
    let daemon = Daemon::new(vec![], vec![]);

    let said = daemon.ctl(&["status", "--json", "--socket", "missing.sock"]);

    assert_eq!((said.code(), said.last()["error"]["code"].as_str()), (3, Some("no_daemon")));
    assert!(said.err().contains("hint: start it"), "{}", said.err());
}

#[test]
fn a_file_that_is_not_there_is_told_before_the_daemon_is_asked() {
    let daemon = sends(vec![], vec![]);

    let said = daemon.ctl(&["send", "bob", "/no/such/file", "--json"]);

    assert_eq!((said.code(), said.last()["error"]["code"].as_str()), (8, Some("local_file")));
    assert!(daemon.asked("POST /v1/transfers").is_empty());
}

#[test]
fn names_with_dashes_are_sent_as_absolute_paths() {
    let done = transfer("t1", "done", json!({}));
    let daemon = sends(vec![done], vec![]);
    let path = daemon.file("-dash").canonicalize().unwrap();

    let said = daemon.ctl(&["send", "bob", "--", "-dash", "--json"]);

    assert_eq!(said.code(), 0, "{}", said.err());
    assert_eq!(daemon.asked("POST /v1/transfers")[0]["paths"], json!([path]));
}

#[test]
fn a_send_is_followed_to_its_end_and_the_last_line_is_the_result() {
    let half = transfer("t1", "active", json!({ "bytes_confirmed": 500, "phase": "transferring" }));
    let other = transfer("t9", "active", json!({}));
    let done = transfer("t1", "done", json!({ "bytes_confirmed": 1000 }));
    let daemon = sends(vec![transfer("t1", "queued", json!({}))], vec![changed(half), changed(other), changed(done)]);
    daemon.file("f");

    let said = daemon.ctl(&["send", "bob", "f", "--json"]);

    let states: Vec<_> = said.lines().iter().map(|line| format!("{} {}", line["id"], line["state"])).collect();
    assert_eq!(states, [r#""t1" "queued""#, r#""t1" "active""#, r#""t1" "done""#]);
    assert_eq!((said.code(), said.err().as_str()), (0, ""));
}

#[test]
fn every_end_of_a_send_has_its_exit_code_and_its_error() {
    let error = |code: &str| json!({ "error": { "code": code, "message": "so it is", "hint": "do this" } });
    for (last, code, kind) in [
        (transfer("t1", "declined", error("declined")), 6, "declined"),
        (transfer("t1", "cancelled", json!({})), 13, "cancelled"),
        (transfer("t1", "expired", json!({})), 11, "timed_out"),
        (transfer("t1", "failed", error("local_file")), 8, "local_file"),
        (transfer("t1", "waiting", error("no_space")), 9, "no_space"),
        (transfer("t1", "waiting", error("key_changed")), 7, "key_changed"),
        (transfer("t1", "done", json!({ "skipped": [{ "path": "x", "reason": "unreadable" }] })), 12, "partial"),
    ] {
        let daemon = sends(vec![transfer("t1", "queued", json!({}))], vec![changed(last.clone())]);
        daemon.file("f");

        let said = daemon.ctl(&["send", "bob", "f", "--json"]);

        assert_eq!((said.code(), said.last()["error"]["code"].as_str()), (code, Some(kind)), "{last}");
        assert_eq!((said.last()["id"].as_str(), said.last()["state"].clone()), (Some("t1"), last["state"].clone()));
    }
}

#[test]
fn a_peer_that_is_off_is_waited_for_as_long_as_told() {
    let daemon = Daemon::new(
        vec![("POST /v1/transfers", 200, json!({ "transfers": [transfer("t1", "queued", json!({}))] }))],
        vec![snapshot(vec![peer("bob", false)])],
    );
    daemon.file("f");

    let said = daemon.ctl(&["send", "bob", "f", "--wait", "1"]);

    assert_eq!(said.code(), 5);
    assert!(said.err().contains("t1 is queued"), "{}", said.err());
}

#[test]
fn several_receivers_end_with_all_of_them() {
    let daemon = sends(
        vec![transfer("t1", "queued", json!({})), transfer("t2", "queued", json!({ "peer": "carol" }))],
        vec![changed(transfer("t1", "done", json!({}))), changed(transfer("t2", "declined", json!({})))],
    );
    daemon.file("f");

    let said = daemon.ctl(&["send", "bob,carol", "f", "--json"]);

    let states: Vec<_> = said.last()["transfers"].as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
    assert_eq!((said.code(), states), (12, vec![json!("done"), json!("declined")]));
}

#[test]
fn detached_is_one_document() {
    let one = sends(vec![transfer("t1", "queued", json!({}))], vec![]);
    one.file("f");
    let several = sends(vec![transfer("t1", "queued", json!({})), transfer("t2", "queued", json!({}))], vec![]);
    several.file("f");

    assert_eq!(one.ctl(&["send", "bob", "f", "--detach", "--json"]).lines(), [transfer("t1", "queued", json!({}))]);
    assert_eq!(several.ctl(&["send", "bob,carol", "f", "--detach", "--json"]).last()["transfers"].as_array().map(Vec::len), Some(2));
}

#[test]
fn ctrl_c_detaches_and_a_second_one_cancels() {
    let active = transfer("t1", "active", json!({}));
    let replies = vec![
        ("POST /v1/transfers", 200, json!({ "transfers": [active] })),
        ("POST /v1/transfers/t1/cancel", 200, transfer("t1", "cancelled", json!({}))),
    ];
    let daemon = Daemon::new(replies, vec![snapshot(vec![])]);
    daemon.file("f");
    let interrupted = || {
        let mut sending = daemon.start(&["send", "bob", "f", "--json"]);
        sending.next_line();
        sending.interrupt();
        let (goes_on, _again) = (sending.next_note(), sending.next_note());
        assert!(goes_on.contains("sharectl transfer show t1"), "{goes_on}");
        sending
    };

    assert_eq!(interrupted().said().code(), 130);
    assert!(daemon.asked("POST /v1/transfers/t1/cancel").is_empty());

    let sending = interrupted();
    sending.interrupt();
    let said = sending.said();
    assert_eq!((said.code(), said.last()["state"].as_str()), (13, Some("cancelled")));
    assert_eq!(daemon.asked("POST /v1/transfers/t1/cancel").len(), 1);
}

#[test]
fn one_that_ended_before_it_was_cancelled_keeps_none_of_the_others() {
    let sent = ["t1", "t2"].map(|id| transfer(id, "active", json!({})));
    let gone = json!({ "error": { "code": "wrong_state", "message": "t1 is done", "hint": "" } });
    let replies = vec![
        ("POST /v1/transfers", 200, json!({ "transfers": sent })),
        ("POST /v1/transfers/t1/cancel", 409, gone),
        ("GET /v1/transfers/t1", 200, transfer("t1", "done", json!({}))),
        ("POST /v1/transfers/t2/cancel", 200, transfer("t2", "cancelled", json!({}))),
    ];
    let daemon = Daemon::new(replies, vec![snapshot(vec![])]);
    daemon.file("f");
    let mut sending = daemon.start(&["send", "bob,carol", "f", "--json"]);
    sending.next_line();
    sending.interrupt();
    let _notes = (sending.next_note(), sending.next_note(), sending.next_note());

    sending.interrupt();

    let said = sending.said();
    let states: Vec<_> = said.last()["transfers"].as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
    assert_eq!((said.code(), states), (13, vec![json!("done"), json!("cancelled")]));
}

fn snapshot_with(key: &str, value: Value) -> Value {
    let mut snapshot = snapshot(vec![peer("bob", true)]);
    snapshot["data"][key] = value;
    snapshot
}

#[test]
fn what_came_while_we_fell_behind_is_what_was_waited_for() {
    let came = |id: &str| transfer(id, "done", json!({ "direction": "in", "paths": [format!("/in/{id}")] }));
    let known = snapshot_with("transfers", json!([came("t1")]));
    let facts = vec![known, snapshot_with("transfers", json!([came("t3"), came("t2"), came("t1")]))];
    let daemon = Daemon::new(vec![("GET /v1/peers/bob", 200, peer("bob", true))], facts);

    let said = daemon.ctl(&["receive", "--from", "bob", "--json"]);

    assert_eq!((said.code(), said.last()["id"].as_str()), (0, Some("t2")), "{}", said.err());
}

#[test]
fn what_was_sent_while_we_fell_behind_is_told() {
    let item = |name: &str, state: &str| json!({ "path": format!("/d/{name}"), "target": "bob", "state": state, "reason": null });
    let facts = vec![
        snapshot_with("drops", json!([item("a", "waiting"), item("b", "waiting")])),
        snapshot_with("drops", json!([item("b", "failed")])),
    ];
    let all = json!({ "items": [item("b", "failed"), item("a", "sent"), item("older", "sent")] });
    let daemon = Daemon::new(vec![("GET /v1/drop", 200, all)], facts);

    let mut watching = daemon.start(&["drop", "status", "--watch", "--json"]);

    let told = [(); 4].map(|()| watching.next_line());
    assert_eq!(told, [item("a", "waiting"), item("b", "waiting"), item("a", "sent"), item("b", "failed")]);
}

fn numbers(watching: &mut Running, count: usize) -> Vec<u64> {
    (0..count).map(|_| watching.next_line()["no"].as_u64().unwrap()).collect()
}

#[test]
fn a_decision_is_told_once_whatever_the_order_of_the_events() {
    let decision = |no: u64| json!({ "no": no, "at": "2026-01-01T00:00:00Z", "peer": "bob", "key": "aaaa", "rule": "r", "action": "ask", "transfer": null, "note": "" });
    let recorded = |no| json!({ "type": "decision_recorded", "data": decision(no) });
    let some = |numbers: &[u64]| json!({ "decisions": numbers.iter().map(|no| decision(*no)).collect::<Vec<_>>() });
    let replies = vec![
        ("GET /v1/policy/log?limit=1", 200, some(&[5])),
        ("GET /v1/policy/log?limit=1000&after=5", 200, some(&[6])),
        ("GET /v1/policy/log?limit=1000&after=6", 200, some(&[])),
    ];
    let facts = vec![snapshot(vec![]), recorded(6), recorded(9), recorded(8), recorded(8), recorded(7), recorded(10)];
    let daemon = Daemon::new(replies, facts);

    let mut watching = daemon.start(&["policy", "log", "--watch", "-n", "0", "--json"]);

    assert_eq!(numbers(&mut watching, 5), [6, 9, 8, 7, 10]);
}

#[test]
fn a_message_is_told_once_whatever_the_order_of_the_events() {
    let message = |no: u64| {
        json!({
            "id": format!("00000000-0000-0000-0000-{no:012}"), "no": no, "conversation": "bob", "peer_id": "a".repeat(52), "paired": true,
            "from": "bob", "direction": "in", "text": "hi", "bytes": 2, "at": "2026-01-01T00:00:00Z", "state": "received", "transfer": null,
        })
    };
    let received = |no| json!({ "type": "message_received", "data": message(no) });
    let some = |numbers: &[u64]| json!({ "messages": numbers.iter().map(|no| message(*no)).collect::<Vec<_>>() });
    let replies = vec![
        ("GET /v1/messages?limit=1", 200, some(&[5])),
        ("GET /v1/messages?limit=5000&after=5", 200, some(&[6])),
        ("GET /v1/messages?limit=5000&after=6", 200, some(&[])),
    ];
    let daemon = Daemon::new(replies, vec![snapshot(vec![]), received(6), received(9), received(8), received(9), received(10)]);

    let mut watching = daemon.start(&["messages", "--watch", "--json"]);

    assert_eq!(numbers(&mut watching, 4), [6, 9, 8, 10]);
}

/// Stands for zenity: takes the first of what it is offered behind `--`, and writes down what it was asked.
const CHOOSER: &str =
    "#!/bin/sh\nprintf '%s\\n' \"$@\" >>\"${0%/*}/asked\"\nwhile [ \"$1\" != -- ]; do shift || exit 1; done\necho \"$2\"\n";

#[test]
fn what_becomes_of_files_sent_from_a_window_is_said_in_one() {
    let declined = transfer("t1", "declined", json!({ "error": { "code": "declined", "message": "not now", "hint": "" } }));
    let replies = vec![
        ("GET /v1/peers", 200, json!({ "peers": [peer("bob", true)] })),
        ("POST /v1/transfers", 200, json!({ "transfers": [declined] })),
    ];
    let daemon = Daemon::new(replies, vec![snapshot(vec![])]);
    daemon.file("f");
    let chooser = daemon.file("zenity");
    fs::write(&chooser, CHOOSER).unwrap();
    fs::set_permissions(&chooser, fs::Permissions::from_mode(0o755)).unwrap();
    let bin = chooser.parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());

    let said = daemon.start_with(&["send", "--ask", "--", "f"], |command| {
        command.env("PATH", path).env_remove("XDG_CURRENT_DESKTOP");
    });
    let said = said.said();

    let asked = fs::read_to_string(bin.join("asked")).unwrap();
    assert_eq!(said.code(), 6, "{}", said.err());
    assert!(asked.contains("--error") && asked.contains("bob declined: not now"), "{asked}");
}

#[test]
fn a_signal_ends_the_sending_by_code_also_once_the_code_was_used() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let active = transfer("t1", "active", json!({}));
        let mut used = invitation("used", Value::Null);
        used["transfer"] = json!("t1");
        let replies = vec![
            ("POST /v1/codes", 200, invitation("open", Value::Null)),
            ("GET /v1/invitations/3", 200, used),
            ("GET /v1/transfers/t1", 200, active),
        ];
        let daemon = Daemon::new(replies, vec![snapshot(vec![])]);
        daemon.file("f");
        let mut sending = daemon.start(&["send", "--code", "f", "--json"]);
        let (_code, followed) = (sending.next_line(), sending.next_line());
        assert_eq!(followed["id"], "t1");

        sending.signal(signal);

        assert_eq!(sending.said().code(), code);
        assert!(daemon.asked("POST /v1/transfers/t1/cancel").is_empty());
    }
}

fn pairing(state: &str, with: Value) -> Value {
    let mut pairing = json!({
        "id": 4, "peer": peer("bob", true), "state": state, "words": "oak tin sun", "confirmed_here": false, "confirmed_there": false, "error": null,
    });
    for (key, value) in with.as_object().into_iter().flatten() {
        pairing[key] = value.clone();
    }
    pairing
}

#[test]
fn pairing_by_words_prints_the_words_first_and_then_confirms() {
    let confirmed = pairing("comparing", json!({ "confirmed_here": true }));
    let daemon = Daemon::new(
        vec![
            ("POST /v1/pairings", 200, pairing("starting", json!({ "words": "" }))),
            ("GET /v1/pairings/4", 200, pairing("starting", json!({ "words": "" }))),
            ("POST /v1/pairings/4/confirm", 200, pairing("paired", json!({}))),
        ],
        vec![
            snapshot(vec![]),
            json!({ "type": "pairing_changed", "data": pairing("comparing", json!({})) }),
            json!({ "type": "x", "data": confirmed }),
        ],
    );

    let said = daemon.ctl(&["pair", "bob", "--yes", "--json"]);

    assert_eq!(said.code(), 0, "{}", said.err());
    assert_eq!(said.lines(), [json!({ "words": "oak tin sun" }), peer("bob", true)]);
}

#[test]
fn a_pairing_that_the_other_side_refuses_is_an_error() {
    let error = json!({ "error": { "code": "not_trusted", "message": "bob said that the words differ", "hint": "" } });
    let daemon = Daemon::new(
        vec![("POST /v1/pairings", 200, pairing("comparing", json!({}))), ("POST /v1/pairings/4/confirm", 200, pairing("failed", error))],
        vec![snapshot_with("pairings", json!([pairing("comparing", json!({}))]))],
    );

    let said = daemon.ctl(&["pair", "bob", "--yes", "--json"]);

    assert_eq!((said.code(), said.last()["error"]["code"].as_str()), (7, Some("not_trusted")));
}

#[test]
fn a_pairing_that_ended_before_we_listened_is_not_waited_for() {
    let error = json!({ "error": { "code": "timed_out", "message": "nobody answered", "hint": "" } });
    let replies = vec![
        ("POST /v1/pairings", 200, pairing("starting", json!({ "words": "" }))),
        ("GET /v1/pairings/4", 200, pairing("failed", error)),
    ];
    let daemon = Daemon::new(replies, vec![snapshot(vec![])]);

    let said = daemon.ctl(&["pair", "bob", "--yes", "--json"]);

    assert_eq!((said.code(), said.last()["error"]["code"].as_str()), (11, Some("timed_out")));
}

#[test]
fn ctrl_c_ends_a_pairing_that_the_other_device_does_not_answer() {
    let daemon = Daemon::new(vec![("POST /v1/pairings", SILENT, Value::Null)], vec![]);
    let pairing = daemon.start(&["pair", "bob", "--yes", "--json"]);
    while daemon.asked("POST /v1/pairings").is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(10)); // the test ends with the patience of its runner
    }

    pairing.interrupt();

    let said = pairing.said();
    assert_eq!((said.code(), said.last()["error"]["code"].as_str()), (13, Some("cancelled")));
}

#[test]
fn nobody_is_asked_where_there_is_no_terminal() {
    let daemon = Daemon::new(vec![], vec![]);

    let said = daemon.ctl(&["pair", "bob", "--json"]);

    assert_eq!((said.code(), said.last()["error"]["code"].as_str()), (2, Some("usage")));
    assert!(daemon.asked("POST /v1/pairings").is_empty());
}

fn invitation(state: &str, peer: Value) -> Value {
    json!({ "id": 3, "code": "7-oak-tin", "expires_at": "2026-01-01T00:10:00Z", "state": state, "peer": peer })
}

#[test]
fn an_invitation_is_printed_at_once_and_ends_as_it_was_used() {
    for (state, who, code) in [("used", peer("bob", true), 0), ("expired", Value::Null, 11), ("burnt", Value::Null, 7)] {
        let open = invitation("open", Value::Null);
        let daemon = Daemon::new(vec![("POST /v1/invitations", 200, open), ("GET /v1/invitations/3", 200, invitation(state, who))], vec![]);

        let said = daemon.ctl(&["pair", "--invite", "--json"]);

        assert_eq!(said.code(), code, "{state}: {}", said.err());
        assert_eq!(said.lines()[0], json!({ "code": "7-oak-tin", "expires_at": "2026-01-01T00:10:00Z" }));
    }
}

#[test]
fn an_invitation_that_is_interrupted_is_withdrawn() {
    let open = || invitation("open", Value::Null);
    let daemon = Daemon::new(
        vec![("POST /v1/invitations", 200, open()), ("GET /v1/invitations/3", 200, open()), ("DELETE /v1/invitations/3", 200, open())],
        vec![],
    );
    let mut inviting = daemon.start(&["pair", "--invite", "--json"]);

    inviting.next_line();
    inviting.interrupt();

    assert_eq!(inviting.said().code(), 13);
    assert_eq!(daemon.asked("DELETE /v1/invitations/3").len(), 1);
}

#[test]
fn events_are_passed_on_as_they_come_also_those_not_known_here() {
    let daemon = Daemon::new(vec![], vec![snapshot(vec![]), json!({ "type": "from_the_future", "data": "\u{1b}[2J" })]);
    let mut events = daemon.start(&["events", "--json"]);

    let (first, second) = (events.next_line(), events.next_line());

    assert_eq!((first["type"].as_str(), first["seq"].as_u64()), (Some("snapshot"), Some(7)));
    assert_eq!((second["type"].as_str(), second["data"].as_str()), (Some("from_the_future"), Some("\u{1b}[2J")));
}

#[test]
fn a_forgotten_peer_is_one_document() {
    let daemon = Daemon::new(vec![("DELETE /v1/peers/k%3Aabcd", 200, json!({}))], vec![]);

    let said = daemon.ctl(&["peer", "forget", "k:abcd", "--json"]);

    assert_eq!((said.code(), said.last()), (0, json!({ "forgotten": "k:abcd" })));
}

#[test]
fn a_receipt_that_is_false_or_broken_ends_with_10() {
    let receipt = json!({ "from": "a".repeat(52), "to": "a".repeat(52), "at": "2026-01-01T00:00:00Z", "files": [], "signature": "00" });
    for (verdict, written, code) in [
        (true, receipt.to_string(), 0),
        (false, receipt.to_string(), 10),
        (true, receipt.to_string().replace("aa", "a1"), 10),
        (true, "{".into(), 10),
    ] {
        let daemon = Daemon::new(vec![("POST /v1/receipts/verify", 200, json!({ "valid": verdict }))], vec![]);
        let path = daemon.file("receipt.json");
        std::fs::write(&path, &written).unwrap();

        let said = daemon.ctl(&["receipt", "verify", "receipt.json", "--json"]);

        assert_eq!((said.code(), said.last()["valid"].as_bool()), (code, Some(code == 0)), "{written}");
    }
    assert_eq!(Daemon::new(vec![], vec![]).ctl(&["receipt", "verify", "missing.json"]).code(), 8);
}
