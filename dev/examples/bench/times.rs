//! Measures times and memory. The programs take turns, so that a machine that is slow for a while is slow for all.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use dev::environment::Environment;

use crate::at_once;
use crate::callers::{Callers, Kind};
use crate::charts;
use crate::program::{self, Program, Running};
use crate::report::{Report, Unit};
use crate::store::Store;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Starts of each program with each kind of endpoint.
    starts: usize,
    /// Turns of warm requests for each program.
    turns: usize,
    /// Requests before memory is measured.
    memory: usize,
    /// A turn of each program with many requests at once.
    pub(crate) turn: Duration,
    pub(crate) turns_at_once: usize,
    /// The two times after which memory is measured with many requests at once.
    pub(crate) memory_at_once: [Duration; 2],
    /// Whether the tables and the charts are written to their files.
    written: bool,
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        starts: 50,
        turns: 100,
        memory: 10_000,
        turn: Duration::from_secs(1),
        turns_at_once: 5,
        memory_at_once: [Duration::from_secs(30), Duration::from_secs(300)],
        written: true,
    };
    pub(crate) const QUICK: Self = Self {
        starts: 15,
        turns: 20,
        memory: 1000,
        turn: Duration::from_millis(300),
        turns_at_once: 1,
        memory_at_once: [Duration::from_secs(1), Duration::from_secs(5)],
        written: false,
    };
}

const TURN: usize = 25;

/// Requests before a process counts as warm.
const WARM_UP: usize = 200;

/// Prints the tables, and writes tables and charts to their pages if `scale` says so.
pub(crate) async fn measure(scale: Scale) -> Result<()> {
    let cores = program::cores()?;
    // All programs and this one, so that work is measured and not how fast the machine wakes another core.
    program::use_cores(&cores[..1])?;
    Program::copy_all()?;
    let store = Store::emulator().await?;
    let callers = Callers::new()?;
    let mut report = Report::default();
    report.section("One request at a time", &Program::ALL);
    starts(scale, &store, &callers, &mut report).await?;
    let processor = warm(scale, &store, &callers, &mut report).await?;
    memory(scale, &store, &callers, &mut report).await?;
    sizes(&mut report)?;
    costs(processor, &mut report)?;
    let curves = at_once::measure(scale, &cores, &callers, &mut report).await?;
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
    both: Vec<Duration>,
}

async fn start(program: Program, environment: &Environment) -> Result<(Running, Duration)> {
    let running = Running::spawn(program.command()?, environment, Stdio::piped()).await?;
    let ready = running.until_ready(1).await?;
    Ok((running, ready))
}

async fn starts(scale: Scale, store: &Store, callers: &Callers, report: &mut Report) -> Result<()> {
    let http = callers.environment(store, &store.http)?;
    let tls = callers.environment(store, &store.https)?;
    let mut all = <[[Starts; 5]; 2]>::default();
    for _ in 0..scale.starts {
        // The program that does nothing makes no calls.
        for ((environment, skipped), programs) in [(&http, 0), (&tls, 1)].into_iter().zip(&mut all)
        {
            let programs = Program::ALL.into_iter().zip(programs).skip(skipped);
            for (program, starts) in programs {
                let (mut running, ready) = start(program, environment).await?;
                let first = running.invoke(&callers.event(Kind::Usual)?).await?;
                starts.ready.push(ready);
                starts.first.push(first);
                starts.both.push(ready + first);
            }
        }
    }
    for (kind, programs) in ["http", "TLS"].into_iter().zip(&all) {
        let mut row = |name: &str, times: fn(&Starts) -> &[Duration]| {
            let figures = programs.each_ref().map(|starts| median(times(starts)));
            let row = report.row(&format!("{kind}: {name}"), Unit::Millis, figures);
            let row = match (kind, name) {
                ("http", "start + first answer") => row.of_plain(0.82).of_nothing(2.15),
                ("TLS", "first answer") => row.of_plain(0.025),
                ("TLS", "start + first answer") => {
                    row.of_plain(0.17).compared("Start + first answer")
                }
                _ => row,
            };
            row.done();
        };
        row("start → ready", |starts| &starts.ready);
        row("first answer", |starts| &starts.first);
        row("start + first answer", |starts| &starts.both);
    }
    Ok(())
}

