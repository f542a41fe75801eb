//! Measures times and memory. The programs take turns, so that a machine that is slow for a while is slow for all.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use dev::environment::Environment;
use dev::process::Usage;

use crate::at_once;
use crate::callers::{Callers, Kind, ROOTS};
use crate::charts;
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

/// A figure of what was measured.
type Figure<T> = (&'static str, Unit, fn(&T) -> f64);

/// Prints the tables, and writes tables and charts to their pages if `scale` says so.
pub(crate) async fn measure(scale: Scale) -> Result<()> {
    let cores = program::cores()?;
    // All programs and this one, so that work is measured and not how fast the machine wakes another core.
    program::use_cores(&cores[..1])?;
    Program::copy_all()?;
    let emulator = Emulator::start().await?;
    let callers = Callers::new()?;
    let mut report = Report::begin();
    report.section("One request at a time", &Program::ALL);
    starts(scale, &emulator, &callers, &mut report).await?;
    let processor = warm(scale, &emulator, &callers, &mut report).await?;
    memory(scale, &emulator, &callers, &mut report).await?;
    sizes(&mut report)?;
    costs(processor, &mut report)?;
    let curves = at_once::measure(scale.at_once, &cores, &callers, &mut report).await?;
    if scale.written {
        report.write()?;
        charts::write(&report.compared, &curves)?;
    }
    Ok(())
}

/// The starts of a program, each with a first answer.
#[derive(Default)]
struct Starts {
    ready: Vec<Duration>,
    first: Vec<Duration>,
    both: Vec<Elapsed>,
    processor: Vec<Duration>,
    /// Of the last one: they hardly vary.
    page_faults: Option<u64>,
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
        let mut running = Running::start(program.command()?, environment, emulator).await?;
        let first = running.invoke(&event).await?;
        let usage = running.usage()?;
        self.ready.push(running.start.whole);
        self.first.push(first.whole);
        self.both.push(running.start + first);
        self.processor.push(usage.processor);
        self.page_faults = Some(usage.page_faults);
        Ok(())
    }
}

