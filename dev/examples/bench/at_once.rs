//! Many requests at once to one process, beside the plain program served the same way. The store answers every call after
//! three milliseconds, as DynamoDB does.
//!
//! The program has cores of its own, if the machine has enough; this one, with the store, has the others. The log goes to
//! `/dev/null`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Result;
use dev::environment::Environment;
use futures_util::future::try_join_all;
use tokio::time::sleep_until;

use crate::callers::{Callers, Kind};
use crate::charts::Curve;
use crate::program::{self, Program, Running};
use crate::report::{Report, Unit};
use crate::store::Store;
use crate::times::{Scale, median};

/// How long the store takes.
const STORE: Duration = Duration::from_millis(3);

/// How many requests come at once.
const AT_ONCE: [usize; 4] = [1, 8, 32, 128];

/// Where the goals are.
const GOAL: usize = 32;

const PROGRAMS: [Program; 2] = [Program::Plain, Program::Function];

/// Adds a section to the report, and returns the throughput of both programs.
pub(crate) async fn measure(
    scale: Scale,
    cores: &[usize],
    callers: &Callers,
    report: &mut Report,
) -> Result<Vec<Curve>> {
    report.section(
        "Many requests at once, with a store that answers after 3 ms",
        &PROGRAMS,
    );
    let store = Store::answers_after(STORE).await?;
    let environment = callers.environment(&store, &store.http)?;
    let mut curves = Vec::new();
    for count in 1..=cores.len().min(2) {
        let split = Split::of(cores, count);
        program::use_cores(split.this)?;
        let mut all: Vec<[Sum; 2]> = Vec::new();
        for at_once in AT_ONCE {
            let sums = throughput(scale, at_once, &split, &environment, callers).await?;
            let [_, one] = all.first().unwrap_or(&sums);
            rows(report, count, at_once, &sums, one);
            all.push(sums);
        }
        for (index, program) in PROGRAMS.iter().enumerate() {
            let points = AT_ONCE.iter().zip(&all);
            let points = points.map(|(at_once, sums)| (*at_once, sums[index].per_second()));
            let cores = if count == 1 { "core" } else { "cores" };
            curves.push(Curve {
                name: format!("{}, {count} {cores}", program.name()),
                points: points.collect(),
            });
        }
        latency(scale, count, &all[2], &split, &environment, callers, report).await?;
    }
    let split = Split::of(cores, cores.len().min(2));
    let environment = callers.environment(&store, &store.https)?;
    memory(scale, &split, &environment, callers, report).await?;
    Ok(curves)
}

/// The cores of the program that is measured, and those of this one.
struct Split<'c> {
    program: &'c [usize],
    this: &'c [usize],
}

impl<'c> Split<'c> {
    fn of(cores: &'c [usize], count: usize) -> Self {
        let (program, others) = cores.split_at(count);
        let this = if others.is_empty() { cores } else { others };
        Self { program, this }
    }

    async fn start(
        &self,
        program: Program,
        environment: &Environment,
        at_once: usize,
    ) -> Result<Running> {
        let mut environment = environment.clone();
        let concurrency = "AWS_LAMBDA_MAX_CONCURRENCY".to_owned();
        environment.insert(concurrency, at_once.to_string());
        program::use_cores(self.program)?;
        let started = Running::spawn(program.command()?, &environment, Stdio::null()).await;
        program::use_cores(self.this)?;
        let started = started?;
        started.until_ready(at_once).await?;
        Ok(started)
    }
}

/// What a program did in all its turns.
#[derive(Default)]
struct Sum {
    requests: usize,
    whole: Duration,
    processor: Duration,
}

impl Sum {
    fn per_second(&self) -> f64 {
        self.requests as f64 / self.whole.as_secs_f64()
    }

    /// Seconds on a processor per request.
    fn processor(&self) -> f64 {
        self.processor.as_secs_f64() / self.requests as f64
    }
}

async fn throughput(
    scale: Scale,
    at_once: usize,
    split: &Split<'_>,
    environment: &Environment,
    callers: &Callers,
) -> Result<[Sum; 2]> {
    let mut sums = <[Sum; 2]>::default();
    let mut started = Vec::new();
    for program in PROGRAMS {
        let program = split.start(program, environment, at_once).await?;
        serve(&program, at_once, scale.turn, callers).await?;
        started.push(program);
    }
    for _ in 0..scale.turns_at_once {
        for (program, sum) in started.iter().zip(&mut sums) {
            let before = program.usage()?;
            let began = Instant::now();
            sum.requests += serve(program, at_once, scale.turn, callers).await?;
            sum.whole += began.elapsed();
            sum.processor += program.usage()?.processor - before.processor;
        }
    }
    Ok(sums)
}

