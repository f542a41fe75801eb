//! event -> [`Operation`] + [`Credentials`]: what the caller asks for and what
//! they show for it, in the order in which the contract checks a request.
//!
//! Imports [`ids`](crate::ids) only: nothing is known here of what a token is
//! worth.

mod body;
mod event;
mod json;
mod media_type;
mod paging;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use self::body::BodyError;
pub use self::body::{BodyFault, BodyFaultKind, MAX_BODY_BYTES, MAX_FAULTS, MAX_MEMBERS};
pub use self::event::PayloadFormat;
use self::event::{Event, Header};
pub use self::media_type::AnswerType;
pub use self::paging::{MAX_LIMIT, Page, QueryFault};
use crate::ids::{CartId, CustomerId};

/// What a request asks for, well formed in every part.
#[derive(Debug, PartialEq, Eq)]
pub enum Operation {
    /// Tie a cart to customers.
    Associate(Linkage),
    /// Take a cart and customers apart.
    Dissociate(Linkage),
    /// List the customers of a cart.
    ListCustomers {
        /// The cart.
        cart: CartId,
        /// Which of them.
        page: Page,
    },
    /// List the carts of the customer whose token is sent.
    ListOwnCarts {
        /// Which of them.
        page: Page,
    },
    /// List the carts of a customer.
    ListCarts {
        /// The customer.
        customer: CustomerId,
        /// Which of them.
        page: Page,
    },
}

/// A cart and customers that it is to be tied to, or to be taken apart from.
#[derive(Debug, PartialEq, Eq)]
pub struct Linkage {
    /// The cart.
    pub cart: CartId,
    /// At least one customer, at most [`MAX_MEMBERS`], none twice.
    pub customers: Vec<CustomerId>,
}

/// Why a request is not understood.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The event is no JSON object.
    UnreadableEvent,
    /// No resource has this path.
    NoSuchRoute,
    /// The resource lacks this method.
    MethodNotAllowed {
        /// The methods that it has, as `Allow` lists them.
        allow: &'static str,
    },
    /// The part of the path that this parameter names is no identifier.
    InvalidPathParameter(&'static str),
    /// `Accept` names JSON:API only with parameters that are not ours.
    NotAcceptable,
    /// `Content-Type` is none that can be read.
    UnsupportedMediaType,
    /// The body is longer than [`MAX_BODY_BYTES`].
    BodyTooLarge,
    /// The query has faults, at least one.
    Query(Vec<QueryFault>),
    /// The body has faults: at least one, at most [`MAX_FAULTS`].
    Body(Vec<BodyFault>),
}

impl From<BodyError> for RequestError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::BodyTooLarge,
            BodyError::Faults(faults) => Self::Body(faults),
        }
    }
}

/// What a caller presents to prove who they are: nothing here is verified.
#[derive(Debug)]
pub struct Credentials<'a> {
    /// From `Authorization: Bearer …`.
    pub access_token: Presented<'a>,
    /// From `x-moltin-customer-token: …`.
    pub customer_token: Presented<'a>,
}

/// A credential as it was presented.
pub enum Presented<'a> {
    /// The header was not sent, or is of another authentication scheme.
    Absent,
    /// The header was sent, and there is no one token in it.
    Malformed,
    /// What stands where a token is expected.
    Token(Cow<'a, str>),
}

impl fmt::Debug for Presented<'_> {
    /// Never shows a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Malformed => "Malformed",
            Self::Token(_) => "Token(_)",
        })
    }
}

/// How an answer is to be given.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// In which shape for the gateway.
    pub payload_format: PayloadFormat,
    /// In which media type.
    pub answer_type: AnswerType,
    /// With the members rather than empty.
    pub representation: bool,
}

impl Default for Manner {
    /// How an event is answered of which nothing is known.
    fn default() -> Self {
        Self {
            payload_format: PayloadFormat::V1,
            answer_type: AnswerType::Json,
            representation: false,
        }
    }
}

/// An event that can be answered.
#[derive(Debug)]
pub struct Request<'a> {
    event: Event<'a>,
}

/// A request of which resource and method are known.
#[derive(Debug)]
pub struct Routed<'a> {
    event: Event<'a>,
    route: Route,
}

/// What has a path, with what stands in the path, unchecked.
#[derive(Debug)]
enum Resource {
    CartCustomers { cart_id: String },
    Carts,
    CustomerCarts { customer_id: String },
}

