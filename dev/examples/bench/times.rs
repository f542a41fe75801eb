//! Measures times and memory. The programs take turns, so that a machine that is slow for a while is slow for all.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use dev::environment::Environment;
use dev::process::Usage;

use crate::at_once;
use crate::callers::{Callers, Kind};
use crate::charts::{self, Start};
use crate::emulator::Emulator;
use crate::program::{self, Elapsed, Program, Running};
use crate::report::{Report, Unit};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Starts of each program with each kind of endpoint.
    starts: usize,
    /// Turns of warm requests for each program.
    turns: usize,
    /// Requests before memory is measured.
    memory: usize,
    /// Many requests at once.
    pub(crate) at_once: at_once::Scale,
    /// Whether the table and the charts are written to their files.
    written: bool,
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        starts: 50,
        turns: 100,
        memory: 10_000,
        at_once: at_once::Scale::FULL,
        written: true,
    };
    /// For a quick look.
    pub(crate) const QUICK: Self = Self {
        starts: 15,
        turns: 20,
        memory: 1000,
        at_once: at_once::Scale::QUICK,
        written: false,
    };
}

/// Warm requests in a turn.
const TURN: usize = 25;

/// Requests before a process counts as warm.
const WARM_UP: usize = 200;

/// Prints the table, and writes it to its file if `scale` says so.
pub(crate) async fn measure(scale: Scale) -> Result<()> {
    let cores = program::cores()?;
    // All programs and this one, so that work is measured and not how fast the machine wakes another core.
    program::use_cores(&cores[..1])?;
    Program::copy_all()?;
    let emulator = Emulator::start().await?;
    let callers = Callers::new()?;
    let mut report = Report::begin();
    let starts = starts(scale, &emulator, &callers, &mut report).await?;
    warm(scale, &emulator, &callers, &mut report).await?;
    memory(scale, &emulator, &callers, &mut report).await?;
    sizes(&mut report)?;
    let curves = at_once::measure(scale.at_once, &cores, &callers, &mut report).await?;
    if scale.written {
        report.write()?;
        charts::write(&starts, &curves)?;
    }
    Ok(())
}

/// The times of the starts of a program.
#[derive(Default)]
struct Starts {
    start: Vec<Duration>,
    first: Vec<Duration>,
    both: Vec<Elapsed>,
}

impl Starts {
    async fn one(
        &mut self,
        program: Program,
        environment: &Environment,
        emulator: &Emulator,
        callers: &Callers,
    ) -> Result<()> {
        let event = callers.event(Kind::Usual)?;
        let command = Command::new(program.copy());
        let mut running = Running::start(command, environment, emulator).await?;
        let first = running.invoke(&event).await?;
        self.start.push(running.start.whole);
        self.first.push(first.whole);
        self.both.push(running.start + first);
        Ok(())
    }
}

