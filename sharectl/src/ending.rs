//! How `sharectl` ends when not with 0: what is said on which stream, and the exit code.

use std::{io, process::ExitCode};

use sharekaro_proto::{ErrorBody, ErrorCode, control::error::ErrorReply};

use crate::print::Screen;

/// Exit code of a program that somebody interrupted, as shells count it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Exit code of a program whose reader went away, as shells count it.
const NO_READER: u8 = 141;

/// Another end than 0.
#[derive(Debug)]
pub(crate) enum End {
    /// This went wrong; nobody said so yet.
    Failed(ErrorBody),
    /// All was said already.
    Told(u8),
    /// The same, with what was said: for who has another place to say it.
    ToldOf { code: u8, errors: Vec<ErrorBody> },
}

impl End {
    /// Something that should work everywhere did not.
    pub(crate) fn unexpected(what: &str, error: &dyn std::error::Error) -> Self {
        Self::Failed(ErrorBody::new(ErrorCode::Unexpected, format!("cannot {what}: {error}")))
    }

    /// Standard output cannot be written; where nobody reads it any more, there is nobody to tell.
    pub(crate) fn no_output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Told(NO_READER) } else { Self::unexpected("write to standard output", error) }
    }

    /// Says what is left to say.
    pub(crate) fn exit(self, screen: &Screen) -> ExitCode {
        match self {
            Self::Told(code) | Self::ToldOf { code, .. } => code.into(),
            Self::Failed(error) => {
                screen.failure(&error);
                let code = error.code.exit_code();
                let _ = screen.say(&ErrorReply { error }, String::new); // the exit code tells it too
                code.into()
            }
        }
    }
}

impl From<ErrorBody> for End {
    fn from(error: ErrorBody) -> Self {
        Self::Failed(error)
    }
}

/// The end of arguments that make no sense, and of `--help` and `--version`, which clap counts among them.
pub(crate) fn of_usage(error: &clap::Error, json: bool) -> ExitCode {
    let printed = error.print();
    if !error.use_stderr() {
        return if printed.is_ok() { ExitCode::SUCCESS } else { NO_READER.into() };
    }
    if json {
        let body = ErrorBody::new(ErrorCode::Usage, first_paragraph(&error.render().to_string())).hint("sharectl --help");
        let _ = Screen::new(true, true).say(&ErrorReply { error: body }, String::new); // the exit code tells it too
    }
    ErrorCode::Usage.exit_code().into()
}

fn first_paragraph(rendered: &str) -> String {
    let paragraph = rendered.trim().split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.strip_prefix("error:").unwrap_or(paragraph).split_whitespace().collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_mistake_in_the_arguments_is_told_in_one_sentence() {
        let error = Cli::try_parse_from(["sharectl", "transfer", "show", "nonsense"]).unwrap_err();

        let told = first_paragraph(&error.render().to_string());

        assert!(told.contains("nonsense") && told.contains("t8") && !told.contains('\n'), "{told}");
    }

    #[test]
    fn a_reader_that_went_away_is_no_defect() {
        assert!(matches!(End::no_output(&io::ErrorKind::BrokenPipe.into()), End::Told(NO_READER)));
        assert!(matches!(End::no_output(&io::ErrorKind::StorageFull.into()), End::Failed(_)));
    }
}
