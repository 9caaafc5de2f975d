use std::path::Path;

use sharekaro_proto::nouns::hours::TimeOfDay;

use super::*;
use crate::engine::policy::{facts::Sender, network::Networks};

const RULES: &str = r##"
[[policy]]
name = "programs"
names = ["*.exe", "*.sh", "größe[0-9].bin"]
action = "decline"
[[policy]]
name = "huge"
min_size = "50G"
action = "decline"
[[policy]]
name = "many"
min_files = 1001
action = "ask"
[[policy]]
name = "pictures"
from = ["bob"]
types = ["image/*"]
max_size = 100000
action = "accept"
dir = "~/Pictures/in"
conflict = "skip"
rate = "2M"
run = ["scan", "-v"]
[[policy]]
name = "night"
from = ["@office"]
hours = "22:00-06:00"
action = "quarantine"
[[policy]]
name = "short notes"
trust = ["unknown"]
types = ["text/plain"]
max_size = 10000
action = "accept"
[[policy]]
name = "music at home"
trust = ["unknown", "ask"]
types = ["audio/*"]
networks = ["192.168.1.0/24", "aa:bb:cc:dd:ee:ff"]
action = "accept"
[[policy]]
name = "quota"
from = ["k:dada"]
names = ["*.iso"]
max_today = "1G"
action = "accept"
[[policy]]
name = "over quota"
from = ["k:dada"]
min_today = 1073741825
action = "decline"
[[policy]]
name = "room for films"
types = ["video/*"]
from = ["all"]
min_free = "10G"
action = "accept"
[[policy]]
name = "class"
from = ["#physics"]
min_files = 2
max_files = 3
action = "accept"
"##;

fn parse(text: &str) -> Vec<Arc<ParsedRule>> {
    #[derive(serde::Deserialize)]
    struct Rules {
        policy: Vec<Rule>,
    }
    let rules: Rules = toml::from_str(text).unwrap();
    rules.policy.into_iter().map(|rule| Arc::new(ParsedRule::parse(rule, Path::new("/home/me")).unwrap())).collect()
}

/// Bob is paired and trusted, dora paired and to ask, carol a stranger, eve declined, mallory a stranger who says that it
/// is bob, trent a device that took over a name, zed blocked.
fn sender(name: &str) -> Sender {
    let (trust, called, claims, key): (_, &[&str], &str, _) = match name {
        "bob" => (Trust::Accept, &["bob", "Bob's laptop"], "bob", 'b'),
        "dora" => (Trust::Ask, &["dora"], "dora", 'd'),
        "eve" => (Trust::Decline, &["eve"], "eve", 'e'),
        "mallory" => (Trust::Unknown, &[], "BOB", 'm'),
        "trent" => (Trust::Changed, &[], "bob", 't'),
        "zed" => (Trust::Blocked, &[], "zed", 'z'),
        other => (Trust::Unknown, &[], other, 'c'),
    };
    Sender {
        label: name.to_owned(),
        key: format!("{key}a").repeat(26),
        trust,
        called: called.iter().map(|it| (*it).to_owned()).collect(),
        claims: vec![claims.to_owned()],
        groups: if name == "bob" { vec!["office".to_owned()] } else { Vec::new() },
        rooms: if name == "carol" { vec!["physics".to_owned()] } else { Vec::new() },
    }
}

fn facts(rules: &[Arc<ParsedRule>], from: &str, bytes: u64, files: u64, at: &str, names: &str) -> Facts {
    Facts {
        sender: sender(from),
        bytes,
        files,
        time: at.parse::<TimeOfDay>().unwrap(),
        networks: Networks::default(),
        today: 0,
        free: vec![None; rules.len()],
        names: Names::see(rules, names.split(' ').map(str::as_bytes)),
    }
}

fn verdict(rules: &[Arc<ParsedRule>], facts: &Facts) -> Verdict {
    match judge(rules, facts) {
        Judgement::Verdict(verdict) => verdict,
        Judgement::NamesNeeded => panic!("the names are known"),
    }
}

#[test]
fn a_group_lets_in_the_paired_among_its_members_and_keeps_out_all_of_them() {
    for (trust, action, is_meant) in [
        (Trust::Ask, Action::Accept, true),
        (Trust::Unknown, Action::Accept, false),
        (Trust::Blocked, Action::Quarantine, false),
        (Trust::Unknown, Action::Decline, true),
        (Trust::Changed, Action::Ask, true),
    ] {
        let sender = Sender { trust, ..sender("bob") };
        assert_eq!(sender.is_meant("@Office", action), is_meant, "{trust} {action:?}");
    }
}

