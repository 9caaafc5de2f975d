//! The unit file that `daemon install` writes: the one of the packages, with the program of this build in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use sharekaro_proto::{ErrorBody, ErrorCode};

use super::systemd::UNIT;

/// The unit of the packages.
const PACKAGED: &str = include_str!("../../../../systemd/user/sharekarod.service");

/// By its first line we know our own.
const MARK: &str = "# Written by `sharectl daemon install`, removed by `sharectl daemon uninstall`.\n";

/// Where units of this person alone lie.
pub(super) struct UnitFile {
    path: PathBuf,
}

impl UnitFile {
    pub(super) fn of_this_person() -> Result<Self, ErrorBody> {
        let dirs = etcetera::choose_base_strategy()
            .map_err(|_| ErrorBody::new(ErrorCode::LocalFile, "there is no home directory to write a unit to").hint("set HOME"))?;
        Ok(Self { path: dirs.config_dir().join("systemd/user").join(UNIT) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the unit for this program, in the place of an older one of ours.
    pub(super) fn write(&self, program: &Path) -> Result<(), ErrorBody> {
        if self.path.exists() {
            self.ensure_ours()?;
        }
        let text = text(program)?;
        let written = fs::create_dir_all(self.path.parent().unwrap_or(&self.path)).and_then(|()| fs::write(&self.path, text));
        written.map_err(|error| self.failed("write", &error))
    }

    pub(super) fn remove(&self) -> Result<(), ErrorBody> {
        fs::remove_file(&self.path).map_err(|error| self.failed("remove", &error))
    }

    /// A unit that a person wrote is no affair of ours.
    pub(super) fn ensure_ours(&self) -> Result<(), ErrorBody> {
        let shown = self.path.display();
        match fs::read_to_string(&self.path) {
            Ok(text) if text.starts_with(MARK) || is_of_run_sh(&text) => Ok(()),
            Ok(_) => Err(ErrorBody::new(ErrorCode::WrongState, format!("{shown} was not written by `sharectl daemon install`"))
                .hint("move it away if you do not need it")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ErrorBody::new(ErrorCode::NotFound, format!("there is no {shown}: nothing was installed for you alone"))
                    .hint("a unit that a package brought is stopped by `sharectl daemon stop`, and goes with the package"))
            }
            Err(error) => Err(self.failed("read", &error)),
        }
    }

    fn failed(&self, what: &str, error: &io::Error) -> ErrorBody {
        ErrorBody::new(ErrorCode::LocalFile, format!("cannot {what} {}: {error}", self.path.display())).hint("look at the folder's owner")
    }
}

/// Before there was a mark, `run.sh` wrote the unit as it is, save for the program.
fn is_of_run_sh(text: &str) -> bool {
    text.starts_with("[Unit]\nDescription=ShareKaro: ") && text.contains("/target/release/sharekarod")
}

/// The packaged unit with this program in it, quoted as systemd.service(5) wants it.
fn text(program: &Path) -> Result<String, ErrorBody> {
    let Some(path) = program.to_str().filter(|path| !path.contains(['\n', '"', '\\'])) else {
        return Err(ErrorBody::new(ErrorCode::LocalFile, format!("a unit cannot name {}", program.display()))
            .hint("move the build to a folder with a plain name"));
    };
    // % begins a specifier, $ a variable
    let quoted = format!("ExecStart=\"{}\"", path.replace('%', "%%").replace('$', "$$"));
    Ok(MARK.to_owned() + &PACKAGED.replace("ExecStart=/usr/bin/sharekarod", &quoted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_names_the_program_of_this_build() {
        let unit = text(Path::new("/home/anna/50% of $it/sharekarod")).unwrap();

        assert!(unit.contains("\nExecStart=\"/home/anna/50%% of $$it/sharekarod\"\n"), "{unit}");
        assert!(!unit.contains("/usr/bin/sharekarod") && unit.contains("Type=notify"));
        assert!(text(Path::new("/a\"b/sharekarod")).is_err());
    }

    #[test]
    fn what_a_person_wrote_is_neither_replaced_nor_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = UnitFile { path: dir.path().join("units").join(UNIT) };
        assert_eq!(file.ensure_ours().unwrap_err().code, ErrorCode::NotFound);

        file.write(Path::new("/a/sharekarod")).unwrap();
        file.write(Path::new("/b/sharekarod")).unwrap();
        assert!(fs::read_to_string(file.path()).unwrap().contains("/b/sharekarod"));

        fs::write(file.path(), "[Service]\nExecStart=/mine\n").unwrap();
        assert_eq!(file.write(Path::new("/c/sharekarod")).unwrap_err().code, ErrorCode::WrongState);
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "[Service]\nExecStart=/mine\n");
    }
}
