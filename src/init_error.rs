//! Reports to Lambda why the function does not start, so that the console shows
//! the reason.
//!
//! Source: "Using the Lambda runtime API: Initialization error", AWS.

use std::fmt::Display;

use lambda_http::http::{Method, Request};
use lambda_runtime_api_client::body::Body;
use lambda_runtime_api_client::{BoxError, PooledClient};
use serde_json::json;

/// Reports an init error. Panics if `AWS_LAMBDA_RUNTIME_API` is not set, as outside of
/// Lambda.
pub async fn report(error: &impl Display) -> Result<(), BoxError> {
    const TYPE: &str = "Runtime.InvalidConfiguration";
    let body = json!({
        "errorType": TYPE,
        "errorMessage": error.to_string(),
        "stackTrace": [],
    });
    let request = Request::builder()
        .method(Method::POST)
        .uri("/2018-06-01/runtime/init/error")
        .header("lambda-runtime-function-error-type", TYPE)
        .body(Body::from(body.to_string()))?;
    PooledClient::builder().build().call(request).await?;
    Ok(())
}
