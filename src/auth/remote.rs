//! A key set that its issuer publishes at a URL, and that changes while the
//! function runs.
//!
//! Lambda freezes the process between requests, for an hour or more. So no timer
//! is used: each request computes the age of the keys from the clock. A background
//! refresh may be frozen half way; it then succeeds or times out, and the keys' age
//! counts from its beginning.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use lambda_http::http::{Request, StatusCode, Uri, header};
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout, timeout_at};

use super::keys::{Algorithm, Key, KeyLookup, KeySet, SkippedKey};
use crate::client::{self, BoxError, Client};
use crate::clock::{Clock, Timestamp};
use crate::telemetry;

/// The age up to which keys are used without a refresh.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// The age from which keys are refreshed in the background, so that no request
/// waits while the function is in regular use.
const REFRESH_AHEAD: Duration = Duration::from_secs(8 * 60);

/// The age up to which keys are used while the key server fails.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// The least time between two refreshes for tokens with an unknown `kid`. Anybody
/// can send such tokens, so this keeps the function from flooding the key server.
const UNKNOWN_KID_INTERVAL: Duration = Duration::from_secs(60);

/// The pause after a failure. It doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause after a failure.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The time limit for a key server to begin its response, and again to end it.
const TIME_LIMIT: Duration = Duration::from_secs(1);

/// The largest key set that is read, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// The time limit for connecting to a key server. Connecting counts towards the time
/// limit of the response, so it has the same.
pub const CONNECT_TIMEOUT: Duration = TIME_LIMIT;

/// A key set at a URL.
#[derive(Debug)]
pub(super) struct RemoteKeySet {
    /// The kind of token, for logs and metrics.
    name: &'static str,
    url: Uri,
    http: Client,
    clock: Clock,
    state: Mutex<State>,
    /// Locked during a fetch: one at a time.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    cached: Option<CachedKeys>,
    /// The number of fetches so far. A waiting request compares it to see whether
    /// another has fetched.
    fetches: u64,
    /// The number of consecutive failures, and the time of the last.
    failures: u32,
    failed_at: Option<Timestamp>,
    /// A token with an unknown `kid` made a fetch necessary, and none has succeeded
    /// since: the set may have the key.
    is_wanted: bool,
    fetched_for_unknown_kid_at: Option<Timestamp>,
    logged_skipped: Vec<SkippedKey>,
}

#[derive(Debug, Clone)]
struct CachedKeys {
    keys: Arc<KeySet>,
    /// When the fetch began. The keys are not older.
    fetched_at: Timestamp,
}

/// No keys are available now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoKeys {
    /// When a retry may succeed.
    pub(super) retry_after: Duration,
}

/// What the age of the cached keys allows.
enum Age {
    /// Use them.
    Fresh,
    /// Use them, and refresh them in the background.
    Ageing,
    /// Use them only if a refresh fails.
    Stale,
    /// There are none, or they are too old to be used.
    None,
}

/// Why a key set could not be fetched.
enum FetchError {
    /// No response, or none in time.
    NoResponse(BoxError),
    /// A response with another status than 200. Redirects are not followed.
    Status(StatusCode),
    /// The body was too long, did not end in time, or broke off.
    Body(BoxError),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoResponse(error) => write!(f, "no response: {}", client::cause(&**error)),
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
            Self::Body(error) => write!(f, "no body: {}", client::cause(&**error)),
        }
    }
}

impl RemoteKeySet {
    pub(super) fn new(name: &'static str, url: Uri, http: Client, clock: Clock) -> Self {
        Self {
            name,
            url,
            http,
            clock,
            state: Mutex::default(),
            fetching: Arc::default(),
        }
    }

    /// Finds the key that a token names, and fetches the key set first if that may
    /// help. Waits no longer than until `deadline`.
    pub(super) async fn find(
        self: &Arc<Self>,
        kid: Option<&str>,
        alg: Algorithm,
        deadline: Instant,
    ) -> Result<Option<Arc<Key>>, NoKeys> {
        timeout_at(deadline, self.find_or_fetch(kid, alg))
            .await
            .unwrap_or(Err(NoKeys {
                retry_after: Duration::ZERO,
            }))
    }

    async fn find_or_fetch(
        self: &Arc<Self>,
        kid: Option<&str>,
        alg: Algorithm,
    ) -> Result<Option<Arc<Key>>, NoKeys> {
        let (keys, fetches) = self.current().await?;
        match keys.find(kid, alg) {
            KeyLookup::Key(key) => return Ok(Some(key)),
            KeyLookup::OtherAlgorithm => return Ok(None),
            KeyLookup::Unknown => {}
        }
        // The decision needs the turn: without it, another request could be about to
        // fetch, and this one would not wait for it.
        let turn = Arc::clone(&self.fetching).lock_owned().await;
        let may_fetch = {
            let (mut state, now) = (self.state(), self.clock.now());
            let is_refreshed = state.fetches != fetches && state.failures == 0;
            if !is_refreshed && state.may_unknown_kid_fetch(now) {
                state.is_wanted = true;
            }
            (state.is_wanted && state.pause_left(now).is_none()).then_some(state.fetches)
        };
        if let Some(fetches) = may_fetch {
            self.wait_for_refresh(turn, fetches).await;
        }
        let state = self.state();
        let cached = state.cached.as_ref();
        match cached.and_then(|cached| cached.keys.find(kid, alg).key()) {
            None if state.is_wanted => Err(NoKeys {
                retry_after: state.pause_left(self.clock.now()).unwrap_or_default(),
            }),
            key => Ok(key),
        }
    }

