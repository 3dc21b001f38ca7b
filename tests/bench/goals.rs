//! What was wanted of what is measured.

use std::process::exit;

/// Goals, and which of them were missed so far.
#[derive(Default)]
pub(crate) struct Goals {
    missed: Vec<String>,
}

impl Goals {
    /// Wants `measured` to be at most that; says so, to be printed beside it.
    pub(crate) fn at_most(&mut self, what: &str, measured: f64, most: f64) -> String {
        self.note(what, measured, measured <= most, format!("goal: at most {most}"))
    }

    /// The same where it is to be at least that.
    pub(crate) fn at_least(&mut self, what: &str, measured: f64, least: f64) -> String {
        self.note(what, measured, measured >= least, format!("goal: at least {least}"))
    }

    fn note(&mut self, what: &str, measured: f64, is_reached: bool, goal: String) -> String {
        if is_reached {
            return goal;
        }
        self.missed.push(format!("{what}: {measured:.3}; {goal}"));
        format!("{goal}, MISSED")
    }

    /// Ends the process in failure where a goal was missed.
    pub(crate) fn conclude(&self) {
        if self.missed.is_empty() {
            return;
        }
        println!("\nmissed:");
        self.missed.iter().for_each(|missed| println!("  {missed}"));
        exit(1);
    }
}
