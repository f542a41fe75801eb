//! `GET`: the parties of a cart, ordered by id, and the carts of a party, newest
//! association first and those of one moment by id.

use lambda_http::http::StatusCode;
use serde::Serialize;

use super::{Answer, ApiRequest};
use crate::auth::Forbidden;
use crate::clock::Timestamp;
use crate::cursor;
use crate::error::Error;
use crate::ids::{CartId, Party, PartyKind};
use crate::json;
use crate::jsonapi::documents::{self, ListDocument};
use crate::jsonapi::query::{Page, invalid_cursor};
use crate::store::{Member, Position};

/// Lists the parties of a cart. A party must be one of them: that is read
/// consistently, so it holds as soon as a POST was answered. Both are read at the
/// same time. A stranger does not wait for the list, and gets no error of it.
pub(super) async fn parties(request: &ApiRequest<'_>) -> Result<Answer, Error> {
    let (kind, now) = (request.kind(), request.now);
    let cart = request.cart()?;
    let page = request.page()?;
    let list = format!("{}s#{}", kind.as_str(), cart.as_str());
    let after = after(&list, &page, now, |id| {
        Some(Party::new(kind, id).ok()?.id().to_owned())
    })?;
    let only = request.caller.only_party(kind)?;

    let permitted = async {
        if let Some(party) = only
            && !request.store.is_associated(&cart, party, now).await?
        {
            return Err(Error::from(Forbidden::NotOnCart));
        }
        Ok(())
    };
    let members = request
        .store
        .parties_of(&cart, kind, after.as_deref(), page.limit + 1, now);
    let ((), members) = tokio::try_join!(permitted, async { Ok(members.await) })?;
    let next = |shown: &[Member]| Some(shown.last()?.id.clone());
    Ok(answer(request, kind.as_str(), members?, &page, &list, next))
}

/// Lists the carts of the party that the caller acts for.
pub(super) async fn own_carts(request: &ApiRequest<'_>) -> Result<Answer, Error> {
    let page = request.page()?;
    let party = request.caller.party()?;
    let list = format!("own-{}", name_of_carts(party));
    let after = after(&list, &page, request.now, cart_position)?;

    list_carts(request, party, &page, after, &list).await
}

/// Lists the carts of a party that the caller may act for.
pub(super) async fn carts(request: &ApiRequest<'_>) -> Result<Answer, Error> {
    let party = request.party()?;
    let page = request.page()?;
    let list = name_of_carts(&party);
    let after = after(&list, &page, request.now, cart_position)?;

    request.caller.permit_carts_of(&party)?;

    list_carts(request, &party, &page, after, &list).await
}

async fn list_carts(
    request: &ApiRequest<'_>,
    party: &Party,
    page: &Page,
    after: Option<Position>,
    list: &str,
) -> Result<Answer, Error> {
    let (now, after) = (request.now, after.as_ref());
    let carts = request.store.carts_of(party, after, page.limit + 1, now);
    let next = |shown: &[Member]| {
        let position = Position::after(shown, after, now)?;
        let young = if position.follows_young { YOUNG } else { "" };
        Some(format!("{} {}{young}", position.associated_at, position.id))
    };
    Ok(answer(request, "cart", carts.await?, page, list, next))
}

/// The name of a party's list in cursors.
fn name_of_carts(party: &Party) -> String {
    match party.kind() {
        PartyKind::Customer => format!("carts#{}", party.id()),
        PartyKind::Account => format!("account-carts#{}", party.id()),
    }
}

/// Returns the position after which a page begins. `read` parses it.
fn after<P>(
    list: &str,
    page: &Page,
    now: Timestamp,
    read: impl Fn(&str) -> Option<P>,
) -> Result<Option<P>, Error> {
    let Some(cursor) = &page.after else {
        return Ok(None);
    };
    let position = cursor::decode(list, cursor, now).and_then(|position| read(&position));
    Ok(Some(position.ok_or_else(invalid_cursor)?))
}

/// Ends the position of a page of carts after one with a young association.
const YOUNG: &str = " young";

/// Parses the position of a list of carts.
fn cart_position(position: &str) -> Option<Position> {
    let young = position.strip_suffix(YOUNG);
    let (associated_at, id) = young.unwrap_or(position).rsplit_once(' ')?;
    let _: CartId = id.parse().ok()?;
    (!associated_at.is_empty()).then(|| Position {
        associated_at: associated_at.to_owned(),
        id: id.to_owned(),
        follows_young: young.is_some(),
    })
}

/// Makes a page. One member more than the limit was read: if it exists, there is a
/// next page, which begins after what `position` returns.
fn answer(
    request: &ApiRequest<'_>,
    member_type: &'static str,
    mut members: Vec<Member>,
    page: &Page,
    list: &str,
    position: impl Fn(&[Member]) -> Option<String>,
) -> Answer {
    #[derive(Serialize)]
    struct Meta<'a> {
        associated_at: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    }
    let more = members.len() > page.limit;
    members.truncate(page.limit);
    let position = position(&members).filter(|_| more);
    let next = position.map(|position| cursor::encode(list, &position, request.now));
    let data = members.iter().map(|member| documents::Member {
        r#type: member_type,
        id: &member.id,
        meta: Some(Meta {
            associated_at: &member.associated_at,
            expires_at: member.expires_at,
        }),
    });
    let data = data.collect();
    let document = ListDocument::new(data, request.path(), page, next.as_deref());
    Answer::new("listed", json::response(StatusCode::OK, &document))
}
