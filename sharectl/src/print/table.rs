//! Tables without lines: columns that a person reads and `cut` does not have to.

use comfy_table::{Cell, Table, presets};
use sharekaro_proto::nouns::text::Shown;

/// A table with a header. Every cell is shown, never obeyed.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = plain();
    table.set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| Cell::new(Shown(cell).to_string())));
    }
    without_margin(&table)
}

/// Names and values below each other.
pub(crate) fn pairs<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = plain();
    for (name, value) in rows {
        table.add_row([Cell::new(name), Cell::new(Shown(&value).to_string())]);
    }
    without_margin(&table)
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty();
    table
}

/// The lines of a table without the blank column that each begins with.
fn without_margin(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::nouns::text::is_obeyed;

    use super::*;

    #[test]
    fn a_hostile_name_stays_in_its_cell() {
        let rows = [["\u{1b}[31mroot\nbob  yes".to_owned(), "x".to_owned()], ["alice".to_owned(), "\u{202e}y\r".to_owned()]];

        let text = table(["NAME", "TRUST"], rows);

        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.lines().all(|line| !line.chars().any(is_obeyed)), "{text}");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let text = pairs([("id", "abc".to_owned()), ("version", "1".to_owned())]);

        assert_eq!(text, "id       abc\nversion  1");
    }
}
