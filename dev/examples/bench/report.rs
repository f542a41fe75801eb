//! The tables, which are printed row by row and written to their pages at the end.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::program::{self, Program};

/// Tables of figures, with a column for each program.
#[derive(Default)]
pub(crate) struct Report {
    tables: String,
    /// The rows that have a goal, with fewer columns.
    goals: String,
    has_missed: bool,
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
    Dollars,
}

pub(crate) struct Row<'r> {
    report: &'r mut Report,
    name: String,
    unit: Unit,
    figures: Vec<f64>,
    plain: f64,
    function: f64,
    goals: Vec<String>,
}

impl Report {
    /// Begins a table with a column for each of these programs.
    pub(crate) fn section(&mut self, title: &str, programs: &[Program]) {
        let names: Vec<&str> = programs.iter().map(|program| program.name()).collect();
        let names = names.join(" | ");
        self.line(&format!("\n## {title}\n"));
        self.line(&format!("| figure | {names} | function / plain | goal |"));
        self.line(&format!("|{}", " --- |".repeat(programs.len() + 3)));
    }

    /// Begins a row with the figures of the section's programs, of which the last two are the plain one and the function.
    /// NaN is printed as a dash.
    pub(crate) fn row(&mut self, name: &str, unit: Unit, figures: impl Into<Vec<f64>>) -> Row<'_> {
        let figures = figures.into();
        let count = figures.len();
        Row {
            report: self,
            name: name.to_owned(),
            unit,
            plain: figures[count - 2],
            function: figures[count - 1],
            figures,
            goals: Vec::new(),
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
        let measured = format!("{now}; {machine}; {}.\n", versions()?);
        let mut figures = format!(
            "# Figures\n\nWritten by `make bench`: do not edit. \
             [docs/performance.md](../docs/performance.md) explains them.\n\n{measured}{}",
            self.tables
        );
        if self.has_missed {
            figures += "\nNot every goal was met in this run.\n";
        }
        std::fs::write(dev::project().join("dev/figures.md"), figures)?;
        let head = "| figure | plain | function | function / plain | goal |\n\
                    | --- | --- | --- | --- | --- |\n";
        fill("docs/performance.md", "goals", &[head, &self.goals])?;
        let names = Program::WORKING.map(Program::name).join(" | ");
        let mut table = format!("| | {names} |\n| --- |{}\n", " ---: |".repeat(4));
        for row in &self.compared {
            writeln!(
                table,
                "| {} | {} |",
                row.title,
                row.unit.cells(&row.figures)
            )?;
        }
        fill("README.md", "yardsticks", &[&table, "\n", &measured])
    }

    fn line(&mut self, line: &str) {
        println!("{line}");
        self.tables += &format!("{line}\n");
    }
}

/// Replaces what a page has between the comments of this name.
fn fill(page: &str, name: &str, text: &[&str]) -> Result<()> {
    let file = dev::project().join(page);
    let old = std::fs::read_to_string(&file)?;
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let parts = old.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) = parts.with_context(|| format!("{page} has no place for {name}"))?;
    let new = [before, &begin, &text.concat(), &end, after].concat();
    Ok(std::fs::write(&file, new)?)
}

/// The versions of compiler, runtimes and SDKs.
fn versions() -> Result<String> {
    let output = |program: &Path| -> Result<String> {
        let output = Command::new(program).arg("--version").output();
        let output = output.with_context(|| format!("{} is missing", program.display()))?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let lock = include_str!("../../../Cargo.lock");
    let sdk = lock.split_once("name = \"aws-sdk-dynamodb\"\nversion = \"");
    let sdk = sdk.and_then(|(_, rest)| rest.split('"').next());
    let boto3 = include_str!("../../yardsticks/python/requirements.txt").trim();
    let package: Value = serde_json::from_str(include_str!("../../yardsticks/node/package.json"))?;
    let node_sdk = package["dependencies"]["@aws-sdk/client-dynamodb"].as_str();
    Ok(format!(
        "{}, aws-sdk-dynamodb {}; {}, {}; Node.js {}, @aws-sdk/client-dynamodb {}",
        output(Path::new("rustc"))?,
        sdk.context("Cargo.lock has no SDK")?,
        output(&program::python())?,
        boto3.replace("==", " "),
        output(&program::node()?)?.trim_start_matches('v'),
        node_sdk.context("package.json names no version")?,
    ))
}

impl Row<'_> {
    /// Limits the function's figure to this share of the plain program's.
    pub(crate) fn of_plain(self, most: f64) -> Self {
        let plain = self.plain;
        self.at_most_of(most, "plain", plain)
    }

    /// Limits the function's figure to this multiple of the figure of the program that does nothing.
    pub(crate) fn of_nothing(self, most: f64) -> Self {
        let nothing = self.figures[0];
        self.at_most_of(most, "nothing", nothing)
    }

    /// Limits the function's figure to this multiple of another one.
    pub(crate) fn at_most_of(self, most: f64, name: &str, other: f64) -> Self {
        let ratio = self.function / other;
        self.goal(format!("≤ {most} × {name} ({ratio:.3})"), ratio <= most)
    }

    /// Demands at least this multiple of another figure.
    pub(crate) fn at_least(self, least: f64, name: &str, other: f64) -> Self {
        let ratio = self.function / other;
        self.goal(format!("≥ {least} × {name} ({ratio:.1})"), ratio >= least)
    }

    pub(crate) fn at_most(self, most: f64) -> Self {
        let (goal, met) = (self.unit.text(most), self.function <= most);
        self.goal(format!("≤ {goal}"), met)
    }

    fn goal(mut self, goal: String, met: bool) -> Self {
        self.report.has_missed |= !met;
        self.goals.push(if met {
            goal
        } else {
            format!("**{goal}: missed**")
        });
        self
    }

    /// Shows the figures in the README, under this title.
    pub(crate) fn compared(self, title: &'static str) -> Self {
        self.report.compared.push(Compared {
            title,
            unit: self.unit,
            figures: self.figures[1..].to_vec(),
        });
        self
    }

    pub(crate) fn done(self) {
        let ratio = self.function / self.plain;
        let ratio = if ratio.is_nan() {
            "–".to_owned()
        } else {
            format!("{ratio:.3}")
        };
        let (name, goals) = (&self.name, self.goals.join(", "));
        let row = |figures: &[f64]| {
            let cells = self.unit.cells(figures);
            format!("| {name} | {cells} | {ratio} | {goals} |")
        };
        if !goals.is_empty() {
            self.report.goals += &(row(&[self.plain, self.function]) + "\n");
        }
        self.report.line(&row(&self.figures));
    }
}

impl Unit {
    fn cells(self, figures: &[f64]) -> String {
        let cells: Vec<String> = figures.iter().map(|figure| self.text(*figure)).collect();
        cells.join(" | ")
    }

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
            Self::Dollars => format!("${figure:.2}"),
        }
    }
}
