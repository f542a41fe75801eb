//! Compares pages in `docs/` with what they quote and describe.

use std::cell::RefCell;
use std::collections::BTreeSet;

use cart_associations::config::Config;

const PERFORMANCE: &str = include_str!("../../docs/performance.md");
const FIGURES: &str = include_str!("../../dev/figures.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");

/// The rows of the only table in a section, without its header.
fn rows(page: &'static str, section: &str) -> Vec<&'static str> {
    let heading = format!("\n## {section}\n");
    let (_, rest) = page.split_once(&heading).expect(section);
    let section = rest
        .split_once("\n## ")
        .map_or(rest, |(section, _)| section);
    section
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .collect()
}

#[test]
fn the_page_on_performance_quotes_the_figures_as_measured() {
    let quoted = rows(PERFORMANCE, "Figures");
    assert!(quoted.len() > 5, "{quoted:?}");
    for row in quoted {
        assert!(FIGURES.lines().any(|figure| figure == row), "{row}");
    }
}

#[test]
fn the_page_on_configuration_lists_each_variable() {
    let read = RefCell::new(BTreeSet::new());
    let _ = Config::from_lookup(|name| {
        read.borrow_mut().insert(name.to_owned());
        None
    });
    // The logger and the runtime read these, before the configuration is read.
    let mut read = read.into_inner();
    read.insert("AWS_LAMBDA_LOG_LEVEL".to_owned());
    read.insert("AWS_LAMBDA_MAX_CONCURRENCY".to_owned());

    let listed = rows(CONFIGURATION, "Variables")
        .into_iter()
        .flat_map(|row| {
            let (names, _) = row[2..].split_once(" | ").unwrap();
            names.split(", ").map(|name| name.trim_matches('`'))
        })
        .map(str::to_owned)
        .collect();
    assert_eq!(read, listed);
}