    /// Fetches the keys if there are none yet. A failure is logged.
    pub(super) async fn load(self: &Arc<Self>) {
        if self.current().await.is_err() {
            // The first request comes at once and must not find a pause.
            self.state().failed_at = None;
        }
    }

    /// Returns the keys to use now, and the number of fetches so far.
    async fn current(self: &Arc<Self>) -> Result<(Arc<KeySet>, u64), NoKeys> {
        let (age, may_fetch, fetches) = {
            let state = self.state();
            let now = self.clock.now();
            (
                state.age(now),
                state.pause_left(now).is_none(),
                state.fetches,
            )
        };
        match age {
            Age::Fresh => {}
            Age::Ageing if may_fetch => {
                if let Ok(turn) = Arc::clone(&self.fetching).try_lock_owned() {
                    tokio::spawn(Arc::clone(self).refresh(turn, fetches));
                }
            }
            Age::Ageing => {}
            Age::Stale | Age::None if may_fetch => self.wait_for_fetch(fetches).await,
            Age::Stale | Age::None => {}
        }
        let state = self.state();
        let now = self.clock.now();
        match (&state.cached, state.age(now)) {
            (Some(cached), Age::Fresh | Age::Ageing | Age::Stale) => {
                Ok((Arc::clone(&cached.keys), state.fetches))
            }
            _ => Err(NoKeys {
                retry_after: state.pause_left(now).unwrap_or_default(),
            }),
        }
    }

    async fn wait_for_fetch(self: &Arc<Self>, fetches: u64) {
        let turn = Arc::clone(&self.fetching).lock_owned().await;
        self.wait_for_refresh(turn, fetches).await;
    }

    /// Waits for a refresh. It goes on if the waiting request is dropped, so that a
    /// failure is logged and followed by a pause.
    async fn wait_for_refresh(self: &Arc<Self>, turn: OwnedMutexGuard<()>, fetches: u64) {
        // A panic there would leave the keys as they are.
        let _ = tokio::spawn(Arc::clone(self).refresh(turn, fetches)).await;
    }

    /// Fetches the key set, unless another request has since the number of fetches
    /// was `fetches`.
    async fn refresh(self: Arc<Self>, _turn: OwnedMutexGuard<()>, fetches: u64) {
        if self.state().fetches != fetches {
            return;
        }
        let fetched_at = self.clock.now();
        let json = self.fetch().await;
        let keys = json.map_err(|error| error.to_string()).and_then(|json| {
            let json = std::str::from_utf8(&json).map_err(|error| error.to_string())?;
            KeySet::parse(json).map_err(|error| error.to_string())
        });

        let mut state = self.state();
        state.fetches += 1;
        match keys {
            Ok(keys) => {
                tracing::debug!(key_set = self.name, "the key set was refreshed");
                if keys.skipped() != state.logged_skipped {
                    state.logged_skipped = keys.skipped().to_vec();
                    keys.log_skipped(self.name);
                }
                let keys = Arc::new(keys);
                state.cached = Some(CachedKeys { keys, fetched_at });
                state.failures = 0;
                state.failed_at = None;
                if std::mem::take(&mut state.is_wanted) {
                    state.fetched_for_unknown_kid_at = Some(fetched_at);
                }
            }
            Err(cause) => {
                let now = self.clock.now();
                state.failures = state.failures.saturating_add(1);
                state.failed_at = Some(now);
                let age = state.cached.as_ref().map(|cached| cached.age(now));
                telemetry::key_set_not_refreshed(self.name, &cause, age);
            }
        }
    }

    /// Downloads the key set.
    async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        let request = Request::get(&self.url)
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(
                header::USER_AGENT,
                concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")),
            );
        let response = timeout(TIME_LIMIT, self.http.send(request))
            .await
            .map_err(|error| FetchError::NoResponse(error.into()))?
            .map_err(FetchError::NoResponse)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BYTES).collect();
        let body = timeout(TIME_LIMIT, body)
            .await
            .map_err(|error| FetchError::Body(error.into()))?
            .map_err(FetchError::Body)?;
        Ok(body.to_bytes().into())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No panic can leave the state inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn age(&self, now: Timestamp) -> Age {
        match self.cached.as_ref().map(|cached| cached.age(now)) {
            Some(age) if age < REFRESH_AHEAD => Age::Fresh,
            Some(age) if age < FRESH => Age::Ageing,
            Some(age) if age < STALE => Age::Stale,
            Some(_) | None => Age::None,
        }
    }

    /// Returns whether a token with an unknown `kid` may make a fetch necessary.
    fn may_unknown_kid_fetch(&self, now: Timestamp) -> bool {
        let fetched_at = self.fetched_for_unknown_kid_at;
        let next = fetched_at.map(|at| at.plus(UNKNOWN_KID_INTERVAL));
        next.is_none_or(|next| now.until(next).is_none())
    }

    /// Returns how long not to fetch after a failure.
    fn pause_left(&self, now: Timestamp) -> Option<Duration> {
        let doublings = self.failures.saturating_sub(1).min(16);
        let pause = (FIRST_PAUSE * 2_u32.pow(doublings)).min(MAX_PAUSE);
        now.until(self.failed_at?.plus(pause))
    }
}

impl CachedKeys {
    fn age(&self, now: Timestamp) -> Duration {
        self.fetched_at.until(now).unwrap_or_default()
    }
}
