//! Measures what takes time and memory. Programs take turns, so that a machine that is slow for a while is so for all.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::callers::{Callers, Tokens};
use crate::emulator::Emulator;
use crate::program::{self, Program, Running, Usage};
use crate::report::{Report, Unit};
use crate::runtime_api::Took;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Starts of each program, for each kind of endpoint.
    starts: usize,
    /// Turns of warm requests that each program has.
    turns: usize,
    /// Requests after which memory is looked at.
    memory: usize,
    written: bool,
}

impl Extent {
    pub(crate) const FULL: Self = Self {
        starts: 50,
        turns: 100,
        memory: 10_000,
        written: true,
    };
    /// For a look in between: what it shows is printed, and not written down.
    pub(crate) const QUICK: Self = Self {
        starts: 15,
        turns: 20,
        memory: 1000,
        written: false,
    };
}

/// Warm requests in one turn.
const TURN: usize = 25;

/// Requests before a process counts as warm.
const WARM_UP: usize = 200;

/// Prints the table, and writes it down if `extent` says so.
pub(crate) async fn measure(extent: Extent) -> Result<()> {
    program::share_one_core()?;
    Program::unpack()?;
    let emulator = Emulator::start().await?;
    let callers = Callers::new()?;
    let mut report = Report::begin();
    starts(extent, &emulator, &callers, &mut report).await?;
    warm(extent, &emulator, &callers, &mut report).await?;
    memory(extent, &emulator, &callers, &mut report).await?;
    sizes(&mut report)?;
    if extent.written {
        report.write()?;
    }
    Ok(())
}

/// The times of the starts of one program.
#[derive(Default)]
struct Starts {
    start: Vec<Duration>,
    first: Vec<Duration>,
    both: Vec<Took>,
}

