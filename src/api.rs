//! The table of routes. Each operation is a file of its own, which shows from top to
//! bottom what it reads, whom it permits, what it does and what it answers.

mod associate;
mod clear;
mod dissociate;
mod list;

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use lambda_http::Body;
use lambda_http::http::{HeaderValue, Method, Request, Response, StatusCode};
use tokio::time::Instant;
use uuid::Uuid;

use self::associate::associate;
use self::dissociate::dissociate;
use crate::auth::{Authenticator, Caller};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, RequestError};
use crate::ids::{CartId, Party, PartyKind};
use crate::json;
use crate::jsonapi::documents::{LinkageDocument, Member};
use crate::jsonapi::{body, media_type, query};
use crate::store::{Failure, Session, Writer};

/// A path of the API and its methods.
pub struct Route {
    /// The path, with at most one parameter, in braces.
    pub path: &'static str,
    /// The kind of the parties that the path names.
    kind: PartyKind,
    /// The methods, in the order of `Allow`.
    methods: &'static [(Method, Operation)],
}

/// What one method of a route does.
type Operation = for<'a> fn(&'a ApiRequest<'a>) -> BoxFuture<'a, Result<Answer, Error>>;

pub static ROUTES: &[Route] = &[
    Route {
        path: "/v2/carts/{cartId}/relationships/customers",
        kind: PartyKind::Customer,
        methods: RELATIONSHIP,
    },
    Route {
        path: "/v2/carts/{cartId}/relationships/accounts",
        kind: PartyKind::Account,
        methods: RELATIONSHIP,
    },
    Route {
        path: "/v2/carts",
        kind: PartyKind::Customer,
        methods: &[(Method::GET, |request| list::own_carts(request).boxed())],
    },
    Route {
        path: "/v2/customers/{customerId}/relationships/carts",
        kind: PartyKind::Customer,
        methods: CARTS,
    },
    Route {
        path: "/v2/accounts/{accountId}/relationships/carts",
        kind: PartyKind::Account,
        methods: CARTS,
    },
];

/// The methods of a cart's relationship with parties.
const RELATIONSHIP: &[(Method, Operation)] = &[
    (Method::GET, |request| list::parties(request).boxed()),
    (Method::POST, |request| associate(request).boxed()),
    (Method::PATCH, |request| clear::cart(request).boxed()),
    (Method::DELETE, |request| dissociate(request).boxed()),
];

/// The methods of a party's relationship with carts.
const CARTS: &[(Method, Operation)] = &[
    (Method::GET, |request| list::carts(request).boxed()),
    (Method::PATCH, |request| clear::party(request).boxed()),
];

/// A request for an operation, by a caller whose tokens are verified.
pub(crate) struct ApiRequest<'a> {
    pub(crate) http: &'a Request<Body>,
    pub(crate) matched: &'a Matched<'a>,
    pub(crate) caller: &'a Caller,
    pub(crate) authenticator: &'a Authenticator,
    pub(crate) store: &'a Session<'a>,
    /// How long an association lasts after it was last requested; `None` is for ever.
    pub(crate) lifetime: Option<Duration>,
    /// When the request arrived.
    pub(crate) now: Timestamp,
    pub(crate) deadline: Instant,
}

/// The request target as the caller sent it (RFC 9112 section 3.2), which
/// [`http::Uri`](lambda_http::http::Uri) may refuse and a gateway may change: an
/// extension of the request.
#[derive(Debug, Clone)]
pub struct RequestTarget {
    pub path: String,
    pub query: String,
}

/// What an operation answers.
pub(crate) struct Answer {
    /// The name of the result in logs and metrics.
    pub(crate) outcome: &'static str,
    pub(crate) response: Response<Body>,
    /// Why less was done than was asked for.
    pub(crate) failure: Option<Failure>,
}

/// A route that matches a path, and a method that it has.
pub struct Matched<'a> {
    /// Method and path template, as in API Gateway's route keys.
    pub key: String,
    route: &'static Route,
    pub(crate) operation: Operation,
    /// The path's parameter, unchecked.
    id: &'a str,
}

/// Finds the route of a request.
pub fn find<'a>(method: &Method, path: &'a str) -> Result<Matched<'a>, Error> {
    let (route, id) = match_path(path).ok_or(ErrorCode::RouteNotFound)?;
    let mut methods = route.methods.iter();
    let Some((_, operation)) = methods.find(|(offered, _)| offered == method) else {
        let methods = route.methods.iter().map(|(offered, _)| offered.as_str());
        let allow = methods.collect::<Vec<_>>().join(", ");
        return Err(Error::MethodNotAllowed { allow });
    };
    Ok(Matched {
        key: format!("{method} {}", route.path),
        route,
        operation: *operation,
        id,
    })
}