/// Who offers how many bytes in how many files, when, and their names; which rule decides, and what.
const CASES: &[(&str, u64, u64, &str, &str, &str, &str)] = &[
    // patterns: any file is enough to decline, in either case, at the end of the name only
    ("bob", 1000, 1, "12:00", "setup.exe", "programs", "decline"),
    ("bob", 1000, 1, "12:00", "SETUP.EXE", "programs", "decline"),
    ("bob", 1000, 1, "12:00", "setup.exe.txt", "default", "accept"),
    ("bob", 1000, 1, "12:00", ".exe", "programs", "decline"),
    ("bob", 1000, 1, "12:00", "exe", "default", "accept"),
    ("bob", 1000, 2, "12:00", "photo.jpg setup.exe", "programs", "decline"),
    ("bob", 1000, 1, "12:00", "GRÖßE1.bin", "programs", "decline"),
    ("bob", 1000, 1, "12:00", "größe.bin", "default", "accept"),
    ("carol", 1000, 1, "12:00", "notes.sh", "programs", "decline"),
    // sizes and counts are inclusive
    ("bob", 60 << 30, 1, "12:00", "film.mov", "huge", "decline"),
    ("bob", 50 << 30, 1, "12:00", "film.mov", "huge", "decline"),
    ("bob", (50 << 30) - 1, 1, "12:00", "film.xyz", "default", "accept"),
    ("bob", 5000, 1001, "12:00", "a.jpg", "many", "ask"),
    ("bob", 5000, 1000, "12:00", "a.jpg", "pictures", "accept"),
    // types: every file has to fit to be let in
    ("bob", 1000, 1, "12:00", "photo.jpg", "pictures", "accept"),
    ("bob", 1000, 1, "12:00", "PHOTO.JPG", "pictures", "accept"),
    ("bob", 100_000, 2, "12:00", "a.png b.webp", "pictures", "accept"),
    ("bob", 100_001, 1, "12:00", "photo.jpg", "default", "accept"),
    ("bob", 1000, 2, "12:00", "photo.jpg notes.txt", "default", "accept"),
    ("dora", 1000, 1, "12:00", "photo.jpg", "default", "ask"),
    // hours run over midnight, and end before their last minute
    ("bob", 1000, 1, "23:30", "x.pdf", "night", "quarantine"),
    ("bob", 1000, 1, "22:00", "x.pdf", "night", "quarantine"),
    ("bob", 1000, 1, "21:59", "x.pdf", "default", "accept"),
    ("bob", 1000, 1, "00:00", "x.pdf", "night", "quarantine"),
    ("bob", 1000, 1, "05:59", "x.pdf", "night", "quarantine"),
    ("bob", 1000, 1, "06:00", "x.pdf", "default", "accept"),
    ("bob", 1000, 1, "23:30", "x.jpg", "pictures", "accept"),
    ("carol", 1000, 1, "23:30", "x.pdf", "default", "ask"),
    // trust
    ("carol", 1000, 1, "12:00", "photo.jpg", "default", "ask"),
    ("carol", 1000, 1, "12:00", "notes.txt", "short notes", "accept"),
    ("carol", 10_000, 1, "12:00", "notes.txt", "short notes", "accept"),
    ("carol", 10_001, 1, "12:00", "notes.txt", "default", "ask"),
    ("dora", 1000, 1, "12:00", "notes.txt", "default", "ask"),
    // a name proves nothing: it lets nobody in, and whoever took one over has to ask
    ("mallory", 1000, 1, "12:00", "photo.jpg", "default", "ask"),
    ("trent", 1000, 1, "12:00", "photo.jpg", "default", "ask"),
    ("trent", 1000, 1, "12:00", "notes.txt", "default", "ask"),
    // a person's no stays, whatever rules say that do not name it
    ("eve", 1000, 1, "12:00", "film.mkv", "default", "decline"),
    ("eve", 5000, 1001, "12:00", "a.jpg", "default", "decline"),
    ("zed", 1000, 1, "12:00", "notes.txt", "default", "decline"),
    // keys, quotas, rooms
    ("dora", 1 << 30, 1, "12:00", "debian.ISO", "quota", "accept"),
    ("dora", (1 << 30) + 1, 1, "12:00", "debian.iso", "over quota", "decline"),
    ("dora", 1 << 30, 1, "12:00", "debian.img", "default", "ask"),
    ("carol", 10, 2, "12:00", "a b", "class", "accept"),
    ("carol", 10, 3, "12:00", "a b", "class", "accept"),
    ("carol", 10, 4, "12:00", "a b", "default", "ask"),
    ("dora", 10, 2, "12:00", "a b", "default", "ask"),
    // nobody knows what is free, or which network it is: nothing comes in by that
    ("dora", 10, 1, "12:00", "film.mp4", "default", "ask"),
    ("dora", 10, 1, "12:00", "song.mp3", "default", "ask"),
];