async fn starts(
    scale: Scale,
    emulator: &Emulator,
    callers: &Callers,
    report: &mut Report,
) -> Result<Vec<Start>> {
    let http = callers.environment(emulator, &emulator.plain_endpoint)?;
    let tls = callers.environment(emulator, &emulator.tls_endpoint)?;
    let mut usual_roots = http.clone();
    usual_roots.remove("SSL_CERT_FILE");
    let (mut over_http, mut over_tls) = (<[Starts; 3]>::default(), <[Starts; 3]>::default());
    let mut with_usual_roots = <[Starts; 3]>::default();
    for _ in 0..scale.starts {
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
        .of_plain(0.82)
        .of_nothing(2.15)
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
        .of_plain(0.025)
        .done();
    report
        .row(
            "TLS: start + first answer, median",
            Unit::Millis,
            row(|m| m.both, &tls),
        )
        .of_plain(0.17)
        .done();
    let bar = |name, medians: &Medians| Start {
        name,
        start: medians.start,
        first_answer: medians.first,
    };
    Ok(vec![
        bar("function, TLS", &tls[2]),
        bar("plain, TLS", &tls[1]),
        bar("function, http", &http[2]),
        bar("plain, http", &http[1]),
        bar("does nothing, http", &http[0]),
    ])
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

/// A process with warm requests.
struct Warm {
    running: Running,
    kind: Kind,
    times: Vec<Elapsed>,
    processor: Duration,
}

impl Warm {
    async fn start(
        program: Program,
        kind: Kind,
        environment: &Environment,
        emulator: &Emulator,
        callers: &Callers,
    ) -> Result<Self> {
        let command = Command::new(program.copy());
        let mut running = Running::start(command, environment, emulator).await?;
        for _ in 0..WARM_UP {
            running.invoke(&callers.event(kind)?).await?;
        }
        Ok(Self {
            running,
            kind,
            times: Vec::new(),
            processor: Duration::ZERO,
        })
    }

    async fn turn(&mut self, callers: &Callers) -> Result<()> {
        let events: Result<Vec<String>> = std::iter::repeat_with(|| callers.event(self.kind))
            .take(TURN)
            .collect();
        let before = self.running.usage()?;
        for event in events? {
            self.times.push(self.running.invoke(&event).await?);
        }
        self.processor += self.running.usage()?.processor - before.processor;
        Ok(())
    }

    /// The processor time per request, in seconds.
    fn processor(&self) -> f64 {
        self.processor.as_secs_f64() / self.times.len() as f64
    }
}

async fn warm(
    scale: Scale,
    emulator: &Emulator,
    callers: &Callers,
    report: &mut Report,
) -> Result<()> {
    let environment = callers.environment(emulator, &emulator.plain_endpoint)?;
    let start =
        async |program, kind| Warm::start(program, kind, &environment, emulator, callers).await;
    let mut all = [
        start(Program::Nothing, Kind::Usual).await?,
        start(Program::Plain, Kind::Usual).await?,
        start(Program::Function, Kind::Usual).await?,
        start(Program::Function, Kind::NewAccessToken).await?,
        start(Program::Function, Kind::NewTokens).await?,
        // The function first: it must create the association that both repeat, as a real one has more attributes.
        start(Program::Function, Kind::Repeated).await?,
        start(Program::Plain, Kind::Repeated).await?,
    ];
    let before = emulator.items().await?;
    for _ in 0..scale.turns {
        for warm in &mut all {
            warm.turn(callers).await?;
        }
    }
    // By four of the seven: the program that does nothing creates nothing, and repeated requests created theirs before.
    let created = emulator.items().await? - before;
    let expected = 4 * scale.turns * TURN;
    ensure!(
        created == expected,
        "{created} items were created, not {expected}"
    );
    let [nothing, plain, usual, access, both, again, plain_again] = all.each_ref();
    let time = |warm: &Warm| whole(&warm.times);
    let own_time = |warm: &Warm| without_emulator(&warm.times);
    let mut row = |name, of: &dyn Fn(&Warm) -> f64, plain, function, goal: Option<f64>| {
        report
            .row(name, Unit::Micros, [nothing, plain, function].map(of))
            .of_plain(goal)
            .done();
    };
    row(
        "warm: median, tokens seen before",
        &time,
        plain,
        usual,
        Some(0.8),
    );
    row(
        "warm: median, new RS256 access token",
        &time,
        plain,
        access,
        Some(0.9),
    );
    row(
        "warm: median, two new RS256 tokens",
        &time,
        plain,
        both,
        None,
    );
    row(
        "warm: median, repeated, tokens seen before",
        &time,
        plain_again,
        again,
        Some(0.8),
    );
    row(
        "warm: median without the emulator's share, tokens seen before",
        &own_time,
        plain,
        usual,
        None,
    );
    row(
        "warm: median without the emulator's share, new RS256 access token",
        &own_time,
        plain,
        access,
        None,
    );
    row(
        "warm: processor, mean, tokens seen before",
        &Warm::processor,
        plain,
        usual,
        Some(0.67),
    );
    row(
        "warm: processor, mean, new RS256 access token",
        &Warm::processor,
        plain,
        access,
        None,
    );
    Ok(())
}

async fn memory(
    scale: Scale,
    emulator: &Emulator,
    callers: &Callers,
    report: &mut Report,
) -> Result<()> {
    let environment = callers.environment(emulator, &emulator.tls_endpoint)?;
    let mut usages = [[None; 2]; 3];
    for (program, usages) in Program::ALL.into_iter().zip(&mut usages).skip(1) {
        let command = Command::new(program.copy());
        let mut running = Running::start(command, &environment, emulator).await?;
        // New tokens fill the function's cache of verified tokens. The plain program reads none.
        let kind = match program {
            Program::Function => Kind::NewTokens,
            Program::Nothing | Program::Plain => Kind::Usual,
        };
        for request in 1..=scale.memory {
            running.invoke(&callers.event(kind)?).await?;
            if request == scale.memory / 10 {
                usages[0] = Some(running.usage()?);
            }
        }
        usages[1] = Some(running.usage()?);
    }
    let kib = |moment: usize, of: fn(Usage) -> u64| {
        usages.map(|usages| usages[moment].map_or(f64::NAN, |usage| of(usage) as f64))
    };
    let requests = scale.memory;
    report
        .row(
            &format!("TLS: peak memory, {requests} requests"),
            Unit::Mebibytes,
            kib(1, |usage| usage.peak_kib),
        )
        .of_plain(0.65)
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
        .row("zip, for this machine", Unit::Megabytes, bytes)
        .at_most(3.4e6)
        .done();
    Ok(())
}

fn whole(times: &[Elapsed]) -> f64 {
    median(times.iter().map(|elapsed| elapsed.whole).collect())
}

fn without_emulator(times: &[Elapsed]) -> f64 {
    median(
        times
            .iter()
            .map(|elapsed| elapsed.without_emulator())
            .collect(),
    )
}

/// The median in seconds, or NaN if there are no times.
pub(crate) fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let middle = times.get(times.len() / 2);
    middle.map_or(f64::NAN, Duration::as_secs_f64)
}
