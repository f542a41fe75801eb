//! What is Lambda's: events of API Gateway and of function URLs become `http`
//! requests, and responses become what API Gateway takes.
//!
//! Events are read leniently here, and not by `lambda_http::request::from_str`:
//! callers could make that fail. It panics on a query with a space and on a long
//! path, which API Gateway passes on, and on a body that is not the base64 that
//! `isBase64Encoded` says. Of a header that was sent twice through a REST API it
//! keeps the last, so nobody would see a second `Authorization`. And it refuses the
//! whole event for one field of another type.
//!
//! Sources: "Create AWS Lambda proxy integrations for HTTP APIs" (payload
//! formats 1.0 and 2.0) and "Lambda function URLs: request payloads", AWS.

use std::borrow::Cow;
use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayV2httpResponse};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use lambda_http::{Body, LambdaEvent, RequestExt as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::api::{self, RequestTarget};
use crate::app::App;
use crate::ids::MAX_ID_LENGTH;
use crate::json::{Object, parsed, text, texts};
use crate::telemetry;

/// The characters of a path's segment that are percent-encoded. `%` stays: some
/// gateways decode paths, others do not, and no identifier contains it.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'%')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The response in the format of the event.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum GatewayResponse {
    /// Payload format 1.0: REST APIs.
    V1(ApiGatewayProxyResponse),
    /// Payload format 2.0: HTTP APIs, function URLs and `cargo lambda watch`.
    V2(ApiGatewayV2httpResponse),
}

/// Answers any event before its deadline.
pub async fn handle(
    app: &App,
    event: LambdaEvent<Box<RawValue>>,
) -> Result<GatewayResponse, Infallible> {
    let (payload, context) = event.into_parts();
    let invocation = telemetry::Invocation::of(&context);
    let answer = async move {
        let (request, format) = read(payload.get());
        let response = match request {
            Some(request) => app.handle(request.with_lambda_context(context)).await,
            None => app.refuse_unreadable(&context),
        };
        gateway_response(response, format)
    };
    Ok(telemetry::within(invocation, answer).await)
}

/// Makes a request of an event, which is a JSON object. A field that is missing or has
/// an unexpected type is absent.
pub fn read(event: &str) -> (Option<Request<Body>>, Format) {
    let Ok(fields) = serde_json::from_str::<Object<'_>>(event) else {
        return (None, Format::V1);
    };
    let context = object(fields.get("requestContext"));
    let event = Event {
        http: object(context.get("http")),
        context,
        fields,
    };
    // Events of REST APIs need not say their version.
    let format = match event.text("version").as_deref() {
        Some("2.0") => Format::V2,
        _ => Format::V1,
    };
    (Some(event.request()), format)
}

/// An event of payload format 1.0 or 2.0, borrowed from its JSON text.
struct Event<'a> {
    fields: Object<'a>,
    context: Object<'a>,
    http: Object<'a>,
}

/// The payload format of an event and its response.
#[derive(Debug, Clone, Copy)]
pub enum Format {
    V1,
    V2,
}

impl<'a> Event<'a> {
    fn request(&self) -> Request<Body> {
        let mut request = Request::new(self.body());
        // For a method that HTTP does not allow: no route has this one.
        let method = Method::from_bytes(self.method().as_bytes());
        *request.method_mut() = method.unwrap_or(Method::CONNECT);
        *request.uri_mut() = self.uri();
        *request.headers_mut() = self.headers();
        request.extensions_mut().insert(RequestTarget {
            path: self.public_path().into_owned(),
            query: self.query(),
        });
        request
    }

