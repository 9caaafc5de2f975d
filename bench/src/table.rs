//! Figures of several rounds, and the table of them.

use std::fmt::Write;

/// A figure of one workload: every round's value, and what it should be.
pub(crate) struct Figure {
    name: &'static str,
    unit: &'static str,
    values: Vec<f64>,
    goal: Goal,
}

/// What a figure should be.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// At most this much.
    AtMost(f64),
    /// At least this much.
    AtLeast(f64),
    /// It only explains another figure.
    None,
}

impl Figure {
    pub(crate) fn new(name: &'static str, unit: &'static str, goal: Goal) -> Self {
        Self { name, unit, values: Vec::new(), goal }
    }

    pub(crate) fn add(&mut self, value: f64) {
        self.values.push(value);
        self.values.sort_by(f64::total_cmp);
    }

    /// The middle value; the mean of the middle two where there are two.
    pub(crate) fn median(&self) -> f64 {
        let middle = self.values.len() / 2;
        match (self.values.len() % 2, middle) {
            (_, 0) => self.values.first().copied().unwrap_or(f64::NAN),
            (0, _) => f64::midpoint(self.values[middle - 1], self.values[middle]),
            _ => self.values[middle],
        }
    }

    fn verdict(&self) -> String {
        let (sign, goal, met) = match self.goal {
            Goal::AtMost(goal) => ("<=", goal, self.median() <= goal),
            Goal::AtLeast(goal) => (">=", goal, self.median() >= goal),
            Goal::None => return String::new(),
        };
        format!("{sign} {goal:<6} {}", if met { "met" } else { "MISSED" })
    }

    fn row(&self) -> String {
        let (low, high) = (self.values.first().copied().unwrap_or(f64::NAN), self.values.last().copied().unwrap_or(f64::NAN));
        let range = format!("{low:.2} to {high:.2}");
        format!("{:<44} {:>9.2} {:<7} {range:<20} {:<4} {}", self.name, self.median(), self.unit, self.values.len(), self.verdict())
    }
}

/// The table of all figures.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut out = format!("{:<44} {:>9} {:<7} {:<20} {:<4} goal\n", "figure", "median", "", "min to max", "n");
    for figure in figures {
        let _ = writeln!(out, "{}", figure.row().trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_the_goal_is_judged_by_it() {
        let mut figure = Figure::new("x", "s", Goal::AtMost(2.0));
        for value in [9.0, 1.0, 2.0] {
            figure.add(value);
        }

        assert_eq!(figure.median(), 2.0);
        assert!(figure.row().ends_with("met") && figure.row().contains("1.00 to 9.00"));
        figure.add(4.0);
        assert_eq!(figure.median(), 3.0);
        assert!(figure.row().ends_with("MISSED"));
    }
}
