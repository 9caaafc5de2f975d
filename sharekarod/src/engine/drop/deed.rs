//! What is carried out on the disk: filed away, put back, removed, or only looked at.

use std::path::{Path, PathBuf};

use crate::{
    config::DropAfter,
    crash,
    files::dropped::{DropDir, FAILED, FilingError, Print, Removal, SENT, Trouble},
    store::drops::DropRow,
};

/// What is to be done about a row.
pub(super) enum Plan {
    /// Nothing but to see whether it is still there.
    Watch,
    /// Everybody has it.
    Deliver(DropAfter),
    /// It is marked to be removed.
    Remove,
    /// It is marked as failed.
    Fail(String),
    /// Some lack it still.
    Again,
}

/// What was done.
pub(super) enum Done {
    /// It is as it was.
    Nothing,
    /// It is there, and some lack it still.
    Lacked,
    /// It is in `Sent` or `Failed` now.
    Filed(PathBuf),
    /// It stays where it is.
    Stays,
    /// It is as it was sent, and may be removed.
    Removable,
    /// It was removed.
    Removed,
    /// It is not there any more.
    Gone,
    /// It is called otherwise now.
    Renamed(PathBuf),
    /// It is no longer what was sent.
    Changed,
    /// Not now.
    Refused(String),
}

/// Something to be done about a row.
pub(super) struct Deed {
    pub(super) row: DropRow,
    pub(super) plan: Plan,
}

/// Does it; blocks.
pub(super) fn carry_out(deed: &Deed) -> Done {
    let dir = match DropDir::open(&deed.row.root) {
        Ok(dir) => dir,
        Err(e) => return Done::Refused(format!("the drop folder cannot be used: {e}")),
    };
    let now = match dir.look(&deed.row.place, &mut Vec::new()) {
        Ok(now) => now,
        Err(Trouble::Missing(_)) => None,
        Err(e) => return Done::Refused(format!("its folder cannot be used: {e}")),
    };
    match &deed.plan {
        Plan::Remove => match dir.remove_sent(&deed.row.place, deed.row.id, &deed.row.print) {
            Ok(Removal::Removed) => Done::Removed,
            Ok(Removal::Changed) => Done::Changed,
            Err(e) => Done::Refused(format!("everybody has it, and it cannot be removed: {e}")),
        },
        Plan::Fail(reason) => fail(&dir, &deed.row, now.is_some(), reason),
        Plan::Again => again(&dir, &deed.row, now.is_some()),
        Plan::Watch if now.is_some() => Done::Nothing,
        Plan::Watch => renamed(&dir, &deed.row).map_or(Done::Gone, Done::Renamed),
        Plan::Deliver(after) => match now {
            Some(now) if now.print != deed.row.print => Done::Changed,
            Some(_) => deliver(&dir, &deed.row, *after),
            None => match renamed(&dir, &deed.row) {
                Some(place) => Done::Renamed(place),
                None => dir.find_ino(&filed_folder(SENT, &deed.row), deed.row.ino).map_or(Done::Gone, Done::Filed),
            },
        },
    }
}

fn deliver(dir: &DropDir, row: &DropRow, after: DropAfter) -> Done {
    match after {
        DropAfter::Keep => return Done::Stays,
        DropAfter::Delete => return Done::Removable,
        DropAfter::Move => {}
    }
    let filed = dir.file_away(&row.place, SENT, whose(row));
    crash::point("drop-moved");
    match filed {
        // somebody wrote to it in the very moment: what is in `Sent` is what was sent, always
        Ok(filed) if dir.look(&filed, &mut Vec::new()).is_ok_and(|it| it.is_some_and(|it| it.print != row.print)) => {
            match dir.put_back(&filed, &row.place) {
                Ok(_) => Done::Changed,
                Err(_) => Done::Filed(filed),
            }
        }
        Ok(filed) => Done::Filed(filed),
        Err(FilingError::Gone) => Done::Gone,
        Err(e) => Done::Refused(format!("everybody has it, and it cannot be moved to {SENT}: {e}")),
    }
}

fn fail(dir: &DropDir, row: &DropRow, is_there: bool, reason: &str) -> Done {
    let filed = match is_there {
        true => match dir.file_away(&row.place, FAILED, whose(row)) {
            Ok(filed) => filed,
            Err(FilingError::Gone) => return Done::Gone,
            Err(e) => return Done::Refused(format!("{reason} (and it cannot be moved to {FAILED}: {e})")),
        },
        false => match dir.find_ino(&filed_folder(FAILED, row), row.ino) {
            Some(filed) => filed,
            None => return Done::Gone,
        },
    };
    if let Err(e) = dir.write_reason(&filed, reason) {
        tracing::warn!("cannot write why something failed: {e}");
    }
    Done::Filed(filed)
}

/// What goes again lies in `Failed` perhaps, and comes back first.
fn again(dir: &DropDir, row: &DropRow, is_there: bool) -> Done {
    match &row.filed {
        Some(filed) if dir.is_there(filed) => match dir.put_back(filed, &row.place) {
            Ok(place) => Done::Renamed(place),
            Err(FilingError::Gone) => Done::Gone,
            Err(e) => Done::Refused(format!("it cannot be moved back: {e}")),
        },
        _ if is_there => Done::Lacked,
        _ => renamed(dir, row).map_or(Done::Gone, Done::Renamed),
    }
}

/// Where it is now, where it was only renamed in its folder.
fn renamed(dir: &DropDir, row: &DropRow) -> Option<PathBuf> {
    let folder = row.place.parent().unwrap_or(Path::new(""));
    let place = dir.find_ino(folder, row.ino)?;
    let print: Print = dir.look(&place, &mut Vec::new()).ok()??.print;
    (print == row.print).then_some(place)
}

fn filed_folder(into: &str, row: &DropRow) -> PathBuf {
    Path::new(into).join(whose(row).replace('/', "_"))
}

/// The folder in `Sent` and `Failed`: as the target is called.
fn whose(row: &DropRow) -> &str {
    if row.target.is_empty() { "nobody" } else { &row.target }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::drops::Stage;

    #[test]
    fn a_version_that_was_never_sent_is_not_removed_with_the_one_before_it() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("Drop");
        let dir = DropDir::open_or_make(&root).unwrap();
        fs::create_dir(root.join("bob")).unwrap();
        let place = PathBuf::from("bob/scan.pdf");
        fs::write(root.join(&place), "sent").unwrap();
        let seen = dir.look(&place, &mut Vec::new()).unwrap().unwrap();
        let row = DropRow {
            id: 3,
            root: root.clone(),
            place: place.clone(),
            travels_as: None,
            target: "bob".into(),
            print: seen.print,
            ino: seen.ino,
            stage: Stage::Removing,
            reason: None,
            filed: None,
            changed_ms: 0,
            receivers: Vec::new(),
        };
        let remove = || carry_out(&Deed { row: row.clone(), plan: Plan::Remove });

        fs::write(root.join(&place), "scanned again").unwrap();
        assert!(matches!(remove(), Done::Changed));
        assert_eq!(fs::read_to_string(root.join(&place)).unwrap(), "scanned again");

        fs::remove_file(root.join(&place)).unwrap();
        assert!(matches!(remove(), Done::Removed));
        fs::remove_dir(root.join("bob")).unwrap();
        assert!(matches!(remove(), Done::Removed), "with its folder");
    }
}