    /// The HTTP method. The field of format 2.0 comes first: `cargo lambda watch`
    /// sends that of format 1.0 too, always with `GET`.
    fn method(&self) -> Cow<'a, str> {
        text(self.http.get("method"))
            .or_else(|| self.text("httpMethod"))
            .unwrap_or_default()
    }

    /// The path within the API; `/` if that is no route's.
    ///
    /// The gateway's own reading is exact and comes first: a path may begin with a
    /// stage or with the base path of a custom domain, and a decoded `/` in an
    /// identifier looks like one between segments.
    fn uri(&self) -> Uri {
        let parameters = self.object("pathParameters");
        let is_path = |path: &String| api::match_path(path).is_some();
        let others = || {
            let raw = self.raw_path();
            let proxied = text(parameters.get("proxy")).map(|proxy| format!("/{proxy}"));
            let staged = || raw.strip_prefix('/')?.strip_prefix(&*self.stage()?);
            let staged = staged().map(str::to_owned);
            [proxied, Some(raw.into_owned()), staged]
                .into_iter()
                .flatten()
                .map(|path| path.split('/').map(encoded).collect::<Vec<_>>().join("/"))
                .find(is_path)
        };
        let matched = self.matched_path(&parameters).filter(is_path);
        let path = matched.or_else(others).unwrap_or_default();
        path.parse().unwrap_or_default()
    }

    /// The template of the route that the gateway matched, with its parameters.
    fn matched_path(&self, parameters: &Object<'_>) -> Option<String> {
        let template = self.text("resource").or_else(|| {
            let key = self.text("routeKey")?;
            Some(key.split_once(' ')?.1.to_owned().into())
        })?;
        let mut path = String::with_capacity(template.len() + MAX_ID_LENGTH);
        for segment in template.split('/').skip(1) {
            path.push('/');
            match api::parameter_name(segment) {
                Some(name) => path += &encoded(&text(parameters.get(name))?),
                None => path += segment,
            }
        }
        Some(path)
    }

    /// The path of the request; empty if the event has none.
    fn raw_path(&self) -> Cow<'a, str> {
        self.text("rawPath")
            .or_else(|| self.text("path"))
            .unwrap_or_default()
    }

    /// The path as the caller sent it, which may begin with a stage or a base path.
    ///
    /// It is in the request context. In format 2.0 it may lack the base path of a
    /// custom domain: "`rawPath` does not provide the API mapping value".
    fn public_path(&self) -> Cow<'a, str> {
        let path = self.raw_path();
        text(self.http.get("path"))
            .or_else(|| text(self.context.get("path")))
            .filter(|public| !path.ends_with(&**public))
            .unwrap_or(path)
    }

    /// The name of the stage; `None` for the default stage.
    fn stage(&self) -> Option<Cow<'a, str>> {
        text(self.context.get("stage")).filter(|stage| stage != "$default" && !stage.is_empty())
    }

    /// The query. Format 1.0 has it decoded.
    fn query(&self) -> String {
        if let Some(query) = self.text("rawQueryString") {
            return query.into_owned();
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        let mut parameters = members(&self.object("multiValueQueryStringParameters"));
        if parameters.is_empty() {
            parameters = members(&self.object("queryStringParameters"));
        }
        query.extend_pairs(parameters).finish()
    }

    /// The headers. Format 1.0 has the last value of each in `headers`, and all
    /// values in `multiValueHeaders`.
    fn headers(&self) -> HeaderMap {
        let mut headers = header_map(&self.object("headers"));
        let all_values = header_map(&self.object("multiValueHeaders"));
        for name in all_values.keys() {
            headers.remove(name);
        }
        for (name, value) in &all_values {
            let _ = headers.try_append(name, value.clone());
        }
        headers
    }

    /// The body. One that is not the base64 that the event announces becomes a byte
    /// that is not UTF-8: both get the same answer.
    fn body(&self) -> Body {
        let is_base64 = parsed(self.fields.get("isBase64Encoded")).unwrap_or(false);
        match self.text("body") {
            None => Body::Empty,
            Some(body) if is_base64 => {
                Body::Binary(STANDARD.decode(&*body).unwrap_or_else(|_| vec![0xff]))
            }
            Some(body) => Body::Text(body.into_owned()),
        }
    }

    fn object(&self, field: &str) -> Object<'a> {
        object(self.fields.get(field))
    }

    fn text(&self, field: &str) -> Option<Cow<'a, str>> {
        text(self.fields.get(field))
    }
}

/// Returns a field that is an object, else an empty object.
fn object(field: Option<&RawValue>) -> Object<'_> {
    parsed(field).unwrap_or_default()
}

/// Returns the members of an object: one for each string, and for each string of an
/// array.
fn members<'a>(object: &Object<'a>) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    let mut members = Vec::new();
    for (name, value) in object.iter() {
        if let Some(text) = text(Some(value)) {
            members.push((name.clone(), text));
            continue;
        }
        match texts(Some(value)) {
            Some(texts) => members.extend(texts.into_iter().map(|text| (name.clone(), text))),
            None if value.get() == "null" => {}
            // A value of another type was sent: it must not count as absent.
            None => members.push((name.clone(), Cow::default())),
        }
    }
    members
}

/// Makes headers of an object. What cannot be a header's name is left out; what
/// cannot be a value becomes one that is no text, since it must not count as absent.
fn header_map(object: &Object<'_>) -> HeaderMap {
    let members = members(object);
    let mut headers = HeaderMap::with_capacity(members.len());
    for (name, value) in members {
        let value = HeaderValue::from_bytes(value.as_bytes());
        let value = value.or_else(|_| HeaderValue::from_bytes(b"\xff"));
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
            // Fails beyond 24,576 headers, which no gateway passes on.
            let _ = headers.try_append(name, value);
        }
    }
    headers
}

/// Makes a segment of a path. A longer one than an identifier stays too long, and fits
/// into a URI.
fn encoded(segment: &str) -> Cow<'_, str> {
    let end = segment.ceil_char_boundary(MAX_ID_LENGTH + 1);
    utf8_percent_encode(&segment[..end], ENCODED).into()
}

fn gateway_response(response: Response<Body>, format: Format) -> GatewayResponse {
    let (parts, body) = response.into_parts();
    let body = Some(body).filter(|body| !body.is_empty());
    match format {
        Format::V1 => {
            let mut response = ApiGatewayProxyResponse::default();
            response.status_code = parts.status.as_u16().into();
            response.headers = parts.headers;
            response.body = body;
            GatewayResponse::V1(response)
        }
        Format::V2 => {
            let mut response = ApiGatewayV2httpResponse::default();
            response.status_code = parts.status.as_u16().into();
            response.headers = parts.headers;
            response.body = body;
            GatewayResponse::V2(response)
        }
    }
}
