//! The events that API Gateway and function URLs send, read leniently: a field
//! that is missing or of an unexpected type is absent, because an event that
//! cannot be read cannot be answered.
//!
//! `lambda_http` has types for these events too, but its adapter panics on a
//! host or a path from which no URL can be made, on a body that claims to be
//! base64 and is not, and refuses the event as a whole for one odd field. All of
//! these lie with the caller.
//!
//! Sources: "Create AWS Lambda proxy integrations for HTTP APIs" (payload
//! formats 1.0 and 2.0) and "Lambda function URLs: request payloads", AWS.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{Pairs, Text, parsed, text};

/// An API Gateway event of payload format 1.0 (REST API) or 2.0 (HTTP API,
/// function URL), borrowed from its JSON text.
///
/// What is asked of it more than once is read once, one level down; the rest
/// when it is asked for.
pub(super) struct Event<'a> {
    fields: Fields<'a>,
    headers: Pairs<'a>,
    multi_value_headers: Pairs<'a>,
    context: RequestContext<'a>,
    http: Http<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    /// 2.0: `POST /v2/carts/{cartId}/relationships/customers`, or `$default`.
    route_key: Option<&'a RawValue>,
    /// 1.0: the path part of a route key.
    resource: Option<&'a RawValue>,
    raw_path: Option<&'a RawValue>,
    path: Option<&'a RawValue>,
    http_method: Option<&'a RawValue>,
    path_parameters: Option<&'a RawValue>,
    raw_query_string: Option<&'a RawValue>,
    query_string_parameters: Option<&'a RawValue>,
    multi_value_query_string_parameters: Option<&'a RawValue>,
    headers: Option<&'a RawValue>,
    multi_value_headers: Option<&'a RawValue>,
    body: Option<&'a RawValue>,
    is_base64_encoded: Option<&'a RawValue>,
    request_context: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct RequestContext<'a> {
    #[serde(borrow)]
    stage: Option<&'a RawValue>,
    path: Option<&'a RawValue>,
    http: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Http<'a> {
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    path: Option<&'a RawValue>,
}

impl fmt::Debug for Event<'_> {
    /// Shows nothing: there are tokens in the headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Event(_)")
    }
}

/// In which shape the gateway takes the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadFormat {
    /// 1.0: REST APIs.
    V1,
    /// 2.0: HTTP APIs, function URLs and `cargo lambda watch`.
    V2,
}

