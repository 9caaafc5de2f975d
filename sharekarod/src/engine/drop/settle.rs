//! When something that was dropped is whole: a state machine over what was noticed and what looks saw. No clock, no
//! files: both are arguments.
//!
//! Nothing is believed of an event but that something happened. What is whole looks the same twice, some time apart,
//! after nothing was heard of it for a while, and nobody holds it open for writing.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use crate::files::dropped::{Kind, Print, Seen};

/// Quiet for so long: editors and downloads that write by renaming are done within.
pub const QUIET: Duration = Duration::from_secs(2);

/// Between two looks that have to see the same.
pub const STEADY: Duration = Duration::from_secs(1);

/// Quiet for so long where nobody can tell whether it is held open: we came late, and may not look into the processes.
pub const BLIND: Duration = Duration::from_secs(30);

/// What is not finished is looked at again after this, twice as long each time...
const AGAIN_FIRST: Duration = Duration::from_secs(2);

/// ...up to this, unless it is heard of before.
const AGAIN_MAX: Duration = Duration::from_secs(300);

/// So many open files of one thing are told apart; with more, events no longer say whether all were closed.
const OPEN_MAX: usize = 4_096;

/// What was noticed of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// It came into being or was written to: somebody may hold it open.
    Written,
    /// Somebody who could write to it closed it.
    Closed,
    /// A folder came into being, and is watched from now on.
    Made,
    /// It was moved in, or was there before somebody watched: what holds it open is not known.
    Uncertain,
    /// It is gone from its place.
    Gone,
    /// Something else about it.
    Other,
}

/// Whether somebody holds it open for writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// Nobody does.
    No,
    /// Somebody does.
    Yes,
    /// That cannot be told here.
    Unknown,
}

/// What becomes of it now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is whole.
    Whole,
    /// It is not there any more.
    Gone,
    /// It is nothing that could be sent.
    Unfit(&'static str),
    /// Not yet.
    Later(Why),
}

/// Why not yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// It changed a moment ago.
    Fresh,
    /// A program has it open for writing.
    Open,
    /// We cannot see whether a program has it open.
    Blind,
    /// This name says that a download goes on.
    Unfinished(String),
    /// A folder with no file in it.
    Empty,
}

/// Something that was dropped, on its way to being whole.
#[derive(Debug)]
pub struct Settle {
    /// When it was heard of last.
    touched: Instant,
    /// What the last look saw, and since when looks see that.
    seen: Option<(Print, Instant)>,
    /// Files of it that were written and not closed since, as events tell.
    open: BTreeSet<PathBuf>,
    /// Events tell all of its life, none was lost.
    heard: bool,
    /// The pause before the next look at what is not finished.
    pause: Duration,
    /// When to look next.
    due: Instant,
}

impl Settle {
    /// Found by looking: what happened to it before is not known.
    pub fn found(now: Instant) -> Self {
        Self { touched: now, seen: None, open: BTreeSet::new(), heard: false, pause: AGAIN_FIRST, due: now + STEADY }
    }

    /// Heard of for the first time. `inner` is the file in it, empty for itself.
    pub fn heard(now: Instant, inner: &Path, sign: Sign) -> Self {
        // what comes into being before our eyes is watched from its first byte on
        let mut new = Self { heard: matches!(sign, Sign::Written | Sign::Made), ..Self::found(now) };
        new.touch(now, inner, sign);
        new
    }

    /// Heard of.
    pub fn touch(&mut self, now: Instant, inner: &Path, sign: Sign) {
        match sign {
            Sign::Written if self.open.len() >= OPEN_MAX => self.heard = false,
            Sign::Written => drop(self.open.insert(inner.to_owned())),
            Sign::Closed | Sign::Gone => drop(self.open.remove(inner)),
            Sign::Uncertain => self.heard = false,
            Sign::Made | Sign::Other => {}
        }
        self.touched = now;
        self.pause = AGAIN_FIRST;
        self.due = now + STEADY;
    }

    /// Events were lost: it is as if it had been found just now.
    pub fn lost(&mut self, now: Instant) {
        *self = Self::found(now);
    }

    /// It is to be looked at now, as a person asks.
    pub fn hurry(&mut self, now: Instant) {
        self.pause = AGAIN_FIRST;
        self.due = now;
    }

    /// When to look next.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// What a look has to see now for it to be worth finding out who holds it open.
    pub fn expects(&self, now: Instant) -> Option<Print> {
        let (print, since) = self.seen?;
        (now >= self.touched + QUIET && now >= since + STEADY).then_some(print)
    }

