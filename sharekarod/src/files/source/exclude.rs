//! What a walk leaves out because a person said so, on the command line or in `.gitignore` files.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use crate::files::{FileName, dir::Dir};

/// A longer file of patterns is not one.
const IGNORE_FILE_MAX: u64 = 1 << 20;

/// Patterns of `--exclude`: each on a name or on the end of a path, at any depth; `build/` means folders only.
#[derive(Default)]
pub(super) struct Exclude {
    any: GlobSet,
    folders: GlobSet,
}

impl Exclude {
    pub(super) fn parse(patterns: &[String]) -> Result<Self, globset::Error> {
        let (mut any, mut folders) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let (set, pattern) = match pattern.strip_suffix('/') {
                Some(folder) => (&mut folders, folder),
                None => (&mut any, pattern.as_str()),
            };
            let anywhere = format!("**/{}", pattern.trim_start_matches("./").trim_start_matches('/'));
            set.add(GlobBuilder::new(&anywhere).literal_separator(true).build()?);
        }
        Ok(Self { any: any.build()?, folders: folders.build()? })
    }

    pub(super) fn matches(&self, path: &Path, is_folder: bool) -> bool {
        self.any.is_match(path) || is_folder && self.folders.is_match(path)
    }
}

/// The `.gitignore` and `.ignore` of a folder, and those of the folders above it.
pub(super) struct IgnoreFiles {
    patterns: Gitignore,
    /// Path of the folder that they stand in.
    base: PathBuf,
    above: Option<Arc<IgnoreFiles>>,
}

impl IgnoreFiles {
    /// Those that count in a folder; a file that cannot be read has no patterns, a line that is none is left out.
    pub(super) fn read(folder: &Dir, path: &Path, above: Option<Arc<Self>>) -> Option<Arc<Self>> {
        let mut builder = GitignoreBuilder::new("");
        let mut found = false;
        for name in [".gitignore", ".ignore"] {
            for line in text_of(folder, name).lines() {
                found |= builder.add_line(None, line).is_ok();
            }
        }
        match builder.build() {
            Ok(patterns) if found => Some(Arc::new(Self { patterns, base: path.to_owned(), above })),
            _ => above,
        }
    }

    /// The innermost file that says anything of the path decides.
    pub(super) fn matches(&self, path: &Path, is_folder: bool) -> bool {
        let mut at = Some(self);
        while let Some(files) = at {
            let below = path.strip_prefix(&files.base).unwrap_or(path);
            match files.patterns.matched(below, is_folder) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => at = files.above.as_deref(),
            }
        }
        false
    }
}

fn text_of(folder: &Dir, name: &'static str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = folder.read(&FileName::own(name))
        && file.metadata().is_ok_and(|meta| meta.is_file())
    {
        let _unreadable_is_empty = file.take(IGNORE_FILE_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_names_and_ends_of_paths_at_any_depth() {
        let patterns = ["*.o", "target/", "docs/*.tmp", "./x"].map(String::from);
        let exclude = Exclude::parse(&patterns).unwrap();

        let out = [("a.o", false), ("p/q/a.o", false), ("p/target", true), ("p/docs/a.tmp", false), ("p/x", false)];
        let kept = [("a.c", false), ("p/target", false), ("docs/deep/a.tmp", false), ("a.o.txt", false), ("xx", false)];
        for (path, is_folder) in out {
            assert!(exclude.matches(Path::new(path), is_folder), "{path}");
        }
        for (path, is_folder) in kept {
            assert!(!exclude.matches(Path::new(path), is_folder), "{path}");
        }
        assert!(Exclude::parse(&["a[".into()]).is_err());
    }
}