impl Starts {
    async fn one(
        &mut self,
        program: Program,
        environment: &[(&'static str, String)],
        emulator: &Emulator,
        callers: &Callers,
    ) -> Result<()> {
        let event = callers.event(Tokens::Seen)?;
        let command = Command::new(program.unpacked());
        let mut running = Running::start(command, environment, emulator).await?;
        let first = running.invoke(event).await?;
        self.start.push(running.start.whole);
        self.first.push(first.whole);
        self.both.push(running.start + first);
        Ok(())
    }
}

async fn starts(
    extent: Extent,
    emulator: &Emulator,
    callers: &Callers,
    report: &mut Report,
) -> Result<()> {
    let http = callers.environment(emulator, &emulator.plain_endpoint)?;
    let tls = callers.environment(emulator, &emulator.tls_endpoint)?;
    let mut usual_roots = http.clone();
    usual_roots.retain(|(name, _)| *name != "SSL_CERT_FILE");
    let (mut over_http, mut over_tls) = (<[Starts; 3]>::default(), <[Starts; 3]>::default());
    let mut with_usual_roots = <[Starts; 3]>::default();
    for _ in 0..extent.starts {
        for (program, starts) in Program::ALL.into_iter().zip(&mut over_http) {
            starts.one(program, &http, emulator, callers).await?;
        }
        for (program, starts) in Program::ALL.into_iter().zip(&mut with_usual_roots) {
            starts.one(program, &usual_roots, emulator, callers).await?;
        }
        for (program, starts) in Program::ALL.into_iter().zip(&mut over_tls).skip(1) {
            starts.one(program, &tls, emulator, callers).await?;
        }
    }
    let http = over_http.map(Medians::of);
    let tls = over_tls.map(Medians::of);
    let usual_roots = with_usual_roots.map(Medians::of);
    let row = |of: fn(&Medians) -> f64, medians: &[Medians; 3]| medians.each_ref().map(of);
    report
        .row(
            "http: start → ready, median",
            Unit::Millis,
            row(|m| m.start, &http),
        )
        .done();
    report
        .row(
            "http: first answer, median",
            Unit::Millis,
            row(|m| m.first, &http),
        )
        .done();
    report
        .row(
            "http: start + first answer, median",
            Unit::Millis,
            row(|m| m.both, &http),
        )
        .of_plain(0.6)
        .of_nothing(1.8)
        .done();
    report
        .row(
            "http: start + first answer without the emulator's share, median",
            Unit::Millis,
            row(|m| m.without_emulator, &http),
        )
        .done();
    report
        .row(
            "http, each with its own roots: start + first answer, median",
            Unit::Millis,
            row(|m| m.both, &usual_roots),
        )
        .done();
    report
        .row(
            "TLS: start → ready, median",
            Unit::Millis,
            row(|m| m.start, &tls),
        )
        .done();
    report
        .row(
            "TLS: first answer, median",
            Unit::Millis,
            row(|m| m.first, &tls),
        )
        .of_plain(0.05)
        .done();
    report
        .row(
            "TLS: start + first answer, median",
            Unit::Millis,
            row(|m| m.both, &tls),
        )
        .of_plain(0.15)
        .done();
    Ok(())
}

struct Medians {
    start: f64,
    first: f64,
    both: f64,
    without_emulator: f64,
}

impl Medians {
    fn of(starts: Starts) -> Self {
        Self {
            start: median(starts.start),
            first: median(starts.first),
            both: whole(&starts.both),
            without_emulator: without_emulator(&starts.both),
        }
    }
}

/// A process under warm requests.
struct Warm {
    running: Running,
    tokens: Tokens,
    times: Vec<Took>,
    processor: Duration,
}

impl Warm {
    async fn start(
        program: Program,
        tokens: Tokens,
        environment: &[(&'static str, String)],
        emulator: &Emulator,
        callers: &Callers,
    ) -> Result<Self> {
        let command = Command::new(program.unpacked());
        let mut running = Running::start(command, environment, emulator).await?;
        for _ in 0..WARM_UP {
            running.invoke(callers.event(tokens)?).await?;
        }
        Ok(Self {
            running,
            tokens,
            times: Vec::new(),
            processor: Duration::ZERO,
        })
    }

    async fn turn(&mut self, callers: &Callers) -> Result<()> {
        let events: Result<Vec<String>> = std::iter::repeat_with(|| callers.event(self.tokens))
            .take(TURN)
            .collect();
        let before = self.running.usage()?;
        for event in events? {
            self.times.push(self.running.invoke(event).await?);
        }
        self.processor += self.running.usage()?.processor - before.processor;
        Ok(())
    }

    /// That of a request, in seconds.
    fn processor(&self) -> f64 {
        self.processor.as_secs_f64() / self.times.len() as f64
    }
}

async fn warm(
    extent: Extent,
    emulator: &Emulator,
    callers: &Callers,
    report: &mut Report,
) -> Result<()> {
    let environment = callers.environment(emulator, &emulator.plain_endpoint)?;
    let mut all = Vec::new();
    for (program, tokens) in [
        (Program::Nothing, Tokens::Seen),
        (Program::Plain, Tokens::Seen),
        (Program::Function, Tokens::Seen),
        (Program::Function, Tokens::NewAccess),
        (Program::Function, Tokens::New),
    ] {
        all.push(Warm::start(program, tokens, &environment, emulator, callers).await?);
    }
    let before = emulator.items().await?;
    for _ in 0..extent.turns {
        for warm in &mut all {
            warm.turn(callers).await?;
        }
    }
    // All but those of the program that does nothing.
    let made = emulator.items().await? - before;
    let expected = (all.len() - 1) * extent.turns * TURN;
    ensure!(
        u64::try_from(expected)? == made,
        "{made} items were made by {expected} requests"
    );
    let figures = |of: fn(&Warm) -> f64| -> Vec<f64> { all.iter().map(of).collect() };
    let times = figures(|warm| whole(&warm.times));
    let own_times = figures(|warm| without_emulator(&warm.times));
    let processor = figures(Warm::processor);
    for (name, figures, function, goal) in [
        ("median, tokens seen before", &times, 2, Some(0.65)),
        ("median, new RS256 access token", &times, 3, Some(0.85)),
        ("median, two new RS256 tokens", &times, 4, None),
        (
            "median without the emulator's share, tokens seen before",
            &own_times,
            2,
            None,
        ),
        (
            "median without the emulator's share, new RS256 access token",
            &own_times,
            3,
            None,
        ),
        (
            "processor, mean, tokens seen before",
            &processor,
            2,
            Some(0.6),
        ),
        (
            "processor, mean, new RS256 access token",
            &processor,
            3,
            None,
        ),
    ] {
        let figures = [figures[0], figures[1], figures[function]];
        report
            .row(&format!("warm: {name}"), Unit::Micros, figures)
            .of_plain(goal)
            .done();
    }
    Ok(())
}

async fn memory(
    extent: Extent,
    emulator: &Emulator,
    callers: &Callers,
    report: &mut Report,
) -> Result<()> {
    let environment = callers.environment(emulator, &emulator.tls_endpoint)?;
    let mut usages = [[None; 2]; 3];
    for (program, usages) in Program::ALL.into_iter().zip(&mut usages).skip(1) {
        let command = Command::new(program.unpacked());
        let mut running = Running::start(command, &environment, emulator).await?;
        // Tokens that are all new fill whatever remembers them; the plain program looks at none.
        let tokens = match program {
            Program::Function => Tokens::New,
            Program::Nothing | Program::Plain => Tokens::Seen,
        };
        for request in 1..=extent.memory {
            running.invoke(callers.event(tokens)?).await?;
            if request == extent.memory / 10 {
                usages[0] = Some(running.usage()?);
            }
        }
        usages[1] = Some(running.usage()?);
    }
    let kib = |moment: usize, of: fn(Usage) -> u64| {
        usages.map(|usages| usages[moment].map_or(f64::NAN, |usage| of(usage) as f64))
    };
    let requests = extent.memory;
    report
        .row(
            &format!("TLS: peak memory, {requests} requests"),
            Unit::Mebibytes,
            kib(1, |usage| usage.peak_kib),
        )
        .of_plain(0.75)
        .done();
    for (moment, after) in [requests / 10, requests].into_iter().enumerate() {
        report
            .row(
                &format!("TLS: memory after {after} requests"),
                Unit::Mebibytes,
                kib(moment, |usage| usage.resident_kib),
            )
            .done();
    }
    Ok(())
}

fn sizes(report: &mut Report) -> Result<()> {
    let mut bytes = [0.0; 3];
    for (program, bytes) in Program::ALL.into_iter().zip(&mut bytes) {
        *bytes = program.zipped_bytes()? as f64;
    }
    report
        .row("zip, for the machine at hand", Unit::Megabytes, bytes)
        .at_most(3.5e6)
        .done();
    Ok(())
}

fn whole(times: &[Took]) -> f64 {
    median(times.iter().map(|took| took.whole).collect())
}

fn without_emulator(times: &[Took]) -> f64 {
    median(times.iter().map(|took| took.without_emulator()).collect())
}

/// In seconds. No number, if there are none.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let middle = times.get(times.len() / 2);
    middle.map_or(f64::NAN, Duration::as_secs_f64)
}