/// All values that were sent under one header name: a token, perhaps, so that
/// there is no `Debug`.
pub(super) enum Header<'a> {
    Absent,
    One(Cow<'a, str>),
    Several(Vec<Cow<'a, str>>),
}

impl<'a> Event<'a> {
    /// Reads an event; fails only where the JSON is not an object.
    pub(super) fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        let fields: Fields<'a> = serde_json::from_str(json)?;
        let context: RequestContext<'a> = parsed(fields.request_context).unwrap_or_default();
        Ok(Self {
            headers: parsed(fields.headers).unwrap_or_default(),
            multi_value_headers: parsed(fields.multi_value_headers).unwrap_or_default(),
            http: parsed(context.http).unwrap_or_default(),
            context,
            fields,
        })
    }

    /// The payload format: 1.0 where the event does not say, as REST APIs do not.
    pub(super) fn payload_format(&self) -> PayloadFormat {
        match text(self.fields.version).as_deref() {
            Some("2.0") => PayloadFormat::V2,
            _ => PayloadFormat::V1,
        }
    }

    /// The HTTP method, empty where the event has none.
    ///
    /// `cargo lambda watch` sends a field of format 1.0 too, always `GET`: what
    /// format 2.0 has counts first.
    pub(super) fn method(&self) -> Cow<'a, str> {
        text(self.http.method)
            .or_else(|| text(self.fields.http_method))
            .unwrap_or_default()
    }

    /// The template of the route that the gateway matched, if it was told any:
    /// `/v2/carts/{cartId}/relationships/customers`, `/{proxy+}`, …
    pub(super) fn template(&self) -> Option<Cow<'a, str>> {
        if let Some(resource) = text(self.fields.resource) {
            return Some(resource);
        }
        match text(self.fields.route_key)? {
            Cow::Borrowed(key) => key.split_once(' ').map(|(_, path)| path.into()),
            Cow::Owned(key) => key.split_once(' ').map(|(_, path)| path.to_owned().into()),
        }
    }

    /// The path of the request, empty where the event has none.
    pub(super) fn path(&self) -> Cow<'a, str> {
        text(self.fields.raw_path)
            .or_else(|| text(self.fields.path))
            .unwrap_or_default()
    }

    /// The path as the caller wrote it, with a stage or a base path before it.
    ///
    /// The request context has it, in format 1.0 alone with the base path of a
    /// custom domain for certain: "`rawPath` does not provide the API mapping
    /// value" (payload format 2.0).
    pub(super) fn public_path(&self) -> Cow<'a, str> {
        let path = self.path();
        text(self.http.path)
            .or_else(|| text(self.context.path))
            .filter(|public| !path.ends_with(&**public))
            .unwrap_or(path)
    }

    /// The parameters of the query, decoded.
    pub(super) fn query(&self) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        if let Some(query) = text(self.fields.raw_query_string) {
            return form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .map(|(name, value)| (name.into(), value.into()))
                .collect();
        }
        let any = |_: &str| true;
        let query = members(
            &parsed(self.fields.multi_value_query_string_parameters).unwrap_or_default(),
            any,
        );
        if query.is_empty() {
            return members(
                &parsed(self.fields.query_string_parameters).unwrap_or_default(),
                any,
            );
        }
        query
    }

    /// The name of the stage, unless it is the unnamed one.
    pub(super) fn stage(&self) -> Option<Cow<'a, str>> {
        text(self.context.stage).filter(|stage| stage != "$default" && !stage.is_empty())
    }

    /// The value that the gateway found in the path, decoded by it.
    pub(super) fn path_parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        let Pairs(pairs) = parsed(self.fields.path_parameters)?;
        let (_, value) = pairs.into_iter().find(|(key, _)| key == name)?;
        text(Some(value))
    }

    /// Every value of a header, in whatever case its name was sent. `name` is
    /// in lower case.
    ///
    /// Format 1.0 has each header in `headers` (its last value) and again in
    /// `multiValueHeaders` (all of its values), so the latter is taken first.
    pub(super) fn header(&self, name: &str) -> Header<'a> {
        let named = |headers| {
            let members = members(headers, |key| key.eq_ignore_ascii_case(name));
            members.into_iter().map(|(_, value)| value).collect()
        };
        let mut values: Vec<Cow<'a, str>> = named(&self.multi_value_headers);
        if values.is_empty() {
            values = named(&self.headers);
        }
        match values.len() {
            0 => Header::Absent,
            1 => Header::One(values.swap_remove(0)),
            _ => Header::Several(values),
        }
    }

    /// The body as the event carries it, and whether that is base64.
    pub(super) fn body(&self) -> (Option<Cow<'a, str>>, bool) {
        let base64 = parsed(self.fields.is_base64_encoded).unwrap_or(false);
        (text(self.fields.body), base64)
    }
}

/// The wanted members of an object with a string or an array of strings each, of
/// which every string is a member.
fn members<'a>(
    Pairs(pairs): &Pairs<'a>,
    wanted: impl Fn(&str) -> bool,
) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    let mut members = Vec::new();
    for (key, value) in pairs.iter().filter(|(key, _)| wanted(key)) {
        if let Some(text) = text(Some(value)) {
            members.push((key.clone(), text));
            continue;
        }
        match parsed::<Vec<Text<'a>>>(Some(value)) {
            Some(texts) => members.extend(texts.into_iter().map(|Text(text)| (key.clone(), text))),
            None if value.get() == "null" => {}
            // A value of no known shape was sent all the same, and must not
            // pass for absent.
            None => members.push((key.clone(), Cow::default())),
        }
    }
    members
}
