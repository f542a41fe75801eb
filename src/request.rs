//! Parsing: event -> [`Operation`] + [`Credentials`], checked in the contract's
//! order.
//!
//! Tokens are only found here, not verified.

mod body;
mod event;
mod media_type;
mod query;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use lambda_http::http::{HeaderMap, HeaderValue};

pub use self::body::{MAX_BODY_BYTES, MAX_MEMBERS};
use self::event::Event;
pub use self::event::PayloadFormat;
pub use self::media_type::AnswerType;
pub(crate) use self::query::AFTER;
pub use self::query::{MAX_LIMIT, Page};
use crate::fault::{ErrorCode, Fault};
use crate::ids::{CartId, CustomerId};

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Operation {
    /// Associate a cart with customers.
    Associate(CartCustomers),
    /// Remove the associations of a cart with customers.
    Dissociate(CartCustomers),
    /// Remove all customers from a cart.
    ClearCart {
        /// The cart.
        cart: CartId,
    },
    /// Remove a customer from all carts.
    ClearCustomer {
        /// The customer.
        customer: CustomerId,
    },
    /// List the customers of a cart.
    ListCustomers {
        /// The cart.
        cart: CartId,
        /// The page of the list.
        page: Page,
    },
    /// List the carts of the customer whose token was sent.
    ListOwnCarts {
        /// The page of the list.
        page: Page,
    },
    /// List the carts of a customer.
    ListCarts {
        /// The customer.
        customer: CustomerId,
        /// The page of the list.
        page: Page,
    },
}

/// A cart and the customers that a request names for it.
#[derive(Debug, PartialEq, Eq)]
pub struct CartCustomers {
    /// The cart.
    pub cart: CartId,
    /// 1 to [`MAX_MEMBERS`] customers without duplicates.
    pub customers: Vec<CustomerId>,
}

/// A route of the API.
pub struct Route {
    /// Method and path template, as in API Gateway's route keys. Logs and metrics
    /// name the route by it.
    pub key: &'static str,
    /// Reads what a request of this route asks for.
    operation: fn(&RoutedRequest<'_>) -> Result<Operation, RequestError>,
}

/// The route that associates a cart, and the only one that reads a cart token.
const ASSOCIATE: &str = "POST /v2/carts/{cartId}/relationships/customers";

/// All routes. The methods of one path appear in `Allow` in this order.
pub static ROUTES: &[Route] = &[
    Route {
        key: "GET /v2/carts/{cartId}/relationships/customers",
        operation: |request| {
            Ok(Operation::ListCustomers {
                cart: request.id("cartId")?,
                page: request.page()?,
            })
        },
    },
    Route {
        key: ASSOCIATE,
        operation: |request| Ok(Operation::Associate(request.cart_customers()?)),
    },
    Route {
        key: "PATCH /v2/carts/{cartId}/relationships/customers",
        operation: |request| {
            Ok(Operation::ClearCart {
                cart: request.cleared("cartId")?,
            })
        },
    },
    Route {
        key: "DELETE /v2/carts/{cartId}/relationships/customers",
        operation: |request| Ok(Operation::Dissociate(request.cart_customers()?)),
    },
    Route {
        key: "GET /v2/carts",
        operation: |request| {
            Ok(Operation::ListOwnCarts {
                page: request.page()?,
            })
        },
    },
    Route {
        key: "GET /v2/customers/{customerId}/relationships/carts",
        operation: |request| {
            Ok(Operation::ListCarts {
                customer: request.id("customerId")?,
                page: request.page()?,
            })
        },
    },
    Route {
        key: "PATCH /v2/customers/{customerId}/relationships/carts",
        operation: |request| {
            Ok(Operation::ClearCustomer {
                customer: request.cleared("customerId")?,
            })
        },
    },
];

impl Route {
    /// The HTTP method.
    pub fn method(&self) -> &'static str {
        self.split().0
    }

    /// The path template, with parameters in braces.
    pub fn template(&self) -> &'static str {
        self.split().1
    }

    fn split(&self) -> (&'static str, &'static str) {
        self.key.split_once(' ').expect("a key is method and path")
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)
    }
}