/// Sends so many requests at once for so long, each when the one before it is answered. Returns their number.
async fn serve(
    program: &Running,
    at_once: usize,
    time: Duration,
    callers: &Callers,
) -> Result<usize> {
    let end = Instant::now() + time;
    let callers = (0..at_once).map(async |_| -> Result<usize> {
        let mut requests = 0;
        while Instant::now() < end {
            program.answer(&callers.event(Kind::Usual)?).await?;
            requests += 1;
        }
        Ok(requests)
    });
    Ok(try_join_all(callers).await?.into_iter().sum())
}

fn rows(report: &mut Report, cores: usize, at_once: usize, sums: &[Sum; 2], one: &Sum) {
    let name = |figure| format!("{cores} core(s), {at_once} at once: {figure}");
    let per_second = sums.each_ref().map(Sum::per_second);
    let mut row = report.row(&name("requests"), Unit::PerSecond, per_second);
    if at_once == GOAL {
        row = row.at_least(10.0, "one at a time", one.per_second());
    }
    row.done();
    let processor = sums.each_ref().map(Sum::processor);
    let mut row = report.row(&name("processor per request"), Unit::Micros, processor);
    if at_once == GOAL {
        row = row.at_most_of(1.0, "one at a time", one.processor());
        row = row.of_plain(0.7);
    }
    row.done();
}

/// Sends half as many requests as each program can handle at once, evenly, and measures how long each takes from the
/// moment at which it was due.
async fn latency(
    scale: Scale,
    cores: usize,
    sums: &[Sum; 2],
    split: &Split<'_>,
    environment: &Environment,
    callers: &Callers,
    report: &mut Report,
) -> Result<()> {
    let (mut p50, mut p99) = ([f64::NAN; 2], [f64::NAN; 2]);
    for (index, (program, sum)) in PROGRAMS.into_iter().zip(sums).enumerate() {
        let program = split.start(program, environment, GOAL).await?;
        serve(&program, GOAL, scale.turn, callers).await?;
        let rate = sum.per_second() / 2.0;
        let count = (rate * scale.turn.as_secs_f64() * scale.turns_at_once as f64) as usize;
        let begin = tokio::time::Instant::now();
        let requests = (0..count).map(async |number| -> Result<Duration> {
            let due = begin + Duration::from_secs_f64(number as f64 / rate);
            sleep_until(due).await;
            program.answer(&callers.event(Kind::Usual)?).await?;
            Ok(due.elapsed())
        });
        let mut times = try_join_all(requests).await?;
        times.sort_unstable();
        p99[index] = times[times.len() * 99 / 100].as_secs_f64();
        p50[index] = median(&times);
    }
    let name = |figure| format!("{cores} core(s), half of the requests of 32 at once: {figure}");
    report.row(&name("median"), Unit::Millis, p50).done();
    report
        .row(&name("99 % within"), Unit::Millis, p99)
        .at_most_of(3.0, "median", p50[1])
        .done();
    Ok(())
}

async fn memory(
    scale: Scale,
    split: &Split<'_>,
    environment: &Environment,
    callers: &Callers,
    report: &mut Report,
) -> Result<()> {
    const AT_ONCE: usize = 128;
    program::use_cores(split.this)?;
    let mut resident = [[f64::NAN; 2]; 2];
    let mut peak = [f64::NAN; 2];
    for (index, program) in PROGRAMS.into_iter().enumerate() {
        let program = split.start(program, environment, AT_ONCE).await?;
        let mut before = Duration::ZERO;
        for (moment, resident) in scale.memory_at_once.into_iter().zip(&mut resident) {
            serve(&program, AT_ONCE, moment - before, callers).await?;
            before = moment;
            let usage = program.usage()?;
            resident[index] = usage.resident_kib as f64;
            peak[index] = usage.peak_kib as f64;
        }
    }
    let name = |moment: usize| {
        let seconds = scale.memory_at_once[moment].as_secs();
        format!("TLS, 128 at once: memory after {seconds} s")
    };
    let first = resident[0][1];
    report.row(&name(0), Unit::Mebibytes, resident[0]).done();
    report
        .row(&name(1), Unit::Mebibytes, resident[1])
        .at_most_of(1.05, "before", first)
        .done();
    report
        .row("TLS, 128 at once: peak memory", Unit::Mebibytes, peak)
        .at_most(20.0 * 1024.0)
        .done();
    Ok(())
}
