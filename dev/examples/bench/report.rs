//! The table, which is printed row by row and written to a file at the end.

use std::fmt::Write as _;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result};

/// The file. The README quotes its lines.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/figures.md");

/// A table of figures, with a column for each program.
pub(crate) struct Report {
    table: String,
    all_met: bool,
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
}

/// A row that is not complete.
pub(crate) struct Row<'r> {
    report: &'r mut Report,
    name: String,
    unit: Unit,
    figures: [f64; 3],
    goals: Vec<String>,
    all_met: bool,
}

impl Report {
    pub(crate) fn begin() -> Self {
        let mut report = Self {
            table: String::new(),
            all_met: true,
        };
        report.heading();
        report
    }

    /// Begins a table of its own.
    pub(crate) fn section(&mut self, title: &str) {
        self.line(&format!("\n## {title}\n"));
        self.heading();
    }

    fn heading(&mut self) {
        self.line("| figure | does nothing | plain | function | function / plain | goal |");
        self.line("| --- | --- | --- | --- | --- | --- |");
    }

    /// Begins a row with the figures of the three programs. NaN is printed as a dash.
    pub(crate) fn row(&mut self, name: &str, unit: Unit, figures: [f64; 3]) -> Row<'_> {
        Row {
            report: self,
            name: name.to_owned(),
            unit,
            figures,
            goals: Vec::new(),
            all_met: true,
        }
    }

    /// Writes the table to its file, with the date, the machine and the versions.
    pub(crate) fn write(&self) -> Result<()> {
        let now = httpdate::fmt_http_date(SystemTime::now());
        let machine = std::fs::read_to_string("/proc/cpuinfo")?;
        let machine = machine
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("an unknown processor", |(_, name)| name);
        let rustc = Command::new("rustc").arg("--version").output()?;
        let rustc = String::from_utf8(rustc.stdout)?;
        let lock = include_str!("../../../Cargo.lock");
        let version = |name: &str| {
            let package = lock
                .split("[[package]]")
                .find(|package| package.contains(&format!("name = \"{name}\"\n")));
            let version = package?
                .lines()
                .find_map(|line| line.strip_prefix("version = "))?;
            Some(format!("{name} {}", version.trim_matches('"')))
        };
        let versions: Vec<String> = ["aws-sdk-dynamodb", "lambda_runtime", "aws-lc-rs"]
            .into_iter()
            .filter_map(version)
            .collect();
        let mut text = String::from("# Figures\n\nWritten by `make bench`: do not edit. ");
        writeln!(
            text,
            "[docs/performance.md](../docs/performance.md) explains them.\n\n{now}; {machine}, one core for all in the first table; {}; {}.\n",
            rustc.trim(),
            versions.join(", "),
        )?;
        text.push_str(&self.table);
        if !self.all_met {
            text.push_str("\nNot every goal was met in this run.\n");
        }
        std::fs::write(FILE, text).with_context(|| format!("{FILE} could not be written"))
    }

    fn line(&mut self, line: &str) {
        println!("{line}");
        self.table.push_str(line);
        self.table.push('\n');
    }
}

impl Row<'_> {
    /// Limits the function's figure to this share of the plain program's.
    pub(crate) fn of_plain(self, most: impl Into<Option<f64>>) -> Self {
        let ratio = self.figures[2] / self.figures[1];
        match most.into() {
            Some(most) => self.goal(format!("≤ {most} × plain"), ratio <= most),
            None => self,
        }
    }

    /// Limits the function's figure to this multiple of the figure of the program that does nothing.
    pub(crate) fn of_nothing(self, most: f64) -> Self {
        let ratio = self.figures[2] / self.figures[0];
        let goal = format!("≤ {most} × nothing ({ratio:.2})");
        self.goal(goal, ratio <= most)
    }

    /// Limits the function's figure.
    pub(crate) fn at_most(self, most: f64) -> Self {
        let goal = format!("≤ {}", self.unit.text(most));
        let met = self.figures[2] <= most;
        self.goal(goal, met)
    }

    /// Compares the function's figure with another of its own: at most this multiple of it.
    pub(crate) fn of(self, most: f64, name: &str, other: f64) -> Self {
        let ratio = self.figures[2] / other;
        let goal = format!("≤ {most} × {name} ({ratio:.2})");
        self.goal(goal, ratio <= most)
    }

    /// Like [`of`](Self::of): at least this multiple.
    pub(crate) fn at_least_of(self, least: f64, name: &str, other: f64) -> Self {
        let ratio = self.figures[2] / other;
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

    /// Prints the row.
    pub(crate) fn done(self) {
        let [nothing, plain, function] = self.figures.map(|figure| self.unit.text(figure));
        let ratio = self.figures[2] / self.figures[1];
        let ratio = if ratio.is_nan() {
            "–".to_owned()
        } else {
            format!("{ratio:.3}")
        };
        let line = format!(
            "| {} | {nothing} | {plain} | {function} | {ratio} | {} |",
            self.name,
            self.goals.join(", ")
        );
        self.report.line(&line);
        self.report.all_met &= self.all_met;
    }
}

impl Unit {
    fn text(self, figure: f64) -> String {
        if figure.is_nan() {
            return "–".to_owned();
        }
        match self {
            Self::Millis => format!("{:.2} ms", figure * 1e3),
            Self::Micros => format!("{:.0} µs", figure * 1e6),
            Self::Mebibytes => format!("{:.1} MiB", figure / 1024.0),
            Self::Megabytes => format!("{:.2} MB", figure / 1e6),
            Self::PerSecond => format!("{figure:.0}/s"),
        }
    }
}
