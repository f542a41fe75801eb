//! Compares pages in `docs/` with what they quote and describe.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cart_associations::config::Config;

use crate::support::environment;

const CONFIGURATION: &str = include_str!("../../docs/configuration.md");

/// The rows of the only table in a section, without its header.
pub(crate) fn rows(page: &'static str, section: &str) -> Vec<&'static str> {
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

/// The environment variables that the configuration reads.
pub(crate) fn variables() -> BTreeSet<String> {
    let env = environment(&[]);
    let read = RefCell::new(BTreeSet::new());
    let config = Config::from_lookup(|name| {
        read.borrow_mut().insert(name.to_owned());
        env.get(name).cloned()
    });
    assert!(config.is_ok());
    read.into_inner()
}

#[test]
fn the_page_on_configuration_lists_each_variable() {
    let mut read = variables();
    // The logger and the runtime read these, before the configuration is read.
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

/// The Markdown files in the project's folder and in `docs/`.
fn pages() -> Vec<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = [project.to_owned(), project.join("docs")]
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// The lines of a page that are not code.
fn text(page: &Path) -> String {
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```");
    blocks.step_by(2).collect()
}

/// The anchors that GitHub gives to the headings of a page.
fn anchors(page: &Path) -> BTreeSet<String> {
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|character| character.is_alphanumeric() || [' ', '-', '_'].contains(character));
        kept.collect::<String>().replace(' ', "-")
    };
    text(page)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(anchor)
        .collect()
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut links = 0;
    for page in pages() {
        let text = text(&page);
        let targets = text.split("](").skip(1);
        for target in targets.map(|rest| rest.split_once(')').unwrap().0) {
            if target.contains("://") {
                continue;
            }
            links += 1;
            let (target, test) = target.split_once(" \"").unwrap_or((target, ""));
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let linked = match path {
                "" => page.clone(),
                path => page.with_file_name(path),
            };
            assert!(linked.exists(), "{target} in {}", page.display());
            assert!(
                anchor.is_empty() || anchors(&linked).contains(anchor),
                "{target} in {}",
                page.display()
            );
            // The title of a link to a file of tests is the name of one of them.
            if let Some(test) = test.strip_suffix('"') {
                let test = format!("fn {test}(");
                assert!(
                    fs::read_to_string(linked).unwrap().contains(&test),
                    "{test}"
                );
            }
        }
    }
    assert!(links > 100, "{links}");
}

#[test]
fn every_command_of_make_exists() {
    let makefile =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Makefile")).unwrap();
    let rules = makefile.lines().filter_map(|line| line.split_once(':'));
    let targets: BTreeSet<&str> = rules.flat_map(|(names, _)| names.split(' ')).collect();
    let mut commands = 0;
    for page in pages() {
        let text = text(&page);
        for command in text.split("`make ").skip(1) {
            let command = command.split('`').next().unwrap();
            let is_target =
                |word: &&str| word.starts_with(|first: char| first.is_ascii_lowercase());
            for target in command.split_whitespace().take_while(is_target) {
                commands += 1;
                assert!(targets.contains(target), "{target} in {}", page.display());
            }
        }
    }
    assert!(commands > 50, "{commands}");
}
