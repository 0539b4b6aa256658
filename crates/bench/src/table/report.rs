//! Prints a table of figures with its doubts and missed bars.

use std::process::ExitCode;

use super::figures::{self, Figure};

/// Prints the table. Returns a failure if a bar is missed and `strict` is set.
pub(super) fn print(figures: &[Figure], doubts: &[String], strict: bool) -> ExitCode {
    print!("{}", figures::markdown(figures));
    println!();
    for doubt in doubts {
        println!("doubt: {doubt}");
    }
    let missed: Vec<String> = figures.iter().filter_map(Figure::missed).collect();
    for line in &missed {
        println!("missed: {line}");
    }
    if missed.is_empty() {
        println!("no bar was missed");
    }
    if strict && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
