//! The tables, which are printed row by row and written to their pages at the end.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::program::{self, Program};

/// Tables of figures, with a column for each program.
pub(crate) struct Report {
    table: String,
    programs: &'static [Program],
    all_met: bool,
    /// The rows that have a goal, with fewer columns.
    goals: String,
    /// The rows that the README shows.
    pub(crate) compared: Vec<Compared>,
}

/// A figure of the programs that do the job.
pub(crate) struct Compared {
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    /// In the order of [`Program::WORKING`].
    pub(crate) figures: Vec<f64>,
}

/// The unit in which a figure is printed, and the one in which it is given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// From seconds.
    Millis,
    /// From seconds.
    Micros,
    /// From KiB.
    Mebibytes,
    /// From bytes.
    Megabytes,
    /// From a number per second.
    PerSecond,
    Count,
    /// Of the United States.
    Dollars,
}

/// A row that is not complete.
pub(crate) struct Row<'r> {
    report: &'r mut Report,
    name: String,
    unit: Unit,
    figures: Vec<f64>,
    goals: Vec<String>,
    all_met: bool,
}

impl Report {
    pub(crate) fn begin() -> Self {
        Self {
            table: String::new(),
            programs: &[],
            all_met: true,
            goals: "| figure | plain | function | function / plain | goal |\n\
                    | --- | --- | --- | --- | --- |\n"
                .to_owned(),
            compared: Vec::new(),
        }
    }

    /// Begins a table with a column for each of these programs.
    pub(crate) fn section(&mut self, title: &str, programs: &'static [Program]) {
        self.programs = programs;
        let names = programs.iter().map(|program| program.name());
        let names: Vec<&str> = names.collect();
        self.line(&format!("\n## {title}\n"));
        self.line(&format!(
            "| figure | {} | function / plain | goal |",
            names.join(" | ")
        ));
        self.line(&format!("|{}", " --- |".repeat(programs.len() + 3)));
    }

    /// Begins a row with the figures of the section's programs. NaN is printed as a dash.
    pub(crate) fn row<const N: usize>(
        &mut self,
        name: &str,
        unit: Unit,
        figures: [f64; N],
    ) -> Row<'_> {
        Row {
            report: self,
            name: name.to_owned(),
            unit,
            figures: figures.to_vec(),
            goals: Vec::new(),
            all_met: true,
        }
    }

    /// Writes the tables to their pages, with the date, the machine and the versions.
    pub(crate) fn write(&self) -> Result<()> {
        let now = httpdate::fmt_http_date(SystemTime::now());
        let machine = std::fs::read_to_string("/proc/cpuinfo")?;
        let machine = machine
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("an unknown processor", |(_, name)| name);
        let measured = format!("{now}; {machine}; {}.", versions()?);
        let met = if self.all_met {
            ""
        } else {
            "\nNot every goal was met in this run.\n"
        };
        let text = format!(
            "# Figures\n\nWritten by `make bench`: do not edit. \
             [docs/performance.md](../docs/performance.md) explains them.\n\n{measured}\n{}{met}",
            self.table
        );
        std::fs::write(dev::project().join("dev/figures.md"), text)?;
        fill("docs/performance.md", "goals", &self.goals)?;
        let names = Program::WORKING.map(Program::name).join(" | ");
        let mut table = format!("| | {names} |\n| --- |{}\n", " ---: |".repeat(4));
        for row in &self.compared {
            let figures = row.figures.iter().map(|figure| row.unit.text(*figure));
            let figures: Vec<String> = figures.collect();
            writeln!(table, "| {} | {} |", row.title, figures.join(" | "))?;
        }
        fill("README.md", "yardsticks", &format!("{table}\n{measured}\n"))
    }

    fn line(&mut self, line: &str) {
        println!("{line}");
        self.table.push_str(line);
        self.table.push('\n');
    }
}

/// Replaces what a page has between the comments of this name.
fn fill(page: &str, name: &str, text: &str) -> Result<()> {
    let file = dev::project().join(page);
    let old = std::fs::read_to_string(&file)?;
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let parts = old.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) = parts.with_context(|| format!("{page} has no place for {name}"))?;
    Ok(std::fs::write(
        &file,
        [before, &begin, text, &end, after].concat(),
    )?)
}

