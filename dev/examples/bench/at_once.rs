//! Many requests at once to one process, beside the plain program served the same way. The store answers every call after
//! three milliseconds, as DynamoDB does, and takes hardly any time on a processor.
//!
//! The program has cores of its own, if the machine has enough; this one, with the store, has the others. The log goes to
//! `/dev/null`.

use std::net::Ipv4Addr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::serve::ListenerExt as _;
use dev::environment::{self, Environment};
use dev::process::Usage;
use dev::runtime_api::{self, RuntimeApi};
use dev::tls::CertificateAuthority;
use futures_util::future::{join_all, try_join_all};
use tokio::net::TcpListener;
use tokio::time::{sleep, sleep_until};

use crate::callers::{Callers, Kind};
use crate::charts::Curve;
use crate::program::{self, Program};
use crate::report::{Report, Unit};
use crate::times::median;

/// How long the store takes.
const STORE: Duration = Duration::from_millis(3);

/// How many requests come at once.
const AT_ONCE: [usize; 4] = [1, 8, 32, 128];

const PROGRAMS: [Program; 2] = [Program::Plain, Program::Function];

/// How long is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// A turn of each program.
    turn: Duration,
    turns: usize,
    /// The two times after which memory is measured.
    memory: [Duration; 2],
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        turn: Duration::from_secs(1),
        turns: 5,
        memory: [Duration::from_secs(30), Duration::from_secs(300)],
    };
    pub(crate) const QUICK: Self = Self {
        turn: Duration::from_millis(300),
        turns: 1,
        memory: [Duration::from_secs(1), Duration::from_secs(5)],
    };
}

/// Measures this alone, quickly, and writes nothing.
pub(crate) async fn look() -> Result<()> {
    let cores = program::cores()?;
    Program::copy_all()?;
    let callers = Callers::new()?;
    let mut report = Report::begin();
    measure(Scale::QUICK, &cores, &callers, &mut report).await?;
    Ok(())
}

/// Adds a section to the report, and returns the throughput of both programs.
pub(crate) async fn measure(
    scale: Scale,
    cores: &[usize],
    callers: &Callers,
    report: &mut Report,
) -> Result<Vec<Curve>> {
    let title = "Many requests at once, with a store that answers after 3 ms";
    report.section(title, &PROGRAMS);
    let store = Store::start().await?;
    let mut curves = Vec::new();
    for count in [1, 2] {
        if cores.len() < count {
            continue;
        }
        let split = Split::of(cores, count);
        split.check()?;
        let (mut all, mut one): (Vec<[Sum; 2]>, Option<[Sum; 2]>) = (Vec::new(), None);
        for at_once in AT_ONCE {
            let sums = throughput(scale, at_once, &split, &store, callers).await?;
            row(report, count, at_once, &sums, one.as_ref());
            one.get_or_insert_with(|| sums.clone());
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
        latency(scale, count, &all[2], &split, &store, callers, report).await?;
    }
    let all_cores = Split::of(cores, cores.len().min(2));
    memory(scale, &all_cores, &store, callers, report).await?;
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

    /// Moves this program to its cores.
    fn check(&self) -> Result<()> {
        program::use_cores(self.this)
    }
}

/// What a program did in all its turns.
#[derive(Clone, Default)]
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
    store: &Store,
    callers: &Callers,
) -> Result<[Sum; 2]> {
    let environment = store.environment(callers, &store.plain_endpoint)?;
    let mut sums = <[Sum; 2]>::default();
    let mut served = Vec::new();
    for program in PROGRAMS {
        let program = Served::start(program, at_once, split, &environment).await?;
        program.serve(at_once, scale.turn, callers).await?;
        served.push(program);
    }
    for _ in 0..scale.turns {
        for (program, sum) in served.iter().zip(&mut sums) {
            let before = program.usage()?;
            let began = Instant::now();
            sum.requests += program.serve(at_once, scale.turn, callers).await?;
            sum.whole += began.elapsed();
            sum.processor += program.usage()?.processor - before.processor;
        }
    }
    Ok(sums)
}

fn row(report: &mut Report, cores: usize, at_once: usize, sums: &[Sum; 2], one: Option<&[Sum; 2]>) {
    let name = |figure| format!("{cores} core(s), {at_once} at once: {figure}");
    let [plain, function] = sums;
    let is_goal = at_once == 32;
    let figures = [plain.per_second(), function.per_second()];
    let mut row = report.row(&name("requests"), Unit::PerSecond, figures);
    if let (true, Some([_, one])) = (is_goal, one) {
        row = row.at_least_of(10.0, "one at a time", one.per_second());
    }
    row.done();
    let figures = [plain.processor(), function.processor()];
    let mut row = report.row(&name("processor per request"), Unit::Micros, figures);
    if let (true, Some([_, one])) = (is_goal, one) {
        row = row.of(1.0, "one at a time", one.processor());
        row = row.of_plain(0.7);
    }
    row.done();
}

