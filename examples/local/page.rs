//! A page to try the API: Swagger UI with `docs/openapi.yaml`, pointed at the local API, with valid tokens filled in.
//!
//! Swagger UI comes whole with a dependency. A policy (CSP) keeps browsers from loading anything from elsewhere.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use pulldown_cmark::{Options, Parser, html};
use serde::Deserialize;
use serde_json::{Value, json};
use swagger_ui_dist::{ApiDefinition, OpenApiSource, generate_routes};

use crate::world::{Authorities, SAMPLE_CART, SAMPLE_CUSTOMER, demands_cart_tokens};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.yaml"));
const ERRORS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md"));

struct Page {
    api: String,
    authorities: Authorities,
}

/// The number of a cart. Each time the page is loaded, a new one takes the place of the cart in the document's examples,
/// so that the first POST is answered with 200 and the second with 204, whatever is stored.
#[derive(Deserialize)]
struct Cart {
    cart: u64,
}

impl Cart {
    fn id(&self) -> String {
        format!("cart-{}", self.cart)
    }
}

/// The page, for the API at `api`.
///
/// # Errors
///
/// When the document is not laid out as it was when this was written.
pub(crate) fn router(api: &str, authorities: Authorities) -> Result<Router> {
    let page = Page {
        api: api.to_owned(),
        authorities,
    };
    // Told now rather than by the page.
    page.document(&Cart { cart: 0 })?;
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         connect-src 'self' {api}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let policy = HeaderValue::try_from(policy)?;
    let swagger_ui = generate_routes(ApiDefinition {
        uri_prefix: "/swagger-ui",
        api_definition: OpenApiSource::Uri("/openapi.yaml"),
        title: None,
    });
    let text = |content_type: &'static str, text: &'static str| {
        get(async move || ([(header::CONTENT_TYPE, content_type)], text))
    };
    Ok(Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/page.js", text("text/javascript", include_str!("page.js")))
        .route("/errors.md", get(async || Html(errors())))
        .route("/openapi.yaml", get(document))
        .route("/tokens.json", get(tokens))
        .with_state(Arc::new(page))
        .merge(swagger_ui)
        .layer(middleware::map_response(move |mut response: Response| {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            async { response }
        })))
}

impl Page {
    /// The document as it is, but for its servers and its cart.
    fn document(&self, cart: &Cart) -> Result<String> {
        let (head, rest) = DOCUMENT
            .split_once("\nservers:\n")
            .context("it has no servers")?;
        let (_, rest) = rest
            .split_once("\ntags:\n")
            .context("no tags follow its servers")?;
        let rest = rest.replace(SAMPLE_CART, &cart.id());
        let api = &self.api;
        Ok(format!("{head}\nservers:\n  - url: {api}\ntags:\n{rest}"))
    }

    fn tokens(&self) -> Result<Value> {
        let Authorities {
            access,
            customer,
            cart: carts,
        } = &self.authorities;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let cart = Cart {
            cart: u64::try_from(now.as_millis())?,
        };
        let cart_token = demands_cart_tokens().then(|| carts.cart_token(&cart.id()));
        Ok(json!({
            "cart": cart.cart,
            "cartToken": cart_token.transpose()?,
            "accessToken": access.access_token("local-storefront", "implicit")?,
            "customerToken": customer.customer_token(SAMPLE_CUSTOMER)?,
            "customer": SAMPLE_CUSTOMER,
            "backEndToken": access.access_token("local-back-end", "client_credentials")?,
        }))
    }
}

async fn document(State(page): State<Arc<Page>>, Query(cart): Query<Cart>) -> Response {
    made(page.document(&cart))
}

/// `docs/errors.md` for browsers.
fn errors() -> String {
    let mut body = String::new();
    html::push_html(&mut body, Parser::new_ext(ERRORS, Options::ENABLE_TABLES));
    let mut page = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Errors</title>\n",
    );
    page.push_str("<link rel=\"icon\" href=\"data:,\">\n");
    for line in body.lines() {
        // Each code is a heading, and an anchor wherever Markdown is shown.
        let code = line
            .strip_prefix("<h3>")
            .and_then(|line| line.strip_suffix("</h3>"));
        match code {
            Some(code) => page.push_str(&format!("<h3 id=\"{code}\">{code}</h3>")),
            None => page.push_str(line),
        }
        page.push('\n');
    }
    page
}

/// New ones each time, so that a page that was left open is only to be loaded again.
async fn tokens(State(page): State<Arc<Page>>) -> Response {
    made(page.tokens().map(Json))
}

fn made(document: Result<impl IntoResponse>) -> Response {
    match document {
        Ok(document) => document.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}
