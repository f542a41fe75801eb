//! The embedded DynamoDB, on a port that no web page can use.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use dev::TABLE_NAME;
use dev::dynamodb::{Client, Emulator};

use crate::ports::{Listeners, Upstream};

/// Takes `DYNAMODB_PORT`, unless another DynamoDB is used, which may have that port.
pub(crate) async fn listeners() -> Result<Listeners> {
    match std::env::var_os("DYNAMODB_ENDPOINT") {
        Some(_) => Listeners::on(0).await,
        None => Listeners::configured("DYNAMODB_PORT", "DynamoDB", 8000).await,
    }
}

/// Starts the embedded DynamoDB, whose data is kept in `folder`, behind these listeners, with the table and its stream.
/// With `DYNAMODB_ENDPOINT`, that DynamoDB is used instead. Returns the endpoint.
pub(crate) async fn start(folder: &Path, listeners: Listeners) -> Result<String> {
    let endpoint = match std::env::var("DYNAMODB_ENDPOINT") {
        Ok(endpoint) => endpoint,
        Err(_) => {
            let endpoint = format!("http://127.0.0.1:{}", listeners.port()?);
            let emulator = Emulator::with_file(&folder.join("dynamodb.sqlite"))?;
            listeners.serve(without_cors(&emulator)?);
            endpoint
        }
    };
    let client = Client::new(&endpoint);
    client.create_table(TABLE_NAME).await?;
    client.enable_stream(TABLE_NAME).await?;
    Ok(endpoint)
}

/// The emulator allows every page to call it, as DynamoDB does. It answers without CORS where there is no `Origin`.
fn without_cors(emulator: &Emulator) -> Result<Router> {
    let address = emulator.endpoint.trim_start_matches("http://");
    let emulator = Arc::new(Upstream::new(address)?);
    Ok(Router::new().fallback(async move |mut request: Request| {
        request.headers_mut().remove(header::ORIGIN);
        let answered = emulator.send(request).await;
        answered
            .unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response())
    }))
}
