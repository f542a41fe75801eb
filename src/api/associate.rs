//! `POST …/relationships/customers` and `…/accounts`: associates a cart with
//! parties, all or none.

use super::{Answer, ApiRequest};
use crate::error::Error;
use crate::store::WriteOutcome;

/// Answers 200 if at least one association is new, else 204.
pub(super) async fn associate(request: &ApiRequest<'_>) -> Result<Answer, Error> {
    let proof = request.authenticator.prove_cart(
        request.caller,
        request.http.headers(),
        request.matched.id,
        request.now,
        request.deadline,
    );
    let proof = proof.await?;
    let cart = request.cart()?;
    let parties = request.members()?;

    request.caller.permit(&parties)?;
    proof.permits()?;

    let writer = request.writer();
    let associated = request
        .store
        .associate(&cart, &parties, writer, request.lifetime);
    Ok(match associated.await? {
        WriteOutcome::Applied => Answer::members("created", request, &parties),
        WriteOutcome::Unchanged => Answer::nothing_or_members("unchanged", request, &parties),
    })
}
