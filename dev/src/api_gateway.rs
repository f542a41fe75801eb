//! What an HTTP API of API Gateway does: makes an event of a request, and an HTTP response of what the function returns.
//!
//! Source: "Create AWS Lambda proxy integrations for HTTP APIs in API Gateway", AWS.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A route that matched: its path in the template, and the path's parameters, decoded.
pub type Route<'r> = (&'r str, BTreeMap<String, String>);

/// The event of payload format 2.0.
pub fn event(route: Option<Route<'_>>, request: &Parts, body: &[u8]) -> Result<Value> {
    let path = request.uri.path();
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": request.uri.query().unwrap_or_default(),
        "headers": joined(&request.headers),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": "localhost",
            "domainPrefix": "local",
            "http": {
                "method": request.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "",
            },
            "requestId": "local",
            "routeKey": "$default",
            "stage": "$default",
            "time": "",
            "timeEpoch": u64::try_from(time.as_millis())?,
        },
        "isBase64Encoded": false,
    });
    if let Some((path, parameters)) = route {
        let key = json!(format!("{} {path}", request.method));
        event["requestContext"]["routeKey"] = key.clone();
        event["routeKey"] = key;
        event["pathParameters"] = json!(parameters);
    }
    match std::str::from_utf8(body) {
        Ok("") => {}
        Ok(text) => event["body"] = json!(text),
        Err(_) => {
            event["body"] = json!(STANDARD.encode(body));
            event["isBase64Encoded"] = json!(true);
        }
    }
    Ok(event)
}

/// "Duplicate headers are combined with commas."
fn joined(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let mut joined: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        joined
            .entry(name.as_str())
            .and_modify(|values| *values = format!("{values},{value}"))
            .or_insert_with(|| value.clone().into_owned());
    }
    joined
}

/// The HTTP response for what the function returned.
pub fn response(returned: &Value) -> Result<Response> {
    let status = returned["statusCode"].as_u64().context("no statusCode")?;
    let body = returned["body"].as_str().unwrap_or_default().to_owned();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status.try_into()?)?;
    for (name, value) in returned["headers"].as_object().into_iter().flatten() {
        let name: HeaderName = name.parse()?;
        let value = value.as_str().context("a header is not text")?;
        response.headers_mut().insert(name, value.parse()?);
    }
    Ok(response)
}
