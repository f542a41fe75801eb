//! `DELETE …/relationships/customers` and `…/accounts`: removes associations of a
//! cart, all or none.

use super::{Answer, ApiRequest};
use crate::error::Error;

/// Answers 204: associations that do not exist count as removed.
pub(super) async fn dissociate(request: &ApiRequest<'_>) -> Result<Answer, Error> {
    let cart = request.cart()?;
    let parties = request.members()?;

    request.caller.permit(&parties)?;

    let writer = request.writer();
    request.store.dissociate(&cart, &parties, writer).await?;
    Ok(Answer::nothing_or_members("removed", request, &parties))
}
