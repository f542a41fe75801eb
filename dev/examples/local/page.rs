//! The pages: a demo with two devices; Swagger UI with `docs/openapi.yaml`, the local API as its server, and valid tokens
//! filled in; and `docs/errors.md`.
//!
//! A dependency contains all files of Swagger UI, and a Content Security Policy allows no files from elsewhere.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use pulldown_cmark::{Options, Parser, html};
use serde::Deserialize;
use serde_json::{Value, json};
use swagger_ui_dist::{ApiDefinition, OpenApiSource, generate_routes};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::files::{SAMPLE_ACCOUNT, SAMPLE_CART, SAMPLE_CUSTOMER};
use crate::tokens::Tokens;

const DOCUMENT: &str = include_str!("../../../docs/openapi.yaml");
const ERRORS: &str = include_str!("../../../docs/errors.md");

struct Page {
    api: String,
    tokens: Arc<Tokens>,
}

/// The number of a cart. Each load of the page replaces the cart of the document's examples with a new one, so that the
/// first POST is answered with 200 and the second with 204, whatever is stored.
#[derive(Deserialize)]
struct Cart {
    cart: Option<u64>,
}

/// Whose tokens a page asks for: those of a customer, and of two people who buy for an account.
#[derive(Deserialize)]
#[serde(default)]
struct Who {
    customer: String,
    account: String,
    colleague: String,
}

impl Default for Who {
    fn default() -> Self {
        Self {
            customer: SAMPLE_CUSTOMER.to_owned(),
            account: SAMPLE_ACCOUNT.to_owned(),
            colleague: "harry".to_owned(),
        }
    }
}

pub(crate) fn router(api: &str, tokens: Arc<Tokens>) -> Result<Router> {
    let page = Page {
        api: api.to_owned(),
        tokens,
    };
    // Fails now rather than on the page.
    page.document(&Cart { cart: None })?;
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         connect-src 'self' {api}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let set = SetResponseHeaderLayer::overriding;
    let swagger_ui = generate_routes(ApiDefinition {
        uri_prefix: "/swagger-ui",
        api_definition: OpenApiSource::Uri("/openapi.yaml"),
        title: None,
    });
    let css = [(header::CONTENT_TYPE, "text/css")];
    let javascript = [(header::CONTENT_TYPE, "text/javascript")];
    Ok(Router::new()
        .route("/", get(Html(include_str!("demo.html"))))
        .route("/demo.css", get((css, include_str!("demo.css"))))
        .route(
            "/demo.js",
            get((javascript.clone(), include_str!("demo.js"))),
        )
        .route("/reference", get(Html(include_str!("reference.html"))))
        .route(
            "/reference.js",
            get((javascript, include_str!("reference.js"))),
        )
        .route("/errors.md", get(Html(errors())))
        .route("/openapi.yaml", get(document))
        .route("/tokens.json", get(tokens_of))
        .with_state(Arc::new(page))
        .merge(swagger_ui.layer(middleware::from_fn(without_index)))
        .layer(set(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::try_from(policy)?,
        ))
        .layer(set(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        )))
}

/// The dependency's own page needs a script that the policy forbids. `/reference` has its files.
async fn without_index(request: Request, next: Next) -> Response {
    match request.uri().path() {
        "/swagger-ui" | "/swagger-ui/" => Redirect::temporary("/reference").into_response(),
        _ => next.run(request).await,
    }
}

impl Page {
    /// The document with the local API as its server and this cart.
    fn document(&self, cart: &Cart) -> Result<String> {
        let (head, rest) = DOCUMENT
            .split_once("\nservers:\n")
            .context("docs/openapi.yaml has no servers")?;
        let (_, rest) = rest
            .split_once("\ntags:\n")
            .context("docs/openapi.yaml has no tags after its servers")?;
        let cart = cart.cart.map_or(SAMPLE_CART.to_owned(), id);
        let (rest, api) = (rest.replace(SAMPLE_CART, &cart), &self.api);
        Ok(format!("{head}\nservers:\n  - url: {api}\ntags:\n{rest}"))
    }

    /// The callers with the headers that have their tokens.
    fn tokens(&self, who: &Who) -> Result<Value> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let cart = u64::try_from(now.as_millis())?;
        let mut callers = json!({
            "guest": self.tokens.of_storefront()?,
            "customer": self.tokens.of_customer(&who.customer)?,
            "account": self.tokens.of_account(&who.account, &who.customer)?,
            "colleague": self.tokens.of_account(&who.account, &who.colleague)?,
            "backEnd": { "Authorization": format!("Bearer {}", self.tokens.back_end()?) },
        });
        if self.tokens.demands_cart_tokens {
            for caller in ["customer", "account"] {
                callers[caller]["x-cart-token"] = json!(self.tokens.cart(&id(cart))?);
            }
        }
        Ok(json!({
            "api": self.api,
            "cart": cart,
            "customer": who.customer,
            "account": who.account,
            "callers": callers,
        }))
    }
}

fn id(cart: u64) -> String {
    format!("cart-{cart}")
}

async fn document(State(page): State<Arc<Page>>, Query(cart): Query<Cart>) -> Response {
    or_error(page.document(&cart))
}

/// `docs/errors.md` as HTML.
fn errors() -> String {
    let mut body = String::new();
    html::push_html(&mut body, Parser::new_ext(ERRORS, Options::ENABLE_TABLES));
    let mut article = String::new();
    for line in body.lines() {
        // Each code is a heading. Like other Markdown viewers, makes it an anchor.
        let code = line
            .strip_prefix("<h3>")
            .and_then(|line| line.strip_suffix("</h3>"));
        match code {
            Some(code) => article.push_str(&format!("<h3 id=\"{code}\">{code}</h3>")),
            None => article.push_str(line),
        }
        article.push('\n');
    }
    include_str!("errors.html").replace("ARTICLE", &article)
}

/// New tokens for each load, so that reloading the page is enough when they have expired.
async fn tokens_of(State(page): State<Arc<Page>>, Query(who): Query<Who>) -> Response {
    or_error(page.tokens(&who).map(Json))
}

fn or_error(document: Result<impl IntoResponse>) -> Response {
    match document {
        Ok(document) => document.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}
