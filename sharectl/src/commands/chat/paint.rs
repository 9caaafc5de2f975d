//! The window: raw mode and the other page of the terminal while it lives, and only what changed is drawn.

use std::io::{self, Write};

use crossterm::{
    cursor, event,
    style::{Attribute, Print, SetAttribute},
    terminal::{self, ClearType},
};

/// A terminal that shows a page. Dropping it gives the terminal back as it was.
pub(super) struct Window {
    drawn: Vec<String>,
    columns: usize,
    rows: usize,
}

impl Window {
    pub(super) fn open() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let window = Self { drawn: Vec::new(), columns: 0, rows: 0 }; // from here on, its drop undoes all
        crossterm::execute!(io::stdout(), terminal::EnterAlternateScreen, event::EnableBracketedPaste)?;
        Ok(window)
    }

    /// How large it is now: columns and rows. After a change of it everything is drawn anew.
    pub(super) fn size(&mut self) -> (usize, usize) {
        let (columns, rows) = terminal::size().map_or((80, 24), |(columns, rows)| (usize::from(columns), usize::from(rows)));
        if (columns, rows) != (self.columns, self.rows) {
            self.drawn = vec!["\0".to_owned(); rows]; // no line is like this one
            (self.columns, self.rows) = (columns, rows);
        }
        (columns, rows)
    }

    /// Draws those lines that differ, and puts the cursor into the last one.
    pub(super) fn draw(&mut self, lines: Vec<String>, column: usize) -> io::Result<()> {
        let mut out = io::stdout().lock();
        crossterm::queue!(out, cursor::Hide)?;
        for (row, line) in lines.iter().enumerate().filter(|(row, line)| self.drawn.get(*row) != Some(*line)) {
            crossterm::queue!(out, cursor::MoveTo(0, short(row)))?;
            if row == 0 {
                crossterm::queue!(out, SetAttribute(Attribute::Reverse), Print(line), SetAttribute(Attribute::Reset))?;
            } else {
                crossterm::queue!(out, Print(line))?;
            }
            crossterm::queue!(out, terminal::Clear(ClearType::UntilNewLine))?;
        }
        crossterm::queue!(out, cursor::MoveTo(short(column), short(lines.len().saturating_sub(1))), cursor::Show)?;
        self.drawn = lines;
        out.flush()
    }
}

fn short(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

impl Drop for Window {
    fn drop(&mut self) {
        // nothing is left to do where this fails
        let _ = crossterm::execute!(io::stdout(), event::DisableBracketedPaste, terminal::LeaveAlternateScreen, cursor::Show);
        let _ = terminal::disable_raw_mode();
    }
}
