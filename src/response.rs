//! The response: an outcome or an error as API Gateway takes it.
//!
//! A success repeats the path, the page and the identifiers of the request. An
//! error repeats nothing but the names of unsupported query parameters, which are
//! letters only.

mod documents;
mod errors;

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use self::documents::{LinkageDocument, ListDocument, ProgressDocument};
pub use self::errors::ErrorDocuments;
use self::errors::RETRY_AFTER;
use crate::association::MemberPage;
use crate::ids::CustomerId;
use crate::request::{AnswerType, Page, PayloadFormat, ResponseOptions};
use crate::store::{ClearOutcome, WriteOutcome};

/// The result of a request that succeeds.
#[derive(Debug)]
pub enum Outcome {
    /// A cart was associated with these customers.
    Associated(WriteOutcome, Vec<CustomerId>),
    /// The associations of a cart with these customers were removed.
    Dissociated(Vec<CustomerId>),
    /// A relationship was cleared, at least in part.
    Cleared(ClearOutcome),
    /// A page of a list.
    Listed {
        /// The JSON:API type of the members.
        member_type: &'static str,
        /// The members.
        members: MemberPage,
        /// The page that was requested.
        page: Page,
        /// The path of the request.
        path: String,
    },
}

impl Outcome {
    /// The outcome's name in logs and metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Associated(WriteOutcome::Applied, _) => "created",
            Self::Associated(WriteOutcome::Unchanged, _) => "unchanged",
            Self::Dissociated(_) => "removed",
            Self::Cleared(_) => "cleared",
            Self::Listed { .. } => "listed",
        }
    }
}

/// A response to API Gateway.
#[derive(Debug)]
pub struct Response {
    payload_format: PayloadFormat,
    status: u16,
    headers: Vec<Header>,
    body: Option<String>,
    outcome: &'static str,
}

type Header = (&'static str, Cow<'static, str>);

impl Response {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The outcome of the request in logs and metrics: its name, or the code of its
    /// first error.
    pub fn outcome(&self) -> &'static str {
        self.outcome
    }
}

impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Headers<'a>(&'a [Header]);

        impl Serialize for Headers<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
            }
        }

        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("statusCode", &self.status)?;
        map.serialize_entry("headers", &Headers(&self.headers))?;
        if let Some(body) = &self.body {
            map.serialize_entry("body", body)?;
        }
        map.serialize_entry("isBase64Encoded", &false)?;
        // No cookie is ever set, but cargo-lambda requires the member in format 2.0,
        // and a REST API refuses members that it does not know.
        if self.payload_format == PayloadFormat::V2 {
            map.serialize_entry("cookies", &[(); 0])?;
        }
        map.end()
    }
}

/// Makes the response to a request that succeeded.
pub fn success(outcome: &Outcome, options: ResponseOptions) -> Response {
    let mut headers = vec![("vary", "Accept".into())];
    let mut status = 200;
    let body = match outcome {
        Outcome::Associated(WriteOutcome::Unchanged, _) | Outcome::Dissociated(_)
            if !options.representation =>
        {
            None
        }
        Outcome::Associated(_, customers) | Outcome::Dissociated(customers) => {
            if options.representation {
                headers.push(("preference-applied", "return=representation".into()));
            }
            Some(json(&LinkageDocument::new(customers)))
        }
        Outcome::Cleared(ClearOutcome::Complete) => None,
        Outcome::Cleared(ClearOutcome::Partial { removed, .. }) => {
            status = 202;
            headers.push(("retry-after", RETRY_AFTER.into()));
            Some(json(&ProgressDocument::new(*removed)))
        }
        Outcome::Listed {
            member_type,
            members,
            page,
            path,
        } => Some(json(&ListDocument::new(member_type, members, page, path))),
    };
    if body.is_some() {
        headers.push(content_type(options.answer_type));
    }
    Response {
        payload_format: options.payload_format,
        status: if body.is_some() { status } else { 204 },
        headers,
        body,
        outcome: outcome.name(),
    }
}

fn content_type(answer_type: AnswerType) -> Header {
    let value = match answer_type {
        AnswerType::Json => "application/json",
        AnswerType::JsonApi => "application/vnd.api+json",
    };
    ("content-type", value.into())
}

fn json(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("a document has string keys and no fallible parts")
}