/// A method of a resource.
#[derive(Debug)]
enum Route {
    Associate { cart_id: String },
    Dissociate { cart_id: String },
    ListCustomers { cart_id: String },
    ListOwnCarts,
    ListCarts { customer_id: String },
}

const CART_CUSTOMERS: &str = "/v2/carts/{cartId}/relationships/customers";
const CARTS: &str = "/v2/carts";
const CUSTOMER_CARTS: &str = "/v2/customers/{customerId}/relationships/carts";

impl<'a> Request<'a> {
    /// Reads an event from its JSON text.
    pub fn parse(json: &'a str) -> Result<Self, RequestError> {
        let event = Event::parse(json).map_err(|_| RequestError::UnreadableEvent)?;
        Ok(Self { event })
    }

    /// How the answer is to be given, whatever it says.
    pub fn manner(&self) -> Manner {
        Manner {
            payload_format: self.event.payload_format(),
            answer_type: media_type::accepted(&self.event.header("accept")).answer_type,
            representation: self.prefers_representation(),
        }
    }

    /// `Prefer: return=representation`, RFC 7240 section 4.2.
    fn prefers_representation(&self) -> bool {
        let lists = match self.event.header("prefer") {
            Header::Absent => return false,
            Header::One(list) => vec![list],
            Header::Several(lists) => lists,
        };
        // Of a preference that is stated twice the first counts (section 2).
        lists
            .iter()
            .flat_map(|list| list.split(','))
            .filter_map(|preference| preference.split(';').next()?.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("return"))
            .is_some_and(|(_, value)| value.trim().trim_matches('"') == "representation")
    }

    /// Finds the route.
    ///
    /// # Errors
    ///
    /// [`RequestError::NoSuchRoute`], [`RequestError::MethodNotAllowed`]
    pub fn route(self) -> Result<Routed<'a>, RequestError> {
        let resource = resource(&self.event).ok_or(RequestError::NoSuchRoute)?;
        let method = self.event.method();
        let not_allowed = |allow| Err(RequestError::MethodNotAllowed { allow });
        let route = match (resource, method.as_ref()) {
            (Resource::CartCustomers { cart_id }, "POST") => Route::Associate { cart_id },
            (Resource::CartCustomers { cart_id }, "DELETE") => Route::Dissociate { cart_id },
            (Resource::CartCustomers { cart_id }, "GET") => Route::ListCustomers { cart_id },
            (Resource::CartCustomers { .. }, _) => return not_allowed("GET, POST, DELETE"),
            (Resource::Carts, "GET") => Route::ListOwnCarts,
            (Resource::CustomerCarts { customer_id }, "GET") => Route::ListCarts { customer_id },
            (Resource::Carts | Resource::CustomerCarts { .. }, _) => return not_allowed("GET"),
        };
        let event = self.event;
        Ok(Routed { event, route })
    }
}

impl<'a> Routed<'a> {
    /// The route's name in logs and metrics: one of few.
    pub fn name(&self) -> &'static str {
        match self.route {
            Route::Associate { .. } => "POST /v2/carts/{cartId}/relationships/customers",
            Route::Dissociate { .. } => "DELETE /v2/carts/{cartId}/relationships/customers",
            Route::ListCustomers { .. } => "GET /v2/carts/{cartId}/relationships/customers",
            Route::ListOwnCarts => "GET /v2/carts",
            Route::ListCarts { .. } => "GET /v2/customers/{customerId}/relationships/carts",
        }
    }

    /// What the caller presents.
    pub fn credentials(&self) -> Credentials<'a> {
        Credentials {
            access_token: bearer_token(self.event.header("authorization")),
            customer_token: customer_token(self.event.header("x-moltin-customer-token")),
        }
    }

    /// Reads the rest of the request.
    ///
    /// # Errors
    ///
    /// All of [`RequestError`] that concerns the path, the media types and the
    /// body, in this order.
    pub fn operation(&self) -> Result<Operation, RequestError> {
        match &self.route {
            Route::Associate { cart_id } => Ok(Operation::Associate(self.linkage(cart_id)?)),
            Route::Dissociate { cart_id } => Ok(Operation::Dissociate(self.linkage(cart_id)?)),
            Route::ListCustomers { cart_id } => Ok(Operation::ListCustomers {
                cart: id(cart_id, "cartId")?,
                page: self.page()?,
            }),
            Route::ListOwnCarts => Ok(Operation::ListOwnCarts { page: self.page()? }),
            Route::ListCarts { customer_id } => Ok(Operation::ListCarts {
                customer: id(customer_id, "customerId")?,
                page: self.page()?,
            }),
        }
    }

    /// The path as the caller wrote it.
    pub fn path(&self) -> Cow<'a, str> {
        self.event.public_path()
    }

    fn linkage(&self, cart_id: &str) -> Result<Linkage, RequestError> {
        let cart = id(cart_id, "cartId")?;
        self.check_accept()?;
        if !media_type::is_readable(&self.event.header("content-type")) {
            return Err(RequestError::UnsupportedMediaType);
        }
        let (body, base64) = self.event.body();
        let body = body::decode(body, base64)?;
        let customers = body::customers(&body)?;
        Ok(Linkage { cart, customers })
    }

    fn page(&self) -> Result<Page, RequestError> {
        self.check_accept()?;
        Page::read(&self.event.query()).map_err(RequestError::Query)
    }

    fn check_accept(&self) -> Result<(), RequestError> {
        if media_type::accepted(&self.event.header("accept")).not_acceptable {
            return Err(RequestError::NotAcceptable);
        }
        Ok(())
    }
}