/// Returns the route that has this path, and the path's parameter.
pub(crate) fn match_path(path: &str) -> Option<(&'static Route, &str)> {
    let matching = |route: &'static Route| Some((route, route.match_path(path)?));
    ROUTES.iter().find_map(matching)
}

/// Returns the name of the parameter that a segment of a template stands for.
pub(crate) fn parameter_name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

impl Route {
    /// The keys of the route's methods, as in API Gateway's route keys.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        let methods = self.methods.iter();
        methods.map(|(method, _)| format!("{method} {}", self.path))
    }

    /// Returns the parameter of a path, empty if the route has none; `None` if the
    /// path does not match.
    fn match_path<'p>(&self, path: &'p str) -> Option<&'p str> {
        let mut segments = path.split('/');
        let mut parameter = "";
        for expected in self.path.split('/') {
            let segment = segments.next()?;
            if parameter_name(expected).is_some() {
                parameter = segment;
            } else if segment != expected {
                return None;
            }
        }
        segments.next().is_none().then_some(parameter)
    }

    /// The name of the path's parameter; empty if it has none.
    fn parameter(&self) -> &'static str {
        self.path
            .split('/')
            .find_map(parameter_name)
            .unwrap_or_default()
    }
}

impl ApiRequest<'_> {
    /// The kind of the parties that the path names.
    fn kind(&self) -> PartyKind {
        self.matched.route.kind
    }

    fn cart(&self) -> Result<CartId, RequestError> {
        self.matched.id.parse().map_err(|_| self.invalid_id())
    }

    fn party(&self) -> Result<Party, RequestError> {
        Party::new(self.kind(), self.matched.id).map_err(|_| self.invalid_id())
    }

    fn invalid_id(&self) -> RequestError {
        RequestError::of_parameter(ErrorCode::InvalidId, self.matched.route.parameter())
    }

    fn members(&self) -> Result<Vec<Party>, Error> {
        let id = |id: &str| Party::new(self.kind(), id).ok();
        body::members(self.body()?, self.kind().as_str(), id)
    }

    /// Checks everything before the body, and returns it.
    fn body(&self) -> Result<&[u8], Error> {
        media_type::accepted(self.http.headers()).check()?;
        query::check(self.query())?;
        media_type::check_content(self.http.headers())?;
        Ok(self.http.body())
    }

    fn page(&self) -> Result<query::Page, Error> {
        media_type::accepted(self.http.headers()).check()?;
        query::Page::read(self.query())
    }

    fn path(&self) -> &str {
        let target = self.http.extensions().get::<RequestTarget>();
        target.map_or(self.http.uri().path(), |target| &target.path)
    }

    fn query(&self) -> &str {
        match self.http.extensions().get::<RequestTarget>() {
            Some(target) => &target.query,
            None => self.http.uri().query().unwrap_or_default(),
        }
    }

    /// Who writes, for the store.
    fn writer(&self) -> Writer {
        Writer {
            id: Uuid::new_v4(),
            client: self.caller.client().to_owned(),
            acted_by: self.caller.acted_by().map(str::to_owned),
            now: self.now,
        }
    }

    /// Whether the caller prefers to get the members instead of a 204 (RFC 7240
    /// section 4.2). The first of two equal preferences counts (section 2).
    fn prefers_representation(&self) -> bool {
        let values = self.http.headers().get_all("prefer").iter();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|list| list.split(','))
            .filter_map(|preference| preference.split(';').next()?.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("return"))
            .is_some_and(|(_, value)| value.trim().trim_matches('"') == "representation")
    }
}

impl Answer {
    fn new(outcome: &'static str, response: Response<Body>) -> Self {
        Self {
            outcome,
            response,
            failure: None,
        }
    }

    fn nothing(outcome: &'static str) -> Self {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NO_CONTENT;
        Self::new(outcome, response)
    }

    /// A 204, or the members if the caller prefers that.
    fn nothing_or_members(
        outcome: &'static str,
        request: &ApiRequest<'_>,
        members: &[Party],
    ) -> Self {
        if request.prefers_representation() {
            return Self::members(outcome, request, members);
        }
        Self::nothing(outcome)
    }

    /// A 200 with the members that the request named.
    fn members(outcome: &'static str, request: &ApiRequest<'_>, members: &[Party]) -> Self {
        let data = members.iter().map(|member| Member {
            r#type: member.kind().as_str(),
            id: member.id(),
            meta: None::<()>,
        });
        let data = data.collect();
        let mut response = json::response(StatusCode::OK, &LinkageDocument { data });
        if request.prefers_representation() {
            let applied = HeaderValue::from_static("return=representation");
            response.headers_mut().insert("preference-applied", applied);
        }
        Self::new(outcome, response)
    }
}
