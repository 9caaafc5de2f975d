//! `manual DIR`: the man pages, made from the same grammar that parses the arguments; packages ship them.
//!
//! What the grammar does not say (exit codes, examples, files) stands in `manual.roff`, and goes into sharectl(1).

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use sharekaro_proto::{ErrorBody, ErrorCode};

use crate::{cli::Cli, ending::End};

/// What only the first page has.
const MORE: &str = include_str!("manual.roff");

#[derive(Args, Debug)]
pub(crate) struct Manual {
    /// An empty folder
    dir: PathBuf,
}

impl Manual {
    pub(crate) fn run(self) -> Result<(), End> {
        let mut grammar = Cli::command().disable_help_subcommand(true);
        grammar.build();
        write_pages(&grammar, None, &self.dir).map_err(|error| {
            ErrorBody::new(ErrorCode::LocalFile, format!("cannot write manual pages to {}: {error}", self.dir.display()))
                .hint("name a folder that is there")
                .into()
        })
    }
}

/// The page of a verb and those of its own verbs; `above` is the name of the page that it is a part of.
fn write_pages(verb: &Command, above: Option<&str>, dir: &Path) -> io::Result<()> {
    let name = verb.get_display_name().unwrap_or_else(|| verb.get_name());
    let page = Man::new(verb.clone()).source(concat!("ShareKaro ", env!("CARGO_PKG_VERSION"))).manual("ShareKaro");
    let mut file = File::create(dir.join(page.get_filename()))?;
    page.render_title(&mut file)?;
    page.render_name_section(&mut file)?;
    write!(file, ".SH SYNOPSIS\n.nf\n{}\n.fi\n", usage(verb))?; // clap_mangen leaves out what options take
    page.render_description_section(&mut file)?;
    page.render_options_section(&mut file)?;
    if verb.has_subcommands() {
        page.render_subcommands_section(&mut file)?;
    }
    match above {
        None => write!(file, "{MORE}.SH \"SEE ALSO\"\n.BR sharekarod (8)\n")?,
        Some(above) => writeln!(file, ".SH \"SEE ALSO\"\n.BR {} (1)", above.replace('-', "\\-"))?,
    }
    file.flush()?;
    verb.get_subcommands().filter(|verb| !verb.is_hide_set()).try_for_each(|below| write_pages(below, Some(name), dir))
}

/// How the verb is typed, for roff.
fn usage(verb: &Command) -> String {
    let usage = verb.clone().render_usage().to_string();
    let lines = usage.lines().map(|line| line.trim_start_matches("Usage:").trim());
    lines.collect::<Vec<_>>().join("\n").replace('\\', "\\e").replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn every_verb_has_a_page_and_the_first_one_says_how_it_ends() {
        let dir = tempfile::tempdir().unwrap();

        Manual { dir: dir.path().to_owned() }.run().ok().unwrap();

        let page = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let first = page("sharectl.1");
        for code in ErrorCode::ALL {
            assert!(first.contains(&format!(".TP\n.B {}\n", code.exit_code())), "{code} is not explained");
        }
        assert!(page("sharectl-inbox-accept.1").contains("\nsharectl inbox accept [OPTIONS] <ID>\n"));
        assert!(page("sharectl-inbox-accept.1").contains("SEE ALSO\"\n.BR sharectl\\-inbox (1)"));
        assert!(!dir.path().join("sharectl-manual.1").exists(), "a page for what is hidden");
    }

    #[test]
    fn the_examples_are_what_sharectl_understands() {
        let (_, examples) = MORE.split_once(".SH EXAMPLES").unwrap();
        let lines: Vec<&str> = examples.lines().filter_map(|line| line.strip_prefix(".B ")).collect();

        for line in &lines {
            assert!(Cli::try_parse_from(line.replace("\\-", "-").split(' ')).is_ok(), "{line}");
        }
        assert!(lines.len() > 3);
    }
}
