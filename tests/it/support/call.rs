//! A builder for calls of the handler.

use cart_associations::app::App;
use cart_associations::gateway;
use lambda_http::{Context, LambdaEvent};
use serde_json::{Value, json};

use super::answer::Answer;
use super::function::Function;
use super::{access_token, account_token, customer_token, description};

/// The request id of every invocation.
pub(crate) const REQUEST_ID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";

/// An event for the handler: a request in an HTTP API event (payload format 2.0),
/// unless it comes from [`Call::event`].
pub(crate) struct Call<'w> {
    app: &'w App,
    /// The process that gets the event in place of `app`.
    process: Option<&'w Function>,
    event: Value,
    deadline_millis: u64,
}

impl<'w> Call<'w> {
    /// A request in the event of an HTTP API that only has the route `$default`.
    pub(crate) fn new(app: &'w App, method: &str, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let event = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": query,
            "headers": {},
            "requestContext": {
                "http": { "method": method, "path": path },
                "stage": "$default",
            },
            "isBase64Encoded": false,
        });
        Self::event(app, event)
    }

    /// A request for a cart's customers in the event of an HTTP API that has this
    /// route, so it decodes the path parameter.
    pub(crate) fn of_cart(app: &'w App, method: &str, cart: &str) -> Self {
        let path = format!("/v2/carts/{cart}/relationships/customers");
        let mut call = Self::new(app, method, &path);
        call.event["routeKey"] = json!("ANY /v2/carts/{cartId}/relationships/customers");
        call.event["pathParameters"] = json!({ "cartId": cart });
        call
    }

    pub(crate) fn event(app: &'w App, event: Value) -> Self {
        Self {
            app,
            process: None,
            event,
            deadline_millis: 0,
        }
    }

    pub(crate) fn query(self, query: &str) -> Self {
        self.set("/rawQueryString", json!(query))
    }

    pub(crate) fn method(self, method: &str) -> Self {
        self.set("/requestContext/http/method", json!(method))
    }

    /// Sends only an access token, for client_credentials, as a back end does.
    pub(crate) fn back_end(self) -> Self {
        self.grant("client_credentials")
    }

    /// Sends an implicit access token and a customer token, as a storefront does.
    pub(crate) fn customer(self, customer: &str) -> Self {
        self.grant("implicit")
            .customer_token(&customer_token(customer))
    }

    /// Sends an implicit access token and an account token of a person, as a storefront
    /// does.
    pub(crate) fn account(self, account: &str) -> Self {
        self.grant("implicit")
            .account_token(&account_token(account, "ann"))
    }

    pub(crate) fn grant(self, grant: &str) -> Self {
        let token = access_token(grant);
        self.bearer(&token)
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn customer_token(self, token: &str) -> Self {
        self.header("x-moltin-customer-token", token)
    }

    pub(crate) fn account_token(self, token: &str) -> Self {
        self.header("ep-account-management-authentication-token", token)
    }

    pub(crate) fn cart_token(self, token: &str) -> Self {
        self.header("x-cart-token", token)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.event["headers"][name] = json!(value);
        self
    }

    pub(crate) fn without_header(mut self, name: &str) -> Self {
        self.event["headers"].as_object_mut().unwrap().remove(name);
        self
    }

    pub(crate) fn body(self, document: Value) -> Self {
        self.text(&document.to_string())
    }

    pub(crate) fn text(mut self, body: &str) -> Self {
        self.event["body"] = json!(body);
        self
    }

    pub(crate) fn base64(mut self, body: &str) -> Self {
        self.event["body"] = json!(body);
        self.event["isBase64Encoded"] = json!(true);
        self
    }

    fn set(mut self, pointer: &str, value: Value) -> Self {
        *self.event.pointer_mut(pointer).unwrap() = value;
        self
    }

    /// Sets the deadline, in milliseconds since the epoch.
    pub(crate) fn deadline(mut self, millis: u64) -> Self {
        self.deadline_millis = millis;
        self
    }

    /// Sends the event to a process, if there is one.
    pub(crate) fn to(mut self, process: Option<&'w Function>) -> Self {
        self.process = process;
        self
    }

    /// Sends the event and returns the answer, after comparing it with
    /// `docs/openapi.yaml`.
    pub(crate) async fn send(self) -> Answer {
        let event = self.event.to_string();
        let answer = Answer::read(&self.respond().await);
        description::check(&event, &answer);
        answer
    }

    /// Sends the event and returns the function's response unchecked.
    pub(crate) async fn respond(self) -> Value {
        if let Some(process) = self.process {
            return process.respond(&self.event, self.deadline_millis).await;
        }
        let mut context = Context::default();
        REQUEST_ID.clone_into(&mut context.request_id);
        context.deadline = self.deadline_millis;
        let payload = serde_json::value::to_raw_value(&self.event).unwrap();
        let Ok(response) = gateway::handle(self.app, LambdaEvent::new(payload, context)).await;
        serde_json::to_value(&response).unwrap()
    }
}
