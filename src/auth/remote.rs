//! A key set that its issuer publishes at a URL, and that changes while the
//! function runs.
//!
//! Lambda freezes the process between requests, for an hour or more. So no timer
//! is used: each request computes the age of the keys from the clock. A background
//! refresh may be frozen half way; it then succeeds or times out, and the keys' age
//! counts from its beginning.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use lambda_http::http::{Request, StatusCode, Uri, header};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::keys::{Algorithm, Key, KeySet};
use super::{AuthError, TokenKind};
use crate::client::{self, Client};
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

#[derive(Debug)]
pub(super) struct RemoteKeySet {
    kind: TokenKind,
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
}

#[derive(Debug)]
struct CachedKeys {
    keys: Arc<KeySet>,
    /// When the fetch began. The keys are not older.
    fetched_at: Timestamp,
}

impl RemoteKeySet {
    pub(super) fn new(kind: TokenKind, url: Uri, http: Client, clock: Clock) -> Self {
        Self {
            kind,
            url,
            http,
            clock,
            state: Mutex::default(),
            fetching: Arc::default(),
        }
    }

    /// Finds the key that a token names, and fetches the key set first if that may help.
    pub(super) async fn find(
        self: &Arc<Self>,
        kid: Option<&str>,
        alg: Algorithm,
    ) -> Result<Option<Arc<Key>>, AuthError> {
        let (keys, fetches) = self.current().await?;
        if keys.named(kid).next().is_some() {
            return Ok(keys.find(kid, alg));
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
        match cached.and_then(|cached| cached.keys.find(kid, alg)) {
            None if state.is_wanted => Err(self.no_keys(state.pause_left(self.clock.now()))),
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
    async fn current(self: &Arc<Self>) -> Result<(Arc<KeySet>, u64), AuthError> {
        let (age, may_fetch, fetches) = {
            let (state, now) = (self.state(), self.clock.now());
            let may_fetch = state.pause_left(now).is_none();
            (state.age(now), may_fetch, state.fetches)
        };
        match age {
            Some(age) if age < REFRESH_AHEAD => {}
            _ if !may_fetch => {}
            Some(age) if age < FRESH => {
                if let Ok(turn) = Arc::clone(&self.fetching).try_lock_owned() {
                    tokio::spawn(Arc::clone(self).refresh(turn, fetches));
                }
            }
            _ => {
                let turn = Arc::clone(&self.fetching).lock_owned().await;
                self.wait_for_refresh(turn, fetches).await;
            }
        }
        let (state, now) = (self.state(), self.clock.now());
        let is_usable = state.age(now).is_some_and(|age| age < STALE);
        match &state.cached {
            Some(cached) if is_usable => Ok((Arc::clone(&cached.keys), state.fetches)),
            _ => Err(self.no_keys(state.pause_left(now))),
        }
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
        let keys = self.fetch().await;

        let mut state = self.state();
        state.fetches += 1;
        match keys {
            Ok(keys) => {
                tracing::debug!(key_set = self.kind.name(), "the key set was refreshed");
                let cached = state.cached.as_ref();
                if cached.is_none_or(|cached| cached.keys.skipped != keys.skipped) {
                    keys.log_skipped(self.kind.name());
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
                telemetry::key_set_not_refreshed(self.kind.name(), &cause, state.age(now));
            }
        }
    }

    /// Downloads the key set. Redirects are not followed.
    async fn fetch(&self) -> Result<KeySet, String> {
        let request = Request::get(&self.url)
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(
                header::USER_AGENT,
                concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")),
            );
        let response = timeout(TIME_LIMIT, self.http.send(request)).await;
        let response = response
            .unwrap_or_else(|elapsed| Err(elapsed.into()))
            .map_err(|error| format!("no response: {}", client::cause(&*error)))?;
        if response.status() != StatusCode::OK {
            return Err(format!("status {}", response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), MAX_BYTES).collect();
        let body = timeout(TIME_LIMIT, body).await;
        let body = body
            .unwrap_or_else(|elapsed| Err(elapsed.into()))
            .map_err(|error| format!("no body: {}", client::cause(&*error)))?
            .to_bytes();
        KeySet::parse(std::str::from_utf8(&body).map_err(|error| error.to_string())?)
    }

    pub(super) fn no_keys(&self, pause: Option<Duration>) -> AuthError {
        AuthError::NoKeys {
            kind: self.kind,
            retry_after: pause.unwrap_or_default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No panic can leave the state inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the age of the keys, if there are any.
    fn age(&self, now: Timestamp) -> Option<Duration> {
        let cached = self.cached.as_ref()?;
        Some(cached.fetched_at.until(now).unwrap_or_default())
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