struct Warm {
    running: Running,
    kind: Kind,
    times: Vec<Duration>,
    processor: Duration,
}

impl Warm {
    async fn start(
        program: Program,
        kind: Kind,
        environment: &Environment,
        callers: &Callers,
    ) -> Result<Self> {
        let (mut running, _) = start(program, environment).await?;
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
    store: &Store,
    callers: &Callers,
    report: &mut Report,
) -> Result<[f64; 5]> {
    let environment = callers.environment(store, &store.http)?;
    let start = async |program, kind| Warm::start(program, kind, &environment, callers).await;
    let mut all = [
        start(Program::Nothing, Kind::Usual).await?,
        start(Program::Python, Kind::Usual).await?,
        start(Program::Node, Kind::Usual).await?,
        start(Program::Plain, Kind::Usual).await?,
        start(Program::Function, Kind::Usual).await?,
        start(Program::Function, Kind::NewAccessToken).await?,
        // The function first: it must create the association that all repeat, as its own has more attributes.
        start(Program::Function, Kind::Repeated).await?,
        start(Program::Python, Kind::Repeated).await?,
        start(Program::Node, Kind::Repeated).await?,
        start(Program::Plain, Kind::Repeated).await?,
    ];
    let before = store.items().await?;
    for _ in 0..scale.turns {
        for warm in &mut all {
            warm.turn(callers).await?;
        }
    }
    // By five of the ten: the program that does nothing creates nothing, and repeated requests created theirs before.
    let created = store.items().await? - before;
    let expected = 5 * scale.turns * TURN;
    ensure!(
        created == expected,
        "{created} items were created, not {expected}"
    );
    let [nothing, python, node, plain, usual, new, repeated @ ..] = all.each_ref();
    let [again, python_again, node_again, plain_again] = repeated;
    let seen = [nothing, python, node, plain, usual];
    for (kind, programs) in [
        ("tokens seen before", seen),
        (
            "new RS256 access token",
            [nothing, python, node, plain, new],
        ),
        (
            "repeated, tokens seen before",
            [nothing, python_again, node_again, plain_again, again],
        ),
    ] {
        let medians = programs.map(|warm| median(&warm.times));
        let name = format!("warm: median, {kind}");
        let row = report.row(&name, Unit::Micros, medians);
        let row = match kind {
            "tokens seen before" => row.of_plain(0.8).compared("Warm request"),
            "new RS256 access token" => row.of_plain(0.9),
            _ => row.of_plain(0.8),
        };
        row.done();
    }
    let processor = seen.map(Warm::processor);
    report
        .row(
            "warm: processor, mean, tokens seen before",
            Unit::Micros,
            processor,
        )
        .of_plain(0.67)
        .compared("Processor time")
        .done();
    Ok(processor)
}

async fn memory(scale: Scale, store: &Store, callers: &Callers, report: &mut Report) -> Result<()> {
    let environment = callers.environment(store, &store.https)?;
    let (mut first, mut last, mut peak) = ([f64::NAN; 5], [f64::NAN; 5], [f64::NAN; 5]);
    for (index, program) in Program::ALL.into_iter().enumerate().skip(1) {
        let (mut running, _) = start(program, &environment).await?;
        // New tokens fill the function's cache of verified tokens. The others read none.
        let kind = match program {
            Program::Function => Kind::NewTokens,
            _ => Kind::Usual,
        };
        for request in 1..=scale.memory {
            running.invoke(&callers.event(kind)?).await?;
            if request == scale.memory / 10 {
                first[index] = running.usage()?.resident_kib as f64;
            }
        }
        let usage = running.usage()?;
        last[index] = usage.resident_kib as f64;
        peak[index] = usage.peak_kib as f64;
    }
    let requests = scale.memory;
    let peak_name = format!("TLS: peak memory, {requests} requests");
    report
        .row(&peak_name, Unit::Mebibytes, peak)
        .of_plain(0.65)
        .compared("Memory")
        .done();
    for (after, resident) in [(requests / 10, first), (requests, last)] {
        let name = format!("TLS: memory after {after} requests");
        report.row(&name, Unit::Mebibytes, resident).done();
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