fn id<I: FromStr>(id: &str, parameter: &'static str) -> Result<I, RequestError> {
    id.parse()
        .map_err(|_| RequestError::InvalidPathParameter(parameter))
}

/// The resource of an event: what the gateway matched where it tells, else what
/// the path says.
///
/// The gateway's word goes first because it is exact: the path of an event may
/// begin with a stage or with the base path of a custom domain, and a decoded
/// `/` in an identifier looks like one between segments.
fn resource(event: &Event<'_>) -> Option<Resource> {
    let parameter = |name| event.path_parameter(name).map(Cow::into_owned);
    let matched = match event.template().as_deref() {
        Some(CARTS) => Some(Resource::Carts),
        Some(CART_CUSTOMERS) => {
            parameter("cartId").map(|cart_id| Resource::CartCustomers { cart_id })
        }
        Some(CUSTOMER_CARTS) => {
            parameter("customerId").map(|customer_id| Resource::CustomerCarts { customer_id })
        }
        _ => None,
    };
    if matched.is_some() {
        return matched;
    }
    if let Some(proxy) = event.path_parameter("proxy")
        && let Some(resource) = resource_at(&format!("/{proxy}"))
    {
        return Some(resource);
    }
    let path = event.path();
    resource_at(&path).or_else(|| {
        let path = path.strip_prefix('/')?.strip_prefix(&*event.stage()?)?;
        resource_at(path)
    })
}

fn resource_at(path: &str) -> Option<Resource> {
    let segments: Vec<&str> = path.splitn(8, '/').collect();
    match segments.as_slice() {
        ["", "v2", "carts"] => Some(Resource::Carts),
        ["", "v2", "carts", cart_id, "relationships", "customers"] => {
            let cart_id = (*cart_id).to_owned();
            Some(Resource::CartCustomers { cart_id })
        }
        ["", "v2", "customers", customer_id, "relationships", "carts"] => {
            let customer_id = (*customer_id).to_owned();
            Some(Resource::CustomerCarts { customer_id })
        }
        _ => None,
    }
}

/// RFC 6750 section 2.1: `Bearer`, in any case, one or more spaces, the token.
fn bearer_token(header: Header<'_>) -> Presented<'_> {
    fn token(value: &str) -> Option<&str> {
        let (scheme, rest) = value.trim().split_once(' ')?;
        let token = rest.trim_start();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    }
    match header {
        Header::Absent => Presented::Absent,
        Header::One(value) => part(value, token).map_or(Presented::Absent, Presented::Token),
        Header::Several(_) => Presented::Malformed,
    }
}

fn customer_token(header: Header<'_>) -> Presented<'_> {
    fn token(value: &str) -> Option<&str> {
        Some(value.trim()).filter(|token| !token.is_empty())
    }
    match header {
        Header::Absent => Presented::Absent,
        Header::One(value) => part(value, token).map_or(Presented::Malformed, Presented::Token),
        Header::Several(_) => Presented::Malformed,
    }
}

/// A part of a text, borrowed where the text is.
fn part<'a>(text: Cow<'a, str>, find: fn(&str) -> Option<&str>) -> Option<Cow<'a, str>> {
    match text {
        Cow::Borrowed(text) => find(text).map(Cow::Borrowed),
        Cow::Owned(text) => find(&text).map(|part| part.to_owned().into()),
    }
}
