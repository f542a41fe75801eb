//! The job done the usual way: what `cargo lambda new` writes, the default `aws-config`, the default features and
//! profile, one conditional put a member. No token is checked, no fault handled.

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::Utc;
use lambda_http::{Body, Error, Request, RequestExt, Response, run_concurrent, service_fn, tracing};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let client = Client::new(&config);
    let table = std::env::var("TABLE_NAME")?;
    run_concurrent(service_fn(move |request| {
        let (client, table) = (client.clone(), table.clone());
        async move { associate(&client, &table, request).await }
    }))
    .await
}

async fn associate(
    client: &Client,
    table: &str,
    request: Request,
) -> Result<Response<Body>, Error> {
    let path = request.path_parameters();
    let cart = path.first("cartId").ok_or("no cart")?;
    let document: Value = serde_json::from_slice(request.body().as_ref())?;
    let mut created = false;
    for member in document["data"].as_array().ok_or("no data")? {
        let customer = member["id"].as_str().ok_or("no id")?;
        let put = client
            .put_item()
            .table_name(table)
            .item("id", AttributeValue::S(format!("{cart}#{customer}")))
            .item("cart_id", AttributeValue::S(cart.to_owned()))
            .item("customer_id", AttributeValue::S(customer.to_owned()))
            .item("associated_at", AttributeValue::S(Utc::now().to_rfc3339()))
            .condition_expression("attribute_not_exists(id)")
            .send()
            .await;
        match put.map_err(|error| error.into_service_error()) {
            Ok(_) => created = true,
            Err(error) if error.is_conditional_check_failed_exception() => {}
            Err(error) => return Err(error.into()),
        }
    }
    if !created {
        return Ok(Response::builder().status(204).body(Body::Empty)?);
    }
    Ok(Response::builder()
        .status(200)
        .header("content-type", "application/json")
        .body(document.to_string().into())?)
}