/// Why a request is not understood.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The path exists, but not with this method.
    MethodNotAllowed {
        /// The value of `Allow`.
        allow: String,
    },
    /// At least one fault, all with the same status.
    Faults(Vec<Fault>),
}

impl From<Fault> for RequestError {
    fn from(fault: Fault) -> Self {
        Self::Faults(vec![fault])
    }
}

impl From<ErrorCode> for RequestError {
    fn from(code: ErrorCode) -> Self {
        Fault::new(code).into()
    }
}

/// How the caller wants the response.
#[derive(Debug, Clone, Copy)]
pub struct ResponseOptions {
    /// The gateway's format.
    pub payload_format: PayloadFormat,
    /// The media type.
    pub answer_type: AnswerType,
    /// `Prefer: return=representation` was sent.
    pub representation: bool,
}

impl Default for ResponseOptions {
    /// The options for an event that cannot be read.
    fn default() -> Self {
        Self {
            payload_format: PayloadFormat::V1,
            answer_type: AnswerType::Json,
            representation: false,
        }
    }
}

/// A request whose event was read.
#[derive(Debug)]
pub struct Request<'a> {
    event: Event<'a>,
}

/// A request whose route was found.
#[derive(Debug)]
pub struct RoutedRequest<'a> {
    event: Event<'a>,
    route: &'static Route,
    parameters: Parameters<'a>,
}

/// The path parameters of a route, by name, unchecked.
type Parameters<'a> = Vec<(&'static str, Cow<'a, str>)>;

impl<'a> Request<'a> {
    /// Reads an event from its JSON text.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UnreadableEvent`]
    pub fn parse(json: &'a str) -> Result<Self, RequestError> {
        let event = Event::parse(json).map_err(|_| ErrorCode::UnreadableEvent)?;
        Ok(Self { event })
    }

    /// How the caller wants the response, errors included.
    pub fn response_options(&self) -> ResponseOptions {
        ResponseOptions {
            payload_format: self.event.payload_format(),
            answer_type: media_type::accepted(&self.event.header("accept")).answer_type,
            representation: self.prefers_representation(),
        }
    }

    /// `Prefer: return=representation`, RFC 7240 section 4.2. The first of two
    /// equal preferences counts (section 2).
    fn prefers_representation(&self) -> bool {
        self.event
            .header("prefer")
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
    /// [`ErrorCode::RouteNotFound`], [`RequestError::MethodNotAllowed`]
    pub fn route(self) -> Result<RoutedRequest<'a>, RequestError> {
        let (template, parameters) = match_path(&self.event).ok_or(ErrorCode::RouteNotFound)?;
        let method = self.event.method();
        let routes = || ROUTES.iter().filter(|route| route.template() == template);
        let Some(route) = routes().find(|route| route.method() == method) else {
            let methods: Vec<&str> = routes().map(Route::method).collect();
            let allow = methods.join(", ");
            return Err(RequestError::MethodNotAllowed { allow });
        };
        Ok(RoutedRequest {
            event: self.event,
            route,
            parameters,
        })
    }
}