    /// A look saw this. `age` is how long ago its content changed, by the wall clock.
    pub fn looked(&mut self, now: Instant, seen: Option<&Seen>, age: Duration, held: Held) -> Verdict {
        let Some(seen) = seen else { return Verdict::Gone };
        let steady = match self.seen {
            Some((print, since)) if print == seen.print => now.saturating_duration_since(since),
            _ => {
                self.seen = Some((seen.print, now));
                Duration::ZERO
            }
        };
        let quiet = now.saturating_duration_since(self.touched);
        if quiet < QUIET || steady < STEADY {
            self.due = now + (QUIET.saturating_sub(quiet)).max(STEADY.saturating_sub(steady));
            return Verdict::Later(Why::Fresh);
        }
        match seen.kind {
            Kind::Link => return Verdict::Unfit("it is a link, and links are not followed: put the file itself here"),
            Kind::Special => return Verdict::Unfit("it is neither a file nor a folder"),
            Kind::File | Kind::Folder => {}
        }
        let why = match (&seen.unfinished, held) {
            (Some(name), _) => Why::Unfinished(name.clone()),
            _ if !seen.readable => return Verdict::Whole, // the send says why it cannot be read
            _ if seen.kind == Kind::Folder && seen.files == 0 => Why::Empty,
            (None, Held::Yes) => Why::Open,
            (None, Held::Unknown) if !self.known_closed() && age.max(steady) < BLIND => {
                self.due = now + (BLIND - age.max(steady)).max(STEADY);
                return Verdict::Later(Why::Blind);
            }
            (None, Held::No | Held::Unknown) => return Verdict::Whole,
        };
        self.due = now + self.pause;
        self.pause = (self.pause * 2).min(AGAIN_MAX);
        Verdict::Later(why)
    }

    /// Whether events tell that everything of it was closed.
    fn known_closed(&self) -> bool {
        self.heard && self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ITSELF: &str = "";

    fn file(print: u8) -> Seen {
        Seen { kind: Kind::File, print: [print; 16], ino: 1, bytes: 1, files: 1, unfinished: None, changed_ms: 0, readable: true }
    }

    /// Looks whenever a look is due, until this time; the first verdict that is not "later", and when it came.
    fn run(settle: &mut Settle, until: Instant, seen: &Seen, held: Held) -> (Verdict, Instant) {
        let mut last = (Verdict::Later(Why::Fresh), settle.due());
        while settle.due() <= until {
            let now = settle.due();
            last = (settle.looked(now, Some(seen), Duration::ZERO, held), now);
            if !matches!(last.0, Verdict::Later(_)) {
                break;
            }
        }
        last
    }

    #[test]
    fn what_was_closed_goes_after_two_seconds_of_quiet() {
        let began = Instant::now();
        let mut settle = Settle::heard(began, Path::new(ITSELF), Sign::Written);
        settle.touch(began + SECOND, Path::new(ITSELF), Sign::Closed);

        let (verdict, at) = run(&mut settle, began + 60 * SECOND, &file(1), Held::No);

        assert_eq!((verdict, at), (Verdict::Whole, began + SECOND + QUIET));
    }

    #[test]
    fn what_is_held_open_waits_and_is_looked_at_more_and_more_rarely() {
        let began = Instant::now();
        let mut settle = Settle::found(began);

        let mut looks = 0;
        while settle.due() < began + 3600 * SECOND {
            let now = settle.due();
            let verdict = settle.looked(now, Some(&file(1)), Duration::ZERO, Held::Yes);
            looks += 1;
            assert!(looks < 3 || verdict == Verdict::Later(Why::Open), "{verdict:?}");
        }

        assert!(looks < 30, "{looks} looks in an hour");
        settle.touch(began + 3600 * SECOND, Path::new(ITSELF), Sign::Closed);
        let (verdict, at) = run(&mut settle, began + 3700 * SECOND, &file(1), Held::No);
        assert_eq!((verdict, at), (Verdict::Whole, began + 3600 * SECOND + QUIET));
    }

    #[test]
    fn where_nobody_can_see_who_writes_only_what_was_closed_before_our_eyes_goes_at_once() {
        let began = Instant::now();
        let mut watched = Settle::heard(began, Path::new(ITSELF), Sign::Written);
        watched.touch(began, Path::new(ITSELF), Sign::Closed);
        assert_eq!(run(&mut watched, began + 200 * SECOND, &file(1), Held::Unknown).1, began + QUIET);

        let mut unclosed = Settle::heard(began, Path::new(ITSELF), Sign::Written);
        let mut uncertain = Settle::heard(began, Path::new(ITSELF), Sign::Uncertain);
        let mut found = Settle::found(began);
        let mut lost = Settle::heard(began, Path::new(ITSELF), Sign::Closed);
        lost.lost(began);
        for settle in [&mut unclosed, &mut uncertain, &mut found, &mut lost] {
            let (verdict, at) = run(settle, began + 200 * SECOND, &file(1), Held::Unknown);
            assert_eq!(verdict, Verdict::Whole);
            assert!(at >= began + BLIND, "after {:?}", at - began);
        }
        // a file that did not change for long needs no further minute
        let mut old = Settle::found(began);
        while !matches!(old.looked(old.due(), Some(&file(1)), BLIND, Held::Unknown), Verdict::Whole) {}
        assert!(old.due() <= began + QUIET);
    }

    #[test]
    fn a_download_an_empty_folder_and_what_cannot_be_sent_are_told_apart() {
        let began = Instant::now();
        let folder = Seen { kind: Kind::Folder, files: 0, ..file(1) };
        let part = Seen { unfinished: Some("x.part".into()), ..file(1) };
        let verdict = |seen: &Seen| run(&mut Settle::found(began), began + 5 * SECOND, seen, Held::No).0;

        assert_eq!(verdict(&part), Verdict::Later(Why::Unfinished("x.part".into())));
        assert_eq!(verdict(&folder), Verdict::Later(Why::Empty));
        assert_eq!(verdict(&Seen { readable: false, ..folder }), Verdict::Whole);
        assert!(matches!(verdict(&Seen { kind: Kind::Link, ..file(1) }), Verdict::Unfit(_)));
        assert!(matches!(verdict(&Seen { kind: Kind::Special, ..file(1) }), Verdict::Unfit(_)));
        assert_eq!(Settle::found(began).looked(began, None, Duration::ZERO, Held::No), Verdict::Gone);
    }

    /// A step of a writer: it waits, and then does something.
    #[derive(Clone, Debug)]
    enum Step {
        Write,
        Close,
        Rename,
        LoseEvents,
    }

    fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
        let step = prop_oneof![Just(Step::Write), Just(Step::Close), Just(Step::Rename), Just(Step::LoseEvents)];
        prop::collection::vec((0..6_000u64, step), 1..30)
    }