/// The versions of compilers, runtimes and libraries.
fn versions() -> Result<String> {
    let output = |program: &Path| -> Result<String> {
        let output = Command::new(program).arg("--version").output();
        let output = output.with_context(|| format!("{} is missing", program.display()))?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let lock = include_str!("../../../Cargo.lock");
    let crates = ["aws-sdk-dynamodb", "lambda_runtime", "aws-lc-rs"].map(|name| {
        let package = lock
            .split("[[package]]")
            .find(|package| package.contains(&format!("name = \"{name}\"\n")));
        let version = package.and_then(|package| package.split('"').nth(3));
        format!("{name} {}", version.unwrap_or("?"))
    });
    let boto3 = include_str!("../../yardsticks/python/requirements.txt").trim();
    let package: Value = serde_json::from_str(include_str!("../../yardsticks/node/package.json"))?;
    let sdk = package["dependencies"]["@aws-sdk/client-dynamodb"].as_str();
    Ok(format!(
        "{}, {}; {}, {}; Node.js {}, @aws-sdk/client-dynamodb {}",
        output(Path::new("rustc"))?,
        crates.join(", "),
        output(&program::python())?,
        boto3.replace("==", " "),
        output(&program::node()?)?.trim_start_matches('v'),
        sdk.context("package.json names no version")?,
    ))
}

impl Row<'_> {
    /// Limits the function's figure to this share of the plain program's.
    pub(crate) fn of_plain(self, most: impl Into<Option<f64>>) -> Self {
        let [plain, function] = self.last();
        let ratio = function / plain;
        match most.into() {
            Some(most) => self.goal(format!("≤ {most} × plain"), ratio <= most),
            None => self,
        }
    }

    /// Limits the function's figure to this multiple of the figure of the program that does nothing.
    pub(crate) fn of_nothing(self, most: f64) -> Self {
        let ratio = self.function() / self.figures[0];
        let goal = format!("≤ {most} × nothing ({ratio:.2})");
        self.goal(goal, ratio <= most)
    }

    /// Limits the function's figure.
    pub(crate) fn at_most(self, most: f64) -> Self {
        let goal = format!("≤ {}", self.unit.text(most));
        let met = self.function() <= most;
        self.goal(goal, met)
    }

    /// Compares the function's figure with another of its own: at most this multiple of it.
    pub(crate) fn of(self, most: f64, name: &str, other: f64) -> Self {
        let ratio = self.function() / other;
        let goal = format!("≤ {most} × {name} ({ratio:.2})");
        self.goal(goal, ratio <= most)
    }

    /// Like [`of`](Self::of): at least this multiple.
    pub(crate) fn at_least_of(self, least: f64, name: &str, other: f64) -> Self {
        let ratio = self.function() / other;
        let goal = format!("≥ {least} × {name} ({ratio:.1})");
        self.goal(goal, ratio >= least)
    }

    fn goal(mut self, goal: String, met: bool) -> Self {
        self.goals.push(if met {
            goal
        } else {
            format!("**{goal}: missed**")
        });
        self.all_met &= met;
        self
    }

    /// Shows the figures in the README, under this title.
    pub(crate) fn compared(self, title: &'static str) -> Self {
        let figures = self.figures[1..].to_vec();
        let unit = self.unit;
        self.report.compared.push(Compared {
            title,
            unit,
            figures,
        });
        self
    }

    /// The figures of the two programs that are in every table.
    fn last(&self) -> [f64; 2] {
        let count = self.figures.len();
        [self.figures[count - 2], self.figures[count - 1]]
    }

    fn function(&self) -> f64 {
        self.last()[1]
    }

    /// Prints the row.
    pub(crate) fn done(self) {
        let [plain, function] = self.last();
        let ratio = function / plain;
        let ratio = if ratio.is_nan() {
            "–".to_owned()
        } else {
            format!("{ratio:.3}")
        };
        let text = |figures: &[f64]| {
            let figures = figures.iter().map(|figure| self.unit.text(*figure));
            figures.collect::<Vec<String>>().join(" | ")
        };
        let (name, goals) = (&self.name, self.goals.join(", "));
        let row = |figures: &[f64]| format!("| {name} | {} | {ratio} | {goals} |", text(figures));
        if !goals.is_empty() {
            self.report.goals += &(row(&[plain, function]) + "\n");
        }
        self.report.line(&row(&self.figures));
        self.report.all_met &= self.all_met;
    }
}

impl Unit {
    pub(crate) fn text(self, figure: f64) -> String {
        if figure.is_nan() {
            return "–".to_owned();
        }
        match self {
            Self::Millis => format!("{:.2} ms", figure * 1e3),
            Self::Micros => format!("{:.0} µs", figure * 1e6),
            Self::Mebibytes => format!("{:.1} MiB", figure / 1024.0),
            Self::Megabytes => format!("{:.2} MB", figure / 1e6),
            Self::PerSecond => format!("{figure:.0}/s"),
            Self::Count => format!("{figure:.0}"),
            Self::Dollars => format!("${figure:.2}"),
        }
    }
}
