//! Events of API Gateway and function URLs, read leniently: a field that is
//! missing or has an unexpected type is absent, because an event that cannot be
//! read cannot be answered.
//!
//! `lambda_http` has types for these events, but its adapter panics on a host or a
//! path that does not form a URL, and callers control both. It also panics on a
//! body that is not the base64 that `isBase64Encoded` says, and refuses the whole
//! event for one field of another type.
//!
//! Sources: "Create AWS Lambda proxy integrations for HTTP APIs" (payload
//! formats 1.0 and 2.0) and "Lambda function URLs: request payloads", AWS.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use crate::json::{Object, parsed, text, texts};

/// An event of payload format 1.0 (REST API) or 2.0 (HTTP API, function URL),
/// borrowed from its JSON text.
pub(super) struct Event<'a> {
    fields: Object<'a>,
    headers: Object<'a>,
    multi_value_headers: Object<'a>,
    context: Object<'a>,
    http: Object<'a>,
}

impl fmt::Debug for Event<'_> {
    /// Shows nothing: there are tokens in the headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Event(_)")
    }
}

/// The payload format of an event and its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadFormat {
    /// 1.0: REST APIs.
    V1,
    /// 2.0: HTTP APIs, function URLs and `cargo lambda watch`.
    V2,
}

impl<'a> Event<'a> {
    /// Parses an event. Fails only if the JSON is not an object.
    pub(super) fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        let fields: Object<'a> = serde_json::from_str(json)?;
        let context = object(fields.get("requestContext"));
        Ok(Self {
            headers: object(fields.get("headers")),
            multi_value_headers: object(fields.get("multiValueHeaders")),
            http: object(context.get("http")),
            context,
            fields,
        })
    }

    /// The payload format: 1.0 if the event does not say, as those of REST APIs.
    pub(super) fn payload_format(&self) -> PayloadFormat {
        match text(self.fields.get("version")).as_deref() {
            Some("2.0") => PayloadFormat::V2,
            _ => PayloadFormat::V1,
        }
    }

    /// The HTTP method; empty if the event has none.
    ///
    /// The field of format 2.0 comes first: `cargo lambda watch` sends that of
    /// format 1.0 too, always with `GET`.
    pub(super) fn method(&self) -> Cow<'a, str> {
        text(self.http.get("method"))
            .or_else(|| text(self.fields.get("httpMethod")))
            .unwrap_or_default()
    }

    /// The path template of the route that the gateway matched, if any:
    /// `/v2/carts/{cartId}/relationships/customers`, `/{proxy+}`, …
    pub(super) fn template(&self) -> Option<Cow<'a, str>> {
        if let Some(resource) = text(self.fields.get("resource")) {
            return Some(resource);
        }
        match text(self.fields.get("routeKey"))? {
            Cow::Borrowed(key) => key.split_once(' ').map(|(_, path)| path.into()),
            Cow::Owned(key) => key.split_once(' ').map(|(_, path)| path.to_owned().into()),
        }
    }

    /// The path of the request; empty if the event has none.
    pub(super) fn path(&self) -> Cow<'a, str> {
        text(self.fields.get("rawPath"))
            .or_else(|| text(self.fields.get("path")))
            .unwrap_or_default()
    }

    /// The path as the caller sent it, which may begin with a stage or a base path.
    ///
    /// It is in the request context. In format 2.0 it may lack the base path of a
    /// custom domain: "`rawPath` does not provide the API mapping value".
    pub(super) fn public_path(&self) -> Cow<'a, str> {
        let path = self.path();
        text(self.http.get("path"))
            .or_else(|| text(self.context.get("path")))
            .filter(|public| !path.ends_with(&**public))
            .unwrap_or(path)
    }

    /// The decoded query parameters.
    pub(super) fn query(&self) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        if let Some(query) = text(self.fields.get("rawQueryString")) {
            return form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .map(|(name, value)| (name.into(), value.into()))
                .collect();
        }
        let parameters = |field| members(&object(self.fields.get(field)), |_| true);
        let query = parameters("multiValueQueryStringParameters");
        if query.is_empty() {
            return parameters("queryStringParameters");
        }
        query
    }

    /// The name of the stage; `None` for the default stage.
    pub(super) fn stage(&self) -> Option<Cow<'a, str>> {
        text(self.context.get("stage")).filter(|stage| stage != "$default" && !stage.is_empty())
    }

    /// A path parameter that the gateway matched and decoded.
    pub(super) fn path_parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        text(object(self.fields.get("pathParameters")).get(name))
    }

    /// All values of a header. Its name may be in any case.
    ///
    /// Format 1.0 has the last value of each header in `headers` and all values in
    /// `multiValueHeaders`.
    pub(super) fn header(&self, name: &str) -> Vec<Cow<'a, str>> {
        let named = |headers| {
            let members = members(headers, |key| key.eq_ignore_ascii_case(name));
            members.into_iter().map(|(_, value)| value).collect()
        };
        let values: Vec<Cow<'a, str>> = named(&self.multi_value_headers);
        if values.is_empty() {
            return named(&self.headers);
        }
        values
    }

    /// The body as it is in the event, and whether it is base64.
    pub(super) fn body(&self) -> (Option<Cow<'a, str>>, bool) {
        let base64 = parsed(self.fields.get("isBase64Encoded")).unwrap_or(false);
        (text(self.fields.get("body")), base64)
    }
}

/// Returns a field that is an object, else an empty object.
fn object(field: Option<&RawValue>) -> Object<'_> {
    parsed(field).unwrap_or_default()
}

/// Returns the members with a wanted name: one for each string, or for each string
/// of an array.
fn members<'a>(
    object: &Object<'a>,
    wanted: impl Fn(&str) -> bool,
) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    let mut members = Vec::new();
    for (name, value) in object.iter().filter(|(name, _)| wanted(name)) {
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
