//! A key set that its issuer publishes at a URL, and that changes while the
//! function runs.
//!
//! A Lambda is frozen between requests, for an hour or more, so nothing here
//! trusts a timer: the age of the keys is told by the clock, at each request.
//! What runs in the background may be frozen half way; it then fails by its
//! time limits or succeeds, and counts from when it was begun.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lambda_http::http::Uri;
use tokio::sync::OwnedMutexGuard;

use super::keys::{Algorithm, Found, Key, KeySet, SkippedKey};
use crate::clock::{Clock, Timestamp};
use crate::http::Client;
use crate::telemetry;

/// For how long keys are used without asking again.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// From which age on keys are refreshed in the background, so that no request
/// of a function that is in use waits for it.
const REFRESH_AHEAD: Duration = Duration::from_secs(8 * 60);

/// For how long keys are used while their issuer cannot be asked.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// How often tokens with unknown key ids may make the function ask again. Such
/// a token costs its sender nothing, so this is what keeps the function from
/// amplifying an attack.
const UNKNOWN_KID_INTERVAL: Duration = Duration::from_secs(60);

/// The first pause after a failure, doubled with each that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a key server may take to begin its answer, and again to end it.
const TIME_LIMIT: Duration = Duration::from_secs(1);

/// The longest key set that is read, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// How long connecting to a key server may take: as long as the answer, of
/// which it is a part.
pub const CONNECT_TIMEOUT: Duration = TIME_LIMIT;

/// A key set at a URL.
#[derive(Debug)]
pub(super) struct RemoteKeySet {
    /// `access` or `customer`, for logs and metrics.
    name: &'static str,
    url: Uri,
    http: Client,
    clock: Clock,
    state: Mutex<State>,
    /// Held while the key server is asked: once at a time.
    asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// How often the key server was asked, to tell whether another has asked
    /// while one waited.
    asked: u64,
    /// How many times in a row it failed, and when it did last.
    failures: u32,
    failed_at: Option<Timestamp>,
    asked_for_unknown_kid_at: Option<Timestamp>,
    skipped_told: Vec<SkippedKey>,
}

#[derive(Debug, Clone)]
struct Held {
    keys: Arc<KeySet>,
    /// When they were asked for, which is no later than they were issued.
    asked_at: Timestamp,
}

/// No keys can be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoKeys {
    /// When it is worth another try.
    pub(super) retry_after: Duration,
}

/// What the age of the keys calls for.
enum Age {
    Fresh,
    /// Still good, soon no more.
    Ageing,
    /// Good only if the key server cannot be asked.
    Stale,
    /// There are none.
    None,
}

impl RemoteKeySet {
    pub(super) fn new(name: &'static str, url: Uri, http: Client, clock: Clock) -> Self {
        Self {
            name,
            url,
            http,
            clock,
            state: Mutex::default(),
            asking: Arc::default(),
        }
    }

    /// The key that a token names, asking the key server where that may help.
    pub(super) async fn find(
        self: &Arc<Self>,
        kid: Option<&str>,
        alg: Algorithm,
    ) -> Result<Option<Arc<Key>>, NoKeys> {
        let (keys, asked) = self.current().await?;
        match keys.find(kid, alg) {
            Found::Key(key) => return Ok(Some(key)),
            Found::OtherAlgorithm => return Ok(None),
            Found::Nothing => {}
        }
        if self.may_ask_for_unknown_kid() {
            self.ask_to_the_end(asked).await;
        } else {
            // Another request may be asking for this very key.
            drop(self.asking.lock().await);
        }
        let held = self.state().held.clone();
        Ok(held.and_then(|held| match held.keys.find(kid, alg) {
            Found::Key(key) => Some(key),
            Found::OtherAlgorithm | Found::Nothing => None,
        }))
    }

    /// Asks for the keys if there are none yet.
    pub(super) async fn load(self: &Arc<Self>) {
        if self.current().await.is_err() {
            // It is told there. The first request comes at once, and tries again.
            self.state().failed_at = None;
        }
    }