impl<'a> RoutedRequest<'a> {
    /// The route.
    pub fn route(&self) -> &'static Route {
        self.route
    }

    /// The headers that may have a token.
    pub fn token_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in [
            "authorization",
            "x-moltin-customer-token",
            "ep-account-management-authentication-token",
            "x-cart-token",
        ] {
            for value in self.event.header(name) {
                // A value that HTTP does not allow is no token, and not absent.
                let value = HeaderValue::from_bytes(value.as_bytes());
                let unreadable = HeaderValue::from_bytes(&[0xff]).expect("obs-text");
                headers.append(name, value.unwrap_or(unreadable));
            }
        }
        headers
    }

    /// The cart in the path, unchecked, if the caller may have to prove that they hold
    /// it.
    pub fn cart_to_prove(&self) -> Option<&str> {
        (self.route.key == ASSOCIATE).then(|| self.parameter("cartId"))?
    }

    /// Reads the rest of the request.
    ///
    /// # Errors
    ///
    /// [`RequestError`]. Path, `Accept`, query, content type and body are checked in
    /// this order.
    pub fn operation(&self) -> Result<Operation, RequestError> {
        (self.route.operation)(self)
    }

    /// The path as the caller sent it.
    pub fn path(&self) -> Cow<'a, str> {
        self.event.public_path()
    }

    fn id<I: FromStr>(&self, name: &'static str) -> Result<I, RequestError> {
        let value = self.parameter(name);
        let value = value.expect("the route's template has this parameter");
        let invalid = |_| Fault::of_parameter(ErrorCode::InvalidId, name);
        Ok(value.parse().map_err(invalid)?)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let (_, value) = parameters.find(|(parameter, _)| *parameter == name)?;
        Some(value)
    }

    fn cart_customers(&self) -> Result<CartCustomers, RequestError> {
        let cart = self.id("cartId")?;
        let customers = body::customers(&self.body()?)?;
        Ok(CartCustomers { cart, customers })
    }

    /// Reads whose relationship is to be cleared. JSON:API clears one by a PATCH with
    /// an empty array.
    fn cleared<I: FromStr>(&self, name: &'static str) -> Result<I, RequestError> {
        let id = self.id(name)?;
        body::check_empty(&self.body()?)?;
        Ok(id)
    }

    fn body(&self) -> Result<Vec<u8>, RequestError> {
        self.check_accept()?;
        query::check(&self.event.query())?;
        if !media_type::is_supported(&self.event.header("content-type")) {
            return Err(Fault::of_header(ErrorCode::UnsupportedMediaType, "Content-Type").into());
        }
        let (body, base64) = self.event.body();
        body::decode(body, base64)
    }

    fn page(&self) -> Result<Page, RequestError> {
        self.check_accept()?;
        Page::read(&self.event.query())
    }

    fn check_accept(&self) -> Result<(), RequestError> {
        if media_type::accepted(&self.event.header("accept")).not_acceptable {
            return Err(Fault::of_header(ErrorCode::NotAcceptable, "Accept").into());
        }
        Ok(())
    }
}

/// Finds the template of an event's path, and its parameters: those that the
/// gateway matched, else those in the path.
///
/// The gateway is exact: a path may begin with a stage or with the base path of a
/// custom domain, and a decoded `/` in an identifier looks like one between
/// segments.
fn match_path<'a>(event: &Event<'a>) -> Option<(&'static str, Parameters<'a>)> {
    let templates = || ROUTES.iter().map(Route::template);
    if let Some(matched) = event.template()
        && let Some(template) = templates().find(|template| *template == matched)
        && let Some(parameters) = parameter_names(template)
            .map(|name| Some((name, event.path_parameter(name)?)))
            .collect()
    {
        return Some((template, parameters));
    }
    let match_templates = |path: &str| {
        templates().find_map(|template| Some((template, path_parameters(template, path)?)))
    };
    if let Some(proxy) = event.path_parameter("proxy")
        && let Some(found) = match_templates(&format!("/{proxy}"))
    {
        return Some(found);
    }
    let path = event.path();
    match_templates(&path).or_else(|| {
        let path = path.strip_prefix('/')?.strip_prefix(&*event.stage()?)?;
        match_templates(path)
    })
}

fn parameter_name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn parameter_names(template: &'static str) -> impl Iterator<Item = &'static str> {
    template.split('/').filter_map(parameter_name)
}

/// Returns the parameters of a path; `None` if it does not match the template.
fn path_parameters<'a>(template: &'static str, path: &str) -> Option<Parameters<'a>> {
    let mut segments = path.split('/');
    let mut parameters = Parameters::new();
    for expected in template.split('/') {
        let segment = segments.next()?;
        match parameter_name(expected) {
            Some(name) => parameters.push((name, segment.to_owned().into())),
            None if segment == expected => {}
            None => return None,
        }
    }
    segments.next().is_none().then_some(parameters)
}