    proptest! {
        /// Whatever a writer does, and whatever part of it is noticed: nothing goes while it is held open, nor sooner
        /// than two seconds after its last change; and once the writer is done, it goes within half a minute.
        #[test]
        fn nothing_goes_before_it_is_whole_and_everything_does_at_last(steps in steps(), notices in any::<u64>()) {
            let began = Instant::now();
            let (mut now, mut changed, mut print, mut open) = (began, began, 0, false);
            let mut settle = Settle::found(began);
            for (i, (pause, step)) in steps.into_iter().enumerate() {
                let next = now + Duration::from_millis(pause);
                let (verdict, at) = run(&mut settle, next, &file(print), if open { Held::Yes } else { Held::No });
                if verdict == Verdict::Whole {
                    prop_assert!(!open, "held open");
                    prop_assert!(at >= changed + STEADY, "{:?} after it changed", at - changed);
                    return Ok(());
                }
                now = next;
                let (sign, changes) = match step {
                    Step::Write => (Sign::Written, true),
                    Step::Close => (Sign::Closed, false),
                    Step::Rename => (Sign::Uncertain, true),
                    Step::LoseEvents => { settle.lost(now); continue }
                };
                open = sign == Sign::Written || open && sign != Sign::Closed;
                if changes {
                    (print, changed) = (print + 1, now);
                }
                if notices >> (i % 64) & 1 == 1 {
                    settle.touch(now, Path::new(ITSELF), sign);
                }
            }
            settle.touch(now, Path::new(ITSELF), Sign::Closed);
            let (verdict, at) = run(&mut settle, now + 30 * SECOND, &file(print), Held::No);
            prop_assert_eq!(verdict, Verdict::Whole);
            prop_assert!(at >= now + QUIET && at <= now + QUIET + STEADY, "{:?}", at - now);
        }

        /// Where the events are all there is, they are enough: every file of a folder has to be closed.
        #[test]
        fn a_folder_goes_when_the_last_of_its_files_is_closed(order in Just((0..20u32).collect::<Vec<_>>()).prop_shuffle()) {
            let began = Instant::now();
            let name = |i: &u32| PathBuf::from(format!("d/{i}"));
            let mut settle = Settle::heard(began, Path::new(ITSELF), Sign::Made);
            (0..20).for_each(|i| settle.touch(began, &name(&i), Sign::Written));
            let folder = Seen { kind: Kind::Folder, ..file(1) };
            for (i, file) in order.iter().enumerate() {
                let now = began + SECOND * i as u32;
                prop_assert!(settle.looked(now, Some(&folder), Duration::ZERO, Held::Unknown) != Verdict::Whole);
                settle.touch(now, &name(file), Sign::Closed);
            }
            let (verdict, _) = run(&mut settle, began + 25 * SECOND, &folder, Held::Unknown);
            prop_assert_eq!(verdict, Verdict::Whole);
        }
    }
}