    /// The keys to use now, and how often the server had been asked by then.
    async fn current(self: &Arc<Self>) -> Result<(Arc<KeySet>, u64), NoKeys> {
        let (age, may_ask, asked) = {
            let state = self.state();
            let now = self.clock.now();
            (state.age(now), state.pause_left(now).is_none(), state.asked)
        };
        match age {
            Age::Fresh => {}
            Age::Ageing if may_ask => {
                if let Ok(turn) = Arc::clone(&self.asking).try_lock_owned() {
                    tokio::spawn(Arc::clone(self).ask(turn, asked));
                }
            }
            Age::Ageing => {}
            Age::Stale | Age::None if may_ask => self.ask_to_the_end(asked).await,
            Age::Stale | Age::None => {}
        }
        let state = self.state();
        let now = self.clock.now();
        match (&state.held, state.age(now)) {
            (Some(held), Age::Fresh | Age::Ageing | Age::Stale) => {
                Ok((Arc::clone(&held.keys), state.asked))
            }
            _ => Err(NoKeys {
                retry_after: state.pause_left(now).unwrap_or_default(),
            }),
        }
    }

    /// Asks the key server, also if the request that waits is given up: what
    /// fails must be told, and be followed by a pause.
    async fn ask_to_the_end(self: &Arc<Self>, asked: u64) {
        let turn = Arc::clone(&self.asking).lock_owned().await;
        // Nothing there panics, and if it did, there would be no new keys.
        let _ = tokio::spawn(Arc::clone(self).ask(turn, asked)).await;
    }

    /// Asks the key server, unless another has done so since `asked`.
    async fn ask(self: Arc<Self>, _turn: OwnedMutexGuard<()>, asked: u64) {
        if self.state().asked != asked {
            return;
        }
        let asked_at = self.clock.now();
        let answer = self.http.get(&self.url, MAX_BYTES, TIME_LIMIT).await;
        let keys = answer.map_err(|error| error.to_string()).and_then(|json| {
            let json = std::str::from_utf8(&json).map_err(|error| error.to_string())?;
            KeySet::parse(json).map_err(|error| error.to_string())
        });

        let mut state = self.state();
        state.asked += 1;
        match keys {
            Ok(keys) => {
                if keys.skipped() != state.skipped_told {
                    state.skipped_told = keys.skipped().to_vec();
                    telemetry::keys_skipped(self.name, keys.skipped());
                }
                let keys = Arc::new(keys);
                state.held = Some(Held { keys, asked_at });
                state.failures = 0;
                state.failed_at = None;
            }
            Err(cause) => {
                let now = self.clock.now();
                state.failures = state.failures.saturating_add(1);
                state.failed_at = Some(now);
                let age = state.held.as_ref().map(|held| held.age(now));
                telemetry::keys_not_refreshed(self.name, &cause, age);
            }
        }
    }

    /// Whether a token with an unknown key id may make the function ask now;
    /// if so, the next may not for a while.
    fn may_ask_for_unknown_kid(&self) -> bool {
        let mut state = self.state();
        let now = self.clock.now();
        let next = state
            .asked_for_unknown_kid_at
            .map(|at| at.plus(UNKNOWN_KID_INTERVAL));
        if next.is_some_and(|next| now.until(next).is_some()) {
            return false;
        }
        state.asked_for_unknown_kid_at = Some(now);
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done with it in hand can leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn age(&self, now: Timestamp) -> Age {
        match self.held.as_ref().map(|held| held.age(now)) {
            Some(age) if age < REFRESH_AHEAD => Age::Fresh,
            Some(age) if age < FRESH => Age::Ageing,
            Some(age) if age < STALE => Age::Stale,
            Some(_) | None => Age::None,
        }
    }

    /// How long the key server is left alone after failures.
    fn pause_left(&self, now: Timestamp) -> Option<Duration> {
        let doublings = self.failures.saturating_sub(1).min(16);
        let pause = (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE);
        now.until(self.failed_at?.plus(pause))
    }
}

impl Held {
    fn age(&self, now: Timestamp) -> Duration {
        self.asked_at.until(now).unwrap_or_default()
    }
}