/// Sends half as many requests as each program can handle at 32 at once, evenly, and measures how long each takes from
/// the moment at which it was due.
async fn latency(
    scale: Scale,
    cores: usize,
    sums: &[Sum; 2],
    split: &Split<'_>,
    store: &Store,
    callers: &Callers,
    report: &mut Report,
) -> Result<()> {
    const AT_ONCE: usize = 32;
    let environment = store.environment(callers, &store.plain_endpoint)?;
    let (mut p50, mut p99) = ([f64::NAN; 2], [f64::NAN; 2]);
    for (index, (program, sum)) in PROGRAMS.into_iter().zip(sums).enumerate() {
        let served = Served::start(program, AT_ONCE, split, &environment).await?;
        served.serve(AT_ONCE, scale.turn, callers).await?;
        let rate = sum.per_second() / 2.0;
        let count = (rate * scale.turn.as_secs_f64() * scale.turns as f64) as usize;
        let begin = tokio::time::Instant::now();
        let requests = (0..count).map(async |number| -> Result<Duration> {
            let due = begin + Duration::from_secs_f64(number as f64 / rate);
            sleep_until(due).await;
            served.invoke(callers).await?;
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
        .of(3.0, "median", p50[1])
        .done();
    Ok(())
}

async fn memory(
    scale: Scale,
    split: &Split<'_>,
    store: &Store,
    callers: &Callers,
    report: &mut Report,
) -> Result<()> {
    const AT_ONCE: usize = 128;
    split.check()?;
    let environment = store.environment(callers, &store.tls_endpoint)?;
    let mut resident = [[f64::NAN; 2]; 2];
    let mut peak = [f64::NAN; 2];
    for (index, program) in PROGRAMS.into_iter().enumerate() {
        let served = Served::start(program, AT_ONCE, split, &environment).await?;
        let mut before = Duration::ZERO;
        for (moment, resident) in scale.memory.into_iter().zip(&mut resident) {
            served.serve(AT_ONCE, moment - before, callers).await?;
            before = moment;
            let usage = served.usage()?;
            resident[index] = usage.resident_kib as f64;
            peak[index] = usage.peak_kib as f64;
        }
    }
    let name = |moment: usize| {
        let seconds = scale.memory[moment].as_secs();
        format!("TLS, 128 at once: memory after {seconds} s")
    };
    let first = resident[0][1];
    report.row(&name(0), Unit::Mebibytes, resident[0]).done();
    report
        .row(&name(1), Unit::Mebibytes, resident[1])
        .of(1.05, "before", first)
        .done();
    report
        .row("TLS, 128 at once: peak memory", Unit::Mebibytes, peak)
        .at_most(20.0 * 1024.0)
        .done();
    Ok(())
}

/// A store that answers every call with success. It ends with the program.
struct Store {
    plain_endpoint: String,
    tls_endpoint: String,
    authority: CertificateAuthority,
}

impl Store {
    async fn start() -> Result<Self> {
        let router = Router::new().fallback(async || {
            sleep(STORE).await;
            ([(CONTENT_TYPE, "application/x-amz-json-1.0")], "{}")
        });
        let authority = CertificateAuthority::generate();
        let tls = authority.listen().await;
        let tls_endpoint = format!("https://localhost:{}", tls.port());
        let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let plain_endpoint = format!("http://{}", plain.local_addr()?);
        let plain = plain.tap_io(|stream| {
            // Fails only if the connection is closed already.
            let _ = stream.set_nodelay(true);
        });
        // Both serve until the program ends.
        tokio::spawn(axum::serve(plain, router.clone()).into_future());
        tokio::spawn(axum::serve(tls, router).into_future());
        Ok(Self {
            plain_endpoint,
            tls_endpoint,
            authority,
        })
    }

    fn environment(&self, callers: &Callers, endpoint: &str) -> Result<Environment> {
        callers.environment_with(self.authority.pem_file.path(), endpoint)
    }
}

/// A program that serves many requests at once. Dropping it ends it.
struct Served {
    process: Child,
    api: RuntimeApi,
}

impl Served {
    async fn start(
        program: Program,
        at_once: usize,
        split: &Split<'_>,
        variables: &Environment,
    ) -> Result<Self> {
        let api = RuntimeApi::start().await?;
        let mut command = program.command()?;
        environment::set(&mut command, &api.address, variables)
            .env("AWS_LAMBDA_MAX_CONCURRENCY", at_once.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        program::use_cores(split.program)?;
        let started = command.spawn();
        program::use_cores(split.this)?;
        let process = started.context("the program could not be started")?;
        let served = Self { process, api };
        tokio::select! {
            ready = program::ready(&served.api, at_once) => ready?,
            error = served.api.init_error() => bail!("the program did not start: {}", error?),
        };
        Ok(served)
    }

    /// Sends so many requests at once for so long, each when the one before it is answered. Returns their number.
    async fn serve(&self, at_once: usize, time: Duration, callers: &Callers) -> Result<usize> {
        let end = Instant::now() + time;
        let callers = (0..at_once).map(async |_| -> Result<usize> {
            let mut requests = 0;
            while Instant::now() < end {
                self.invoke(callers).await?;
                requests += 1;
            }
            Ok(requests)
        });
        let requests: Result<Vec<usize>> = join_all(callers).await.into_iter().collect();
        Ok(requests?.into_iter().sum())
    }

    async fn invoke(&self, callers: &Callers) -> Result<()> {
        let event = callers.event(Kind::Usual)?;
        let completed = self.api.invoke(&event, runtime_api::deadline_millis());
        match completed.await?.result {
            Ok(answer) => ensure!(program::is_success(&answer), "refused: {answer}"),
            Err(error) => bail!("the program failed: {error}"),
        }
        Ok(())
    }

    fn usage(&self) -> Result<Usage> {
        Usage::of(self.process.id())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