async fn starts(
    scale: Scale,
    emulator: &Emulator,
    callers: &Callers,
    report: &mut Report,
) -> Result<()> {
    let http = callers.environment(emulator, &emulator.plain_endpoint)?;
    let tls = callers.environment(emulator, &emulator.tls_endpoint)?;
    let mut own_roots = http.clone();
    own_roots.retain(|name, _| !ROOTS.contains(&name.as_str()));
    let (mut over_http, mut over_tls) = (<[Starts; 5]>::default(), <[Starts; 5]>::default());
    let mut with_own_roots = <[Starts; 5]>::default();
    for _ in 0..scale.starts {
        for (program, starts) in Program::ALL.into_iter().zip(&mut over_http) {
            starts.one(program, &http, emulator, callers).await?;
        }
        for (program, starts) in Program::ALL.into_iter().zip(&mut with_own_roots) {
            starts.one(program, &own_roots, emulator, callers).await?;
        }
        for (program, starts) in Program::ALL.into_iter().zip(&mut over_tls).skip(1) {
            starts.one(program, &tls, emulator, callers).await?;
        }
    }
    for (kind, starts) in [
        ("http", over_http),
        ("http, each with its own roots", with_own_roots),
        ("TLS", over_tls),
    ] {
        let rows: [Figure<Starts>; 6] = [
            ("start → ready", Unit::Millis, |s| median(&s.ready)),
            ("first answer", Unit::Millis, |s| median(&s.first)),
            ("start + first answer", Unit::Millis, |s| whole(&s.both)),
            ("both without the emulator's share", Unit::Millis, |s| {
                without_emulator(&s.both)
            }),
            ("both, processor", Unit::Millis, |s| median(&s.processor)),
            ("both, page faults", Unit::Count, |s| {
                s.page_faults.map_or(f64::NAN, |count| count as f64)
            }),
        ];
        for (name, unit, of) in rows {
            let name = format!("{kind}: {name}");
            let row = report.row(&name, unit, starts.each_ref().map(of));
            let row = match &*name {
                "http: start + first answer" => row.of_plain(0.82).of_nothing(2.15),
                "TLS: first answer" => row.of_plain(0.025),
                "TLS: start + first answer" => row.of_plain(0.17).compared("Start + first answer"),
                _ => row,
            };
            row.done();
        }
    }
    Ok(())
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
        let mut running = Running::start(program.command()?, environment, emulator).await?;
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

/// Returns the processor time per request.
async fn warm(
    scale: Scale,
    emulator: &Emulator,
    callers: &Callers,
    report: &mut Report,
) -> Result<[f64; 5]> {
    let environment = callers.environment(emulator, &emulator.plain_endpoint)?;
    let start =
        async |program, kind| Warm::start(program, kind, &environment, emulator, callers).await;
    let mut all = [
        start(Program::Nothing, Kind::Usual).await?,
        start(Program::Python, Kind::Usual).await?,
        start(Program::Node, Kind::Usual).await?,
        start(Program::Plain, Kind::Usual).await?,
        start(Program::Function, Kind::Usual).await?,
        start(Program::Function, Kind::NewAccessToken).await?,
        start(Program::Function, Kind::NewTokens).await?,
        // The function first: it must create the association that all repeat, as its own has more attributes.
        start(Program::Function, Kind::Repeated).await?,
        start(Program::Python, Kind::Repeated).await?,
        start(Program::Node, Kind::Repeated).await?,
        start(Program::Plain, Kind::Repeated).await?,
    ];
    let before = emulator.items().await?;
    for _ in 0..scale.turns {
        for warm in &mut all {
            warm.turn(callers).await?;
        }
    }
    // By six of the eleven: the program that does nothing creates nothing, and repeated requests created theirs before.
    let created = emulator.items().await? - before;
    let expected = 6 * scale.turns * TURN;
    ensure!(
        created == expected,
        "{created} items were created, not {expected}"
    );
    let [nothing, plain @ .., usual, new, both, again, _, _, _] = all.each_ref();
    let [.., python_again, node_again, plain_again] = all.each_ref();
    let plain_again = [python_again, node_again, plain_again];
    let mut processor = [f64::NAN; 5];
    for (kind, [python, node, plain], function) in [
        ("tokens seen before", plain, usual),
        ("new RS256 access token", plain, new),
        ("two new RS256 tokens", plain, both),
        ("repeated, tokens seen before", plain_again, again),
    ] {
        let rows: [Figure<Warm>; 3] = [
            ("median", Unit::Micros, |w| whole(&w.times)),
            ("median without the emulator's share", Unit::Micros, |w| {
                without_emulator(&w.times)
            }),
            ("processor, mean", Unit::Micros, Warm::processor),
        ];
        for (name, unit, of) in rows {
            let name = format!("warm: {name}, {kind}");
            let figures = [nothing, python, node, plain, function].map(of);
            let row = report.row(&name, unit, figures);
            let row = match &*name {
                "warm: median, tokens seen before" => row.of_plain(0.8).compared("Warm request"),
                "warm: median, new RS256 access token" => row.of_plain(0.9),
                "warm: median, repeated, tokens seen before" => row.of_plain(0.8),
                "warm: processor, mean, tokens seen before" => {
                    processor = figures;
                    row.of_plain(0.67).compared("Processor time")
                }
                _ => row,
            };
            row.done();
        }
    }
    Ok(processor)
}

async fn memory(
    scale: Scale,
    emulator: &Emulator,
    callers: &Callers,
    report: &mut Report,
) -> Result<()> {
    let environment = callers.environment(emulator, &emulator.tls_endpoint)?;
    let mut usages = [[None; 2]; 5];
    for (program, usages) in Program::ALL.into_iter().zip(&mut usages).skip(1) {
        let mut running = Running::start(program.command()?, &environment, emulator).await?;
        // New tokens fill the function's cache of verified tokens. The others read none.
        let kind = match program {
            Program::Function => Kind::NewTokens,
            _ => Kind::Usual,
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
        .compared("Memory")
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
    let mut bytes = [0.0; 5];
    for (program, bytes) in Program::ALL.into_iter().zip(&mut bytes) {
        *bytes = program.zipped_bytes()? as f64;
    }
    report
        .row("zip, for this machine", Unit::Megabytes, bytes)
        .at_most(3.4e6)
        .compared("Zip")
        .done();
    Ok(())
}

/// What a month costs with each program, by the arithmetic of `docs/costs.py`.
fn costs(processor: [f64; 5], report: &mut Report) -> Result<()> {
    for (title, rate, part) in [
        ("Lambda, a month at 100/s", "100", 1),
        ("All of it, a month at 1/s", "1", 0),
        ("All of it, a month at 100/s", "100", 0),
    ] {
        let mut python = Command::new(program::python());
        python.arg(dev::project().join("docs/costs.py"));
        python.args(["--programs", rate]);
        python.args(processor.map(|seconds| (seconds * 1e3).to_string()));
        let costs: [[f64; 2]; 5] = serde_json::from_slice(&python.output()?.stdout)?;
        let mut costs = costs.map(|costs| costs[part]);
        // The program that does nothing would need no table.
        costs[0] = f64::NAN;
        report
            .row(title, Unit::Dollars, costs)
            .compared(title)
            .done();
    }
    Ok(())
}

/// The median in seconds, or NaN if there are no times.
pub(crate) fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    let middle = times.get(times.len() / 2);
    middle.map_or(f64::NAN, Duration::as_secs_f64)
}

fn whole(times: &[Elapsed]) -> f64 {
    let times: Vec<Duration> = times.iter().map(|elapsed| elapsed.whole).collect();
    median(&times)
}

fn without_emulator(times: &[Elapsed]) -> f64 {
    let times: Vec<Duration> = times
        .iter()
        .map(|elapsed| elapsed.without_emulator())
        .collect();
    median(&times)
}
