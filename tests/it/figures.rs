//! The README quotes figures that were measured, and no other.

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
const FIGURES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/dev/figures.md"));

#[test]
fn the_readme_quotes_the_figures_as_they_were_measured() {
    let (_, section) = README.split_once("## How fast it is\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let quoted: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect();
    assert!(quoted.len() > 5, "{quoted:?}");
    for line in quoted {
        assert!(FIGURES.lines().any(|figure| figure == line), "{line}");
    }
}
