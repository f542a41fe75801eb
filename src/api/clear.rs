//! `PATCH` with empty `data`: removes all that an index shows of a relationship.
//! JSON:API clears a relationship by it.

use lambda_http::http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::{Answer, ApiRequest};
use crate::error::{Error, RETRY_AFTER};
use crate::json;
use crate::jsonapi::body;
use crate::store::ClearOutcome;

/// Removes all parties of a kind from a cart. Only a back end may.
pub(super) async fn cart(request: &ApiRequest<'_>) -> Result<Answer, Error> {
    let cart = request.cart()?;
    body::check_empty(request.body()?)?;

    request.caller.permit_clearing()?;

    let writer = request.writer();
    let cleared = request.store.clear_cart(&cart, request.kind(), &writer);
    Ok(answer(cleared.await?))
}

/// Removes a party that the caller may act for from all carts.
pub(super) async fn party(request: &ApiRequest<'_>) -> Result<Answer, Error> {
    let party = request.party()?;
    body::check_empty(request.body()?)?;

    request.caller.permit_carts_of(&party)?;

    let writer = request.writer();
    let cleared = request.store.clear_party(&party, &writer);
    Ok(answer(cleared.await?))
}

/// Answers 204 if nothing is left, 202 if time ran out first.
fn answer(cleared: ClearOutcome) -> Answer {
    match cleared {
        ClearOutcome::Complete => Answer::nothing("cleared"),
        ClearOutcome::Partial { removed, cause } => {
            let document = json!({ "meta": { "removed": removed } });
            let mut response = json::response(StatusCode::ACCEPTED, &document);
            let retry_after = HeaderValue::from_static(RETRY_AFTER);
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, retry_after);
            Answer {
                outcome: "cleared",
                response,
                failure: Some(cause.failure().clone()),
            }
        }
    }
}