#[test]
fn the_first_rule_that_fits_decides() {
    let rules = parse(RULES);
    let mut wrong = Vec::new();
    for (from, bytes, files, at, names, rule, action) in CASES {
        let verdict = verdict(&rules, &facts(&rules, from, *bytes, *files, at, names));
        if (verdict.rule.as_str(), verdict.action.word()) != (*rule, *action) || verdict.why.is_empty() {
            wrong.push(format!("{from}, {bytes} bytes, {files} files, {at}, {names}: {verdict:?}, not {rule}, {action}"));
        }
    }

    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

#[test]
fn a_verdict_says_where_to_how_and_why() {
    let rules = parse(RULES);

    let verdict = verdict(&rules, &facts(&rules, "bob", 1000, 1, "12:00", "photo.jpg"));

    assert_eq!(verdict.dir.as_deref(), Some(Path::new("/home/me/Pictures/in")));
    assert_eq!((verdict.conflict, verdict.rate), (Some(Conflict::Skip), Some(2 << 20)));
    assert_eq!(verdict.run, ["scan", "-v"]);
    assert_eq!(verdict.why, "bob is bob, 1000 bytes, every file is image/*");
    let passed: Vec<_> = verdict.passed.iter().map(|it| (it.rule.as_str(), it.why.as_str())).collect();
    assert_eq!(
        passed,
        [
            ("programs", "no file is *.exe, *.sh, größe[0-9].bin"),
            ("huge", "1000 bytes are fewer than 53687091200"),
            ("many", "1 files are fewer than 1001"),
        ]
    );
}

#[test]
fn what_changes_from_moment_to_moment_is_asked_for() {
    let rules = parse(RULES);
    let with = |from: &str, names: &str, change: &dyn Fn(&mut Facts)| {
        let mut facts = facts(&rules, from, 1000, 1, "12:00", names);
        change(&mut facts);
        verdict(&rules, &facts).rule
    };

    for (network, rule) in
        [("192.168.1.77", "default"), ("192.168.1.0/24", "music at home"), ("AA:BB:CC:DD:EE:FF", "music at home"), ("wlan0", "default")]
    {
        assert_eq!(with("carol", "song.mp3", &|it| it.networks = Networks::named(&[network.to_owned()])), rule, "{network}");
    }
    for (free, rule) in [(Some(10 << 30), "room for films"), (Some((10 << 30) - 1), "default"), (None, "default")] {
        assert_eq!(with("dora", "film.mkv", &|it| it.free.fill(free)), rule, "{free:?}");
    }
    for (today, rule) in [(0, "quota"), ((1 << 30) - 1000, "quota"), ((1 << 30) - 999, "over quota"), (u64::MAX, "over quota")] {
        assert_eq!(with("dora", "a.iso", &|it| it.today = today), rule, "{today}");
    }
}

#[test]
fn names_are_asked_for_only_where_they_decide() {
    let rules = parse(RULES);
    let judged =
        |from: &str, bytes: u64, names: Names| judge(&rules[1..], &Facts { names, ..facts(&rules[1..], from, bytes, 1, "12:00", "x") });

    assert!(matches!(judged("bob", 60 << 30, Names::Unknown), Judgement::Verdict(verdict) if verdict.rule == "huge"));
    assert_eq!(judged("bob", 1000, Names::Unknown), Judgement::NamesNeeded);
    let Judgement::Verdict(withheld) = judged("carol", 1000, Names::Withheld) else { panic!("it is said") };
    assert_eq!((withheld.rule.as_str(), withheld.action), ("short notes", Action::Ask));
}

#[test]
fn an_offer_without_a_file_fits_no_pattern() {
    let rules = parse("[[policy]]\nname = \"all\"\nnames = [\"*\"]\naction = \"accept\"\ntrust = [\"unknown\"]\n");
    let empty = Facts { names: Names::see(&rules, std::iter::empty()), ..facts(&rules, "carol", 0, 0, "12:00", "x") };

    assert_eq!(verdict(&rules, &empty).action, Action::Ask);
}

#[test]
fn a_rule_that_cannot_be_read_lets_nothing_pass_but_by_a_person() {
    let mut rules = parse(RULES);
    rules.insert(1, Arc::new(ParsedRule::unreadable("odd".to_owned(), "it is odd".to_owned())));

    let accepted = verdict(&rules, &facts(&rules, "bob", 1000, 1, "12:00", "photo.jpg"));
    let declined = verdict(&rules, &facts(&rules, "bob", 1000, 1, "12:00", "setup.exe"));

    assert_eq!((accepted.rule.as_str(), accepted.action), ("odd", Action::Ask));
    assert_eq!(declined.rule, "programs");
}

#[test]
fn a_stranger_is_let_in_by_its_whole_key_alone() {
    let key = sender("carol").key;
    let by = |entry: &str, action: &str| {
        let rules = parse(&format!("[[policy]]\nname = \"x\"\nfrom = [{entry:?}]\naction = {action:?}\n"));
        verdict(&rules, &facts(&rules, "carol", 1, 1, "12:00", "x")).rule == "x"
    };

    assert!(by(&key, "accept") && by(&format!("k:{}", key.to_uppercase()), "accept"));
    assert!(!by(&key[..20], "accept") && !by("carol", "accept") && !by("carol", "quarantine"));
    assert!(by("carol", "decline") && by("CAROL", "ask"));
}
