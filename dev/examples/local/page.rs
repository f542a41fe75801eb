//! The pages: a demo with two devices; and Swagger UI with `docs/openapi.yaml`, the local API as its server, and valid
//! tokens filled in.
//!
//! A dependency contains all files of Swagger UI, and a Content Security Policy allows no files from elsewhere.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use dev::tokens::Authorities;
use pulldown_cmark::{Options, Parser, html};
use serde::Deserialize;
use serde_json::{Value, json};
use swagger_ui_dist::{ApiDefinition, OpenApiSource, generate_routes};

use crate::world::{SAMPLE_CART, SAMPLE_CUSTOMER, demands_cart_tokens};

const DOCUMENT: &str = include_str!("../../../docs/openapi.yaml");
const ERRORS: &str = include_str!("../../../docs/errors.md");

struct Page {
    api: String,
    authorities: Arc<Authorities>,
}

/// The number of a cart. Each load of the page replaces the cart of the document's examples with a new one, so that the
/// first POST is answered with 200 and the second with 204, whatever is stored.
#[derive(Deserialize)]
struct Cart {
    cart: u64,
}

/// Whose customer token a page asks for.
#[derive(Deserialize)]
struct Who {
    #[serde(default = "sample_customer")]
    customer: String,
}

fn sample_customer() -> String {
    SAMPLE_CUSTOMER.to_owned()
}

impl Cart {
    fn id(&self) -> String {
        format!("cart-{}", self.cart)
    }
}

/// The page for the API at the URL `api`.
///
/// # Errors
///
/// If `docs/openapi.yaml` does not have its `servers` before its `tags`.
pub(crate) fn router(api: &str, authorities: Arc<Authorities>) -> Result<Router> {
    let page = Page {
        api: api.to_owned(),
        authorities,
    };
    // Fails now rather than on the page.
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
        .route("/", get(async || Html(include_str!("demo.html"))))
        .route("/demo.css", text("text/css", include_str!("demo.css")))
        .route("/demo.js", text("text/javascript", include_str!("demo.js")))
        .route(
            "/reference",
            get(async || Html(include_str!("reference.html"))),
        )
        .route(
            "/reference.js",
            text("text/javascript", include_str!("reference.js")),
        )
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
    /// The document with the local API as its server and this cart.
    fn document(&self, cart: &Cart) -> Result<String> {
        let (head, rest) = DOCUMENT
            .split_once("\nservers:\n")
            .context("docs/openapi.yaml has no servers")?;
        let (_, rest) = rest
            .split_once("\ntags:\n")
            .context("docs/openapi.yaml has no tags after its servers")?;
        let rest = rest.replace(SAMPLE_CART, &cart.id());
        let api = &self.api;
        Ok(format!("{head}\nservers:\n  - url: {api}\ntags:\n{rest}"))
    }

    fn tokens(&self, customer: &str) -> Result<Value> {
        let Authorities {
            access,
            customer: customers,
            cart: carts,
        } = &*self.authorities;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let cart = Cart {
            cart: u64::try_from(now.as_millis())?,
        };
        let cart_token = demands_cart_tokens().then(|| carts.cart_token(&cart.id()));
        Ok(json!({
            "api": self.api,
            "cart": cart.cart,
            "cartToken": cart_token.transpose()?,
            "accessToken": access.access_token("local-storefront", "implicit")?,
            "customerToken": customers.customer_token(customer)?,
            "customer": customer,
            "backEndToken": access.access_token("local-back-end", "client_credentials")?,
        }))
    }
}

async fn document(State(page): State<Arc<Page>>, Query(cart): Query<Cart>) -> Response {
    or_error(page.document(&cart))
}

/// `docs/errors.md` as HTML.
fn errors() -> String {
    let mut body = String::new();
    html::push_html(&mut body, Parser::new_ext(ERRORS, Options::ENABLE_TABLES));
    let mut page = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Errors</title>\n",
    );
    page.push_str("<link rel=\"icon\" href=\"data:,\">\n");
    for line in body.lines() {
        // Each code is a heading. Like other Markdown viewers, makes it an anchor.
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

/// New tokens for each load, so that reloading the page is enough when they have expired.
async fn tokens(State(page): State<Arc<Page>>, Query(who): Query<Who>) -> Response {
    or_error(page.tokens(&who.customer).map(Json))
}

fn or_error(document: Result<impl IntoResponse>) -> Response {
    match document {
        Ok(document) => document.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}
